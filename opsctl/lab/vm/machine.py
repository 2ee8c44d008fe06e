"""One virtual machine of a lab: its disk, made from the same base as a container's, and its life as a QEMU process.

    hosts/NAME/disk.ext4     how it was found: never written to
              /disk.qcow2    what it has written since; a snapshot is a copy of this file
              /kernel, initrd, agent

Its file system is put together as a container's is, an overlay over the base, and then copied into the disk.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from opsctl.lab import mounts, network
from opsctl.lab.command import run
from opsctl.lab.hosts import Machine, listening_in, wait
from opsctl.lab.vm import guest, qemu, recipe
from opsctl.lab.vm.base import MachineBase

_QUESTION = ("sh", "-c", "cat /proc/net/tcp /proc/net/tcp6; cat /proc/sys/kernel/random/boot_id; ls /run/nologin")
_BOOT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ROOM = "4g"  # of the memory in which the disk lies; as much as is written, not more, is taken


@dataclass(frozen=True, kw_only=True)
class VirtualMachine(Machine):
    """A host of the lab with a kernel of its own."""

    @property
    def _folder(self) -> Path:
        return self.place.host(self.host.name)

    @property
    def _disk(self) -> Path:
        return self._folder / "disk.qcow2"

    @property
    def _as_found(self) -> Path:
        return self._folder / "disk.ext4"

    @property
    def _agent(self) -> Path:
        return self._folder / "agent"

    def mount(self, layers: Iterable[Path], size: str) -> None:
        """Puts the file system together, in room enough for its disk; the disk itself is of one size."""
        super().mount(layers, _ROOM)

    def make_disk(self, base: MachineBase) -> None:
        """Copies the file system that was put together into a disk, and takes it apart."""
        self.groups.make(self.host.name)
        box = self.groups.box(self.host.name)
        run("mke2fs", "-q", "-t", "ext4", "-d", self.root, self._as_found, recipe.DISK, groups=box)
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", self._as_found, self._disk, groups=box)
        for file in (base.kernel, base.initrd):
            shutil.copyfile(file, self._folder / file.name)
        mounts.unmount_below(self.root)
        for left in (self.root, self.place.upper(self.host.name), self._folder / "w"):
            shutil.rmtree(left)

    @property
    def filler(self) -> Path | None:
        return None

    def stands(self) -> bool:
        return self._disk.exists()

    def save_disk(self, to: Path) -> None:
        to.mkdir()
        run("cp", "--sparse=always", self._disk, to / self._disk.name)

    def load_disk(self, kept: Path, layers: Iterable[Path]) -> None:
        run("cp", "--sparse=always", kept / self._disk.name, self._disk)

    def start(self) -> None:
        """Switches the machine on; returns before it is up."""
        if not self.unit.runs():
            network.make_tap(self.veth, self.place.bridge)
        super().start()

    def _command(self) -> list[str]:
        parts = qemu.Parts(
            name=self.place.machine(self.host.index),
            kernel=self._folder / "kernel",
            initrd=self._folder / "initrd",
            disk=self._disk,
            link=self.veth,
            hardware_address=qemu.hardware_address(self.place.code, self.host.index),
            agent=self._agent,
            memory=recipe.MEMORY,
        )
        return qemu.command(parts)

    def power_off(self, *, patience: float = 120.0) -> None:
        if self.pid() is not None:
            with suppress(guest.NoAnswer):
                guest.run(str(self._agent), ["systemctl", "--no-block", "poweroff"])
        wait(lambda: not self.unit.runs(), patience, f"{self.host.name} did not shut down")

    def pid(self) -> int | None:
        """QEMU's process."""
        return self.unit.child(qemu.COMM)

    def since(self) -> object:
        return self._told()[1] or None

    def enter(self, argv: Sequence[str], *, text: bool = False) -> list[str]:
        words = ("--input",) if text else ()
        return [sys.executable, "-I", guest.__file__, *words, str(self._agent), "--", *argv]

    def listening(self) -> frozenset[int]:
        return self._told()[0]

    def up(self) -> bool:
        ports, boot, open_ = self._told()
        return bool(boot) and open_ and self.wanted_ports() <= ports

    def _told(self) -> tuple[frozenset[int], str, bool]:
        """What the machine says of itself: ports on which it listens, its boot's id, whether it lets people in."""
        if self.pid() is None:
            return frozenset(), "", False
        try:
            lines = guest.run(str(self._agent), _QUESTION, silence=5.0).output.decode().splitlines()
        except guest.NoAnswer:
            return frozenset(), "", False
        boot = next((line for line in lines if _BOOT_ID.fullmatch(line)), "")
        return listening_in(lines), boot, "/run/nologin" not in lines
