"""The inventory as one JSON document: the canonical content that its digest is made of, and the parsed copy on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

from opsctl.model import wire
from opsctl.model.gate import Gate
from opsctl.model.handling import Handling
from opsctl.model.host import (
    Account,
    Cluster,
    Host,
    Inventory,
    MappingsConfirmed,
    Mirror,
    Organisation,
    OutLimit,
    PatchPolicy,
    Quarantined,
    Service,
    Site,
    Tenant,
    Window,
)

_SERVICE_ORDER = attrgetter("name", "port", "protocol")
# Left out where they are empty: what holds nothing of them has the digest that it always had.
_SINCE = frozenset(
    {"handling", "gates", "failure_budget", "wave_budget", "time_servers", "log_host", "log_retention_days"}
)
_HOST_SINCE = ("reboot", "balancer")
_PARTS: dict[str, type[Any]] = {
    "organisations": Organisation,
    "sites": Site,
    "clusters": Cluster,
    "limits": OutLimit,
    "windows": Window,
    "accounts": Account,
    "handling": Handling,
    "mirrors": Mirror,
}
_SINGLE: dict[str, type[Any]] = {"patch_policy": PatchPolicy, "mappings_confirmed": MappingsConfirmed}


def canonical(tenants: Iterable[Tenant], hosts: Iterable[Host]) -> str:
    """The content as text: the same for the same tenants and hosts, in whatever order the files list them."""
    return json.dumps(encode(tenants, hosts), sort_keys=True, ensure_ascii=True)


def digest(content: str) -> str:
    """SHA-256 over the canonical content."""
    return hashlib.sha256(content.encode()).hexdigest()


def encode(tenants: Iterable[Tenant], hosts: Iterable[Host]) -> dict[str, Any]:
    return {
        "tenants": [_tenant(tenant) for tenant in sorted(tenants, key=lambda tenant: tenant.name)],
        "hosts": [encode_host(host) for host in sorted(hosts, key=lambda host: (host.tenant, host.name))],
    }


def encode_host(host: Host) -> dict[str, Any]:
    """Every field of a host as JSON knows it."""
    found = dict(vars(host))
    for name in _HOST_SINCE:
        if not found[name]:
            del found[name]
    found["windows"] = sorted(host.windows)
    found["tags"] = sorted(host.tags)
    found["services"] = [
        {**vars(service), "serves": sorted(service.serves)} for service in sorted(host.services, key=_SERVICE_ORDER)
    ]
    return found


def _tenant(tenant: Tenant) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in fields(Tenant):
        value = getattr(tenant, field.name)
        if field.name in _SINCE and value == field.default:
            continue
        if field.name == "gates":
            value = [wire.as_document(gate) for gate in value]
        elif field.name in _PARTS:
            value = None if value is None else [_part(part) for part in sorted(value, key=lambda part: part.name)]
        elif field.name in _SINGLE:
            value = None if value is None else dict(vars(value))
        elif isinstance(value, tuple):
            # Only the order of the rings says something: it is the order of a rollout.
            value = list(value) if field.name == "rings" else sorted(value)
        found[field.name] = value
    return found


def _part(part: Any) -> dict[str, Any]:
    return {
        field.name: list(value) if isinstance(value := getattr(part, field.name), tuple) else value
        for field in fields(part)
    }


def encode_quarantined(quarantined: Iterable[Quarantined]) -> list[dict[str, str]]:
    return [{field.name: getattr(one, field.name) for field in fields(Quarantined)} for one in quarantined]


def decode(found: Mapping[str, Any], content: str) -> Inventory:
    """The inventory that `encode` wrote."""
    return Inventory(
        tenants=tuple(_decode_tenant(entry) for entry in found["tenants"]),
        hosts=tuple(decode_host(entry) for entry in found["hosts"]),
        quarantined=tuple(Quarantined(**entry) for entry in found["quarantined"]),
        digest=content,
    )


def decode_host(found: Mapping[str, Any]) -> Host:
    return Host(
        **{
            **found,
            "windows": tuple(found["windows"]),
            "tags": tuple(found["tags"]),
            "services": tuple(Service(**{**one, "serves": tuple(one["serves"])}) for one in found["services"]),
        }
    )


def _decode_tenant(found: Mapping[str, Any]) -> Tenant:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    for name, kind in _PARTS.items():
        if found.get(name) is not None:
            values[name] = tuple(
                kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in part.items()})
                for part in found[name]
            )
    values["gates"] = tuple(wire.from_document(Gate, one) for one in found.get("gates", ()))
    for name, kind in _SINGLE.items():
        if found.get(name) is not None:
            values[name] = kind(**found[name])
    return Tenant(**values)
