"""What NetBox says of one device or virtual machine, taken from its JSON at the border. Pure.

Nothing is judged here beyond its shape: whether the record can be used at all, `mapping` says. Values stay as NetBox
has them, hostile ones too; they are data until `mapping` has let them through.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

Kind = Literal["device", "virtual-machine"]
KINDS: tuple[Kind, ...] = ("device", "virtual-machine")
# The names under which the changelog, services and addresses speak of them.
TYPES: Mapping[str, Kind] = {"dcim.device": "device", "virtualization.virtualmachine": "virtual-machine"}
TYPE_OF: Mapping[Kind, str] = {kind: name for name, kind in TYPES.items()}
# Where the API and NetBox's own pages list them, and what interfaces and services call the one that they belong to.
PATHS: Mapping[Kind, str] = {"device": "dcim/devices", "virtual-machine": "virtualization/virtual-machines"}
PARENTS: Mapping[Kind, str] = {"device": "device", "virtual-machine": "virtual_machine"}
# One encoder for all: json.dumps makes a new one for each value.
_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


class Malformed(Exception):
    """An answer that has not the shape of NetBox's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Port:
    """One port of one service, as NetBox lists it; tags and custom fields are the service's, where asked for."""

    name: str
    protocol: str
    port: int
    tags: tuple[str, ...] = ()
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A device or virtual machine. `fields` are its custom fields with plain values, `context` is canonical JSON."""

    kind: Kind
    id: int
    name: str
    status: str = ""
    tenant: str = ""
    site: str = ""
    cluster: str = ""
    role: str = ""
    platform: str = ""
    tags: tuple[str, ...] = ()
    fields: Mapping[str, object]
    address4: str = ""
    address6: str = ""
    context: str = ""
    address_ids: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """The record's name in opsctl: `virtual-machine/12`."""
        return f"{self.kind}/{self.id}"

    def link(self, address: str) -> str:
        """Where a person finds the record in NetBox."""
        return link(self.key, address)


def link(key: str, address: str) -> str:
    """Where a person finds the record of this name (`virtual-machine/12`) in the NetBox at this address."""
    path = next((path for kind, path in PATHS.items() if key.startswith(f"{kind}/")), "")
    return f"{address.rstrip('/')}/{path}/{number(key)}/" if address and path else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceRecord:
    """A service with all its ports, and the record that it belongs to (`device/5`)."""

    id: int
    parent: str
    ports: tuple[Port, ...]


# By the record that they belong to, in the order of names and ports.
Ports = Mapping[str, tuple[Port, ...]]


def number(record: str) -> int:
    """NetBox's id of `virtual-machine/12`."""
    return int(record.partition("/")[2])


class Texts:
    """Gives one text object for equal texts: 5,000 hosts share a few contexts."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def one(self, text: str) -> str:
        return self._known.setdefault(text, text)


def read_record(kind: Kind, row: Mapping[str, Any], texts: Texts) -> Record:
    """One row of a listing. Raises Malformed."""
    try:
        fields = _fields(row)
        context = row.get("config_context") or {}
        return Record(
            kind=kind,
            id=_id(row["id"]),
            name=str(row["name"] or ""),
            status=_inner(row, "status", "value"),
            tenant=_inner(row, "tenant", "slug"),
            site=_inner(row, "site", "slug"),
            cluster=_inner(row, "cluster", "name"),
            role=_inner(row, "role", "slug"),
            platform=_inner(row, "platform", "slug"),
            tags=tuple(texts.one(slug) for slug in _tags(row)),
            fields=fields,
            address4=_inner(row, "primary_ip4", "address").partition("/")[0],
            address6=_inner(row, "primary_ip6", "address").partition("/")[0],
            context=texts.one(canonical(context)) if context else "",
            address_ids=tuple(_id(row[name]["id"]) for name in ("primary_ip4", "primary_ip6") if row[name]),
        )
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise Malformed(f"a {kind} that cannot be read: {type(error).__name__} {error}") from error


def read_service(row: Mapping[str, Any]) -> ServiceRecord | None:
    """One service; None where its parent is neither device nor virtual machine. Raises Malformed."""
    try:
        parent = _parent(row)
        if not parent:
            return None
        name = str(row["name"] or "")
        tags, fields = _tags(row), _fields(row)
        ports = tuple(
            [
                Port(name=name, protocol=protocol, port=number, tags=tags, fields=fields)
                if tags or fields
                else _bare_port(name, protocol, number)
                for protocol, number in _ports(row)
            ]
        )
        return ServiceRecord(id=_id(row["id"]), parent=parent, ports=ports)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise Malformed(f"a service that cannot be read: {type(error).__name__} {error}") from error


@lru_cache(maxsize=1024)
def _bare_port(name: str, protocol: str, number: int) -> Port:
    """One object for equal ports: thousands of hosts have the same few."""
    return Port(name=name, protocol=protocol, port=number)


def _tags(row: Mapping[str, Any]) -> tuple[str, ...]:
    tags = row.get("tags")
    return tuple(sorted(str(tag["slug"]) for tag in tags)) if tags else ()


def _fields(row: Mapping[str, Any]) -> dict[str, object]:
    fields = row.get("custom_fields")
    return {str(name): _plain(value) for name, value in fields.items()} if fields else {}


def _parent(row: Mapping[str, Any]) -> str:
    if "parent_object_type" in row:
        kind = TYPES.get(str(row["parent_object_type"]))
        return f"{kind}/{_id(row['parent_object_id'])}" if kind else ""
    # NetBox 4.2 has one field for each kind of parent.
    for kind, name in PARENTS.items():
        if row.get(name):
            return f"{kind}/{_id(row[name]['id'])}"
    return ""


def _ports(row: Mapping[str, Any]) -> list[tuple[str, int]]:
    if row.get("port_mappings") is not None:
        pairs = (str(text).partition("/") for text in row["port_mappings"])
        return [(protocol, int(number)) for protocol, _, number in pairs]
    protocol = _inner(row, "protocol", "value") or "tcp"
    return [(protocol, int(number)) for number in row.get("ports") or ()]


def ports_of(services: Iterable[ServiceRecord]) -> dict[str, tuple[Port, ...]]:
    """The ports of each record that has services, in the order of names and ports."""
    found: dict[str, list[Port]] = {}
    for service in services:
        found.setdefault(service.parent, []).extend(service.ports)
    return {key: tuple(sorted(ports, key=lambda p: (p.name, p.port, p.protocol))) for key, ports in found.items()}


def canonical(value: object) -> str:
    """JSON with one spelling for one content."""
    return _CANONICAL.encode(value)


def _id(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"id {value!r}")
    return value


def _inner(row: Mapping[str, Any], name: str, key: str) -> str:
    """`row[name][key]` as text; empty where NetBox has null. A field that is not there at all is an error."""
    value = row[name] if name not in ("cluster", "protocol") else row.get(name)
    return "" if value is None else str(value[key])


def _plain(value: object) -> object:
    """A custom field's own value: a choice is `{value, label}`, an object has a name, a slug or just an id."""
    if isinstance(value, dict):
        for key in ("value", "slug", "name", "id"):
            if key in value:
                return value[key]
        return value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
