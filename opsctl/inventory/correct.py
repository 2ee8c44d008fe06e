"""Reviewed corrections -> what changes in NetBox, and the requests that change it.

The plan is made against NetBox as it is now: what is right already is left alone, so a plan that was carried out in
part is finished by the next one. A record, its address and its services are objects of their own in NetBox; each kind
is written in bulk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from opsctl.errors import Incomplete, Problem, SetupError
from opsctl.inventory.answers import SourceFailed
from opsctl.inventory.corrections import SIZES, Correction
from opsctl.inventory.intended import Intended, Primary, by_token, number, read
from opsctl.inventory.mapping import Rules, Unusable, platform_name
from opsctl.inventory.netbox import NetBox, Row, Server
from opsctl.inventory.pull import PATHS, SERVICES
from opsctl.inventory.push import BATCH, MESSAGES_SINCE, Write
from opsctl.inventory.record import KINDS, Kind, Port, ServiceRecord
from opsctl.inventory.take import mapping_of
from opsctl.model.host import Host, Service

if TYPE_CHECKING:
    from opsctl.config import Settings

ADDRESSES, PLATFORMS = "ipam/ip-addresses", "dcim/platforms"
# One service holds ports of several protocols since NetBox 4.7, and any object may be its parent since 4.3.
PORT_MAPPINGS_SINCE, ANY_PARENT_SINCE = (4, 7), (4, 3)
_TYPES: Mapping[Kind, str] = {"device": "dcim.device", "virtual-machine": "virtualization.virtualmachine"}
Method = Literal["PATCH", "POST", "DELETE"]


@dataclass(frozen=True, kw_only=True)
class Act:
    """One object of NetBox to change (its `id` in the body), make or remove."""

    method: Method
    path: str
    body: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class CorrectionPlan:
    """What would change, and by which acts: those of one token together."""

    writes: tuple[Write, ...]
    acts: Mapping[str, tuple[Act, ...]]
    missing: tuple[str, ...] = ()

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
            desk = _Desk(netbox, chosen, [one for one in corrections if one.platform])
            now = read(netbox, theirs, chosen)
        finally:
            netbox.close()
        for host in theirs:
            desk.correct(wanted[host.key], now.get(host.key))
        writes += desk.writes
        problems += desk.problems
        acts[tenant] = tuple(desk.acts)
    if problems:
        raise SetupError("the corrections cannot be applied; nothing was written", problems=tuple(problems))
    return CorrectionPlan(writes=tuple(writes), acts=acts)


def write(settings: Settings, planned: CorrectionPlan, message: str) -> None:
    """Carry it out. Raises SourceFailed where nothing was written, Incomplete where something was."""
    done, whole = 0, sum(len(acts) for acts in planned.acts.values())
    for tenant, acts in planned.acts.items():
        netbox = NetBox.of(settings, tenant)
        try:
            said = {"changelog_message": message} if netbox.server().number >= MESSAGES_SINCE else {}
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


def _bulks(acts: Sequence[Act]) -> Iterator[tuple[Method, str, Sequence[Mapping[str, object]]]]:
    """The acts of one kind together, at most BATCH at once."""
    for kind in dict.fromkeys((act.method, act.path) for act in acts):
        bodies = [act.body for act in acts if (act.method, act.path) == kind]
        for begin in range(0, len(bodies), BATCH):
            yield (*kind, bodies[begin : begin + BATCH])


def _send(netbox: NetBox, method: Method, path: str, bodies: Sequence[Row]) -> None:
    send = {"PATCH": netbox.update, "POST": netbox.create_all, "DELETE": netbox.delete}[method]
    send(path, bodies)


class _Desk:
    """Turns the corrections of one token's hosts into acts; asks NetBox only for what they need."""

    def __init__(self, netbox: NetBox, chosen: Rules, with_platform: Sequence[Correction]) -> None:
        self._netbox = netbox
        self._server: Server = netbox.server()
        self._platforms = _platforms(netbox, chosen) if with_platform else {}
        self.writes: list[Write] = []
        self.acts: list[Act] = []
        self.problems: list[Problem] = []

    def correct(self, wanted: Correction, now: Intended | None) -> None:
        if now is None:
            self._refuse(wanted, "NetBox does not show its record: it is gone, or the token may not see it")
            return
        values = dict(self._own_values(wanted, now))
        values |= self._address(wanted, now, "primary_ip4", wanted.address, now.address4)
        values |= self._address(wanted, now, "primary_ip6", wanted.address6, now.address6)
        if values:
            kind = KINDS[0] if now.device else KINDS[1]
            self.acts.append(Act(method="PATCH", path=PATHS[kind], body={"id": number(now.record), **values}))
        self._add(wanted, now)
        self._remove(wanted, now)

    def _own_values(self, wanted: Correction, now: Intended) -> Iterator[tuple[str, object]]:
        for name in ("name", *SIZES):
            value = getattr(wanted, name)
            if value and value != getattr(now, name):
                self._note(wanted, now, name, getattr(now, name), value)
                yield name, value
        if wanted.disk and wanted.disk != now.disk and now.virtual_disks:
            self._refuse(wanted, f"its disk is the sum of {now.virtual_disks} virtual disks: correct those in NetBox")
        if wanted.platform and wanted.platform != now.platform:
            slugs = self._platforms.get(wanted.platform, {})
            if len(slugs) != 1:
                there = f"{len(slugs)} platforms: {', '.join(slugs)}" if slugs else "no platform"
                self._refuse(wanted, f"NetBox has {there} for {wanted.platform}", "make one, with that slug")
                return
            self._note(wanted, now, "platform", now.platform, wanted.platform)
            yield "platform", next(iter(slugs.values()))

    def _address(
        self, wanted: Correction, now: Intended, field: str, address: str, primary: Primary | None
    ) -> Mapping[str, object]:
        """The record's new primary address where it has that one already; else the address itself is corrected."""
        plain = address.partition("/")[0]
        if not address or (primary and primary.address == plain):
            return {}
        if primary is None:
            self._refuse(wanted, f"it has no {field} that could be corrected", "give it one in NetBox")
            return {}
        rows = self._netbox.page(ADDRESSES, {"address": plain, "limit": 100})[0]
        there = [row for row in rows if str(row["address"]).partition("/")[0] == plain]
        own = [row for row in there if _owner(row) == now.record]
        if there and not own:
            holder = str((there[0].get("assigned_object") or {}).get("display") or "no interface")
            self._refuse(wanted, f"NetBox has {plain} already, on another interface ({holder})", "mend it in NetBox")
            return {}
        self._note(wanted, now, field, primary.address, plain)
        if own:
            return {field: int(own[0]["id"])}
        self.acts.append(Act(method="PATCH", path=ADDRESSES, body={"id": primary.id, "address": address}))
        return {}

    def _add(self, wanted: Correction, now: Intended) -> None:
        there = {(port.protocol, port.port) for service in now.listed for port in service.ports}
        for service in wanted.add_services:
            if (service.protocol, service.port) not in there:
                self._note(wanted, now, "service", None, _told(service))
                body = {"name": service.name, **self._parent(now), **self._ports([_port(service)])}
                self.acts.append(Act(method="POST", path=SERVICES, body=body))

    def _remove(self, wanted: Correction, now: Intended) -> None:
        gone = {(service.protocol, service.port) for service in wanted.remove_services}
        for service in now.listed:
            left = [port for port in service.ports if (port.protocol, port.port) not in gone]
            if len(left) == len(service.ports):
                continue
            for port in service.ports:
                if port not in left:
                    told = f"{port.name} {port.protocol}/{port.port}"
                    self._note(wanted, now, "service", told, None)
            self.acts.append(self._without(service, left))

    def _without(self, service: ServiceRecord, left: Sequence[Port]) -> Act:
        if not left:
            return Act(method="DELETE", path=SERVICES, body={"id": service.id})
        return Act(method="PATCH", path=SERVICES, body={"id": service.id, **self._ports(left)})

    def _ports(self, ports: Sequence[Port]) -> Mapping[str, object]:
        if self._server.number >= PORT_MAPPINGS_SINCE:
            return {"port_mappings": [f"{port.protocol}/{port.port}" for port in ports]}
        return {"protocol": ports[0].protocol, "ports": [port.port for port in ports]}

    def _parent(self, now: Intended) -> Mapping[str, object]:
        kind = KINDS[0] if now.device else KINDS[1]
        if self._server.number >= ANY_PARENT_SINCE:
            return {"parent_object_type": _TYPES[kind], "parent_object_id": number(now.record)}
        return {kind.replace("-", "_"): number(now.record)}

    def _note(self, wanted: Correction, now: Intended, field: str, before: object, after: object) -> None:
        cells = [value if value is None or isinstance(value, int) else str(value) for value in (before, after)]
        self.writes.append(Write(host=wanted.host, record=now.record, field=field, before=cells[0], after=cells[1]))

    def _refuse(self, wanted: Correction, what: str, allowed: str = "") -> None:
        self.problems.append(Problem(where=wanted.where, what=f"{wanted.host}: {what}", allowed=allowed))


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


def _owner(row: Row) -> str:
    """The record whose interface has this address."""
    interface = row.get("assigned_object") or {}
    for name, kind in (("device", KINDS[0]), ("virtual_machine", KINDS[1])):
        if interface.get(name):
            return f"{kind}/{interface[name]['id']}"
    return ""


def _port(service: Service) -> Port:
    return Port(name=service.name, protocol=service.protocol, port=service.port)


def _told(service: Service) -> str:
    return f"{service.name} {service.protocol}/{service.port}"
