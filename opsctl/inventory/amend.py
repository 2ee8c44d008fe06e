"""What reviewed corrections change in NetBox as it is now: values for people to see, and the acts behind them. Pure.

A record, its address and its services are objects of their own in NetBox. What is right already is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from opsctl.errors import Problem
from opsctl.inventory.corrections import SIZES, Correction
from opsctl.inventory.intended import Intended, Primary, other_host
from opsctl.inventory.netbox import Row, Server
from opsctl.inventory.pull import ADDRESSES, SERVICES
from opsctl.inventory.push import Write
from opsctl.inventory.record import PARENTS, PATHS, Port, ServiceRecord, number
from opsctl.inventory.servicefields import parent_fields, port_fields

Method = Literal["DELETE", "PATCH", "POST"]


@dataclass(frozen=True, kw_only=True)
class Act:
    """One object of NetBox to change (its `id` in the body), make or remove."""

    method: Method
    path: str
    body: Mapping[str, object]


class Amendments:
    """Collects what corrections change, and what cannot be changed.

    `platforms` are NetBox's by what they mean to us, each with slugs and ids; `holders` gives its records of an
    address.
    """

    def __init__(
        self,
        *,
        server: Server,
        platforms: Mapping[str, Mapping[str, int]],
        holders: Callable[[str], Sequence[Row]],
    ) -> None:
        self._server, self._platforms, self._holders = server, platforms, holders
        self.writes: list[Write] = []
        self.acts: list[Act] = []
        self.problems: list[Problem] = []

    def add(self, wanted: Correction, now: Intended | None) -> None:
        """`now` is None where NetBox does not show the record."""
        if now is None:
            self._refuse(wanted, "NetBox does not show its record: it is gone, or the token may not see it")
            return
        # A name that was corrected by a push which was cut off is the host's own, too.
        if (other := other_host(wanted.host, now.name, now.tenant)) and now.name != wanted.name:
            self._refuse(wanted, f"its record is {other} in NetBox now", "sync first, and look at the file again")
            return
        values = dict(self._own_values(wanted, now))
        values |= self._address(wanted, now, "primary_ip4", wanted.address, now.address4)
        values |= self._address(wanted, now, "primary_ip6", wanted.address6, now.address6)
        if values:
            self.acts.append(Act(method="PATCH", path=PATHS[now.kind], body={"id": number(now.record), **values}))
        self._new_services(wanted, now)
        self._old_services(wanted, now)

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
        there = [row for row in self._holders(plain) if str(row["address"]).partition("/")[0] == plain]
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

    def _new_services(self, wanted: Correction, now: Intended) -> None:
        there = {(port.protocol, port.port) for service in now.listed for port in service.ports}
        for service in wanted.add_services:
            if (service.protocol, service.port) not in there:
                self._note(wanted, now, "service", None, service)
                whose = parent_fields(self._server, now.kind, number(now.record))
                body = {"name": service.name, **whose, **port_fields(self._server, [service])}
                self.acts.append(Act(method="POST", path=SERVICES, body=body))

    def _old_services(self, wanted: Correction, now: Intended) -> None:
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
        return Act(method="PATCH", path=SERVICES, body={"id": service.id, **port_fields(self._server, left)})

    def _note(self, wanted: Correction, now: Intended, field: str, before: object, after: object) -> None:
        cells = [value if value is None or isinstance(value, int) else str(value) for value in (before, after)]
        self.writes.append(Write(host=wanted.host, record=now.record, field=field, before=cells[0], after=cells[1]))

    def _refuse(self, wanted: Correction, what: str, allowed: str = "") -> None:
        self.problems.append(Problem(where=wanted.where, what=f"{wanted.host}: {what}", allowed=allowed))


def _owner(row: Row) -> str:
    """The record whose interface has this address."""
    interface = row.get("assigned_object") or {}
    for kind, name in PARENTS.items():
        if interface.get(name):
            return f"{kind}/{interface[name]['id']}"
    return ""
