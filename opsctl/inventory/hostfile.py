"""hosts.yml and source.yml: the hosts of one tenant, read with the line of every fault. Both have one schema."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsctl.documents import Problems, Section, read
from opsctl.inventory import handlingfile
from opsctl.inventory.tenantfile import HOST_REFERENCE
from opsctl.inventory.words import free_text, host_address, json_object, json_text, names, sound, web_address
from opsctl.model.handling import REBOOTS
from opsctl.model.host import CRITICALITIES, Host, Quarantined, Service

# The statuses of NetBox, so that the file source and NetBox speak alike; only `active` is managed.
STATUSES = ("active", "planned", "staged", "offline", "failed", "paused", "inventory", "decommissioning")
RECORD = re.compile(r"(device|virtual-machine)/[1-9][0-9]*")
RECORD_RULE = "device/ID or virtual-machine/ID"
PLATFORM = re.compile(r"[a-z0-9]+(-[a-z0-9]+(\.[a-z0-9]+)*)*")


@dataclass(frozen=True, kw_only=True)
class Located:
    """A host, and the place it was read from."""

    host: Host
    section: Section


@dataclass(frozen=True, kw_only=True)
class HostFile:
    """One file: its hosts in the order of their names, and the records that cannot be hosts."""

    hosts: tuple[Located, ...]
    quarantined: tuple[Quarantined, ...]


def read_hosts(path: Path, tenant: str, problems: Problems) -> tuple[Located, ...]:
    """The hosts of a file alone: see `read_file`."""
    return read_file(path, tenant, problems).hosts


def read_file(path: Path, tenant: str, problems: Problems) -> HostFile:
    """The hosts of a file, and its quarantined records. References to tenant.yml are not looked at here."""
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
    put_aside = read_quarantined(document, tenant)
    document.done()
    return HostFile(hosts=tuple(found[name] for name in sorted(found)), quarantined=put_aside)


def read_quarantined(document: Section, tenant: str) -> tuple[Quarantined, ...]:
    found = []
    for section in document.sections("quarantined"):
        found.append(
            Quarantined(
                tenant=tenant,
                record=section.text("record", required=True, pattern=RECORD, allowed=RECORD_RULE),
                reason=free_text(section, "reason", required=True),
                name=_name_as_it_is(section),
                link=web_address(section, "link"),
            )
        )
        section.done()
    return tuple(found)


def _name_as_it_is(section: Section) -> str:
    """A name that may be anything: written as JSON, so that nothing in it can act on a reader's terminal."""
    found = json_text(section, "name")
    return found if isinstance(found, str) else ""


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
        reboot=section.one_of("reboot", ("", *REBOOTS), ""),
        balancer=handlingfile.balancer(section),
        **_from_netbox(section),
    )


def _from_netbox(section: Section) -> Any:
    """The keys that only NetBox fills."""
    return {
        "address6": host_address(section, "address6", required=False),
        "region": section.name("region"),
        "vm_cluster": free_text(section, "vm_cluster"),
        "tags": _tags(section),
        "custom": json_object(section, "custom"),
        "context": json_object(section, "context"),
        "record": section.text("record", pattern=RECORD, allowed=RECORD_RULE),
        "stale": free_text(section, "stale"),
    }


def _tags(section: Section) -> tuple[str, ...]:
    found = section.texts("tags")
    for tag in found:
        if not sound(tag):
            section.wrong("tags", "tags: a tag holds control characters or marks that reorder text")
    return tuple(sorted(found))


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
            serves=tuple(sorted(names(entry, "serves"))),
        )
        entry.done()
        key = (service.name, service.port, service.protocol)
        if key in found:
            entry.wrong("name", f"service {service.name} on {service.protocol} {service.port} is there twice")
        found[key] = service
    return tuple(found[key] for key in sorted(found))
