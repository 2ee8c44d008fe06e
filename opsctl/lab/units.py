"""The running parts of a lab: a supervisor for each host and for the archive's server, found by name in /proc.

A process id alone says nothing: it may belong to another process by now. So processes are looked up when they are
needed, in the lab's control groups and by the words they were started with, and are signalled through a pidfd that
was opened before they were looked at a second time. Only the end of a lab looks through all processes of the machine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from opsctl.errors import LabError
from opsctl.lab.cgroups import Groups
from opsctl.lab.command import clean_environment
from opsctl.lab.place import Place

MARK = "opsctl-lab"
SCRIPT = Path(__file__).with_name("supervise.sh")
PROC = Path("/proc")
_DETACHED = ("setsid", "--fork")
_PATIENCE = 20.0


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One supervised part of the lab `lab`: a host's name, or `@mirror`."""

    lab: str
    name: str

    def fits(self, pid: int, proc: Path = PROC) -> bool:
        """True when this process is the unit's supervisor."""
        return _supervises(pid, proc) == (self.lab, self.name)

    def start(self, command: Sequence[str], *, groups: Groups, log: Path, again: str) -> None:
        """Starts the supervisor in a session of its own and as nobody's child, so that it outlives its starter.

        Returns when it has entered its control groups, which is where it is found from then on.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        extra = {
            "LAB_WATCH": " ".join(map(str, groups.watch(self.name))),
            "LAB_BOX": " ".join(map(str, groups.box(self.name))),
            "LAB_AGAIN": again,
        }
        with log.open("ab") as output:
            subprocess.run(
                [*_DETACHED, "/bin/sh", str(SCRIPT), MARK, self.lab, self.name, *command],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=clean_environment() | extra,
            )
        until = time.monotonic() + _PATIENCE
        while not self.runs():
            if time.monotonic() > until:
                raise LabError(f"{self.name} did not start: see {log}")
            time.sleep(0.005)

    def supervisor(self) -> int | None:
        return next(iter(self.supervisors()), None)

    def supervisors(self) -> tuple[int, ...]:
        """Every supervisor of this unit; more than one only for a moment after a crash."""
        group = Groups(group=Place(name=self.lab).group).watch(self.name)[0]
        try:
            pids = [int(word) for word in (group / "cgroup.procs").read_text().split()]
        except OSError:
            return ()
        return tuple(pid for pid in pids if self.fits(pid))

    def runs(self) -> bool:
        return self.supervisor() is not None

    def leader(self) -> int | None:
        """The host's own PID 1 as this machine sees it: the child of systemd-nspawn that calls itself 1."""
        for outer in self.supervisors():
            for nspawn in _children(outer):
                for inner in _children(nspawn):
                    if _pid_inside(inner) == 1:
                        return inner
        return None

    def nspawn(self) -> int | None:
        return self.child("systemd-nspawn")

    def child(self, comm: str) -> int | None:
        """What the supervisor runs, once it is the program that is meant."""
        for outer in self.supervisors():
            for inner in _children(outer):
                if _comm(inner) == comm:
                    return inner
        return None


def supervisors_of(lab: str) -> tuple[int, ...]:
    """The supervisors of every unit of a lab."""
    return tuple(pid for pid in _pids() if _is_of(pid, lab))


def _is_of(pid: int, lab: str) -> bool:
    found = _supervises(pid, PROC)
    return found is not None and found[0] == lab


def _supervises(pid: int, proc: Path) -> tuple[str, str] | None:
    """Lab and unit of which a process is the supervisor, or is just about to be; None for any other process."""
    words = _words(pid, proc)
    if words[: len(_DETACHED)] == list(_DETACHED):
        words = words[len(_DETACHED) :]
    if len(words) > 4 and words[0] == "/bin/sh" and Path(words[1]).name == SCRIPT.name and words[2] == MARK:
        return words[3], words[4]
    return None


def send(pid: int, number: signal.Signals, still: Callable[[int], bool]) -> bool:
    """Signals a process that, once its pidfd is open, is `still` the right one; False when it is gone."""
    with _pidfd(pid) as handle:
        if handle is None or not still(pid):
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
            return True
    return False


@contextmanager
def _pidfd(pid: int) -> Iterator[int | None]:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def end_all(lab: str, groups: Groups, *, patience: float = 60.0) -> None:
    """Kills every process of a lab: the supervisors first, so that nothing starts again; or raises LabError."""

    def left() -> frozenset[int]:
        for pid in supervisors_of(lab):
            send(pid, signal.SIGKILL, lambda number: _is_of(number, lab))
        return groups.processes(first_tree=True) or groups.processes() or frozenset(supervisors_of(lab))

    _kill(left, groups, patience)


def end_unit(groups: Groups, unit: str, *, patience: float = 30.0) -> None:
    """Kills every process in one unit's control group; raises LabError after a while."""
    _kill(lambda: groups.processes(unit), groups, patience)


def _kill(left: Callable[[], frozenset[int]], groups: Groups, patience: float) -> None:
    until = time.monotonic() + patience
    while pids := left():
        for pid in pids:
            send(pid, signal.SIGKILL, lambda number: _is_in(number, groups.group))
        if time.monotonic() > until:
            raise LabError(f"{len(pids)} processes of {groups.group} would not end, {min(pids)} among them")
        time.sleep(0.02)


def _is_in(pid: int, group: str) -> bool:
    """True for a process of the control group, in whichever tree."""
    try:
        lines = (PROC / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return False
    return any(f"{line.split(':', 2)[2]}/".startswith(f"/{group}/") for line in lines)


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def _words(pid: int, proc: Path) -> list[str]:
    try:
        return (proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _comm(pid: int) -> str:
    try:
        return (PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in (PROC / str(pid) / "task" / str(pid) / "children").read_text().split()]
    except OSError:
        return []


def _pid_inside(pid: int) -> int:
    """The id that a process has in the innermost namespace that it is in (0: gone, or in this machine's alone)."""
    try:
        status = (PROC / str(pid) / "status").read_text()
    except OSError:
        return 0
    words = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return int(words[-1]) if len(words) > 1 else 0
