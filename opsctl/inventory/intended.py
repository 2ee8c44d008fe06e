"""What NetBox intends for hosts, read now: the values with which drift compares the hosts themselves.

The copy in hosts.yml holds no sizes, and may be older than NetBox: so the records are asked for anew, in bulk, with
their services. What NetBox says of platforms is read through the workspace's mapping, as a sync does.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsctl.inventory import token as tokens
from opsctl.inventory.answers import SourceFailed
from opsctl.inventory.mapping import Unusable, host_name, platform_name
from opsctl.inventory.netbox import IDS, NetBox, Query, Row
from opsctl.inventory.pull import SERVICES, service_fields
from opsctl.inventory.record import (
    KINDS,
    PARENTS,
    PATHS,
    Kind,
    Malformed,
    Port,
    ServiceRecord,
    number,
    read_service,
)
from opsctl.inventory.rules import Rules, mapping_of
from opsctl.model.host import Host, Service

if TYPE_CHECKING:
    from opsctl.config import Settings

FIELDS = "id,name,tenant,platform,primary_ip4,primary_ip6,vcpus,memory,disk,virtual_disk_count"


@dataclass(frozen=True, kw_only=True)
class Primary:
    """A primary address: `id` of NetBox's own record of it, `address` without the length of its prefix."""

    id: int
    address: str


@dataclass(frozen=True, kw_only=True)
class Intended:
    """One host as NetBox means it. Memory and disk in MB; a device has no sizes, `virtual_disks` make up `disk`.

    `tenant` is ours, `platform` is ours (debian-12), or NetBox's slug where that means none of ours.
    """

    record: str
    name: str
    platform: str = ""
    address4: Primary | None = None
    address6: Primary | None = None
    vcpus: float | None = None
    memory: int | None = None
    disk: int | None = None
    virtual_disks: int = 0
    services: tuple[Service, ...] = ()
    listed: tuple[ServiceRecord, ...] = ()
    tenant: str = ""

    @property
    def device(self) -> bool:
        return self.record.startswith("device/")

    @property
    def kind(self) -> Kind:
        return "device" if self.device else "virtual-machine"


def intended(settings: Settings, hosts: Iterable[Host]) -> dict[str, Intended]:
    """By host key, as far as NetBox shows the records; hosts without a record are left out.

    Raises ConfigError for what opsctl.yml says wrongly, SourceFailed for what NetBox does.
    """
    chosen = mapping_of(settings)
    found: dict[str, Intended] = {}
    for tenant, theirs in by_token(settings, [host for host in hosts if host.record]).items():
        netbox = NetBox.of(settings, tenant)
        try:
            found |= read(netbox, theirs, chosen)
        finally:
            netbox.close()
    return found


def read(netbox: NetBox, hosts: Sequence[Host], chosen: Rules) -> dict[str, Intended]:
    """The same with one session."""
    known = {host.record: host.key for host in hosts}
    found: dict[str, Intended] = {}
    for kind in KINDS:
        ids = sorted(number(record) for record in known if record.startswith(f"{kind}/"))
        if not ids:
            continue
        services = _services(netbox, kind, ids)
        for row in netbox.by_id(PATHS[kind], ids, {"fields": FIELDS}):
            record = f"{kind}/{row['id']}"
            found[known[record]] = _one(record, row, services.get(record, ()), chosen)
    return found


def other_host(key: str, name: str, tenant: str) -> str:
    """The key of the host that a record is now, where it is not this one: a copy may be older than NetBox.

    Put back to a backup, NetBox gives the ids of lost records to new ones: what is known of one host is not written
    into another's. A name that cannot be one says nothing.
    """
    ours, _, ours_named = key.partition(".")
    try:
        named = host_name(name)
    except Unusable:
        named = ours_named
    return "" if (tenant, named) == (ours, ours_named) else f"{tenant or 'nobody'}.{named}"


def of_copy(host: Host) -> Intended:
    """What our own copy says, for a host that has no record in NetBox."""
    four, six = (host.address, host.address6) if ":" not in host.address else ("", host.address)
    return Intended(
        record="",
        name=host.name,
        platform=host.platform,
        address4=Primary(id=0, address=four) if four else None,
        address6=Primary(id=0, address=six) if six else None,
        services=host.services,
    )


def by_token(settings: Settings, hosts: Sequence[Host]) -> dict[str, list[Host]]:
    """The hosts by the tenant whose token opens their records; all under "" where one token opens everything."""
    if not tokens.for_each_tenant(settings):
        return {"": list(hosts)} if hosts else {}
    found: dict[str, list[Host]] = {}
    for host in hosts:
        found.setdefault(host.tenant, []).append(host)
    return found


def _services(netbox: NetBox, kind: Kind, ids: Sequence[int]) -> dict[str, tuple[ServiceRecord, ...]]:
    """The services of these records, by record."""
    fields, cursor = service_fields(netbox), netbox.server().cursor
    wanted = {f"{kind}/{one}" for one in ids}
    found: dict[str, tuple[ServiceRecord, ...]] = {}
    for begin in range(0, len(ids), IDS):
        query: Query = {f"{PARENTS[kind]}_id": list(ids[begin : begin + IDS]), "fields": fields}
        for row in netbox.rows(SERVICES, query, cursor=cursor):
            service = _service(row)
            # A server that does not know the filter would give everything.
            if service is None or service.parent not in wanted:
                raise SourceFailed(f"GET {netbox.address}/api/{SERVICES}/: NetBox gave services of other hosts")
            found[service.parent] = (*found.get(service.parent, ()), service)
    return found


def _service(row: Row) -> ServiceRecord | None:
    try:
        return read_service(row)
    except Malformed as error:
        raise SourceFailed(f"NetBox gave {error}") from error


def _one(record: str, row: Row, services: tuple[ServiceRecord, ...], chosen: Rules) -> Intended:
    try:
        slug = row["platform"]["slug"] if row["platform"] else ""
        return Intended(
            record=record,
            name=str(row["name"] or ""),
            platform=_platform(slug, chosen),
            address4=_primary(row["primary_ip4"]),
            address6=_primary(row["primary_ip6"]),
            vcpus=float(row["vcpus"]) if row.get("vcpus") is not None else None,
            memory=_whole(row.get("memory")),
            disk=_whole(row.get("disk")),
            virtual_disks=_whole(row.get("virtual_disk_count")) or 0,
            services=tuple(_named(port) for service in services for port in service.ports),
            listed=services,
            tenant=chosen.place(row["tenant"]["slug"])[0] if row["tenant"] else "",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SourceFailed(f"NetBox gave a {record} that cannot be read: {type(error).__name__} {error}") from error


def _named(port: Port) -> Service:
    """A service with NetBox's own name, where that can stand in a listing and in a file for review."""
    plain = re.fullmatch(r"\w[\w .+-]{0,60}", port.name)
    name = port.name.rstrip() if plain else f"{port.protocol}-{port.port}"
    return Service(name=name, port=port.port, protocol=port.protocol)


def _platform(slug: str, chosen: Rules) -> str:
    try:
        return platform_name(slug, chosen)
    except Unusable:
        return slug


def _primary(given: Any) -> Primary | None:
    if given is None:
        return None
    return Primary(id=int(given["id"]), address=str(ipaddress.ip_interface(given["address"]).ip))


def _whole(value: object) -> int | None:
    return None if value is None else int(str(value))
