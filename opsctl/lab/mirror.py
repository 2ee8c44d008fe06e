"""A lab's own package mirror: the base's archive, served on the bridge, to which the lab can add versions."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from opsctl.lab import archive, packages
from opsctl.lab.base import Base, of_lab
from opsctl.lab.cgroups import Groups
from opsctl.lab.hosts import wait
from opsctl.lab.place import Place
from opsctl.lab.recipe import OwnPackage
from opsctl.lab.units import Unit

PORT = 8480
_UNIT = "@mirror"
_SERVER = Path(__file__).with_name("serve.py")


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """The mirror of the lab at `place`, on `address`."""

    place: Place
    address: str

    @property
    def url(self) -> str:
        return f"http://{self.address}:{PORT}"

    @property
    def _unit(self) -> Unit:
        return Unit(lab=self.place.name, name=_UNIT)

    @property
    def _keys(self) -> Path:
        return self.place.folder / "gnupg"

    def lay_out(self, base: Base) -> None:
        """The release as it is in the base, and the updates with lists that this lab can write."""
        top = self.place.mirror
        top.mkdir()
        (top / archive.RELEASE.folder).symlink_to(base.archive / archive.RELEASE.folder)
        made, own = base.archive / archive.SECURITY.folder, top / archive.SECURITY.folder
        own.mkdir()
        for name in ("pool", "Packages.fetched"):
            (own / name).symlink_to(made / name)
        shutil.copytree(made / "dists", own / "dists")

    def start(self) -> None:
        """Starts the server; returns when it answers."""
        if not self._unit.runs():
            groups = Groups(group=self.place.group)
            groups.make(_UNIT)
            command = [sys.executable, "-I", str(_SERVER), str(self.place.mirror), self.address, str(PORT)]
            self._unit.start(command, groups=groups, log=self.place.log("mirror"), again="always")
        wait(self.answers, 15.0, "the package mirror did not start")

    def answers(self) -> bool:
        try:
            with socket.create_connection((self.address, PORT), 0.5):
                return True
        except OSError:
            return False

    def publish(self, package: OwnPackage, version: str) -> None:
        """Builds one more version of an own package and publishes it among the updates of this lab."""
        packages.build(package, version, self._own)
        self._publish_own()

    def stock(self, debs: Iterable[Path]) -> None:
        """Publishes package files that somebody else made among the updates of this lab; they stay where they are."""
        self._own.mkdir(exist_ok=True)
        for deb in debs:
            target = self._own / deb.name
            if not target.exists():
                target.symlink_to(deb.resolve())
        self._publish_own()

    def withdraw(self, package: OwnPackage, version: str) -> None:
        """Takes a version that was published here out again, as an archive does that keeps only the newest."""
        (self._own / f"{package.name}_{version}_all.deb").unlink()
        self._publish_own()

    def keep(self, label: str) -> None:
        """Keeps both suites as they are now below /snapshots/LABEL, whatever is published or withdrawn later."""
        top, kept = self.place.mirror, self.place.mirror / "snapshots" / label
        kept.mkdir(parents=True)
        (kept / archive.RELEASE.folder).symlink_to((top / archive.RELEASE.folder).resolve())
        shutil.copytree(top / archive.SECURITY.folder, kept / archive.SECURITY.folder, symlinks=True)

    @property
    def _own(self) -> Path:
        return self.place.mirror / archive.SECURITY.folder / "own"

    def _publish_own(self) -> None:
        if not self._keys.exists():
            archive.copy_key(of_lab(self.place).key, self._keys)
        archive.publish(archive.SECURITY, self.place.mirror, self._keys)
