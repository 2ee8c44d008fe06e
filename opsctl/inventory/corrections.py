"""Corrections for NetBox as a file that a person reviews: which host, which value.

What could just as well be a fault of the host (a service that is down, a name that somebody mistyped) is written as a
comment: it is applied only when a person takes the marks away.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from opsctl.documents import Problems, Section
from opsctl.documents import read as read_yaml
from opsctl.errors import ConfigError
from opsctl.inventory.emit import scalar
from opsctl.inventory.hostfile import PLATFORM
from opsctl.inventory.words import address_fault, free_text, sound
from opsctl.model.host import Host, Service

HEAD = """\
# Corrections for NetBox: what the hosts themselves say. Take out what is not right; lines that begin with # are not
# applied. Then: opsctl inventory push --from FILE
"""
# The largest that each may be.
LARGEST = {"vcpus": 10_000, "memory": 2_000_000_000, "disk": 2_000_000_000}
SIZES = tuple(LARGEST)
_PLAIN = ("name", "platform", "address", "address6", *SIZES)
_LISTS = ("add_services", "remove_services")
_SERVICE = re.compile(r"(?:(?P<name>\S.{0,99}?) )?(?P<protocol>tcp|udp)/(?P<port>\d{1,5})")
# Stricter than NetBox, which takes any text: a name that a sync would put into quarantine is not written.
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """One value for one record; `before` is what NetBox says. `doubt`: why it is not applied as it stands."""

    host: str
    field: str
    value: str | int
    before: str = ""
    doubt: str = ""


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What the record of one host shall say; what is empty or None stays as it is. Addresses have their prefix."""

    host: str
    where: str
    name: str = ""
    platform: str = ""
    address: str = ""
    address6: str = ""
    vcpus: int | None = None
    memory: int | None = None
    disk: int | None = None
    add_services: tuple[Service, ...] = ()
    remove_services: tuple[Service, ...] = ()


def allowed(field: str, value: str | int) -> bool:
    """Could a reviewed file say this? What a host tells of itself may be anything."""
    if field in LARGEST:
        return 0 < int(value) <= LARGEST[field]
    return not (field in ("address", "address6") and address_fault(str(value).partition("/")[0]))


def text(suggestions: Iterable[Suggestion]) -> str:
    """The file's text: hosts in their order, within them values, then services."""
    by_host: dict[str, list[Suggestion]] = {}
    for one in suggestions:
        by_host.setdefault(one.host, []).append(one)
    lines = [HEAD, "version: 1\n", "hosts:\n" if by_host else "hosts: []\n"]
    for host in sorted(by_host):
        lines.append(f"  - host: {host}\n")
        for name in _PLAIN:
            lines.extend(_plain(one) for one in by_host[host] if one.field == name)
        for name in _LISTS:
            lines.extend(_list(name, [one for one in by_host[host] if one.field == name]))
    return "".join(lines)


def _plain(one: Suggestion) -> str:
    mark, doubt = ("# ", f"; {one.doubt}") if one.doubt else ("", "")
    # What NetBox says is foreign: in a comment it must stay on its line.
    before = ascii(one.before)[1:-1] if not sound(one.before) else one.before
    return f"    {mark}{one.field}: {scalar(one.value)}  # NetBox: {before or 'nothing'}{doubt}\n"


def _list(name: str, found: Sequence[Suggestion]) -> list[str]:
    lines = []
    for doubt in dict.fromkeys(one.doubt for one in found):
        mark = "# " if doubt else ""
        lines.append(f"    {mark}{name}:{f'  # {doubt}' if doubt else ''}\n")
        lines.extend(f"    {mark}  - {one.value}\n" for one in found if one.doubt == doubt)
    return lines


def read(path: Path, hosts: Iterable[Host]) -> tuple[Correction, ...]:
    """The corrections for these hosts. Raises ConfigError with file:line for every fault of the file."""
    known = {host.key: host for host in hosts}
    problems = Problems()
    document = read_yaml(path, problems)
    document.number("version", 1, low=1, high=1)
    found: dict[str, Correction] = {}
    for section in document.sections("hosts"):
        one = _read(section, known)
        if one.host in found:
            section.wrong("host", f"{one.host} is there twice")
        found[one.host] = one
    document.done()
    problems.finish(ConfigError, f"{path} cannot be applied; nothing was written")
    return tuple(found.values())


def _read(section: Section, known: dict[str, Host]) -> Correction:
    key = section.text("host", required=True)
    host = known.get(key)
    if key and (host is None or not host.record):
        section.wrong("host", f"{key} is no host that comes from NetBox, or none of the selected ones")
    sized = host is None or not host.record.startswith("device/")
    names = ("host", "name", "platform", "address", "address6", *_LISTS, *(SIZES if sized else ()))
    for name in sorted(set(section.keys()) - set(names)):
        section.wrong(name, f"{name} is not corrected by opsctl", f"of this host: {', '.join(names[1:])}")
    return Correction(
        host=key,
        where=section.where,
        name=section.text("name", pattern=NAME, allowed="letters, digits, dots and hyphens, at most 64"),
        platform=section.text("platform", pattern=PLATFORM, allowed="FAMILY-VERSION, as debian-12"),
        address=_address(section, "address", 4),
        address6=_address(section, "address6", 6),
        vcpus=_size(section, "vcpus"),
        memory=_size(section, "memory"),
        disk=_size(section, "disk"),
        add_services=_services(section, "add_services"),
        remove_services=_services(section, "remove_services"),
    )


def _size(section: Section, name: str) -> int | None:
    return section.number(name, 0, low=1, high=LARGEST[name]) or None


def _address(section: Section, name: str, version: int) -> str:
    found = free_text(section, name)
    if not found:
        return ""
    try:
        address = ipaddress.ip_interface(found)
    except ValueError:
        address = None
    if address is None or address.version != version or "/" not in found:
        section.wrong(name, f"{name}: {found!r} is not allowed", f"an IPv{version} address with its prefix")
        return ""
    if what := address_fault(str(address).partition("/")[0]):
        section.wrong(name, f"{name}: {found} {what}")
        return ""
    return str(address)


def _services(section: Section, name: str) -> tuple[Service, ...]:
    found = []
    for given in section.texts(name):
        match = _SERVICE.fullmatch(given)
        if match is None or not sound(given) or not 1 <= int(match["port"]) <= 65535:
            section.wrong(name, f"{name}: {given!r} is not allowed", "NAME tcp/PORT")
            continue
        port, protocol = int(match["port"]), match["protocol"]
        found.append(Service(name=match["name"] or f"{protocol}-{port}", port=port, protocol=protocol))
    return tuple(found)
