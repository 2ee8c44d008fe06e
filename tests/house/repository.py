"""What the tests of the house look at: the repository's root, its files, its commands."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def run(
    *command: str | Path, cwd: Path = ROOT, timeout: float = 600, **environ: str
) -> subprocess.CompletedProcess[str]:
    """One command with the environment's own programs first; what it printed is in `stdout`."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"} | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )


@cache
def files() -> tuple[Path, ...]:
    """Every file of the repository: what git knows, and what it would take."""
    answer = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    assert answer.returncode == 0, answer.stdout
    return tuple(path for name in answer.stdout.split("\0") if name and (path := ROOT / name).is_file())


def python_files(*folders: str) -> tuple[Path, ...]:
    """The repository's Python files, all or those in these folders."""
    return tuple(
        path
        for path in files()
        if path.suffix == ".py" and (not folders or any(path.is_relative_to(ROOT / folder) for folder in folders))
    )


@cache
def imports(path: Path) -> frozenset[str]:
    """The full names of the modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return frozenset(found)


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))
