"""What wanted records refer to - tenants, sites, roles, clusters, ... - by the names that NetBox knows them under."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from opsctl.errors import Problem
from opsctl.inventory import pull as pulling
from opsctl.inventory.netbox import NetBox, Server
from opsctl.inventory.record import TYPES
from opsctl.inventory.wanted import Wanted

# Each key of a record that names another object: where NetBox lists those, and what they are called by.
REFERENCES = {
    "tenant": ("tenancy/tenants", "slug"),
    "site": ("dcim/sites", "slug"),
    "cluster": ("virtualization/clusters", "name"),
    "device_type": ("dcim/device-types", "slug"),
    "role": ("dcim/device-roles", "slug"),
    "platform": ("dcim/platforms", "slug"),
    "vrf": ("ipam/vrfs", "name"),
    "tags": ("extras/tags", "slug"),
}
NOTHING_NEAR = 8


@dataclass(frozen=True, kw_only=True)
class Named:
    """The ids of everything that some records refer to: key -> name -> id."""

    ids: Mapping[str, Mapping[str, int]]

    def id(self, key: str, name: str) -> int | None:
        return self.ids[key][name] if name else None


def used(records: Iterable[Wanted]) -> dict[str, dict[str, list[Wanted]]]:
    """By key and name, the records that refer to it."""
    found: dict[str, dict[str, list[Wanted]]] = {}
    for one in records:
        for key in REFERENCES:
            value = getattr(one, key)
            for name in value if isinstance(value, tuple) else (value,):
                if name:
                    found.setdefault(key, {}).setdefault(name, []).append(one)
    return found


def look_up(netbox: NetBox, server: Server, records: Sequence[Wanted]) -> tuple[Named, tuple[Problem, ...]]:
    """The ids, and what is not there (or not to be seen with this token), each with the nearest that is."""
    ids: dict[str, dict[str, int]] = {}
    problems: list[Problem] = []
    for key, names in used(records).items():
        path, called = REFERENCES[key]
        there: dict[str, list[int]] = {}
        for row in netbox.rows(path, {"fields": f"id,{called}"}, cursor=server.cursor):
            there.setdefault(str(row[called]), []).append(int(row["id"]))
        for name, users in names.items():
            if len(there.get(name, ())) != 1:
                problems.append(_problem(key, name, users, there))
        ids[key] = {name: found[0] for name, found in there.items()}
    return Named(ids=ids), (*problems, *_unknown_fields(netbox, server, records))


def _problem(key: str, name: str, users: Sequence[Wanted], there: Mapping[str, Sequence[int]]) -> Problem:
    what = "tag" if key == "tags" else key.replace("_", " ")
    whose = "" if len(users) == 1 else f" ({len(users)} records name it)"
    if name in there:
        return Problem(where=users[0].where, what=f"NetBox has {len(there[name])} {what}s called {name!r}{whose}")
    return Problem(
        where=users[0].where,
        what=f"NetBox has no {what} {name!r}, or the token may not see it{whose}",
        allowed=nearest(name, there),
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """What was probably meant; where nothing is like it, what there is."""
    listed = sorted(known)
    close = get_close_matches(name.lower(), [one.lower() for one in listed], n=1, cutoff=0.5)
    for one in listed:
        if close and one.lower() == close[0]:
            return f"nearest: {one}"
    return (
        f"there are: {', '.join(listed[:NOTHING_NEAR])}{' ...' if len(listed) > NOTHING_NEAR else ''}" if listed else ""
    )


def _unknown_fields(netbox: NetBox, server: Server, records: Sequence[Wanted]) -> list[Problem]:
    named: dict[tuple[str, str], Wanted] = {}
    for one in records:
        for name in one.fields:
            named.setdefault((one.kind, name), one)
    if not named:
        return []
    there = pulling.custom_fields(netbox, server)
    problems = []
    for (kind, name), one in named.items():
        usable = [field for field, types in there.items() if kind in {TYPES[type_] for type_ in types & TYPES.keys()}]
        if name not in usable:
            what = f"NetBox has no custom field {name!r} of a {kind.replace('-', ' ')}"
            problems.append(Problem(where=one.where, what=what, allowed=nearest(name, usable)))
    return problems
