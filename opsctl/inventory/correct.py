"""Reviewed corrections -> what changes in NetBox, and the requests that change it, each kind in bulk.

The plan is made against NetBox as it is now, so one that was carried out in part is finished by the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opsctl.errors import Incomplete, Problem, SetupError, StalePlan
from opsctl.inventory.amend import Act, Amendments, Method
from opsctl.inventory.answers import SourceFailed
from opsctl.inventory.corrections import Correction
from opsctl.inventory.intended import Intended, by_token, read
from opsctl.inventory.making import refuse_lacks
from opsctl.inventory.mapping import Unusable, platform_name
from opsctl.inventory.netbox import NetBox, Row
from opsctl.inventory.pull import ADDRESSES
from opsctl.inventory.push import BATCH, Write
from opsctl.inventory.rules import Rules, mapping_of
from opsctl.model.host import Host

if TYPE_CHECKING:
    from opsctl.config import Settings

PLATFORMS = "dcim/platforms"
# Whether a token may remove something, NetBox tells only when it is tried: so that comes first, before anything else.
ORDER: tuple[Method, ...] = ("DELETE", "PATCH", "POST")


@dataclass(frozen=True, kw_only=True)
class CorrectionPlan:
    """What would change, and by which acts: those of one token together."""

    writes: tuple[Write, ...]
    acts: Mapping[str, tuple[Act, ...]]
    missing: tuple[str, ...] = ()
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(sorted({write.host for write in self.writes}))


def plan(settings: Settings, hosts: Iterable[Host], corrections: Sequence[Correction]) -> CorrectionPlan:
    """Raises SetupError for what cannot be put into NetBox, SourceFailed for what NetBox does."""
    chosen = mapping_of(settings)
    wanted = {one.host: one for one in corrections}
    writes: list[Write] = []
    acts: dict[str, tuple[Act, ...]] = {}
    problems: list[Problem] = []
    for tenant, theirs in by_token(settings, [host for host in hosts if host.key in wanted]).items():
        netbox = NetBox.of(settings, tenant)
        try:
            found = _amendments(netbox, chosen, [wanted[host.key] for host in theirs], read(netbox, theirs, chosen))
        finally:
            netbox.close()
        writes += found.writes
        problems += found.problems
        acts[tenant] = tuple(found.acts)
    if problems:
        raise SetupError("the corrections cannot be applied; nothing was written", problems=tuple(problems))
    return CorrectionPlan(writes=tuple(writes), acts=acts)


def refuse_moved(planned: CorrectionPlan, again: CorrectionPlan) -> None:
    """Raise StalePlan where NetBox is another than the one that a person was shown: a port list is written whole."""
    if planned != again:
        raise StalePlan("NetBox was changed by somebody else meanwhile; nothing was written", hint="push again")


def _amendments(
    netbox: NetBox, chosen: Rules, corrections: Sequence[Correction], now: Mapping[str, Intended]
) -> Amendments:
    found = Amendments(
        server=netbox.server(),
        platforms=_platforms(netbox, chosen) if any(one.platform for one in corrections) else {},
        holders=lambda address: netbox.page(ADDRESSES, {"address": address, "limit": 100})[0],
    )
    for one in corrections:
        found.add(one, now.get(one.host))
    return found


def write(settings: Settings, planned: CorrectionPlan, message: str) -> None:
    """Carry it out. Raises SourceFailed where nothing was written (a missing permission is named), else Incomplete."""
    _refuse_missing_rights(settings, planned)
    done, whole = 0, sum(len(acts) for acts in planned.acts.values())
    for tenant, acts in planned.acts.items():
        netbox = NetBox.of(settings, tenant)
        try:
            said = netbox.server().said(message)
            for method, path, bodies in _bulks(acts):
                _send(netbox, method, path, [{**body, **said} for body in bodies])
                done += len(bodies)
        except SourceFailed as error:
            if not done:
                raise
            raise Incomplete(
                f"{done} of {whole} changes are in NetBox, the others are not: {error.message}",
                hint=f"{error.hint}; push the same file again: it goes on with what is left",
            ) from error
        finally:
            netbox.close()


def _refuse_missing_rights(settings: Settings, planned: CorrectionPlan) -> None:
    lacks: list[str] = []
    for tenant, acts in planned.acts.items():
        netbox = NetBox.of(settings, tenant)
        try:
            for method, path in dict.fromkeys((act.method, act.path) for act in acts):
                if method != "DELETE":
                    lacks += netbox.lacks(path, ("change",) if method == "PATCH" else ("add",))
        finally:
            netbox.close()
    refuse_lacks(tuple(dict.fromkeys(lacks)))


def _bulks(acts: Sequence[Act]) -> Iterator[tuple[Method, str, Sequence[Mapping[str, object]]]]:
    """The acts of one kind together, at most BATCH at once."""
    kinds = dict.fromkeys((act.method, act.path) for act in acts)
    for kind in sorted(kinds, key=lambda kind: ORDER.index(kind[0])):
        bodies = [act.body for act in acts if (act.method, act.path) == kind]
        for begin in range(0, len(bodies), BATCH):
            yield (*kind, bodies[begin : begin + BATCH])


def _send(netbox: NetBox, method: Method, path: str, bodies: Sequence[Row]) -> None:
    send = {"PATCH": netbox.update, "POST": netbox.create_all, "DELETE": netbox.delete}[method]
    send(path, bodies)


def _platforms(netbox: NetBox, chosen: Rules) -> dict[str, dict[str, int]]:
    """NetBox's platforms by what they mean to us: slug and id of each."""
    found: dict[str, dict[str, int]] = {}
    for row in netbox.rows(PLATFORMS, {"fields": "id,slug"}, cursor=netbox.server().cursor):
        slug = str(row["slug"])
        try:
            found.setdefault(platform_name(slug, chosen), {})[slug] = int(row["id"])
        except Unusable:
            continue
    return found
