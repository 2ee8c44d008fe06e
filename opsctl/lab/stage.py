"""Labs that a process makes for itself and takes down again: named so that everybody can tell whether it still lives.

The name holds the process's id and the moment at which it began (proc(5), stat, field 22), so a later process with the
same id is not taken for it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from opsctl.lab import machine
from opsctl.lab.place import RUN


def name(kind: str) -> str:
    """The name of this process's own lab of a kind."""
    return f"{kind}-{os.getpid()}-{_began(os.getpid()):x}"


def orphans(kind: str, *, run: Path = RUN) -> tuple[str, ...]:
    """The labs of a kind whose process is gone."""
    form = re.compile(rf"{re.escape(kind)}-(\d+)-([0-9a-f]+)")
    found = ((lab, form.fullmatch(lab)) for lab in sorted(machine.labs(run)))
    return tuple(lab for lab, told in found if told and _began(int(told[1])) != int(told[2], 16))


def _began(pid: int) -> int:
    """When a process began, in clock ticks since the boot; -1 where there is none of this id."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return -1
    return int(stat.rpartition(")")[2].split()[19])  # the name in brackets may hold anything
