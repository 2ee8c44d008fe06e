"""The control groups of one lab: what a host weighs, may use, and all the processes that belong to it.

Three shapes of machine: cgroup v1 (one tree a controller), hybrid (v1 and a v2 tree without controllers) and v2.
With --keep-unit systemd-nspawn stays in its caller's group, so each host gets a group of its own in every tree.
On v2 a group with processes cannot hand controllers to groups below it: there the supervisor sits in `watch` and
systemd-nspawn in `box`. Tried on hybrid machines; v2 is held by unit tests only.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from opsctl.errors import LabError

ROOT = Path("/sys/fs/cgroup")
_V1_TREES = ("systemd", "unified", "cpu", "cpuacct", "memory", "pids", "freezer", "devices", "blkio")
_V2_CONTROLLERS = ("cpu", "memory", "pids")
_V1_SHARES_MOST = 262_144
_PERIOD = 100_000


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The groups called `group` below `root` in each tree of the machine."""

    group: str
    root: Path = ROOT

    @property
    def unified(self) -> bool:
        """True on a machine with cgroup v2 alone."""
        return (self.root / "cgroup.controllers").exists()

    @property
    def trees(self) -> tuple[Path, ...]:
        if self.unified:
            return (self.root,)
        # cpu and cpuacct are often two names of one tree
        found = (self.root / name for name in _V1_TREES if (self.root / name / "cgroup.procs").exists())
        return tuple(dict.fromkeys(tree.resolve() for tree in found))

    def make(self, unit: str) -> None:
        """Makes the groups of one host, or of `build`."""
        for tree in self.trees:
            (tree / self.group / unit).mkdir(parents=True, exist_ok=True)
        if self.unified:
            for folder in (self.root, self.root / self.group, self.root / self.group / unit):
                self._hand_down(folder)
            for part in ("watch", "box"):
                (self.root / self.group / unit / part).mkdir(exist_ok=True)

    @staticmethod
    def _hand_down(folder: Path) -> None:
        have = (folder / "cgroup.controllers").read_text().split()
        words = " ".join(f"+{name}" for name in _V2_CONTROLLERS if name in have)
        (folder / "cgroup.subtree_control").write_text(words)

    def watch(self, unit: str) -> tuple[Path, ...]:
        """Where the supervisor of a unit lives."""
        return self._leaves(unit, "watch")

    def box(self, unit: str) -> tuple[Path, ...]:
        """Where what it starts lives."""
        return self._leaves(unit, "box")

    def _leaves(self, unit: str, part: str) -> tuple[Path, ...]:
        return tuple(tree / self.group / unit / (part if self.unified else "") for tree in self.trees)

    def weigh(self, hosts: int) -> None:
        """Lets the lab weigh as much as its hosts together, not as one process."""
        if self.unified:
            _write(self.root / self.group / "cpu.weight", str(min(100 * max(hosts, 1), 10_000)))
        elif (self.root / "cpu").is_dir():
            _write(self.root / "cpu" / self.group / "cpu.shares", str(min(1024 * max(hosts, 1), _V1_SHARES_MOST)))

    def limit_cpu(self, unit: str, share: float | None) -> None:
        """Leaves a unit `share` of one processor; None lifts the limit."""
        quota = None if share is None else max(int(share * _PERIOD), 1000)
        if self.unified:
            _write(self.root / self.group / unit / "cpu.max", f"{quota or 'max'} {_PERIOD}")
        else:
            _write(self.root / "cpu" / self.group / unit / "cpu.cfs_quota_us", str(quota or -1))

    def freeze(self, unit: str, *, frozen: bool) -> None:
        if self.unified:
            _write(self.root / self.group / unit / "cgroup.freeze", "1" if frozen else "0")
        else:
            state = "FROZEN" if frozen else "THAWED"
            _write(self.root / "freezer" / self.group / unit / "freezer.state", state)

    def memory(self, unit: str) -> int:
        """Bytes of memory that a unit uses now."""
        at = self.root / self.group / unit / "memory.current"
        if not self.unified:
            at = self.root / "memory" / self.group / unit / "memory.usage_in_bytes"
        with suppress(OSError, ValueError):
            return int(at.read_text())
        return 0

    def units(self) -> tuple[str, ...]:
        """Every unit that has a group in any tree."""
        found: set[str] = set()
        for tree in self.trees:
            with suppress(FileNotFoundError):
                found |= {entry.name for entry in os.scandir(tree / self.group) if entry.is_dir()}
        return tuple(sorted(found))

    def processes(self, unit: str = "", *, first_tree: bool = False) -> frozenset[int]:
        """The ids of all processes in a unit, or in the whole lab.

        A supervisor enters the first tree first: whoever asks often asks that one alone (a large lab has thousands
        of groups in all of them).
        """
        found: set[int] = set()
        for tree in self.trees[: 1 if first_tree else None]:
            for folder, _, _ in os.walk(tree / self.group / unit):
                with suppress(OSError):
                    found |= {int(word) for word in Path(folder, "cgroup.procs").read_text().split()}
        return frozenset(found - {0})

    def remove(self, *, patience: float = 10.0) -> None:
        """Removes every group of the lab; they must be empty of processes. Raises LabError with what would not go."""
        until = time.monotonic() + patience
        while left := [folder for tree in self.trees for folder in _remove(tree / self.group)]:
            if time.monotonic() > until:
                raise LabError(f"control groups that would not go: {', '.join(map(str, left))}")
            time.sleep(0.05)


def _remove(top: Path) -> list[Path]:
    left = []
    for folder, _, _ in os.walk(top, topdown=False):
        try:
            Path(folder).rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            left.append(Path(folder))
    return left


def _write(path: Path, value: str) -> None:
    try:
        path.write_text(value)
    except OSError as error:
        raise LabError(f"{path} cannot be set to {value}: {error.strerror}") from error
