"""NetBox against the hosts themselves: what it intends, what they say, what can be put right. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_interface

from opsctl.inventory.push import Intended
from opsctl.model.host import Host
from opsctl.monitor.probe import Probe

Cell = str | int | None
# NetBox holds round numbers; a kernel keeps some memory, a file system some disk for itself.
MEMORY_PERCENT, DISK_PERCENT = 10.0, 20.0
_MEGA = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that NetBox and the host tell differently; `field` and `value` would put NetBox right, if any."""

    host: str
    what: str
    netbox: str
    found: str
    field: str = ""
    value: Cell = None


def differences(host: Host, intended: Intended | None, probe: Probe) -> tuple[Difference, ...]:
    """What differs. A part that the host could not tell is no difference."""
    return (
        *_identity(host, intended, probe),
        *(_size(host, intended, probe) if intended else ()),
        *_addresses(host, probe),
        *_services(host, probe),
    )


def suggestions(found: tuple[Difference, ...]) -> dict[str, dict[str, Cell]]:
    """By host key, the values that would put NetBox right."""
    wanted: dict[str, dict[str, Cell]] = {}
    for one in found:
        if one.field:
            wanted.setdefault(one.host, {})[one.field] = one.value
    return wanted


def _identity(host: Host, intended: Intended | None, probe: Probe) -> Iterator[Difference]:
    short = probe.hostname.partition(".")[0].lower()
    if short and short != host.name:
        given = intended.name if intended else host.name
        yield Difference(host=host.key, what="name", netbox=given, found=probe.hostname)
    said = f"{probe.os_id}-{probe.os_version}".rstrip("-")
    if probe.os_id and said != host.platform:
        yield Difference(host=host.key, what="os_release", netbox=host.platform, found=said)


def _size(host: Host, intended: Intended, probe: Probe) -> Iterator[Difference]:
    if intended.vcpus is not None and probe.cpus is not None and intended.vcpus != probe.cpus:
        given = f"{intended.vcpus:g}"
        yield Difference(
            host=host.key, what="CPUs", netbox=given, found=str(probe.cpus), field="vcpus", value=probe.cpus
        )
    sizes = [
        ("memory", intended.memory, probe.memory.total if probe.memory else None, MEMORY_PERCENT),
        ("disk", intended.disk, _disk(probe), DISK_PERCENT),
    ]
    for what, given_mega, found, tolerance in sizes:
        if given_mega is None or not found:
            continue
        mega = round(found / _MEGA)
        if abs(mega - given_mega) * 100 > tolerance * given_mega:
            yield Difference(
                host=host.key, what=what, netbox=f"{given_mega} MB", found=f"{mega} MB", field=what, value=mega
            )


def _disk(probe: Probe) -> int | None:
    return sum(one.size for one in probe.filesystems) if probe.filesystems else None


def _addresses(host: Host, probe: Probe) -> Iterator[Difference]:
    if probe.addresses is None:
        return
    there = {str(ip_interface(text).ip) for text in probe.addresses if _is_address(text)}
    for address in filter(None, dict.fromkeys((host.address, host.address6))):
        if address not in there:
            found = ", ".join(sorted(there)) or "none"
            yield Difference(host=host.key, what="address", netbox=address, found=found)


def _is_address(text: str) -> bool:
    try:
        ip_interface(text)
    except ValueError:
        return False
    return True


def _services(host: Host, probe: Probe) -> Iterator[Difference]:
    """Only TCP: whether something answers on UDP cannot be seen in the kernel's tables of listeners."""
    if probe.listening is None:
        return
    open_ports = {port for address, port in probe.listening if not address.startswith(("127.", "::1"))}
    named: Mapping[int, str] = {service.port: service.name for service in host.services if service.protocol == "tcp"}
    for port in sorted(named.keys() - open_ports):
        yield Difference(host=host.key, what="service", netbox=f"{named[port]} tcp/{port}", found="nothing listens")
    for port in sorted(open_ports - named.keys() - {host.port}):
        yield Difference(host=host.key, what="service", netbox="-", found=f"tcp/{port} listens")
