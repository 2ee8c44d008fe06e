"""A lab with a workspace of its own, made and driven through the command line alone, as a person does it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from opsctl import lab
from opsctl.lab import Fleet
from tests.integration.owned import lab_name


@dataclass
class Site:
    """The lab's hosts from inside, and the command line of whoever runs them."""

    fleet: Fleet
    workspace: Path

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "opsctl", "-C", str(self.workspace), *words]

    def run(self, *words: str, code: int | None = 0, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        """One command; `code`: how it must end, None: in whatever way."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False, timeout=seconds)
        ended = f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert code is None or done.returncode == code, ended
        return done

    def opsctl(self, *words: str, code: int = 0) -> str:
        """All that a command says."""
        done = self.run(*words, code=code)
        return done.stdout + done.stderr

    def answer(self, *words: str, code: int = 0) -> dict[str, Any]:
        """What a command tells a program."""
        found = json.loads(self.run(*words, "--output", "json", code=code).stdout)
        assert isinstance(found, dict)
        return found

    def inside(self, host: str, command: str) -> str:
        done = lab.execute(self.fleet.name, host, ["sh", "-c", command])
        assert done.returncode == 0, f"{host}: {command}: {done.stderr}"
        return done.stdout.strip()

    def approve(self) -> None:
        """Trust every host by the fingerprints that its owner handed over."""
        self.opsctl("host", "approve", "--all", "--fingerprints", str(self.fleet.fingerprints_file), "--yes")


_Kind = TypeVar("_Kind", bound=Site)


@contextmanager
def handed_over(
    folder: Path, plan: Fleet, kind: type[_Kind], *, described: Callable[[Path], object] = lambda inventories: None
) -> Iterator[_Kind]:
    """A lab of this fleet with a workspace of it: synced, every host trusted. `described`: edits its inventories first.

    Everything is taken down again.
    """
    name = lab_name()
    fleet = lab.up(name, plan)
    try:
        site = kind(fleet=fleet, workspace=folder / "workspace")
        subprocess.run([sys.executable, "-m", "opsctl", "init", str(site.workspace), "--lab", name], check=True)
        described(site.workspace / "inventories")
        site.opsctl("inventory", "sync", "--yes")
        site.approve()
        yield site
    finally:
        lab.down(name)
