"""A control node beside the lab: in life a machine of its own, here it shares the processors with all of its hosts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from opsctl.lab.cgroups import Groups
from tests.bench.lab import NAME


@contextmanager
def as_heavy_as(hosts: int) -> Iterator[None]:
    """This process, and what it starts, weighs as much as so many hosts together.

    A lab's hosts do, and one process would weigh as much as one of them: it would stand in line behind all of them.
    """
    groups = Groups(group=f"opsctl-bench-{NAME}")
    tree = groups.root if groups.unified else (groups.root / "cpu").resolve()
    before = tree / _own_group(unified=groups.unified)
    try:
        groups.make("control")
        groups.weigh(hosts)
        _enter(next(box for box in groups.box("control") if box.is_relative_to(tree)), os.getpid())
        yield
    finally:
        # Shared connections outlive the command that opened them.
        for process in groups.processes("control"):
            with suppress(ProcessLookupError):
                _enter(before, process)
        groups.remove()


def _own_group(*, unified: bool) -> str:
    """Where this process is in the tree of the processors (cgroups(7), /proc/self/cgroup)."""
    for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
        number, names, place = line.split(":", 2)
        if (number == "0") if unified else ("cpu" in names.split(",")):
            return place.lstrip("/")
    return ""


def _enter(group: Path, process: int) -> None:
    (group / "cgroup.procs").write_text(str(process), encoding="ascii")
