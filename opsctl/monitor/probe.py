"""The answer of `hostside/probe.py`, parsed at the border into values with units; nothing foreign passes unread.

Sizes are bytes, times seconds. A part that the host could not tell is None, and `faults` says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

_T = TypeVar("_T")
CONTAINERS = frozenset({"systemd-nspawn", "docker", "podman", "lxc", "lxc-libvirt", "openvz", "container-other"})
# What every answer has, if only as null: `hostside/probe.py` says why in `faults`.
PARTS = (
    "hostname", "os", "kernel", "architecture", "python", "boot_id", "uptime", "load", "cpus", "memory", "filesystems",
    "disks", "system_state", "failed_units", "units", "listening", "addresses", "virtualization", "reboot",
    "clock_synchronized", "exporter", "updates", "clock",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes. `installed`: with the kernel's own share; `limit`: of the control group. None: not known, no limit."""

    total: int
    available: int
    swap_total: int
    swap_free: int
    installed: int | None = None
    limit: int | None = None

    @property
    def used_percent(self) -> float:
        return _percent(self.total - self.available, self.total)


@dataclass(frozen=True, kw_only=True)
class Filesystem:
    """One mounted file system; `available` is what programs other than root's may still use."""

    mount: str
    type: str
    size: int
    available: int
    inodes: int
    inodes_free: int
    read_only: bool

    @property
    def used_percent(self) -> float:
        return _percent(self.size - self.available, self.size)

    @property
    def inodes_used_percent(self) -> float:
        return _percent(self.inodes - self.inodes_free, self.inodes)


@dataclass(frozen=True, kw_only=True)
class Disk:
    """One disk as the machine has it, whatever is on it; bytes."""

    name: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Updates:
    """Packages with a newer version, as apt's lists on the host say; `lists_at`: when these were fetched."""

    packages: tuple[str, ...]
    security: tuple[str, ...]
    lists_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The host's clock against ours: `offset` seconds ahead (+) or behind (-), at most `error` seconds wrong."""

    offset: float
    error: float
    synchronized: bool | None

    @property
    def surely_off(self) -> float:
        """Seconds by which it is off for certain, whatever the network did."""
        return max(0.0, abs(self.offset) - self.error)


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """The node exporter on its own host: `detail` says why it does not answer."""

    port: int
    answers: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class Probe:
    """All that one look told."""

    hostname: str = ""
    os_name: str = ""
    os_id: str = ""
    os_version: str = ""
    kernel: str = ""
    architecture: str = ""
    python: str = ""
    boot_id: str = ""
    virtualization: str = ""
    system_state: str = ""
    uptime: float | None = None
    cpus: int | None = None
    load: tuple[float, ...] | None = None
    memory: Memory | None = None
    filesystems: tuple[Filesystem, ...] | None = None
    disks: tuple[Disk, ...] | None = None
    failed_units: tuple[str, ...] | None = None
    units: Mapping[str, str] | None = None
    listening: tuple[tuple[str, int], ...] | None = None
    addresses: tuple[str, ...] | None = None
    reboot_required: bool | None = None
    reboot_packages: tuple[str, ...] = ()
    updates: Updates | None = None
    clock: Clock | None = None
    exporter: Exporter | None = None
    faults: tuple[str, ...] = ()

    @property
    def container(self) -> bool:
        """A container shares its machine's kernel and clock."""
        return self.virtualization in CONTAINERS


def parse(document: object, *, asked: float | None = None, answered: float | None = None) -> Probe:
    """A probe from the script's answer. `asked` and `answered` are our clock's seconds around it (for the offset).

    What is not of the expected shape becomes a fault of its part, never an exception.
    """
    given = document if isinstance(document, dict) else {}
    said = given.get("faults")
    faults = [_line(f"{name}: {why}", 300) for name, why in said.items()] if isinstance(said, dict) else []

    def part(name: str, read: Callable[[object], _T]) -> _T | None:
        if given.get(name) is None:
            return None
        try:
            return read(given[name])
        except (ValueError, TypeError, KeyError, OverflowError, OSError):
            faults.append(f"{name}: not understood")
            return None

    system = part("os", _mapping) or {}
    reboot = part("reboot", _reboot)
    synchronized = part("clock_synchronized", _flag)
    probe = Probe(
        hostname=part("hostname", _text) or "",
        os_name=_line(str(system.get("name", "")), 200),
        os_id=_line(str(system.get("id", "")), 50),
        os_version=_line(str(system.get("version", "")), 50),
        kernel=part("kernel", _text) or "",
        architecture=part("architecture", _text) or "",
        python=part("python", _text) or "",
        boot_id=part("boot_id", _text) or "",
        virtualization=part("virtualization", _text) or "",
        system_state=part("system_state", _text) or "",
        uptime=part("uptime", _number),
        cpus=part("cpus", _count),
        load=part("load", _load),
        memory=part("memory", _memory),
        filesystems=part("filesystems", lambda value: tuple(_filesystem(one) for one in _list(value))),
        disks=part("disks", lambda value: tuple(_disk(one) for one in _list(value))),
        failed_units=part("failed_units", _texts),
        units=part("units", _units),
        listening=part("listening", lambda value: tuple(_socket(one) for one in _list(value))),
        addresses=part("addresses", _texts),
        reboot_required=None if reboot is None else reboot[0],
        reboot_packages=() if reboot is None else reboot[1],
        updates=part("updates", _updates),
        clock=part("clock", lambda value: _clock(value, asked, answered, synchronized=synchronized)),
        exporter=part("exporter", _exporter),
    )
    return replace(probe, faults=tuple(faults))


def document(probe: Probe) -> dict[str, object]:
    """The JSON form of a probe: what the store remembers and `--output json` shows; `parse` reads it back."""
    return {
        "hostname": probe.hostname,
        "os": {"name": probe.os_name, "id": probe.os_id, "version": probe.os_version},
        "kernel": probe.kernel,
        "architecture": probe.architecture,
        "python": probe.python,
        "boot_id": probe.boot_id,
        "virtualization": probe.virtualization or None,
        "system_state": probe.system_state,
        "uptime": probe.uptime,
        "cpus": probe.cpus,
        "load": None if probe.load is None else list(probe.load),
        "memory": None if probe.memory is None else vars(probe.memory),
        "filesystems": None if probe.filesystems is None else [vars(one) for one in probe.filesystems],
        "disks": None if probe.disks is None else [vars(one) for one in probe.disks],
        "failed_units": None if probe.failed_units is None else list(probe.failed_units),
        "units": None if probe.units is None else dict(probe.units),
        "listening": None if probe.listening is None else [list(one) for one in probe.listening],
        "addresses": None if probe.addresses is None else list(probe.addresses),
        "reboot": None
        if probe.reboot_required is None
        else {"required": probe.reboot_required, "packages": list(probe.reboot_packages)},
        "updates": None
        if probe.updates is None
        else {
            "packages": list(probe.updates.packages),
            "security": list(probe.updates.security),
            "lists_at": probe.updates.lists_at.timestamp() if probe.updates.lists_at else None,
        },
        "clock": None if probe.clock is None else {"offset": probe.clock.offset, "error": probe.clock.error},
        "clock_synchronized": None if probe.clock is None else probe.clock.synchronized,
        "exporter": None if probe.exporter is None else vars(probe.exporter),
        "faults": {name: why for name, _, why in (fault.partition(": ") for fault in probe.faults)},
    }


def _percent(part: float, whole: float) -> float:
    return 100.0 * part / whole if whole > 0 else 0.0


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("not a mapping")
    return {str(name): one for name, one in value.items()}


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return _line(value, 500)


def _line(text: str, longest: int) -> str:
    """One line: a host must not write lines about other hosts into our listings."""
    return " ".join(text[:longest].splitlines())


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_text(one) for one in _list(value))


def _units(value: object) -> dict[str, str]:
    return {_line(name, 200): _line(str(state), 200) for name, state in _mapping(value).items()}


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not a flag")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError("not a number")
    return float(value)


def _count(value: object) -> int:
    number = _number(value)
    if number < 0 or number != int(number):
        raise ValueError("not a count")
    return int(number)


def _load(value: object) -> tuple[float, float, float]:
    one, five, fifteen = (_number(part) for part in _list(value))
    return one, five, fifteen


def _memory(value: object) -> Memory:
    given = _mapping(value)
    return Memory(
        total=_count(given["total"]),
        available=_count(given["available"]),
        swap_total=_count(given["swap_total"]),
        swap_free=_count(given["swap_free"]),
        installed=_perhaps(given.get("installed")),
        limit=_perhaps(given.get("limit")),
    )


def _perhaps(value: object) -> int | None:
    return None if value is None else _count(value)


def _disk(value: object) -> Disk:
    given = _mapping(value)
    return Disk(name=_text(given["name"]), size=_count(given["size"]))


def _filesystem(value: object) -> Filesystem:
    given = _mapping(value)
    return Filesystem(
        mount=_text(given["mount"]),
        type=_text(given["type"]),
        size=_count(given["size"]),
        available=_count(given["available"]),
        inodes=_count(given["inodes"]),
        inodes_free=_count(given["inodes_free"]),
        read_only=_flag(given["read_only"]),
    )


def _socket(value: object) -> tuple[str, int]:
    address, port = _list(value)
    if not 1 <= (number := _count(port)) <= 65535:
        raise ValueError("not a port")
    return _text(address), number


def _reboot(value: object) -> tuple[bool, tuple[str, ...]]:
    given = _mapping(value)
    return _flag(given["required"]), _texts(given["packages"])


def _updates(value: object) -> Updates:
    given = _mapping(value)
    at = given.get("lists_at")
    return Updates(
        packages=_texts(given["packages"]),
        security=_texts(given["security"]),
        lists_at=None if at is None else datetime.fromtimestamp(_number(at), UTC),
    )


def _clock(value: object, asked: float | None, answered: float | None, *, synchronized: bool | None) -> Clock | None:
    """The offset as NTP reckons it from four time stamps (RFC 5905, section 8)."""
    given = _mapping(value)
    if "offset" in given:
        return Clock(offset=_number(given["offset"]), error=_number(given["error"]), synchronized=synchronized)
    if asked is None or answered is None:
        return None
    began, ended = _number(given["began"]), _number(given["ended"])
    return Clock(
        offset=((began - asked) + (ended - answered)) / 2,
        error=max(0.0, ((answered - asked) - (ended - began)) / 2),
        synchronized=synchronized,
    )


def _exporter(value: object) -> Exporter:
    given = _mapping(value)
    return Exporter(port=_count(given["port"]), answers=_flag(given["answers"]), detail=_text(given["detail"]))
