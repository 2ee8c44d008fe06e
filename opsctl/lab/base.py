"""The base that all hosts boot from: a root file system, a layer a role, and the package archive, made once.

It lies in the cache under the recipe's hash. It is built in a folder beside, under a lock, and gets its name when it
is whole; a build that was killed is found by its folder's name and removed by whoever builds or takes down next.

    <cache>/<hash>/root             Debian without its security updates, the old own packages, the partner's accounts
                  /layers/ROLE      what a role's hosts have besides, as the upper folder of an overlay
                  /archive          both pockets, signed
    <cache>/debs                    every package file that was ever fetched
    <cache>/key                     the archive's key
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from opsctl.errors import LabError
from opsctl.lab import mounts, recipe
from opsctl.lab.build import Build, Say
from opsctl.lab.cgroups import Groups
from opsctl.lab.locks import held
from opsctl.lab.place import Place
from opsctl.lab.units import end_unit

BUILD = "@build"  # the unit whose control group the programs run in
_PATIENCE = 900.0
_DIGEST = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True)
class Base:
    """A finished base."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    @property
    def key(self) -> Path:
        return self.folder.parent / "key"

    def layers(self, role: str) -> tuple[Path, ...]:
        """What a host of this role boots from, topmost first."""
        own = self.folder / "layers" / role
        return (own, self.root) if own.is_dir() else (self.root,)


def ensure(place: Place, *, say: Say, groups: Sequence[Path] = ()) -> Base:
    """The base of today's recipe, built when there is none; programs run in the control `groups`."""
    base = Base(folder=place.cache / recipe.digest())
    with held(place.cache / f"{recipe.digest()}.lock", what="the lab's base", patience=_PATIENCE):
        if not base.folder.is_dir():
            remove_unfinished_of(place.cache, recipe.digest())
            building = place.cache / f"building-{recipe.digest()}-{place.name}"
            Build(cache=place.cache, folder=building, groups=groups, say=say).all()
            building.rename(base.folder)
            _forget_older(place)
    return base


def of_lab(place: Place) -> Base:
    """The base that a standing lab was booted from; it may be another than today's recipe makes."""
    try:
        return Base(folder=place.cache / json.loads(place.intent.read_text())["base"])
    except (OSError, ValueError, KeyError) as error:
        raise LabError(f"the lab {place.name} does not say what it was made from") from error


def remove_unfinished(place: Place) -> None:
    """Removes what a killed build of this lab left."""
    for left in place.cache.glob(f"building-*-{place.name}"):
        if _builder(left) == place.name:
            _remove_unfinished(left)


def remove_unfinished_of(cache: Path, digest: str) -> None:
    """Removes what killed builds of this recipe left, whichever lab began them. Under the recipe's lock."""
    for left in cache.glob(f"building-{digest}-*"):
        _remove_unfinished(left)


def _builder(building: Path) -> str:
    return building.name.split("-", 2)[2]


def _remove_unfinished(building: Path) -> None:
    """Whoever held the lock is dead, but what it had started may still write."""
    end_unit(Groups(group=Place(name=_builder(building)).group), BUILD)
    mounts.remove_tree(building)


def _forget_older(place: Place) -> None:
    """Removes the bases of older recipes that no lab was booted from."""
    used = set()
    for intent in place.run.glob("*/intent.json"):
        with suppress(OSError, ValueError, KeyError):
            used.add(place.cache / json.loads(intent.read_text())["base"])
    for folder in place.cache.iterdir():
        if _DIGEST.fullmatch(folder.name) and folder.name != recipe.digest() and folder not in used:
            mounts.remove_tree(folder)
