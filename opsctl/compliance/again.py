"""Looking again at results of a kept run: each control live, with the values that held in that run. Keeps no run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from opsctl.compliance.assess import Order, Say, assess, quiet
from opsctl.compliance.records import Known
from opsctl.compliance.sample import Again
from opsctl.config import Settings
from opsctl.errors import UnknownName
from opsctl.model.finding import Assessment, Catalogue, CheckResult, Control, Profile
from opsctl.model.host import Inventory
from opsctl.ssh.session import Transport


def look(
    asked: Sequence[CheckResult],
    kept: Assessment,
    *,
    catalogue: Catalogue,
    operator: str,
    transport: Transport,
    inventory: Inventory,
    settings: Settings,
    now: Callable[[], datetime],
    records: Known | None = None,
    say: Say = quiet,
) -> tuple[Again, ...]:
    """Each of these results beside what its host says now, in their order. `records`: what the control side knows now.

    A host that is no longer managed, or does not answer, gives "notchecked" with the reason.
    """
    found: dict[tuple[str, str], CheckResult] = {}
    for key in dict.fromkeys(result.host for result in asked):
        controls = _controls([result.control for result in asked if result.host == key], kept, catalogue)
        hosts = tuple(host for host in inventory if host.key == key and host.managed)
        if not hosts:
            for control in controls:
                found[key, control.id] = _gone(key, control.id, now())
            continue
        order = Order(
            hosts=hosts,
            profile=Profile(name=kept.scope.profile, title=kept.scope.profile_title, controls=controls),
            catalogue=catalogue,
            operator=operator,
            selection={"limit": (key,)},
            records=records or {},
        )
        seen = assess(
            order, transport=transport, inventory=inventory, settings=settings, now=now, say=say, live=True
        )  # fmt: skip
        found |= {(result.host, result.control): result for result in seen.results}
        if seen.interrupted:
            raise KeyboardInterrupt
    return tuple(Again(old=result, new=found[result.host, result.control]) for result in asked)


def one(kept: Assessment, run: str, host: str, control: str) -> CheckResult:
    """The result of one control on one host in a kept run. Raises UnknownName."""
    mine = [result for result in kept.results if result.host == host or result.host.partition(".")[2] == host]
    if len({result.host for result in mine}) > 1:
        keys = ", ".join(sorted({result.host for result in mine}))
        raise UnknownName(f"{host!r} is one of {keys}", hint="name it with its tenant: TENANT.NAME")
    if not mine:
        raise UnknownName(f"run {run} has no host called {host!r}", hint="--run names another run: opsctl comply list")
    for result in mine:
        if result.control == control:
            return result
    raise UnknownName(f"run {run} did not ask for {control!r}", hint="opsctl comply controls lists them")


def _controls(names: Iterable[str], kept: Assessment, catalogue: Catalogue) -> tuple[Control, ...]:
    wanted = set(names)
    controls = tuple(control for control in kept.scope.controls if control.id in wanted)
    known = catalogue.by_id
    for control in controls:
        if control.id not in known or not known[control.id].built:
            raise UnknownName(f"{control.id} has no check function any more", hint="opsctl comply controls lists them")
    return controls


def _gone(host: str, control: str, now: datetime) -> CheckResult:
    reason = "the host is not in the inventory any more, or not managed"
    return CheckResult(host=host, control=control, result="notchecked", reason=reason, at=now)
