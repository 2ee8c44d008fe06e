"""The lab's package archive: two signed suites, made once with the base, and added to by each lab on its own.

`debian` is the release as the hosts have it; `debian-security` holds the updates. The index of the fetched packages is
made once; a lab that publishes something writes the index of its own packages behind it and signs anew.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from opsctl.lab.command import run
from opsctl.lab.recipe import ARCHIVE_KEY_NAME, COMPONENT, SUITE

ARCHITECTURE = "amd64"


@dataclass(frozen=True, kw_only=True)
class Pocket:
    """One suite of the archive, with the words by which apt tells security updates from others."""

    folder: str
    codename: str
    suite: str
    label: str


RELEASE = Pocket(folder="debian", codename=SUITE, suite="oldstable", label="Debian")
SECURITY = Pocket(
    folder="debian-security", codename=f"{SUITE}-security", suite="oldstable-security", label="Debian-Security"
)
POCKETS = (RELEASE, SECURITY)


def fill(pocket: Pocket, top: Path, debs: Iterable[Path], *, groups: Sequence[Path] = ()) -> None:
    """Puts package files into a pocket of the archive below `top`, and writes the index of them all."""
    pool = top / pocket.folder / "pool"
    pool.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        target = pool / deb.name
        if not target.exists():
            _link(deb, target)
    index = run("apt-ftparchive", "packages", "pool", cwd=top / pocket.folder, groups=groups).stdout
    (top / pocket.folder / "Packages.fetched").write_text(index)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def publish(pocket: Pocket, top: Path, keys: Path, *, groups: Sequence[Path] = ()) -> None:
    """Writes Packages and Release from what the pocket holds, signed; each file is replaced whole."""
    folder = top / pocket.folder
    index = (folder / "Packages.fetched").read_text()
    if (folder / "own").is_dir():
        index += run("apt-ftparchive", "packages", "own", cwd=folder).stdout
    lists = folder / "dists" / pocket.codename
    binary = lists / COMPONENT / f"binary-{ARCHITECTURE}"
    binary.mkdir(parents=True, exist_ok=True)
    _replace(binary / "Packages", index.encode())
    _replace(binary / "Packages.gz", gzip.compress(index.encode(), 6, mtime=0))
    for name in ("Release", "InRelease", "Release.gpg"):
        (lists / name).unlink(missing_ok=True)
    text = run("apt-ftparchive", *_release_options(pocket), "release", lists).stdout
    _replace(lists / "Release", text.encode())
    _replace(lists / "InRelease", sign(text, keys, groups=groups).encode())


def _release_options(pocket: Pocket) -> list[str]:
    fields = {
        "Origin": "Debian",
        "Label": pocket.label,
        "Suite": pocket.suite,
        "Codename": pocket.codename,
        "Version": "12",
        "Architectures": f"all {ARCHITECTURE}",
        "Components": COMPONENT,
    }
    return [word for key, value in fields.items() for word in ("-o", f"APT::FTPArchive::Release::{key}={value}")]


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)


# --- the archive's key ----------------------------------------------------------------------------------------------


def make_key(home: Path, *, groups: Sequence[Path] = ()) -> None:
    """Makes the archive's key, once, in a GnuPG home of its own with the public half in `public.gpg`."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _gnupg(home) as extra:
        words = ("gpg", "--batch", "--quiet", "--passphrase", "")
        run(*words, "--quick-gen-key", ARCHIVE_KEY_NAME, "ed25519", "sign", "never", extra=extra, groups=groups)
        run("gpg", "--batch", "--output", home / "public.gpg", "--export", extra=extra)


def copy_key(home: Path, to: Path) -> None:
    """Copies the key, without the sockets of whoever uses it now."""
    shutil.copytree(home, to, ignore=shutil.ignore_patterns("S.*", "*.lock", ".#*"), dirs_exist_ok=True)
    to.chmod(0o700)


def sign(text: str, home: Path, *, groups: Sequence[Path] = ()) -> str:
    """`text` with its signature around it, as an InRelease file has it; GnuPG's agent runs in the control `groups`."""
    with _gnupg(home) as extra:
        return run("gpg", "--batch", "--quiet", "--clearsign", text=text, extra=extra, groups=groups).stdout


@contextmanager
def _gnupg(home: Path) -> Iterator[dict[str, str]]:
    """GnuPG starts an agent and leaves it; this ends it."""
    extra = {"GNUPGHOME": str(home)}
    try:
        yield extra
    finally:
        run("gpgconf", "--kill", "all", extra=extra, check=False)
