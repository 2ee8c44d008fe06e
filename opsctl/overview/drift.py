"""What NetBox intends against what a host says of itself: where they differ, and what cannot be compared. Pure.

Which of the two is right, a person knows. What of it NetBox could be told comes as suggestions; what may just as well
be the host's own fault (a service that is down) is only suggested as a question.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from opsctl.inventory import corrections
from opsctl.inventory.corrections import Suggestion
from opsctl.inventory.hostfile import PLATFORM
from opsctl.inventory.intended import Intended
from opsctl.inventory.mapping import Unusable, host_name
from opsctl.model.host import Host
from opsctl.monitor.probe import Probe
from opsctl.monitor.status import EXPORTER_PORT

NAME, OS_RELEASE, CPUS, MEMORY, DISKS, ADDRESSES, SERVICES = PARTS = (
    "name", "os_release", "CPUs", "memory", "disks", "addresses", "services",
)  # fmt: skip
# NetBox's MB may be meant as 10**6 or 2**20 bytes (people write 4096, and its own base unit can be set to either): the
# two are 5 % apart. What is left is for the memory that a kernel keeps where it does not tell what is installed.
MEMORY_PERCENT, DISK_PERCENT = 10.0, 10.0
_MEBI, _MEGA = 1 << 20, 1_000_000
# A host is asked where it listens for NetBox's services; these two are opsctl's own affair.
_OURS = frozenset({EXPORTER_PORT})
_NO_VALUE = "NetBox gives no value"
_SILENT = "the host could not tell"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that NetBox and the host tell differently; `suggestion` would put NetBox right, if anything can."""

    host: str
    what: str
    netbox: str
    found: str
    suggestion: Suggestion | None = None


@dataclass(frozen=True, kw_only=True)
class Uncompared:
    """A part of a host that was not compared, and why: it is not known to be right."""

    host: str
    what: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One host, looked at part by part."""

    differences: tuple[Difference, ...]
    uncompared: tuple[Uncompared, ...]


def compare(host: Host, intended: Intended | None, probe: Probe) -> Comparison:
    """`intended` is None where NetBox does not show the record."""
    if intended is None:
        why = f"NetBox does not show {host.record}: it is gone, or the token may not see it"
        return Comparison(
            differences=(), uncompared=tuple(Uncompared(host=host.key, what=part, why=why) for part in PARTS)
        )
    parts = (_name, _os_release, _cpus, _memory, _disks, _addresses, _services)
    found = [one for part in parts for one in part(host, intended, probe)]
    return Comparison(
        differences=tuple(one for one in found if isinstance(one, Difference)),
        uncompared=tuple(one for one in found if isinstance(one, Uncompared)),
    )


def suggestions(found: Iterable[Difference]) -> tuple[Suggestion, ...]:
    return tuple(one.suggestion for one in found if one.suggestion)


Found = Iterator[Difference | Uncompared]


def _name(host: Host, intended: Intended, probe: Probe) -> Found:
    if not probe.hostname:
        yield Uncompared(host=host.key, what=NAME, why=_SILENT)
        return
    try:
        same = host_name(intended.name) == host_name(probe.hostname)
    except Unusable:
        same = False
    if not same:
        value = probe.hostname if corrections.NAME.fullmatch(probe.hostname) else ""
        yield _differs(host, NAME, intended.name, probe.hostname, "name", value, "is the host's own name right?")


def _os_release(host: Host, intended: Intended, probe: Probe) -> Found:
    if not probe.os_id:
        yield Uncompared(host=host.key, what=OS_RELEASE, why=_SILENT)
    elif intended.platform in ("", "unknown"):
        yield Uncompared(host=host.key, what=OS_RELEASE, why="NetBox gives no platform")
    else:
        said = f"{probe.os_id}-{probe.os_version}".rstrip("-")
        # rhel-9 is right for 9.4: a platform may leave the minor version open.
        if said != intended.platform and not said.startswith(f"{intended.platform}."):
            value = said if PLATFORM.fullmatch(said) and probe.os_version else ""
            yield _differs(host, OS_RELEASE, intended.platform, said, "platform", value)


def _cpus(host: Host, intended: Intended, probe: Probe) -> Found:
    if why := _no_size(intended, intended.vcpus, probe.cpus):
        yield Uncompared(host=host.key, what=CPUS, why=why)
    elif intended.vcpus != probe.cpus:
        yield _differs(host, CPUS, f"{intended.vcpus:g}", str(probe.cpus), "vcpus", probe.cpus)


def _memory(host: Host, intended: Intended, probe: Probe) -> Found:
    if probe.container:
        # What the kernel has installed is the machine's; the container has its limit, or all that the machine has.
        found = min(filter(None, (probe.memory.total, probe.memory.limit)), default=None) if probe.memory else None
    else:
        found = (probe.memory.installed or probe.memory.total) if probe.memory else None
    if why := _no_size(intended, intended.memory, found):
        yield Uncompared(host=host.key, what=MEMORY, why=why)
    elif found and intended.memory is not None:
        mega = round(found / _MEBI)
        if abs(mega - intended.memory) * 100 > MEMORY_PERCENT * mega:
            yield _differs(host, MEMORY, f"{intended.memory} MB", f"{mega} MB", "memory", mega)


def _disks(host: Host, intended: Intended, probe: Probe) -> Found:
    found = sum(disk.size for disk in probe.disks) if probe.disks else None
    if probe.container:
        yield Uncompared(host=host.key, what=DISKS, why="a container has no disks of its own")
    elif why := _no_size(intended, intended.disk, found):
        yield Uncompared(host=host.key, what=DISKS, why=why)
    elif found and intended.disk is not None:
        mega = round(found / _MEGA)
        if abs(mega - intended.disk) * 100 > DISK_PERCENT * mega:
            doubt = f"the sum of {intended.virtual_disks} virtual disks, which are corrected there"
            one = _differs(host, DISKS, f"{intended.disk} MB", f"{mega} MB", "disk", mega)
            told = f"{intended.disk} MB, {doubt}"
            yield replace(one, netbox=told, suggestion=None) if intended.virtual_disks else one


def _no_size(intended: Intended, given: float | None, found: int | None) -> str:
    if intended.device:
        return "NetBox has no such value for devices"
    if given is None:
        return _NO_VALUE if intended.record else "the inventory holds no sizes"
    return "" if found else _SILENT


def _addresses(host: Host, intended: Intended, probe: Probe) -> Found:
    primaries = [(field, one) for field, one in
                 (("address", intended.address4), ("address6", intended.address6)) if one]  # fmt: skip
    if probe.addresses is None or not primaries:
        why = _SILENT if primaries else "NetBox gives no primary address"
        yield Uncompared(host=host.key, what=ADDRESSES, why=why)
        return
    own = [ipaddress.ip_interface(text) for text in probe.addresses if _is_address(text)]
    for field, primary in primaries:
        wanted = ipaddress.ip_address(primary.address)
        if wanted not in [one.ip for one in own]:
            family = [one for one in own if one.version == wanted.version]
            found = ", ".join(str(one.ip) for one in family) or f"no IPv{wanted.version} address"
            yield _differs(host, ADDRESSES, primary.address, found, field, _right_one(host, family))


def _right_one(host: Host, own: list[ipaddress.IPv4Interface | ipaddress.IPv6Interface]) -> str:
    """The address at which we reached the host, or its only one; who has several may mean any of them."""
    reached = [one for one in own if str(one.ip) in (host.address, host.address6)]
    found = reached or own
    return str(found[0]) if len(found) == 1 else ""


def _services(host: Host, intended: Intended, probe: Probe) -> Found:
    """Only TCP: whether anybody answers on a UDP port cannot be told from the outside of the program."""
    named = {service.port: service.name for service in intended.services if service.protocol == "tcp"}
    others = sorted({f"{one.protocol}/{one.port}" for one in intended.services if one.protocol != "tcp"})
    if others:
        yield Uncompared(host=host.key, what=SERVICES, why=f"only TCP is compared, not {', '.join(others)}")
    if probe.listening is None:
        yield Uncompared(host=host.key, what=SERVICES, why=_SILENT)
        return
    heard = {port for address, port in probe.listening if not _only_local(address)}
    for port in sorted(named.keys() - heard):
        told, doubt = f"{named[port]} tcp/{port}", "nothing listens there; is it only down?"
        yield _differs(host, SERVICES, told, "nothing listens", "remove_services", told, doubt)
    for port in sorted(heard - named.keys() - {host.port} - _OURS):
        yield _differs(host, SERVICES, "", f"tcp/{port} listens", "add_services", f"tcp-{port} tcp/{port}")


def _differs(
    host: Host, what: str, netbox: str, found: str, field: str, value: str | int | None, doubt: str = ""
) -> Difference:
    """A difference; without a value, or with one that nobody may write, nothing is suggested."""
    said = value if value and corrections.allowed(field, value) else None
    suggestion = Suggestion(host=host.key, field=field, value=said, before=netbox, doubt=doubt) if said else None
    return Difference(host=host.key, what=what, netbox=netbox or "-", found=found, suggestion=suggestion)


def _only_local(text: str) -> bool:
    """Does nobody but the host itself get there?"""
    if not _is_address(text):
        return False
    address = ipaddress.ip_interface(text).ip
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return True
