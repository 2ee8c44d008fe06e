"""Snapshots of a host's disk: what it has written, copied while the host is off.

Every host has one called `as-found`, taken before its first boot; so tests bring a host back in about a second.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from opsctl.errors import UnknownName
from opsctl.lab.hosts import Machine, wait_until_up

AS_FOUND = "as-found"
PATIENCE = 60.0


def keep_as_found(machine: Machine) -> None:
    """Takes the first snapshot, of a host that has never run."""
    _save(machine, AS_FOUND)


def take(machine: Machine, label: str, *, patience: float = PATIENCE) -> None:
    """Shuts the host down, copies its disk, and boots it again."""
    machine.power_off()
    _save(machine, label)
    machine.start()
    wait_until_up([machine], patience=patience)


def _save(machine: Machine, label: str) -> None:
    kept = machine.place.snapshot(machine.host.name, label)
    beside = kept.with_name(f".{label}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.parent.mkdir(parents=True, exist_ok=True)
    machine.save_disk(beside)
    shutil.rmtree(kept, ignore_errors=True)
    beside.rename(kept)


def bring_back(machine: Machine, label: str, layers: Sequence[Path], *, patience: float = PATIENCE) -> None:
    """Cuts the host's power, puts the disk of the snapshot in, and boots it; raises UnknownName for no such label."""
    kept = machine.place.snapshot(machine.host.name, label)
    if not kept.is_dir():
        labels = ", ".join(sorted(path.name for path in kept.parent.glob("[!.]*")))
        raise UnknownName(f"{machine.host.name} has no snapshot {label!r}", hint=f"there are: {labels}")
    machine.cut_power()
    machine.load_disk(kept, layers)
    machine.start()
    wait_until_up([machine], patience=patience)
