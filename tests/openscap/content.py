"""The second judge: OpenSCAP's scanner for the lab's hosts, and the newest content for Debian 12.

Both are fetched with this machine's own apt, unpacked or published to a lab, never installed here. They lie in the
lab's cache, outside the clone. The scanner is the hosts' own release's; the content is that of Debian's unstable suite:
the release's own (0.1.65) has none for Debian 12.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from opsctl.errors import LabError
from opsctl.lab import base, recipe, sources
from opsctl.lab.command import run
from opsctl.lab.fetch import Fetcher
from opsctl.lab.locks import held
from opsctl.lab.place import Place

SCANNER = ("openscap-scanner", "linux-base")  # without linux-base some 200 rules silently do not apply
CONTENT = "ssg-debian"
SUITE = "sid"
OLDEST = (0, 1, 82)
STREAM = "ssg-debian12-ds.xml"
_VERSION = re.compile(r"ssg-debian_(\d+)\.(\d+)\.(\d+)-[^_]*_all\.deb")


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The package files of the scanner and all that it needs, and the content as one file."""

    debs: tuple[Path, ...]
    stream: Path


def of_lab(place: Place) -> Judge:
    """What the hosts of a standing lab are judged with; fetched once for each base."""
    under = base.of_lab(place)
    folder = place.cache / f"openscap-{under.folder.name}"
    with held(place.cache / "openscap.lock", what="OpenSCAP", patience=300.0):
        if not folder.is_dir():
            building = folder.with_name(f"{folder.name}.new")
            shutil.rmtree(building, ignore_errors=True)
            _fetch(under.root, building)
            building.rename(folder)
    return Judge(debs=tuple(sorted((folder / "debs").glob("*.deb"))), stream=folder / STREAM)


def _fetch(root: Path, folder: Path) -> None:
    archives = sources.of_this_machine()
    debs = folder / "debs"
    debs.mkdir(parents=True)
    fetcher = Fetcher(folder=folder / "apt", debs=debs, archives=archives)
    fetcher.prepare()
    fetcher.install(root, SCANNER, security=False)
    deb = _content(_Newer(release=archives.release, security=archives.security), folder)
    run("dpkg-deb", "--extract", deb, folder / "unpacked")
    shutil.copyfile(folder / "unpacked/usr/share/xml/scap/ssg/content" / STREAM, folder / STREAM)
    for left in ("apt", "newer", "unpacked", "debs/partial"):
        shutil.rmtree(folder / left, ignore_errors=True)


class _Newer(sources.Archives):
    """The same archive, of the suite that has the content."""

    def release_line(self) -> str:
        return super().release_line().replace(f" {recipe.SUITE} ", f" {SUITE} ")

    def security_line(self) -> str:
        return ""


def _content(archives: sources.Archives, folder: Path) -> Path:
    """The package file with the content; raises LabError when the archive's is too old."""
    debs = folder / "newer"
    fetcher = Fetcher(folder=folder / "newer/apt", debs=debs, archives=archives)
    fetcher.prepare()
    fetcher.download(f"{name}={version}" for name, version in fetcher.versions([CONTENT]))
    for deb in debs.glob("*.deb"):
        if (found := _VERSION.fullmatch(deb.name)) and tuple(map(int, found.groups())) >= OLDEST:
            return deb
    raise LabError(f"{SUITE} has no {CONTENT} of version {'.'.join(map(str, OLDEST))} or newer")
