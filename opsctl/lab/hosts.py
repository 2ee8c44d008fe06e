"""One host of a lab: its file system on a disk of fixed size, and its life as a systemd-nspawn container."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from opsctl.errors import LabError
from opsctl.lab import mounts
from opsctl.lab.cgroups import Groups
from opsctl.lab.command import run
from opsctl.lab.fleet import LabHost
from opsctl.lab.place import Place
from opsctl.lab.units import Unit, send

_FILLER = "var/tmp/opsctl-lab-filler"
_CLONE_NEWNET = 0x40000000
REBOOT = "133"  # how systemd-nspawn ends when the host wants to start again


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A host of the lab at `place`."""

    place: Place
    host: LabHost

    @property
    def unit(self) -> Unit:
        return Unit(lab=self.place.name, name=self.host.name)

    @property
    def groups(self) -> Groups:
        return Groups(group=self.place.group)

    @property
    def root(self) -> Path:
        return self.place.root(self.host.name)

    @property
    def veth(self) -> str:
        return self.place.veth(self.host.index)

    def mount(self, layers: Iterable[Path], size: str) -> None:
        """Puts the disk in place: a tmpfs of `size`, and above the layers an overlay that writes to it."""
        folder = self.place.host(self.host.name)
        mounts.tmpfs(folder, label=f"{self.place.group}-{self.host.name}", size=size)
        self.place.upper(self.host.name).mkdir()
        self.lay_over(layers)

    def lay_over(self, layers: Iterable[Path]) -> None:
        """Mounts the overlay of a host that is off, with a fresh work folder (one belongs to one mount)."""
        work = self.place.host(self.host.name) / "w"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        mounts.overlay(self.root, lower=layers, upper=self.place.upper(self.host.name), work=work)

    def stands(self) -> bool:
        """True while the host has its disk."""
        return self.root.is_mount()

    @property
    def filler(self) -> Path | None:
        """The file that can fill the disk, where this machine can reach it."""
        return self.root / _FILLER

    def save_disk(self, to: Path) -> None:
        """Copies what the host, which is off, has written into a folder that is not there yet."""
        _copy(self.place.upper(self.host.name), to)

    def load_disk(self, kept: Path, layers: Iterable[Path]) -> None:
        """Puts a disk that was saved back in; the host is off."""
        mounts.unmount_below(self.root)
        upper = self.place.upper(self.host.name)
        shutil.rmtree(upper, ignore_errors=True)
        _copy(kept, upper)
        self.lay_over(layers)

    def start(self) -> None:
        """Boots the host; returns before it is up."""
        if self.unit.runs():
            return
        self.groups.make(self.host.name)
        self.unit.start(self._command(), groups=self.groups, log=self.place.log(self.host.name), again=REBOOT)

    def _command(self) -> list[str]:
        return [
            "systemd-nspawn",
            f"--directory={self.root}",
            f"--machine={self.place.machine(self.host.index)}",
            f"--hostname={self.host.name}",
            f"--network-bridge={self.place.bridge}",
            "--register=no",
            "--keep-unit",
            "--link-journal=no",
            "--resolv-conf=off",
            "--timezone=off",
            "--settings=no",
            "--console=read-only",
            "--boot",
        ]

    def power_off(self, *, patience: float = 30.0) -> None:
        """Shuts the host down in good order."""
        pid = self.unit.nspawn()
        if pid is not None:
            send(pid, signal.SIGTERM, lambda number: number == self.unit.nspawn())
        wait(lambda: not self.unit.runs(), patience, f"{self.host.name} did not shut down")

    def cut_power(self, *, patience: float = 15.0) -> None:
        """Ends the host at once, as a power cut does."""
        pid = self.pid()
        if pid is not None:
            send(pid, signal.SIGKILL, lambda number: number == self.pid())
        wait(lambda: not self.unit.runs(), patience, f"{self.host.name} did not end")

    def pid(self) -> int | None:
        """The process of this machine whose end is the host's; None while it is off."""
        return self.unit.leader()

    def since(self) -> object:
        """Changes with each boot; None while the host is off."""
        return self.unit.leader()

    def enter(self, argv: Sequence[str], *, text: bool = False) -> list[str]:
        """The command line that runs `argv` in the host, which is on, as root; `text`: and reads its input."""
        return ["nsenter", "--all", "--wdns=/root", "--target", str(self.pid()), "--", *argv]

    def listening(self) -> frozenset[int]:
        """The TCP ports on which the host listens for others, seen from inside: firewalls do not count."""
        leader = self.unit.leader()
        return frozenset() if leader is None else _listening(Path("/proc", str(leader)))

    def up(self) -> bool:
        """True once the host lets people in and its services listen."""
        leader = self.unit.leader()
        if leader is None:
            return False
        proc = Path("/proc", str(leader))
        return self.wanted_ports() <= _listening(proc) and not _exists(proc / "root/run/nologin")

    def wanted_ports(self) -> frozenset[int]:
        """The ports on which the host listens once it is up."""
        return frozenset({22, *(service.port for service in self.host.services)})

    def answers(self, *, through: Machine | None = None, timeout: float = 1.0) -> bool:
        """True when sshd answers over the network: this machine's, or that of the jump host `through`."""
        if through is None:
            return self._answers(timeout)
        leader = through.unit.leader()
        if leader is None:
            return False
        # A namespace belongs to a thread: this one enters the jump host's and ends.
        with ThreadPoolExecutor(1, initializer=_enter_network, initargs=(leader,)) as thread, suppress(BrokenExecutor):
            return thread.submit(self._answers, timeout).result()
        return False

    def _answers(self, timeout: float) -> bool:
        try:
            with socket.create_connection((self.host.address, self.host.port), timeout) as connection:
                connection.settimeout(timeout)
                return connection.recv(32).startswith(b"SSH-")
        except OSError:
            return False


def _copy(source: Path, target: Path) -> None:
    # cp keeps what an overlay writes down in device nodes and trusted attributes: deletions, opaque folders
    run("cp", "--archive", "--no-target-directory", source, target)


def _enter_network(leader: int) -> None:
    handle = os.open(f"/proc/{leader}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # os.setns comes with Python 3.12
        if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(handle)


def _exists(path: Path) -> bool:
    with suppress(OSError):
        return os.path.lexists(path)
    return False


def _listening(proc: Path) -> frozenset[int]:
    found: set[int] = set()
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            found |= listening_in((proc / "net" / name).read_text().splitlines())
    return frozenset(found)


def listening_in(lines: Iterable[str]) -> frozenset[int]:
    """The ports of sockets that listen (state 0A), from lines of proc(5) net/tcp and net/tcp6."""
    rows = (line.split() for line in lines)
    return frozenset(int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == "0A")


def wait(condition: Callable[[], bool], patience: float, otherwise: str) -> None:
    """Waits until the condition holds; raises LabError after `patience` seconds."""
    until = time.monotonic() + patience
    while not condition():
        if time.monotonic() > until:
            raise LabError(f"{otherwise} within {patience:.0f} s")
        time.sleep(0.03)


def wait_until_up(machines: Iterable[Machine], *, patience: float) -> None:
    """Waits until all these hosts are up; raises LabError with those that are not."""
    left = list(machines)
    until = time.monotonic() + patience
    while left := [machine for machine in left if not machine.up()]:
        if time.monotonic() > until:
            names = ", ".join(f"{machine.host.name} (see {machine.place.log(machine.host.name)})" for machine in left)
            raise LabError(
                f"not up after {patience:.0f} s: {names}", hint=f"opsctl lab down --name {left[0].place.name}"
            )
        time.sleep(0.1)
