"""The machine that opsctl runs on: Python, OpenSSH, Ansible, git, the private runtime folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from opsctl.overview.examination import Look, Verdict

# Program -> Debian package. Without these no host can be reached.
NEEDED = {"ssh": "openssh-client", "ssh-keygen": "openssh-client"}
OLDEST_PYTHON = (3, 11)
OLDEST_ANSIBLE = (2, 19)


def machine() -> Iterator[Look]:
    yield _python()
    for program, package in NEEDED.items():
        yield _program(program, package)
    yield _ansible()
    yield _checks()
    if shutil.which("git") is None:
        yield _look("git", "warn", "not installed: nobody sees who changed the workspace", "apt-get install git")


def _look(name: str, verdict: Verdict, seen: str, mend: str = "") -> Look:
    return Look(area="machine", name=name, verdict=verdict, seen=seen, mend=mend)


def _python() -> Look:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return _look("python", "bad", f"{version} is too old", "install opsctl with Python 3.11 or newer")
    return _look("python", "ok", f"{version} ({sys.executable})")


def _program(program: str, package: str) -> Look:
    path = shutil.which(program)
    if path is None:
        return _look(program, "bad", "not installed", f"apt-get install {package}")
    if program != "ssh":
        return _look(program, "ok", path)
    said = subprocess.run([path, "-V"], capture_output=True, text=True, check=False, timeout=10).stderr
    return _look(program, "ok", f"{said.partition(',')[0].strip()} ({path})")


def _ansible() -> Look:
    """The one of this very installation; another one on the PATH is never used."""
    program = Path(sys.executable).with_name("ansible-playbook")
    again = "pip install --force-reinstall opsctl (in opsctl's own environment)"
    try:
        version = metadata.version("ansible-core")
    except metadata.PackageNotFoundError:
        return _look("ansible", "bad", "ansible-core is not installed beside opsctl", again)
    if not program.exists():
        return _look("ansible", "bad", f"{program} is missing", again)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_ANSIBLE:
        return _look("ansible", "bad", f"ansible-core {version} is too old", "pip install 'ansible-core>=2.19'")
    return _look("ansible", "ok", f"ansible-core {version} ({program})")


def _checks() -> Look:
    try:
        seen = ", ".join(f"{name} {metadata.version(name)}" for name in ("pytest", "pytest-testinfra"))
    except metadata.PackageNotFoundError as error:
        return _look("testinfra", "bad", f"{error.name} is not installed: comply cannot run", "pip install opsctl")
    return _look("testinfra", "ok", seen)
