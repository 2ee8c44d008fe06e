"""Which hosts a piece of NetBox's changelog touches. Pure.

`last_updated` of a host does not move when its tag, tenant, role or address changes; the changelog lists all of these.
Where a change may touch any number of hosts (a renamed tenant, a context) everything is read anew; so is it for a kind
of object that is not known here to be harmless.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opsctl.inventory.record import TYPES, Kind, Malformed, Record

# Objects of which nothing is in our inventory. Addresses and services on them have entries of their own.
HARMLESS = frozenset({
    "dcim.interface", "virtualization.vminterface", "dcim.macaddress", "virtualization.virtualdisk", "dcim.cable",
    "dcim.consoleport", "dcim.powerport", "dcim.inventoryitem", "dcim.rack", "dcim.manufacturer", "dcim.modulebay",
    "dcim.module", "dcim.frontport", "dcim.rearport", "dcim.powerfeed", "dcim.powerpanel", "dcim.poweroutlet",
    "dcim.consoleserverport", "dcim.devicebay", "dcim.rackreservation", "ipam.prefix", "ipam.vlan", "ipam.vlangroup",
    "ipam.vrf", "ipam.aggregate", "ipam.rir", "ipam.role", "ipam.asn", "ipam.iprange", "tenancy.contact",
    "tenancy.contactrole", "tenancy.contactassignment", "extras.journalentry", "extras.imageattachment",
    "extras.savedfilter", "extras.exporttemplate", "extras.webhook", "extras.eventrule", "extras.bookmark",
    "extras.customlink", "users.user", "users.group", "users.token", "users.objectpermission", "core.datasource",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Change:
    """One entry of the changelog."""

    id: int
    action: str
    type: str
    object: int
    time: str = ""


@dataclass(frozen=True, kw_only=True)
class Todo:
    """What to fetch and what to forget. `why_all` says why everything is to be read anew; empty: it need not be."""

    why_all: str = ""
    fetch: Mapping[Kind, tuple[int, ...]]
    gone: frozenset[str]
    fetch_services: tuple[int, ...] = ()
    gone_services: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        touched = any(self.fetch.values()) or self.gone or self.fetch_services or self.gone_services
        return bool(self.why_all or touched)


def read_change(row: Mapping[str, Any]) -> Change:
    """One row of the changelog's listing. Raises Malformed."""
    try:
        return Change(
            id=int(row["id"]),
            action=str(row["action"]["value"]),
            type=str(row["changed_object_type"]),
            object=int(row["changed_object_id"]),
            time=str(row["time"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed(f"an entry of the changelog that cannot be read: {type(error).__name__} {error}") from error


def todo(changes: Sequence[Change], records: Iterable[Record]) -> Todo:
    """What these changes ask for, given the records as they are known."""
    holders: dict[int, list[Record]] = {}
    for record in records:
        for number in record.address_ids:
            holders.setdefault(number, []).append(record)
    fetch: dict[Kind, set[int]] = {"device": set(), "virtual-machine": set()}
    gone: set[str] = set()
    services: set[int] = set()
    gone_services: set[int] = set()
    for change in sorted(changes, key=lambda change: change.id):
        deleted = change.action == "delete"
        if kind := TYPES.get(change.type):
            if deleted:
                gone.add(f"{kind}/{change.object}")
                fetch[kind].discard(change.object)
            else:
                fetch[kind].add(change.object)
        elif change.type == "ipam.service":
            (gone_services if deleted else services).add(change.object)
        elif change.type == "ipam.ipaddress":
            for record in holders.get(change.object, ()):
                fetch[record.kind].add(record.id)
        elif change.type not in HARMLESS:
            return Todo(why_all=f"{change.type} {change.object} was {change.action}d", fetch={}, gone=frozenset())
    return Todo(
        fetch={kind: tuple(sorted(ids)) for kind, ids in fetch.items()},
        gone=frozenset(gone),
        fetch_services=tuple(sorted(services - gone_services)),
        gone_services=frozenset(gone_services),
    )
