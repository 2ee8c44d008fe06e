"""Fetches real Debian packages for hosts that this machine's dpkg knows nothing about.

apt-get runs with its own state, sources and configuration: it believes the package list of a host's root file
system, and nothing of this machine's own changes. What was fetched once stays in the cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from opsctl.lab.command import run
from opsctl.lab.sources import Archives, reach_options

_URI = re.compile(r"^'([^']+)' (\S+\.deb) ")


@dataclass(frozen=True, kw_only=True)
class Deb:
    """One package file in the cache, and whether it came from the security archive."""

    path: Path
    security: bool


@dataclass(frozen=True, kw_only=True)
class Fetcher:
    """apt-get with a state of its own in `folder`, fetching into `debs`."""

    folder: Path
    debs: Path
    archives: Archives
    groups: Sequence[Path] = ()

    def prepare(self) -> None:
        """Writes the configuration and reads both archives' indexes."""
        for name in ("lists/partial", "none/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.debs / "partial").mkdir(parents=True, exist_ok=True)
        self.config.write_text(f'Dir::Etc::main "/dev/null";\nDir::Etc::parts "/dev/null";\n{reach_options()}')
        self._list("release").write_text(self.archives.release_line())
        self._list("both").write_text(self.archives.release_line() + self.archives.security_line())
        self._apt(Path("/dev/null"), "both", self.debs, "update")

    @property
    def config(self) -> Path:
        return self.folder / "apt.conf"

    def _list(self, name: str) -> Path:
        return self.folder / f"{name}.list"

    def install(self, root: Path, packages: Iterable[str], *, security: bool) -> tuple[Deb, ...]:
        """What installing these packages on the host in `root` needs beyond what it has."""
        return self._fetch(root, "both" if security else "release", "install", *packages)

    def exactly(self, root: Path, wanted: Iterable[str]) -> tuple[Deb, ...]:
        """The files of the `PKG=VERSION` that the host in `root` has already."""
        return self._fetch(root, "release", "--reinstall", "install", *wanted)

    def upgrade(self, root: Path) -> tuple[Deb, ...]:
        """What is pending on the host in `root`."""
        return self._fetch(root, "both", "dist-upgrade")

    def versions(self, names: Iterable[str]) -> set[tuple[str, str]]:
        """Name and version of whatever the archives have of these packages now."""
        wanted = sorted(names)
        told = (
            self._apt(Path("/dev/null"), "both", self.debs, "madison", *wanted, program="apt-cache") if wanted else ""
        )
        return {(row[0].strip(), row[1].strip()) for row in (line.split("|") for line in told.splitlines()) if row[2:]}

    def download(self, wanted: Iterable[str]) -> None:
        """Fetches the files of these `PKG=VERSION`, which the archives have."""
        if words := list(wanted):
            self._apt(Path("/dev/null"), "both", self.debs, "download", *words, cwd=self.debs)

    def _fetch(self, root: Path, sources: str, *verb: str) -> tuple[Deb, ...]:
        status = root / "var/lib/dpkg/status"
        listed = self._apt(status, sources, self.folder / "none", "--print-uris", "--yes", *verb)
        found = [match.groups() for line in listed.splitlines() if (match := _URI.match(line))]
        if found:
            self._apt(status, sources, self.debs, "--download-only", "--yes", *verb)
        security = self.archives.security.rstrip("/") + "/"
        return tuple(Deb(path=self.debs / name, security=uri.startswith(security)) for uri, name in found)

    def _apt(
        self, status: Path, sources: str, debs: Path, *words: str, program: str = "apt-get", cwd: Path | None = None
    ) -> str:
        settings = {
            "Dir::State": self.folder,
            "Dir::State::lists": self.folder / "lists",
            "Dir::State::status": status,
            "Dir::Cache": self.folder,
            "Dir::Cache::archives": debs,
            "Dir::Etc::sourcelist": self._list(sources),
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "APT::Sandbox::User": "root",
            "APT::Install-Recommends": "false",
            "Acquire::Languages": "none",
            "Debug::NoLocking": "true",
        }
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        extra = {"APT_CONFIG": str(self.config), "TMPDIR": str(self.folder)}
        return run(program, "-q", *options, *words, groups=self.groups, extra=extra, cwd=cwd, timeout=900).stdout
