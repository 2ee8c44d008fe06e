"""Debian trixie as a root file system: a newer Python for the tests, on a machine that has none of its own.

Packages and certificates come as this machine's own apt and pip are set up; nothing here names a place on the network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from opsctl.lab import recipe, sources

# What pip needs to reach its index as this machine does, where it is there.
_REACH = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/pip.conf",
    "/etc/ssl/certs/ca-certificates.crt",
    "~/.config/pip/pip.conf",
)
# Everything that a program of the environment may be told to read or write lies at its own place there too.
_PLACES = ("/dev", "/proc", "/tmp", "/var/tmp")
_ENTER = """\
#!/bin/sh
# {name} of {venv}, in the root file system that it was made in; mounts are this process's own and end with it.
exec unshare --mount --propagation private /bin/sh -euc '
root=$1; shift
for place in {places}; do mkdir -p "$root$place"; mount --rbind "$place" "$root$place"; done
exec chroot "$root" "$@"' enter '{root}' '{venv}/bin/{name}' "$@"
"""


class Impossible(Exception):
    """No such file system can be made here; the message says what is missing."""


def bootstrap(root: Path, packages: Sequence[str]) -> None:
    """Make the file system with these packages. Raises Impossible."""
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        raise Impossible("to make Debian trixie's takes root and mmdebstrap")
    options = root.with_suffix(".apt")
    options.write_text(sources.reach_options(), encoding="utf-8")
    line = sources.of_this_machine().release_line().replace(f" {recipe.SUITE} ", " trixie ").strip()
    words = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(packages)}"]
    _well([*words, f"--aptopt={options}", "trixie", str(root), line], timeout=800)
    options.unlink()


def environment(folder: Path, packages: Sequence[str], *, cache: Path) -> None:
    """A virtual environment of trixie's Python in `folder`, whose bin/ holds the ways into it. Raises Impossible."""
    root = _root(cache)
    for name in _REACH:
        if (path := Path(name).expanduser()).is_file():
            there = Path(f"{root}{path}")
            there.parent.mkdir(parents=True, exist_ok=True)
            there.unlink(missing_ok=True)
            shutil.copyfile(path, there)
    venv = folder / "venv"
    (folder / "bin").mkdir(parents=True)
    maker = _way_in(folder / "bin/make", root, Path("/usr"), "python3", cache)
    _well([str(maker), "-m", "venv", str(venv)], timeout=300)
    pip = _way_in(folder / "bin/pip", root, venv, "pip", cache)
    _well([str(pip), "install", "--quiet", *packages], timeout=1200)
    maker.unlink()
    for program in (venv / "bin").iterdir():
        _way_in(folder / "bin" / program.name, root, venv, program.name, cache)


def _root(cache: Path) -> Path:
    root = cache / "trixie"
    if not (cache / "trixie.ready").exists():
        shutil.rmtree(root, ignore_errors=True)
        bootstrap(root, ("python3-venv", "python3-dev", "gcc", "libc6-dev", "libpq-dev"))
        (cache / "trixie.ready").touch()
    return root


def _way_in(file: Path, root: Path, venv: Path, name: str, cache: Path) -> Path:
    places = " ".join((*_PLACES, str(cache)))
    file.write_text(_ENTER.format(name=name, venv=venv, root=root, places=places), encoding="utf-8")
    file.chmod(0o755)
    return file


def _well(words: Sequence[str], *, timeout: float) -> None:
    answer = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=timeout, check=False, cwd="/",
    )  # fmt: skip
    if answer.returncode:
        raise Impossible(f"{Path(words[0]).name} ended with {answer.returncode}: {answer.stdout[-1500:]}")
