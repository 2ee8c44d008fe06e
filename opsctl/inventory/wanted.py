"""Records that NetBox should have, as a file that a person reviews: one entry a host, in NetBox's own words (slugs)."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from opsctl.documents import Problems, Section
from opsctl.documents import read as read_yaml
from opsctl.errors import ConfigError
from opsctl.inventory.emit import scalar
from opsctl.inventory.hostfile import STATUSES
from opsctl.inventory.mapping import OWN_FIELDS, Unusable, host_name
from opsctl.inventory.record import KINDS, Kind
from opsctl.inventory.rules import Rules
from opsctl.inventory.words import address_fault, free_text
from opsctl.model.host import Host, Service

HEAD = """\
# Records for NetBox, not yet there. Put right what is not; then: opsctl inventory push --from FILE
# Everything is named as NetBox names it: slugs, and clusters and VRFs by their names. Ansible knows no networks:
# an address ends with /32 (/128) until you write how long its network is.
"""
SLUG = re.compile(r"[-a-zA-Z0-9_]{1,100}")
SLUG_RULE = "a slug of NetBox: letters, digits, hyphens and underscores"
# Ansible does not know what an interface is called; NetBox holds no address without one.
INTERFACE = "primary"
Cell = str | int


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One record that should be there. `address` is with its network's length; `where` is file:line."""

    name: str
    tenant: str
    role: str
    address: str
    kind: Kind = "virtual-machine"
    site: str = ""
    cluster: str = ""
    device_type: str = ""
    platform: str = ""
    status: str = "active"
    vrf: str = ""
    interface: str = INTERFACE
    tags: tuple[str, ...] = ()
    fields: Mapping[str, Cell] = field(default_factory=dict)
    services: tuple[Service, ...] = ()
    where: str = ""

    @property
    def family(self) -> int:
        return ipaddress.ip_interface(self.address).version


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where all hosts of one import stand, as far as it is known: what Ansible does not tell."""

    site: str = ""
    cluster: str = ""
    device_type: str = ""


def of_host(host: Host, rules: Rules, place: Place) -> Wanted:
    """The record from which a sync would make this host. Raises ConfigError where no tenant of NetBox is its own."""
    slugs = rules.slugs([host.tenant])
    if not slugs:
        what = f"netbox.tenants does not say which tenant of NetBox is {host.tenant}"
        raise ConfigError(what, hint=f"add NETBOX-SLUG={host.tenant}")
    fields: dict[str, Cell] = {}
    tags: list[str] = []
    if host.port != 22 and not unsaid(host, rules):
        source = rules.sources["port"]
        if source.kind == "field":
            fields[source.name] = host.port
        else:
            tags.append(f"{source.name}{host.port}")
    length = ipaddress.ip_address(host.address).max_prefixlen
    return Wanted(
        name=host.name,
        tenant=slugs[0],
        role=rules.untranslated("role", host.role),
        address=f"{host.address}/{length}",
        kind="device" if place.device_type else "virtual-machine",
        site=place.site,
        cluster=place.cluster,
        device_type=place.device_type,
        platform=rules.untranslated("platform", host.platform).replace(".", "-"),
        status=rules.untranslated("status", host.status),
        tags=tuple(tags),
        fields=fields,
        services=host.services,
    )


def unsaid(host: Host, rules: Rules) -> str:
    """What of a host NetBox could not say, as the mapping stands."""
    if host.port != 22 and rules.sources["port"].kind not in ("field", "tag"):
        return f"its port {host.port} has no place in NetBox: set netbox.port, and add it in the file"
    return ""


_PLACE = ("kind", "tenant", "site", "cluster", "device_type")
_TEXTS = (*_PLACE, "role", "platform", "status", "address", "vrf", "interface")
_DEFAULTS = {"interface": INTERFACE}


def text(wanted: Iterable[Wanted]) -> str:
    """The file's text. What the reviewer must still say stands there empty."""
    lines: list[str] = []
    for one in sorted(wanted, key=lambda one: (one.tenant, one.name)):
        lines.append(f"  - name: {scalar(one.name)}\n")
        for name in _TEXTS:
            value = getattr(one, name)
            if value != _DEFAULTS.get(name, "") or (name in ("site", "cluster") and one.kind == "virtual-machine"):
                lines.append(f"    {name}: {scalar(value)}\n")
        if one.tags:
            lines.append(f"    tags: [{', '.join(map(scalar, one.tags))}]\n")
        if one.fields:
            lines.append("    fields:\n")
            lines.extend(f"      {name}: {scalar(value)}\n" for name, value in sorted(one.fields.items()))
        if one.services:
            lines.append("    services:\n")
            lines.extend(
                f"      - {{name: {scalar(s.name)}, port: {s.port}, protocol: {s.protocol}}}\n" for s in one.services
            )
    return "".join([HEAD, "version: 1\n", "records:\n" if lines else "records: []\n", *lines])


def fingerprint(path: Path) -> str:
    """SHA-256 of the file, for the ledger."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def holds(path: Path) -> bool:
    """Is this a file of records, and not one of corrections?"""
    return read_yaml(path, Problems()).has("records")


def read(path: Path) -> tuple[Wanted, ...]:
    """The records of a file. Raises ConfigError with every fault and its line."""
    problems = Problems()
    document = read_yaml(path, problems)
    document.number("version", 1, low=1, high=1)
    found = _records(document)
    document.done()
    problems.finish(ConfigError, f"{path} cannot be applied; nothing was written")
    return found


def _records(document: Section) -> tuple[Wanted, ...]:
    found: dict[tuple[str, str], Wanted] = {}
    for section in document.sections("records"):
        one = _wanted(section)
        section.done()
        if (one.tenant, one.name) in found:
            first = found[one.tenant, one.name].where
            section.wrong("name", f"{one.name} is there twice", f"the first is at {first}")
        found[one.tenant, one.name] = one
    _refuse_shared(document, found.values())
    return tuple(found.values())


def _wanted(section: Section) -> Wanted:
    kind: Kind = next(known for known in KINDS if known == section.one_of("kind", KINDS, "virtual-machine"))
    one = Wanted(
        kind=kind,
        name=_name(section),
        tenant=_slug(section, "tenant", required=True),
        site=_slug(section, "site", required=kind == "device"),
        cluster=free_text(section, "cluster"),
        device_type=_slug(section, "device_type", required=kind == "device"),
        role=_slug(section, "role", required=True),
        platform=_slug(section, "platform"),
        status=section.one_of("status", STATUSES, "active"),
        address=_address(section),
        vrf=free_text(section, "vrf"),
        interface=free_text(section, "interface", INTERFACE),
        tags=_tags(section),
        fields=_fields(section.section("fields")),
        services=tuple(_service(entry) for entry in section.sections("services")),
        where=section.where,
    )
    if kind == "virtual-machine" and not one.site and not one.cluster:
        section.wrong("cluster", "a virtual machine wants a cluster, a site, or both")
    if kind == "virtual-machine" and one.device_type:
        section.wrong("device_type", "device_type: a virtual machine has none")
    return one


def _name(section: Section) -> str:
    """A name that a sync can take over again."""
    given = free_text(section, "name", required=True)
    try:
        if given:
            host_name(given)
    except Unusable as reason:
        section.wrong("name", f"name {given!r}: {reason}")
    return given


def _slug(section: Section, key: str, *, required: bool = False) -> str:
    found = section.text(key, required=required)
    if required and section.has(key) and not found:
        section.wrong(key, f"{key} is empty", SLUG_RULE)
    if found and not SLUG.fullmatch(found):
        section.wrong(key, f"{key}: {found!r} is not allowed", SLUG_RULE)
    return found


def _address(section: Section) -> str:
    found = section.text("address", required=True)
    try:
        given = ipaddress.ip_interface(found)
    except ValueError:
        if found:
            section.wrong("address", f"address: {found!r} is no address", "ADDRESS/BITS, as 192.0.2.11/24")
        return "192.0.2.1/32"
    if what := address_fault(str(given.ip)):
        section.wrong("address", f"address: {found} {what}")
    return str(given)


def _tags(section: Section) -> tuple[str, ...]:
    found = section.texts("tags")
    for tag in found:
        if not SLUG.fullmatch(tag):
            section.wrong("tags", f"tags: {tag!r} is not allowed", SLUG_RULE)
    return found


def _fields(section: Section) -> dict[str, Cell]:
    found = section.values()
    for name, value in found.items():
        if isinstance(value, tuple):
            section.wrong(name, f"{name} is a list")
        if name.startswith(OWN_FIELDS):
            section.wrong(name, f"{name} is opsctl's own: push fills it")
    return {name: value for name, value in found.items() if not isinstance(value, tuple)}


def _service(entry: Section) -> Service:
    if not entry.has("port"):
        entry.wrong("port", "port is missing", "a whole number from 1 to 65535")
    found = Service(
        name=free_text(entry, "name", required=True),
        port=entry.number("port", 1, low=1, high=65535),
        protocol=entry.one_of("protocol", ("tcp", "udp"), "tcp"),
    )
    entry.done()
    return found


def _refuse_shared(document: Section, records: Iterable[Wanted]) -> None:
    taken: dict[tuple[str, str], Wanted] = {}
    for one in records:
        claim = (one.vrf, str(ipaddress.ip_interface(one.address).ip))
        if claim in taken and not document.problems.found:
            document.problems.note(
                one.where, f"address: {claim[1]} is also {taken[claim].name}'s", f"see {taken[claim].where}"
            )
        taken.setdefault(claim, one)
