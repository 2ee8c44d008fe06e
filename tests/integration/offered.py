"""Real Debian packages that no host of the lab has by itself, for tests that need a certain server or program.

Fetched with this machine's own apt, never installed here; they lie in the lab's cache, once for each base.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from opsctl import lab
from opsctl.lab import base, sources
from opsctl.lab.fetch import Fetcher
from opsctl.lab.locks import held
from opsctl.lab.place import Place


def fetched(name: str, *packages: str) -> tuple[Path, ...]:
    """The files of these packages and of all that they need beyond what the hosts of a standing lab have."""
    place = Place(name=name)
    under = base.of_lab(place)
    code = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8]
    folder = place.cache / f"offered-{under.folder.name}-{code}"
    with held(place.cache / "offered.lock", what="packages for tests", patience=300.0):
        if not folder.is_dir():
            building = folder.with_name(f"{folder.name}.new")
            shutil.rmtree(building, ignore_errors=True)
            debs = building / "debs"
            debs.mkdir(parents=True)
            fetcher = Fetcher(folder=building / "apt", debs=debs, archives=sources.of_this_machine())
            fetcher.prepare()
            fetcher.install(under.root, packages, security=False)
            for left in ("apt", "debs/partial"):
                shutil.rmtree(building / left, ignore_errors=True)
            building.rename(folder)
    return tuple(sorted((folder / "debs").glob("*.deb")))


def offer(name: str, *packages: str) -> None:
    """Puts them on the lab's mirror, for apt on its hosts."""
    lab.stock(name, fetched(name, *packages))
