"""What NetBox has of wanted records: they themselves, their interfaces and services, and who has their addresses.

A filter that NetBox does not know gives everything: what comes back is held against what was asked for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence

from opsctl.errors import Problem
from opsctl.inventory.answers import SourceFailed
from opsctl.inventory.lacking import There
from opsctl.inventory.mapping import Unusable, host_name
from opsctl.inventory.netbox import IDS, NetBox, Query, Row, Server
from opsctl.inventory.pull import ADDRESSES, SERVICES
from opsctl.inventory.record import KINDS, PARENTS, PATHS, TYPES, Kind
from opsctl.inventory.wanted import Wanted

INTERFACES: Mapping[Kind, str] = {"device": "dcim/interfaces", "virtual-machine": "virtualization/interfaces"}
INTERFACE_TYPES: Mapping[Kind, str] = {"device": "dcim.interface", "virtual-machine": "virtualization.vminterface"}
# So many addresses a request: an IPv6 address may have 39 characters.
_ADDRESSES_AT_ONCE = 80
_FIELDS = "id,name,tenant,site,cluster,role,platform,status,primary_ip4,primary_ip6"
_SERVICE_FIELDS = "id,name,parent_object_type,parent_object_id,device,virtual_machine"
# NetBox's tenant, and the name in its normal form: a sync holds two that are one there for the same host.
Mark = tuple[str, str]
_Parent = tuple[Kind, int]


def mark(one: Wanted) -> Mark:
    return one.tenant, host_name(one.name)


def look(netbox: NetBox, server: Server, records: Sequence[Wanted]) -> tuple[dict[Mark, There], tuple[Problem, ...]]:
    """What is there of the records, and what is in the way: addresses and names that something else has."""
    rows = dict(_rows(netbox, server, records))
    interfaces = _children(netbox, server, rows, INTERFACES, "id,name,device,virtual_machine")
    services = _children(netbox, server, rows, dict.fromkeys(KINDS, SERVICES), _SERVICE_FIELDS)
    addresses = _addresses(netbox, server, records)
    found: dict[Mark, There] = {}
    problems: list[Problem] = []
    for one in records:
        parent, row = rows.get(mark(one), ((one.kind, 0), None))
        own = {str(child["name"]): int(child["id"]) for child in interfaces.get(parent, ())}
        there = There(
            id=parent[1],
            values=_values(row) if row else {},
            primary=_primary(row) if row else {},
            interface=own.get(one.interface, 0),
            services=frozenset(str(child["name"]) for child in services.get(parent, ())),
        )
        address, taken = _address(one, there, addresses.get((one.vrf, bare(one.address)), ()))
        problems += [_taken(netbox, one, other) for other in taken]
        if row and parent[0] != one.kind:
            problems.append(Problem(where=one.where, what=f"name: NetBox has a {parent[0]} {row['name']!r} already"))
        if row:
            found[mark(one)] = There(**{**vars(there), "address": address})
    return found, tuple(problems)


def _rows(netbox: NetBox, server: Server, records: Sequence[Wanted]) -> Iterator[tuple[Mark, tuple[_Parent, Row]]]:
    """The records of these tenants that have a wanted name, of whatever kind."""
    wanted = {mark(one) for one in records}
    tenants = sorted({one.tenant for one in records})
    for kind in KINDS:
        for row in netbox.rows(PATHS[kind], {"tenant": tenants, "fields": _FIELDS}, cursor=server.cursor):
            slug = str((row.get("tenant") or {}).get("slug"))
            if slug not in tenants:
                raise SourceFailed(f"NetBox gave {kind}/{row['id']} of a tenant that was not asked for")
            try:
                found = slug, host_name(str(row["name"] or ""))
            except Unusable:
                continue
            if found in wanted:
                yield found, ((kind, int(row["id"])), row)


def _children(
    netbox: NetBox,
    server: Server,
    rows: Mapping[Mark, tuple[_Parent, Row]],
    paths: Mapping[Kind, str],
    fields: str,
) -> dict[_Parent, list[Row]]:
    """By their parent, the interfaces or services of records that are there."""
    found: dict[_Parent, list[Row]] = {}
    for kind in KINDS:
        ids = sorted(number for (its, number), _ in rows.values() if its == kind)
        for begin in range(0, len(ids), IDS):
            chosen = ids[begin : begin + IDS]
            query: Query = {f"{PARENTS[kind]}_id": chosen, "fields": fields}
            for child in netbox.rows(paths[kind], query, cursor=server.cursor):
                parent = _parent_of(child)
                if parent is None or parent[0] != kind or parent[1] not in chosen:
                    raise SourceFailed(f"GET {netbox.address}/api/{paths[kind]}/: NetBox gave what was not asked for")
                found.setdefault(parent, []).append(child)
    return found


def _parent_of(child: Row) -> _Parent | None:
    kind = TYPES.get(str(child.get("parent_object_type")))
    if kind:
        return kind, int(child["parent_object_id"])
    return next((((kind, int(child[name]["id"])) for kind, name in PARENTS.items() if child.get(name))), None)


def _addresses(netbox: NetBox, server: Server, records: Sequence[Wanted]) -> dict[tuple[str, str], list[Row]]:
    """By VRF and address, what NetBox has of the wanted addresses, whatever the length of their networks."""
    wanted = {bare(one.address) for one in records}
    ordered = sorted(wanted)
    found: dict[tuple[str, str], list[Row]] = {}
    for begin in range(0, len(ordered), _ADDRESSES_AT_ONCE):
        query: Query = {
            "address": ordered[begin : begin + _ADDRESSES_AT_ONCE],
            "fields": "id,address,vrf,assigned_object_type,assigned_object_id",
        }
        for row in netbox.rows(ADDRESSES, query, cursor=server.cursor):
            address = bare(str(row["address"]))
            if address not in wanted:
                raise SourceFailed(f"NetBox gave the address {row['address']}, which was not asked for")
            found.setdefault(((row.get("vrf") or {}).get("name", ""), address), []).append(row)
    return found


def _address(one: Wanted, there: There, found: Sequence[Row]) -> tuple[int, list[Row]]:
    """The id of the address on the record's own interface, and who else has it."""
    if there.primary.get(one.family):
        return 0, []  # nothing is added to it
    own = (INTERFACE_TYPES[one.kind], there.interface)
    ours = [row for row in found if there.interface and _assigned(row) == own]
    return (int(ours[0]["id"]) if ours else 0), [row for row in found if row not in ours]


def _assigned(row: Row) -> tuple[str, int]:
    return str(row.get("assigned_object_type") or ""), int(row.get("assigned_object_id") or 0)


def _taken(netbox: NetBox, one: Wanted, row: Row) -> Problem:
    whose = "assigned to something else" if row.get("assigned_object_id") else "assigned to nothing"
    return Problem(
        where=one.where,
        what=f"address: NetBox has {row['address']} already, {whose}",
        allowed=f"see {netbox.address}/ipam/ip-addresses/{row['id']}/",
    )


def _values(row: Row) -> dict[str, str]:
    keys = {"site": "slug", "cluster": "name", "role": "slug", "platform": "slug", "status": "value"}
    return {name: str((row.get(name) or {}).get(key) or "") for name, key in keys.items()}


def _primary(row: Row) -> dict[int, str]:
    given = {4: row.get("primary_ip4"), 6: row.get("primary_ip6")}
    return {family: bare(str(found["address"])) for family, found in given.items() if found}


def bare(address: str) -> str:
    """An address without the length of its network."""
    return str(ipaddress.ip_interface(address).ip)
