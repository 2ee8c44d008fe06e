"""Layers over a root file system: what some hosts have besides, installed while nothing of it is booted."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from opsctl.lab import mounts
from opsctl.lab.command import run

_PATIENCE = 900.0


@dataclass(frozen=True, kw_only=True)
class Layer:
    """The overlay of the layer `folder`/layers/`name` over the root, mounted while it is being filled."""

    folder: Path
    name: str
    root: Path

    def __enter__(self) -> Path:
        upper, work, merged = self.folder / "layers" / self.name, self.folder / "work", self.folder / "merged"
        for folder in (upper, work):
            folder.mkdir(parents=True, exist_ok=True)
        mounts.overlay(merged, lower=(self.root,), upper=upper, work=work)
        return merged

    def __exit__(self, *_: object) -> None:
        mounts.unmount_below(self.folder)
        for name in ("work", "merged"):
            shutil.rmtree(self.folder / name)


def inside(root: Path, debs: Path, *command: str, groups: Sequence[Path] = ()) -> None:
    """Runs a program in a root file system that is not booted and has no network; `debs` is at /mnt."""
    apart = ("--register=no", "--keep-unit", "--as-pid2", "--private-network", "--settings=no", "--link-journal=no")
    plain = ("--quiet", "--resolv-conf=off", "--timezone=off", "--console=pipe")
    given = ("--setenv=DEBIAN_FRONTEND=noninteractive", "--setenv=LC_ALL=C.UTF-8", f"--bind-ro={debs}:/mnt")
    nspawn = ("systemd-nspawn", *plain, *apart, *given, f"--directory={root}")
    run(*nspawn, *command, groups=groups, timeout=_PATIENCE)


def install(root: Path, debs: Path, files: Iterable[Path], *, groups: Sequence[Path] = ()) -> None:
    """Installs package files of the folder `debs`."""
    words = ("apt-get", "-q", "-y", "--no-install-recommends", "install")
    inside(root, debs, *words, *(f"/mnt/{file.name}" for file in files), groups=groups)
