"""Package files of exact versions: from folders that somebody names, from what was ever fetched, from the archives that
this machine's own apt knows.

A file counts by what it says of itself (`dpkg-deb -f`), never by its name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from opsctl.lab import sources
from opsctl.lab.command import run
from opsctl.lab.fetch import Fetcher
from opsctl.lab.place import Place

_AT_ONCE = 200


@dataclass(frozen=True, kw_only=True, order=True)
class Exact:
    """One package in one version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}={self.version}"


@dataclass(frozen=True, kw_only=True)
class Stock:
    """The files that were found, and what could not be had."""

    files: dict[Exact, Path]
    missing: tuple[Exact, ...]


def gather(
    wanted: Iterable[Exact],
    place: Place,
    *,
    folders: Sequence[Path] = (),
    architecture: str = "amd64",
    groups: Sequence[Path] = (),
    say: Callable[[str], None] = lambda _line: None,
) -> Stock:
    """Find a file for each package version; whatever no folder has is fetched into the lab's cache.

    The fetching keeps its state in a folder of the lab at `place`, which goes away with it.
    """
    need = set(wanted)
    found: dict[Exact, Path] = {}
    debs = place.cache / "debs"
    for folder in (*folders, debs):
        found.update(_in_folder(folder, need - found.keys(), architecture))
    if left := sorted(need - found.keys()):
        say(f"{len(left)} package versions are not here yet; asking the archives of this machine")
        fetcher = Fetcher(folder=place.folder / "apt", debs=debs, archives=sources.of_this_machine(), groups=groups)
        fetcher.prepare()
        had = fetcher.versions({one.name for one in left})
        for start in range(0, len(left), _AT_ONCE):
            fetcher.download(str(one) for one in left[start : start + _AT_ONCE] if (one.name, one.version) in had)
        found.update(_in_folder(debs, set(left), architecture))
    return Stock(files=found, missing=tuple(sorted(need - found.keys())))


def _in_folder(folder: Path, need: set[Exact], architecture: str) -> Iterator[tuple[Exact, Path]]:
    """The wanted versions among a folder's package files, links within it followed."""
    names = {one.name for one in need}
    left = set(need)
    for top, _, files in os.walk(folder, followlinks=True):
        for file in sorted(files):
            if not left:
                return
            if not file.endswith(".deb") or unquote(file).partition("_")[0] not in names:
                continue
            path = Path(top, file)
            one = _of_file(path, architecture)
            if one in left:
                left.discard(one)
                yield one, path


def _of_file(path: Path, architecture: str) -> Exact | None:
    """What a package file says that it is; None for one of another architecture, or that is none."""
    told = run("dpkg-deb", "-f", path, "Package", "Version", "Architecture", check=False)
    said = dict(line.split(": ", 1) for line in told.stdout.splitlines() if ": " in line)
    if told.returncode or said.get("Architecture") not in (architecture, "all"):
        return None
    return Exact(name=said.get("Package", ""), version=said.get("Version", ""))
