"""Faults that a lab can cause on a host, and remove again. Each is real: nothing on the host pretends.

link      the cable is pulled
disk      a file fills the disk to the last block
dpkg-lock a process on the host holds dpkg's front-end lock
ssh       sshd is stopped; sessions that stand go on
crash     the power is cut; the host stays off until it is mended
freeze    every process stands still: connections are taken, nothing answers
slow      the host gets a twentieth of one processor
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from opsctl.errors import LabError, Refused
from opsctl.lab import network
from opsctl.lab.hosts import Machine, wait_until_up

Inside = Callable[[Sequence[str]], object]
SLOW_SHARE = 0.05
_LOCK_UNIT = "opsctl-lab-dpkg-lock.service"
_LOCK = """\
import fcntl, os, signal, socket
lock = open("/var/lib/dpkg/lock-frontend", "r+b")
fcntl.lockf(lock, fcntl.LOCK_EX)
told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
told.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
signal.pause()
"""


def cause(machine: Machine, fault: str, inside: Inside) -> None:
    """Causes one fault; `inside` runs a program on the host. The fault is written down before it is caused."""
    if fault == "disk" and machine.filler is None:
        raise Refused(f"{machine.host.name} is a virtual machine: only a container's disk can be filled")
    record = machine.place.faults(machine.host.name) / fault
    record.parent.mkdir(parents=True, exist_ok=True)
    record.touch()
    FAULTS[fault](machine, inside)


def known(machine: Machine) -> tuple[str, ...]:
    """The faults of this host that are not mended yet."""
    with suppress(FileNotFoundError):
        return tuple(sorted(record.name for record in machine.place.faults(machine.host.name).iterdir()))
    return ()


def mend(machine: Machine, inside: Inside, *, patience: float = 60.0) -> None:
    """Removes every fault there can be, written down or not, and returns when the host is up."""
    _let_go(machine)
    if machine.filler:
        machine.filler.unlink(missing_ok=True)
    started = not machine.unit.runs()
    if started:
        machine.start()
        wait_until_up([machine], patience=patience)
    network.set_link(machine.veth, up=True)
    if not started:
        inside(["systemctl", "stop", _LOCK_UNIT])
        inside(["systemctl", "start", "ssh.service"])
        wait_until_up([machine], patience=patience)
    _strike_out(machine)


def forget(machine: Machine) -> None:
    """Removes what a fault did outside the host's disk, before the disk is replaced; and makes room on that disk.

    The kernel may remember an overlay's files for a while after it is unmounted, and their blocks with them.
    """
    _let_go(machine)
    with suppress(FileNotFoundError):
        if machine.filler:
            os.truncate(machine.filler, 0)
    _strike_out(machine)


def _let_go(machine: Machine) -> None:
    if machine.host.name in machine.groups.units():
        machine.groups.freeze(machine.host.name, frozen=False)
        machine.groups.limit_cpu(machine.host.name, None)


def _strike_out(machine: Machine) -> None:
    for fault in known(machine):
        (machine.place.faults(machine.host.name) / fault).unlink()


def _link(machine: Machine, _inside: Inside) -> None:
    network.set_link(machine.veth, up=False)


def _disk(machine: Machine, _inside: Inside) -> None:
    if machine.filler:
        fill(machine.filler)


def fill(path: Path, most: int = 1 << 40) -> None:
    """Fills a file system with one file, block by block at the end; `most` bytes at most."""
    with path.open("wb") as filler, suppress(OSError):
        size = 0
        for step in (1 << 26, 1 << 20, 1 << 12):
            with suppress(OSError):
                while size + step <= most:
                    os.posix_fallocate(filler.fileno(), size, step)
                    size += step


def _dpkg_lock(_machine: Machine, inside: Inside) -> None:
    words = ("systemd-run", "--quiet", "--collect", "--service-type=notify", f"--unit={_LOCK_UNIT}")
    inside([*words, "--property=TimeoutStartSec=30", "/usr/bin/python3", "-I", "-c", _LOCK])


def _ssh(_machine: Machine, inside: Inside) -> None:
    inside(["systemctl", "stop", "ssh.service", "ssh.socket"])


def _crash(machine: Machine, _inside: Inside) -> None:
    machine.cut_power()


def _freeze(machine: Machine, _inside: Inside) -> None:
    machine.groups.freeze(machine.host.name, frozen=True)


def _slow(machine: Machine, _inside: Inside) -> None:
    if not machine.unit.runs():
        raise LabError(f"{machine.host.name} is off")
    machine.groups.limit_cpu(machine.host.name, SLOW_SHARE)


FAULTS: dict[str, Callable[[Machine, Inside], None]] = {
    "link": _link,
    "disk": _disk,
    "dpkg-lock": _dpkg_lock,
    "ssh": _ssh,
    "crash": _crash,
    "freeze": _freeze,
    "slow": _slow,
}
