"""What a lab has left on this machine: every kind of trace, looked for by name and reported as a line each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from opsctl.lab import mounts
from opsctl.lab.cgroups import Groups
from opsctl.lab.command import run
from opsctl.lab.place import Place
from opsctl.lab.units import supervisors_of


def of(place: Place, subnet: str = "") -> tuple[str, ...]:
    """Everything that bears the lab's name or code, and routes to its `subnet`; empty when it is gone."""
    return tuple(_found(place, subnet))


def _found(place: Place, subnet: str) -> Iterator[str]:
    yield from (f"mount {point}" for point in mounts.below(place.folder))
    yield from (f"process {pid}" for pid in supervisors_of(place.name))
    groups = Groups(group=place.group)
    yield from (f"process {pid}" for pid in groups.processes())
    yield from (f"control group {tree / place.group}" for tree in groups.trees if (tree / place.group).exists())
    yield from (f"interface {path.name}" for path in Path("/sys/class/net").glob(f"*{place.bridge}*"))
    yield from (f"route {route}" for route in _routes(place, subnet))
    yield from (f"file {path}" for path in _files(place) if path.exists())


def _routes(place: Place, subnet: str) -> Iterator[str]:
    for route in json.loads(run("ip", "-j", "route", "show", "table", "all").stdout or "[]"):
        if route.get("dev") == place.bridge or route.get("dst") == subnet:
            yield str(route.get("dst"))


def _files(place: Place) -> Iterator[Path]:
    yield place.folder
    yield place.snapshots
    yield from place.cache.glob(f"building-*-{place.name}")
    yield from Path("/run/systemd/nspawn").glob(f"*/{place.bridge}n*")
    yield from Path("/run/systemd/network").glob(f"*{place.bridge}*")
    yield from Path("/run/NetworkManager/conf.d").glob(f"*{place.bridge}*")
