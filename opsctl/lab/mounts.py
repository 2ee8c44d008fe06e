"""Mounts, found by where they are: /proc/self/mountinfo is the only list that survives a crash."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from opsctl.errors import LabError
from opsctl.lab.command import run

_MOUNTINFO = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


def below(folder: Path, mountinfo: str | None = None) -> tuple[Path, ...]:
    """Every mount point at or below `folder`, innermost and newest first."""
    text = _MOUNTINFO.read_text() if mountinfo is None else mountinfo
    points = (Path(_unescape(line.split(" ")[4])) for line in text.splitlines())
    return tuple(point for point in reversed(list(points)) if point.is_relative_to(folder))


def _unescape(word: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), word)


def tmpfs(at: Path, *, label: str, size: str) -> None:
    at.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={size},mode=755", label, at)


def overlay(at: Path, *, lower: Iterable[Path], upper: Path, work: Path) -> None:
    """Mounts `lower` (topmost first, only read) with `upper` above it."""
    layers = ":".join(map(str, lower))
    at.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={layers},upperdir={upper},workdir={work}", at)


def unmount_below(folder: Path, *, patience: float = 10.0) -> None:
    """Unmounts everything at or below `folder`; raises LabError when something keeps a mount busy."""
    until = time.monotonic() + patience
    while points := below(folder):
        for point in points:
            run("umount", point, check=False)
        if not below(folder):
            return
        if time.monotonic() > until:
            raise LabError(f"still in use: {', '.join(map(str, points))}")
        time.sleep(0.05)


def remove_tree(folder: Path) -> None:
    """Removes a folder after its mounts; refuses while one is left, so that nothing behind a mount is ever removed."""
    unmount_below(folder)
    if folder.exists():
        shutil.rmtree(folder)
