"""How long commands take: ours and the other way in turn, shown side by side."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
OPSCTL = str(BIN / "opsctl")
# Python compiles a module once and keeps it, unless it is told not to; nobody's everyday runs without.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
HEAD = ["what", "wall s", "cpu s", "instead", "wall s", "cpu s", "wall ratio", "cpu ratio"]


@dataclass(frozen=True, kw_only=True)
class Took:
    """Wall and CPU seconds of one command and its children, and the most memory that one of them held, in MiB."""

    wall: float
    cpu: float
    memory: float
    code: int


def timed(
    command: Sequence[str], *, cwd: Path, accepted: Sequence[int] = (0,), env: dict[str, str] | None = None
) -> Took:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        began = time.monotonic()
        child = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(child.pid, 0)
        wall, child.returncode = time.monotonic() - began, os.waitstatus_to_exitcode(status)
        if child.returncode not in accepted:
            said.seek(0)
            sys.exit(f"{' '.join(command)} ended with {child.returncode}:\n{said.read()[-4000:]}")
    return Took(wall=wall, cpu=used.ru_utime + used.ru_stime, memory=used.ru_maxrss / 1024, code=child.returncode)


def together(parts: Sequence[Took]) -> Took:
    """Commands that ran one after another, as one."""
    return Took(
        wall=sum(one.wall for one in parts),
        cpu=sum(one.cpu for one in parts),
        memory=max(one.memory for one in parts),
        code=max(one.code for one in parts),
    )


def show(title: str, rows: Sequence[Sequence[object]]) -> None:
    print(f"\n{title}")
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(f"{value!s:<{width}}" for value, width in zip(row, widths, strict=True)).rstrip())


def pairwise(ours: Callable[[], Took], theirs: Callable[[], Took], runs: int) -> tuple[list[Took], list[Took]]:
    """Ours and theirs in turn, after one of each that does not count: a slow minute of the machine hits both."""
    ours(), theirs()
    both = [(ours(), theirs()) for _ in range(runs)]
    return [one for one, _ in both], [other for _, other in both]


def compared(name: str, ours: Sequence[Took], instead: str, theirs: Sequence[Took]) -> list[object]:
    wall = statistics.median(a.wall / b.wall for a, b in zip(ours, theirs, strict=True))
    cpu = statistics.median(a.cpu / b.cpu for a, b in zip(ours, theirs, strict=True))
    return [name, seconds(ours, "wall"), seconds(ours, "cpu"), instead, seconds(theirs, "wall"), seconds(theirs, "cpu"),
            f"{wall:.2f}", f"{cpu:.2f}"]  # fmt: skip


def seconds(runs: Sequence[Took], figure: str) -> str:
    return f"{statistics.median(getattr(run, figure) for run in runs):.2f}"


def answer(command: Sequence[str], cwd: Path) -> str:
    """What a command prints."""
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout
