"""What takes minutes to make for a real NetBox, made once and kept in the cache, outside of the clone."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests import trixie

USUAL = "4.7.3"
VERSION = os.environ.get("OPSCTL_NETBOX_VERSION", USUAL)
Tell = Callable[[str], None]


def quiet(text: str) -> None:
    """Tells nobody."""


class Impossible(Exception):
    """No NetBox can run here; the message says what is missing."""


def cache() -> Path:
    base = Path("/var/cache" if os.geteuid() == 0 else os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    # Another version than the usual one has a folder of its own: neither throws away what took the other minutes.
    found = base / ("opsctl-netbox" if VERSION == USUAL else f"opsctl-netbox-{VERSION}")
    found.mkdir(parents=True, exist_ok=True)
    return found


@contextmanager
def alone(tell: Tell) -> Iterator[None]:
    with (cache() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("another start fills the cache: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def key_of(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def environment(name: str, *packages: str, tell: Tell = quiet) -> Path:
    """A virtual environment in the cache, for making one takes minutes; its name alone decides whether it is there."""
    python = _python()
    folder = cache() / f"{name}-{key_of(str(python.resolve())) if python else 'trixie'}"
    with alone(tell):
        if not (folder / ".ready").exists():
            whose = python or "Debian trixie's Python, which is fetched"
            tell(f"{' '.join(packages)} is installed with {whose}: this once, in about two minutes")
            shutil.rmtree(folder, ignore_errors=True)
            if python:
                well([str(python), "-m", "venv", str(folder)])
                well([str(folder / "bin/pip"), "install", "--quiet", *packages], timeout=1200)
            else:
                _from_trixie(folder, packages)
            (folder / ".ready").touch()
    return folder


def _from_trixie(folder: Path, packages: Sequence[str]) -> None:
    try:
        trixie.environment(folder, packages, cache=cache())
    except trixie.Impossible as reason:
        raise Impossible(f"no Python 3.12 or newer on the PATH or in pyenv, and {reason}") from reason


def _python() -> Path | None:
    """A Python that NetBox runs on (3.12 or newer): on the PATH, or one that pyenv keeps; else there is trixie's."""
    if os.environ.get("OPSCTL_NETBOX_PYTHON") == "trixie":
        return None
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    wanted = "import sys, ensurepip; sys.exit(sys.version_info < (3, 12))"
    candidates = [Path(sys.executable)] if sys.version_info >= (3, 12) else []
    for version in ("3.13", "3.12", "3.14"):
        candidates += sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)
        if (named := shutil.which(f"python{version}")) and "shims" not in named:
            candidates.append(Path(named))
    return next((p for p in candidates if not subprocess.run([p, "-c", wanted], capture_output=True).returncode), None)


def well(words: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 120) -> str:
    answer = subprocess.run(
        words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False, cwd="/"
    )
    if answer.returncode:
        said = re.sub(r"\s+", " ", answer.stdout[-500:] + answer.stderr[-1500:])
        raise Impossible(f"{Path(words[0]).name} {words[1] if len(words) > 1 else ''}: {said}")
    return answer.stdout
