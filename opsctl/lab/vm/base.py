"""What the lab's virtual machines boot from: a layer over the lab's base, a kernel, and the file system it begins with.

It lies in the cache beside the base, under its own recipe's hash, and is made when the first virtual machine is asked
for. The kernel's package is unpacked, not installed: nothing in the machine boots from its disk.

    <cache>/vm<hash>/layers/vm      what a virtual machine has besides the base's root
                    /kernel
                    /initrd
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from opsctl.errors import LabError
from opsctl.lab import base, mounts, sources
from opsctl.lab.asfound import write_files
from opsctl.lab.base import Base
from opsctl.lab.build import Say
from opsctl.lab.command import run
from opsctl.lab.fetch import Fetcher
from opsctl.lab.layer import Layer, inside, install
from opsctl.lab.locks import held
from opsctl.lab.place import Place
from opsctl.lab.vm import initrd, recipe

LAYER = "vm"
_PATIENCE = 900.0
_KERNEL_FILE = re.compile(r"linux-image-\d.*\.deb")
_DIGEST = re.compile(r"vm[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True)
class MachineBase:
    """What a virtual machine is made from."""

    folder: Path

    @property
    def layer(self) -> Path:
        return self.folder / "layers" / LAYER

    @property
    def kernel(self) -> Path:
        return self.folder / "kernel"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"


def ensure(place: Place, under: Base, *, say: Say, groups: Sequence[Path] = ()) -> MachineBase:
    """What today's recipe makes over the base `under`, made when it is not there; programs run in `groups`."""
    name = recipe.digest()
    made = MachineBase(folder=place.cache / name)
    with held(place.cache / f"{name}.lock", what="what virtual machines boot from", patience=_PATIENCE):
        if not made.folder.is_dir():
            say("making what virtual machines boot from, once, in about a minute")
            base.remove_unfinished_of(place.cache, name)
            building = place.cache / f"building-{name}-{place.name}"
            _Build(cache=place.cache, folder=building, under=under.root, groups=groups).all()
            building.rename(made.folder)
            _forget_older(place, name)
    return made


@dataclass(frozen=True, kw_only=True)
class _Build:
    cache: Path
    folder: Path
    under: Path
    groups: Sequence[Path]

    def all(self) -> None:
        debs = self.cache / "debs"
        fetcher = Fetcher(folder=self.folder / "apt", debs=debs, archives=sources.of_this_machine(), groups=self.groups)
        fetcher.prepare()
        wanted = [deb.path for deb in fetcher.install(self.under, recipe.PACKAGES, security=False)]
        kernel = self._unpack(fetcher, recipe.KERNEL, _KERNEL_FILE)
        busybox = self._unpack(fetcher, recipe.BUSYBOX, re.compile(r"busybox-static_.*\.deb"))
        with Layer(folder=self.folder, name=LAYER, root=self.under) as merged:
            install(merged, debs, wanted, groups=self.groups)
            write_files(merged, recipe.FILES)
            self._kernel(kernel, merged, debs, busybox)
        for left in ("apt", "unpacked"):
            shutil.rmtree(self.folder / left)

    def _unpack(self, fetcher: Fetcher, package: str, file: re.Pattern[str]) -> Path:
        """The content of one package, in a folder of its own."""
        fetched = [deb.path for deb in fetcher.install(self.under, [package], security=False)]
        deb = next((path for path in fetched if file.fullmatch(path.name)), None)
        if deb is None:
            raise LabError(f"the archives of this machine have no {package}")
        folder = self.folder / "unpacked" / package
        folder.mkdir(parents=True)
        run("dpkg-deb", "--extract", deb, folder, groups=self.groups)
        return folder

    def _kernel(self, unpacked: Path, merged: Path, debs: Path, busybox: Path) -> None:
        modules = next((unpacked / "lib/modules").iterdir())
        shutil.copytree(modules, merged / "usr/lib/modules" / modules.name, symlinks=True)
        for file in (unpacked / "boot").iterdir():
            shutil.copy2(file, merged / "boot" / file.name)
        inside(merged, debs, "depmod", modules.name, groups=self.groups)
        shutil.copyfile(unpacked / f"boot/vmlinuz-{modules.name}", self.folder / "kernel")
        placed = merged / "usr/lib/modules" / modules.name
        order = initrd.in_order((placed / "modules.dep").read_text())
        content = {path.name: (placed / path).read_bytes() for path in order}
        (self.folder / "initrd").write_bytes(initrd.build((busybox / "bin/busybox").read_bytes(), content))


def _forget_older(place: Place, name: str) -> None:
    """Removes what older recipes made, where no lab is just being made from it."""
    used = set()
    for intent in place.run.glob("*/intent.json"):
        with suppress(OSError, ValueError, KeyError):
            used.add(json.loads(intent.read_text())["machines"])
    for folder in place.cache.iterdir():
        if _DIGEST.fullmatch(folder.name) and folder.name != name and folder.name not in used:
            mounts.remove_tree(folder)
