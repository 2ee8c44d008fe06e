"""Reviewed records -> NetBox: what it lacks of them, and the requests that make it, in bulk.

The hosts are made a batch at a time, each batch whole before the next: record, interface, address, primary address,
services. A push that was cut off is finished by pushing the same file again: NetBox is asked what is there, and nothing
is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsctl.errors import Incomplete, Problem, SetupError
from opsctl.inventory import token as tokens
from opsctl.inventory.answers import SourceFailed
from opsctl.inventory.lacking import Differs, Lack, decide
from opsctl.inventory.mapping import host_name
from opsctl.inventory.named import REFERENCES, Named, look_up, used
from opsctl.inventory.netbox import NetBox, Row
from opsctl.inventory.present import INTERFACE_TYPES, INTERFACES, look, mark
from opsctl.inventory.pull import ADDRESSES, SERVICES
from opsctl.inventory.push import BATCH
from opsctl.inventory.record import KINDS, PARENTS, PATHS, Kind
from opsctl.inventory.rules import Rules, mapping_of
from opsctl.inventory.servicefields import parent_fields, port_fields
from opsctl.inventory.wanted import Wanted
from opsctl.model.host import Service
from opsctl.state import alone as locks

if TYPE_CHECKING:
    from opsctl.config import Settings


@dataclass(frozen=True, kw_only=True)
class MakePlan:
    """What would be made, by the tenant whose token opens NetBox ("": one token for all); `lacks`: missing rights."""

    lacking: Mapping[str, tuple[Lack, ...]]
    named: Mapping[str, Named]
    lacks: tuple[str, ...] = ()

    @property
    def makes(self) -> tuple[Lack, ...]:
        """Every host of which something is to be made."""
        return tuple(lack for found in self.lacking.values() for lack in found if lack)

    @property
    def differs(self) -> tuple[Differs, ...]:
        return tuple(one for found in self.lacking.values() for lack in found for one in lack.differs)

    @property
    def whole(self) -> int:
        """How many hosts NetBox has already."""
        return sum(not lack for found in self.lacking.values() for lack in found)


def plan(settings: Settings, records: Sequence[Wanted], tenants: Sequence[str]) -> MakePlan:
    """Compare the records with NetBox; only those of these tenants may be among them.

    Raises SetupError for every reference that leads nowhere and every address that is taken; SourceFailed.
    """
    rules = mapping_of(settings)
    _refuse_other_tenants(rules, records, tenants)
    lacking: dict[str, tuple[Lack, ...]] = {}
    named: dict[str, Named] = {}
    problems: list[Problem] = []
    lacks: list[str] = []
    for tenant, theirs in _by_token(settings, rules, records).items():
        netbox = NetBox.of(settings, tenant)
        try:
            server = netbox.server()
            missing = _missing_rights(netbox, theirs)
            lacks += missing
            if any(right.startswith("view") for right in missing):
                continue
            named[tenant], wrong = look_up(netbox, server, theirs)
            # With a reference that leads nowhere, NetBox would give more than what was asked for.
            there, taken = ({}, ()) if wrong else look(netbox, server, theirs)
        finally:
            netbox.close()
        problems += (*wrong, *taken)
        lacking[tenant] = tuple(decide(_key(rules, one), one, there.get(mark(one))) for one in theirs)
    if any(right.startswith("view") for right in lacks):
        refuse_lacks(lacks)
    if problems:
        raise SetupError("the records cannot be made as they stand; nothing was written", problems=tuple(problems),
                         hint="make in NetBox what is missing, or put the file right")  # fmt: skip
    return MakePlan(lacking=lacking, named=named, lacks=tuple(dict.fromkeys(lacks)))


def refuse_lacks(lacks: Sequence[str]) -> None:
    """Raise SourceFailed where the token may not do all of it: a half-made fleet helps nobody."""
    if lacks:
        raise SourceFailed(
            f"the token's user lacks {len(lacks)} permission{'s' if len(lacks) > 1 else ''}; nothing was written",
            hint=f"the token must be write-enabled, and its user needs: {', '.join(f'`{right}`' for right in lacks)}",
        )


def _refuse_other_tenants(rules: Rules, records: Sequence[Wanted], tenants: Sequence[str]) -> None:
    problems = [
        Problem(where=one.where, what=f"tenant {one.tenant!r} is none of those that this is for",
                allowed=f"of NetBox: {', '.join(rules.slugs(tenants)) or 'none that netbox.tenants names'}")
        for one in records if rules.place(one.tenant)[0] not in tenants
    ]  # fmt: skip
    if problems:
        raise SetupError("the file is for other tenants too; nothing was written", problems=tuple(problems))


def _by_token(settings: Settings, rules: Rules, records: Sequence[Wanted]) -> dict[str, list[Wanted]]:
    """The records by the tenant whose token makes them; all under "" where one token does."""
    each = tokens.for_each_tenant(settings)
    found: dict[str, list[Wanted]] = {}
    for one in records:
        found.setdefault(rules.place(one.tenant)[0] if each else "", []).append(one)
    return found


def _key(rules: Rules, one: Wanted) -> str:
    return f"{rules.place(one.tenant)[0]}.{host_name(one.name)}"


def _missing_rights(netbox: NetBox, records: Sequence[Wanted]) -> list[str]:
    """Asked before anything is written: NetBox would say it only when half of it is there."""
    found: list[str] = []
    for key in used(records):
        found += netbox.lacks(REFERENCES[key][0], ("view",))
    kinds = {one.kind for one in records}
    for kind in KINDS:  # a name may be taken by the other kind
        found += netbox.lacks(PATHS[kind], ("view", "add", "change") if kind in kinds else ("view",))
    for kind in sorted(kinds):
        found += netbox.lacks(INTERFACES[kind], ("view", "add"))
    found += netbox.lacks(ADDRESSES, ("view", "add"))
    if any(one.services for one in records):
        found += netbox.lacks(SERVICES, ("view", "add"))
    return found


def make(settings: Settings, planned: MakePlan, message: str, tell: Callable[[int], None]) -> None:
    """Make what is lacking; `tell` hears how many hosts are whole.

    Raises SourceFailed where nothing was written, Incomplete where something was.
    """
    done, whole, written = 0, len(planned.makes), False

    def sent() -> None:
        nonlocal written
        written = True

    for tenant, lacking in planned.lacking.items():
        netbox = NetBox.of(settings, tenant)
        try:
            maker = _Maker(netbox, planned.named[tenant], message, sent)
            wanting = [lack for lack in lacking if lack]
            for begin in range(0, len(wanting), BATCH):
                maker.make(wanting[begin : begin + BATCH])
                done += len(wanting[begin : begin + BATCH])
                tell(done)
        except SourceFailed as error:
            if not written:
                raise
            raise Incomplete(
                f"{done} of {whole} hosts are whole in NetBox, of others a part: {error.message}",
                hint=f"{error.hint}; push the same file again: it goes on with what is left",
            ) from error
        finally:
            netbox.close()


class _Maker:
    """Makes the hosts of one batch step by step."""

    def __init__(self, netbox: NetBox, named: Named, message: str, sent: Callable[[], None]) -> None:
        self._netbox, self._named, self._sent = netbox, named, sent
        self._server = netbox.server()
        self._said = self._server.said(message)

    def make(self, batch: Sequence[Lack]) -> None:
        records = {lack.host: lack.there.id for lack in batch if lack.there}
        interfaces = {lack.host: lack.there.interface for lack in batch if lack.there}
        addresses = {lack.host: lack.there.address for lack in batch if lack.there}
        for kind in KINDS:
            ours = [lack for lack in batch if lack.wanted.kind == kind]
            records |= self._made(PATHS[kind], [lack for lack in ours if lack.there is None], self._record)
            bare = [lack for lack in ours if lack.interface]
            interfaces |= self._made(INTERFACES[kind], bare, partial(self._interface, records))
        addresses |= self._made(ADDRESSES, [lack for lack in batch if lack.address], partial(self._address, interfaces))
        for kind in KINDS:
            self._set_primary(
                kind, {records[lack.host]: (lack.wanted.family, addresses[lack.host])
                       for lack in batch if lack.primary and lack.wanted.kind == kind},
            )  # fmt: skip
        services = [self._service(lack.wanted, records[lack.host], one) for lack in batch for one in lack.services]
        for begin in range(0, len(services), BATCH):
            self._create(SERVICES, services[begin : begin + BATCH])

    def _made(self, path: str, lacking: Sequence[Lack], body: Callable[[Lack], Row]) -> dict[str, int]:
        """The new objects' ids by host."""
        ids = self._create(path, [body(lack) for lack in lacking])
        return dict(zip((lack.host for lack in lacking), ids, strict=True))

    def _create(self, path: str, bodies: Sequence[Row]) -> tuple[int, ...]:
        if not bodies:
            return ()
        made = self._netbox.create_all(path, [{**body, **self._said} for body in bodies])
        self._sent()
        return made

    def _set_primary(self, kind: Kind, wanted: Mapping[int, tuple[int, int]]) -> None:
        if wanted:
            rows = [{"id": record, f"primary_ip{family}": address, **self._said}
                    for record, (family, address) in wanted.items()]  # fmt: skip
            self._netbox.update(PATHS[kind], rows)
            self._sent()

    def _record(self, lack: Lack) -> dict[str, Any]:
        one = lack.wanted
        keys = ("tenant", "site", "cluster", "role", "platform", "device_type")
        given = {key: self._named.id(key, getattr(one, key)) for key in keys if getattr(one, key)}
        return {
            "name": one.name,
            "status": one.status,
            **given,
            "tags": [self._named.id("tags", tag) for tag in one.tags],
            "custom_fields": dict(one.fields),
        }

    def _interface(self, records: Mapping[str, int], lack: Lack) -> dict[str, Any]:
        one = lack.wanted
        more = {"type": "other"} if one.kind == "device" else {}
        return {PARENTS[one.kind]: records[lack.host], "name": one.interface, **more}

    def _address(self, interfaces: Mapping[str, int], lack: Lack) -> dict[str, Any]:
        one = lack.wanted
        return {
            "address": one.address,
            "status": "active",
            "vrf": self._named.id("vrf", one.vrf),
            "tenant": self._named.id("tenant", one.tenant),
            "assigned_object_type": INTERFACE_TYPES[one.kind],
            "assigned_object_id": interfaces[lack.host],
        }

    def _service(self, one: Wanted, record: int, service: Service) -> dict[str, Any]:
        return {
            "name": service.name,
            **port_fields(self._server, [service]),
            **parent_fields(self._server, one.kind, record),
        }


def document(planned: MakePlan) -> dict[str, object]:
    """What would be made, as JSON knows it; a part that is there already is empty."""
    return {
        "makes": [
            {
                "host": lack.host,
                "record": "" if lack.there else lack.wanted.kind,
                "interface": lack.wanted.interface if lack.interface else "",
                "address": lack.wanted.address if lack.address else "",
                "primary": lack.primary,
                "services": [str(service) for service in lack.services],
            }
            for lack in planned.makes
        ],
        "left": [{"host": d.host, "field": d.field, "netbox": d.netbox, "file": d.file} for d in planned.differs],
        "there": planned.whole,
        "missing_permissions": list(planned.lacks),
    }


def alone(file: Path) -> AbstractContextManager[None]:
    """One push of a file at a time: two would each find the same services missing, and make them twice."""
    return locks.alone(file, f"somebody else is pushing {file}")
