"""The compliance gate's look: some controls on hosts that were just changed, judged by the waivers that hold now.

Kept nowhere: an audit is a run of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsctl.model.finding import CheckResult, Finding, Waiver
from opsctl.model.gate import Gate, GateKind
from opsctl.model.host import Host
from opsctl.model.rollout import Plan
from opsctl.rollout.means import Means

if TYPE_CHECKING:
    from opsctl.model.finding import Catalogue, Profile


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Hosts that one profile judges, with the gate's controls of it."""

    hosts: tuple[Host, ...]
    profile: Profile
    left: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """What a gate is judged by."""

    catalogue: Catalogue
    parts: tuple[_Part, ...]
    waivers: tuple[Waiver, ...]


def refuse_unready(means: Means, plan: Plan) -> None:
    """Before any host is touched: raise ConfigError for a profile or waivers that cannot be read, with file and line.

    Raises UnknownName for a control that is not there. A rollback is to mend: nothing keeps it from beginning.
    """
    for gate in plan.gates:
        if gate.kind is GateKind.COMPLIANCE and not plan.rollback_of:
            _ready(means, gate, [host for host in means.inventory if host.tenant == gate.tenant])


def look(means: Means, gate: Gate, keys: list[str]) -> tuple[tuple[CheckResult, ...], tuple[Finding, ...]]:
    """The gate's controls on these hosts: the results, and how each failed one is judged."""
    from opsctl.compliance import waivers
    from opsctl.compliance.assess import Order, assess
    from opsctl.rollout.records import gather

    ready = _ready(means, gate, [means.inventory.host(key) for key in keys])
    found: list[CheckResult] = []
    for part in ready.parts:
        order = Order(
            hosts=part.hosts,
            profile=part.profile,
            catalogue=ready.catalogue,
            operator=means.who,
            selection={"control": gate.controls},
            deselected=part.left,
            waivers=ready.waivers,
            records=gather(part.hosts, gate.controls, means.settings, means.store, means.clock()),
        )
        found += assess(
            order, transport=means.transport, inventory=means.inventory, settings=means.settings, now=means.clock
        ).results
    return tuple(found), waivers.judge(found, ready.waivers, means.clock())


def _ready(means: Means, gate: Gate, hosts: Sequence[Host]) -> _Ready:
    # Only a rollout that has such a gate pays for reading the catalogue.
    from opsctl.compliance import catalogue as catalogues
    from opsctl.compliance import defaults, profiles, waiverfile

    settings = means.settings
    catalogue = catalogues.load(settings.own_content)
    # As frozen with the plan. A tenant's own is frozen with the inventory, too, and is checked by file and line.
    named = None if means.inventory.tenant(gate.tenant).profile else gate.profile
    parts = []
    for one in defaults.judged(hosts, named, inventory=means.inventory, settings=settings, catalogue=catalogue):
        profile, left = profiles.narrow(one.profile, gate.controls)
        parts.append(_Part(hosts=one.hosts, profile=profile, left=left))
    agreed = waiverfile.current(settings.inventories, {gate.tenant}, catalogue.by_id, means.clock())
    return _Ready(catalogue=catalogue, parts=tuple(parts), waivers=agreed)
