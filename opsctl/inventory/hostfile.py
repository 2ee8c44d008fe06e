"""hosts.yml and source.yml: the hosts of one tenant, read with the line of every fault. Both have one schema."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from opsctl.documents import Problems, Section, read
from opsctl.inventory.tenantfile import HOST_REFERENCE
from opsctl.inventory.words import free_text, host_address, names, web_address
from opsctl.model.host import CRITICALITIES, Host, Service

# The statuses of NetBox, so that the file source and NetBox speak alike; only `active` is managed.
STATUSES = ("active", "planned", "staged", "offline", "failed", "paused", "inventory", "decommissioning")
PLATFORM = re.compile(r"[a-z0-9]+(-[a-z0-9]+(\.[a-z0-9]+)*)*")


@dataclass(frozen=True, kw_only=True)
class Located:
    """A host, and the place it was read from."""

    host: Host
    section: Section


def read_hosts(path: Path, tenant: str, problems: Problems) -> tuple[Located, ...]:
    """The hosts of a file in the order of their names. References to tenant.yml are not looked at here."""
    document = read(path, problems)
    document.number("version", 1, low=1, high=1)
    named = document.name("tenant", required=True)
    if named and named != tenant:
        document.wrong("tenant", f"tenant: {named!r} stands in the folder {tenant!r}", "both must be the same")
    found: dict[str, Located] = {}
    for section in document.sections("hosts"):
        host = _host(section, tenant)
        section.done()
        if host.name in found:
            first = found[host.name].section.where
            section.wrong("name", f"host {host.name} is there twice", f"the first is at {first}")
        elif host.name:
            found[host.name] = Located(host=host, section=section)
    document.done()
    return tuple(found[name] for name in sorted(found))


def _host(section: Section, tenant: str) -> Host:
    platform = section.text(
        "platform", required=True, pattern=PLATFORM, allowed="FAMILY-VERSION, as debian-12, ubuntu-24.04, windows-2022"
    )
    status = section.one_of("status", STATUSES, "active")
    host = Host(
        name=section.name("name", required=True),
        tenant=tenant,
        address="",
        role=section.name("role", required=True),
        platform=platform or "unknown",
        status=status,
    )
    # What opsctl never connects to may stand there without an address.
    address = host_address(section, "address", required=host.managed)
    return Host(
        name=host.name,
        tenant=tenant,
        address=address,
        role=host.role,
        platform=host.platform,
        status=status,
        port=section.number("port", 22, low=1, high=65535),
        ring=section.name("ring", "broad"),
        organisation=section.name("organisation"),
        site=section.name("site"),
        cluster=section.name("cluster"),
        windows=tuple(sorted(names(section, "windows"))),
        owner=free_text(section, "owner"),
        criticality=section.one_of("criticality", CRITICALITIES, "normal"),
        services=_services(section),
        jump=section.text("jump", pattern=HOST_REFERENCE, allowed="a host's name, or TENANT.HOST"),
    )


def _services(section: Section) -> tuple[Service, ...]:
    found: dict[tuple[str, int, str], Service] = {}
    for entry in section.sections("services"):
        if not entry.has("port"):
            entry.wrong("port", "port is missing", "a whole number from 1 to 65535")
        service = Service(
            name=entry.name("name", required=True),
            port=entry.number("port", 1, low=1, high=65535),
            protocol=entry.one_of("protocol", ("tcp", "udp"), "tcp"),
            url=web_address(entry, "url"),
        )
        entry.done()
        key = (service.name, service.port, service.protocol)
        if key in found:
            entry.wrong("name", f"service {service.name} on {service.protocol} {service.port} is there twice")
        found[key] = service
    return tuple(found[key] for key in sorted(found))
