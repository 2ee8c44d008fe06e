"""Builds a base, step by step, in a folder that is nobody's yet.

Debian as released, the lab's own packages in their old version, the partner's accounts; then a layer a role; then
the archive with everything that is installed, pending, or installed later by opsctl's roles.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from opsctl.lab import archive, asfound, packages, recipe, sources
from opsctl.lab.command import run
from opsctl.lab.fetch import Deb, Fetcher
from opsctl.lab.layer import Layer, inside, install
from opsctl.lab.locks import held

Say = Callable[[str], None]
_PATIENCE = 900.0


@dataclass(frozen=True, kw_only=True)
class Build:
    """One build, step by step, in its own folder."""

    cache: Path
    folder: Path
    groups: Sequence[Path]
    say: Say

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def debs(self) -> Path:
        return self.cache / "debs"

    def all(self) -> None:
        for folder in (self.folder, self.debs, self.folder / "layers"):
            folder.mkdir(parents=True, exist_ok=True)
        archives = sources.of_this_machine()
        fetcher = Fetcher(folder=self.folder / "apt", debs=self.debs, archives=archives, groups=self.groups)
        self._key()
        self.say("making what all hosts boot from, once, in a minute or two: Debian without its security updates")
        fetcher.prepare()
        self._bootstrap(archives)
        self._own_packages()
        asfound.furnish_base(self.root, self.cache / "key/public.gpg")
        release, security = self._debian(fetcher)
        self.say(f"base: package archive of {len(release)} packages and {len(security)} updates")
        self._archive(release, security)
        shutil.rmtree(self.folder / "apt")

    def _key(self) -> None:
        home = self.cache / "key"
        with held(self.cache / "key.lock", what="the archive's key"):
            if not (home / "public.gpg").exists():
                shutil.rmtree(home, ignore_errors=True)
                archive.make_key(home, groups=self.groups)

    def _bootstrap(self, archives: sources.Archives) -> None:
        options = self.folder / "apt/mmdebstrap.conf"
        options.write_text(sources.reach_options())
        inside = "/var/cache/apt/archives/"
        run(
            "mmdebstrap",
            "--quiet",
            "--mode=root",
            "--variant=minbase",
            f"--include={','.join(recipe.BASE_PACKAGES)}",
            f"--aptopt={options}",
            "--skip=download/empty,essential/unlink",
            f'--setup-hook=mkdir -p "$1"{inside} && cp -l {self.debs}/*.deb "$1"{inside} 2>/dev/null || true',
            f'--customize-hook=cp -n "$1"{inside}*.deb {self.debs}/',
            recipe.SUITE,
            self.root,
            archives.release_line().strip(),
            groups=self.groups,
            timeout=_PATIENCE,
            extra={"TMPDIR": str(self.folder / "apt")},  # what it leaves when it is killed goes away with the build
        )
        (self.root / "etc/apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)

    def _own_packages(self) -> None:
        own = self.folder / "own"
        old = [packages.build(package, recipe.OLD, own / "old") for package in recipe.OWN_PACKAGES]
        for package in recipe.OWN_PACKAGES:
            packages.build(package, recipe.FIXED, own / "fixed")
        packages.build(recipe.NEW_PACKAGE, recipe.OLD, own / "fixed")
        files = (f"/mnt/{deb.name}" for deb in old)
        inside(self.root, own / "old", "dpkg", "--install", *files, groups=self.groups)

    def _debian(self, fetcher: Fetcher) -> tuple[set[Path], set[Path]]:
        """Builds the layers, and fetches what is installed, what is pending on it, and what roles will install."""
        release = set(_files(fetcher.exactly(self.root, _installed(self.root))))
        security = set(fetcher.upgrade(self.root))
        for role, wanted in recipe.ROLE_PACKAGES.items():
            self.say(f"base: layer of the role {role}")
            debs = fetcher.install(self.root, wanted, security=role in recipe.CURRENT_ROLES)
            release |= {deb.path for deb in debs if not deb.security}
            security |= {deb for deb in debs if deb.security}
            with Layer(folder=self.folder, name=role, root=self.root) as merged:
                install(merged, self.debs, (deb.path for deb in debs), groups=self.groups)
                if without := recipe.ROLE_WITHOUT.get(role):
                    inside(merged, self.debs, "dpkg", "--purge", *without, groups=self.groups)
                security |= set(fetcher.upgrade(merged))
        for wanted in recipe.WANTED_PACKAGES:
            release |= set(_files(fetcher.install(self.root, wanted, security=False)))
            security |= set(fetcher.install(self.root, wanted, security=True))
        return release, {deb.path for deb in security if deb.security}

    def _archive(self, release: set[Path], security: set[Path]) -> None:
        own = self.folder / "own"
        top = self.folder / "archive"
        archive.fill(archive.RELEASE, top, [*sorted(release), *sorted((own / "old").iterdir())], groups=self.groups)
        archive.fill(archive.SECURITY, top, [*sorted(security), *sorted((own / "fixed").iterdir())], groups=self.groups)
        for pocket in archive.POCKETS:
            archive.publish(pocket, top, self.cache / "key", groups=self.groups)


def _files(debs: tuple[Deb, ...]) -> list[Path]:
    return [deb.path for deb in debs]


def _installed(root: Path) -> list[str]:
    """Every Debian package of a root file system as PKG=VERSION; not the lab's own."""
    listed = run("dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", "${Package}=${Version}\n").stdout
    return [line for line in listed.split() if not line.startswith("opslab-")]
