"""A Python 3.13 with all dependencies: this machine's own where it has one, else Debian trixie's in a root file system.

Made once and kept in the cache, one for each content of the lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker

from tests import trixie
from tests.house.repository import ROOT, run

VERSION = "3.13"
LOCK = ROOT / "requirements/dev.txt"
INSIDE = Path("/srv/opsctl")
# The repository stays as it is: nothing is written into it.
EXAMPLES = "/tmp/hypothesis-python313"


class Impossible(Exception):
    """There is no Python 3.13 here, and none can be made."""


@dataclass(frozen=True, kw_only=True)
class Python:
    """An interpreter with the dependencies; `root` is the file system that it needs around it, if any."""

    interpreter: Path
    root: Path | None = None

    def pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run pytest on the repository; nothing in it is written."""
        words = (str(self.interpreter), "-B", "-m", "pytest", "-p", "no:cacheprovider", *arguments)
        if self.root is None:
            return run(*words, timeout=850, PYTHONPATH=str(ROOT), HYPOTHESIS_STORAGE_DIRECTORY=EXAMPLES)
        return _inside(self.root, *words, bind=f"{ROOT}:{INSIDE}", timeout=850)


def python() -> Python:
    """The interpreter, made where it is missing. Raises Impossible."""
    cache = _cache()
    key = hashlib.sha256(LOCK.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:16]
    with _alone(cache):
        own = _own_interpreter()
        folder = cache / f"{'own' if own else 'trixie'}-{key}"
        if not (folder / ".ready").exists():
            for old in cache.glob(f"{folder.name.partition('-')[0]}-*"):
                shutil.rmtree(old)
            folder.mkdir()
            if own:
                _install(own, folder)
            else:
                _bootstrap(folder)
            (folder / ".ready").touch()
    if own:
        return Python(interpreter=folder / "venv/bin/python")
    return Python(interpreter=Path("/venv/bin/python"), root=folder / "root")


def _cache() -> Path:
    base = Path(
        "/var/cache/opsctl-lab" if os.geteuid() == 0 else os.environ.get("XDG_CACHE_HOME", "~/.cache/opsctl-lab")
    )
    cache = base.expanduser() / "python313"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _own_interpreter() -> Path | None:
    """Python 3.13 on the PATH, or one that pyenv keeps; a pyenv shim without a version behind it does not count."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    named = shutil.which(f"python{VERSION}")
    candidates = [*([Path(named)] if named else []), *sorted(pyenv.glob(f"{VERSION}.*/bin/python"), reverse=True)]
    wanted = f"import sys, ensurepip, sqlite3; sys.exit(sys.version_info[:2] != ({VERSION.replace('.', ', ')}))"
    if os.environ.get("OPSCTL_PYTHON313") == "trixie":
        return None
    return next((found for found in candidates if run(found, "-c", wanted).returncode == 0), None)


def _install(interpreter: Path, folder: Path) -> None:
    _well(run(interpreter, "-m", "venv", folder / "venv"))
    pip = (folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps")
    _well(run(*pip, "-r", LOCK, timeout=800))


def _bootstrap(folder: Path) -> None:
    """Debian trixie's Python in a root file system; the wheels are fetched outside, as this machine's pip is set up."""
    if not shutil.which("systemd-nspawn"):
        raise Impossible(f"no Python {VERSION} here; to use Debian trixie's takes systemd-container")
    root = folder / "root"
    try:
        trixie.bootstrap(root, ("python3-venv", "openssh-client", "git"))
    except trixie.Impossible as reason:
        raise Impossible(f"no Python {VERSION} here; {reason}") from reason
    lock = root / "lock.txt"
    lock.write_text(_for_this_version(LOCK.read_text(encoding="utf-8")), encoding="utf-8")
    fetch = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes")
    where = ("--only-binary=:all:", "--python-version", VERSION, "-d", root / "wheels")
    _well(run(*fetch, *where, "-r", lock, timeout=800))
    _well(_inside(root, "/usr/bin/python3", "-m", "venv", "/venv"))
    pip = ("/venv/bin/python", "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--no-index")
    _well(_inside(root, *pip, "--find-links", "/wheels", "-r", "/lock.txt", timeout=800))
    shutil.rmtree(root / "wheels")


def _inside(root: Path, *words: str, bind: str = "", timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """A command in the root file system: no network, the repository read-only."""
    nspawn = ["systemd-nspawn", "--quiet", "-D", str(root), "--register=no", "--keep-unit", "--private-network"]
    nspawn += ["--settings=no", "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe"]
    nspawn += [f"--machine=opsctl-python313-{os.getpid()}", f"--setenv=HYPOTHESIS_STORAGE_DIRECTORY={EXAMPLES}"]
    if bind:
        nspawn += [f"--bind-ro={bind}", f"--chdir={INSIDE}", f"--setenv=PYTHONPATH={INSIDE}"]
    return run(*nspawn, *words, timeout=timeout)


def _for_this_version(lock: str) -> str:
    """The lock as Python 3.13 reads it: `pip download` would judge the markers by the Python that runs it."""
    environment = {"python_version": VERSION, "python_full_version": f"{VERSION}.5"}
    kept = []
    for requirement in re.findall(r"(?m)^[A-Za-z0-9].*(?:\n +--hash.*)*", lock):
        name, _, rest = requirement.partition(" \\\n")
        pinned, _, marker = name.partition(";")
        if not marker or Marker(marker.strip()).evaluate(environment):
            kept.append(f"{pinned.strip()} \\\n{rest}")
    return "\n".join(kept) + "\n"


def _well(answer: subprocess.CompletedProcess[str]) -> None:
    assert answer.returncode == 0, answer.stdout
