"""What waits for a person, and what of the inventory does: faults, a changed source, hosts without an approved key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsctl.errors import SetupError
from opsctl.inventory import files
from opsctl.model.host import Inventory
from opsctl.overview.examination import listed, some

if TYPE_CHECKING:
    from opsctl.config import Settings

# A longer source is not compared here: that takes a second.
SMALL_SOURCE = 200_000


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Something that waits for a person, and the command that goes on with it."""

    what: str
    command: str


def of_inventory(settings: Settings, inventory: Inventory) -> Iterator[Waiting]:
    if not inventory.tenants:
        yield Waiting(what="there is no tenant yet", command="opsctl init . --tenant NAME=TITLE")
        return
    if settings.text("inventory.source") == "netbox":
        if not inventory.hosts:
            yield Waiting(what="there is no host yet: NetBox was never asked", command="opsctl inventory sync")
    elif newer := _newer_source(settings, inventory):
        yield newer
    elif not inventory.hosts:
        path = settings.path("inventory.path") / inventory.tenants[0].name / files.SOURCE
        yield Waiting(what=f"there is no host yet: write them into {path}", command="opsctl inventory sync")
    from opsctl.ssh.hostkeys import Pins

    pins = Pins.load(settings.inventories)
    bare = [host.key for host in inventory if host.managed and not pins.of(host.key)]
    if bare:
        handed = settings.workspace / "handover/fingerprints"
        file = "handover/fingerprints" if handed.is_file() else "FILE"
        yield Waiting(
            what=f"{some(len(bare), 'host')} without an approved key: {listed(bare)}",
            command=f"opsctl host approve --all --fingerprints {file}",
        )


def _newer_source(settings: Settings, inventory: Inventory) -> Waiting | None:
    """The source was touched after the copy was written, and (where that is quick to say) says something else."""
    base = settings.path("inventory.path")
    newer, size = False, 0
    for tenant in inventory.tenants:
        source, copy = base / tenant.name / files.SOURCE, settings.inventories / tenant.name / files.HOSTS
        if not source.is_file():
            return Waiting(what=f"the source {source} is missing", command="opsctl inventory check")
        size += source.stat().st_size
        newer |= not copy.is_file() or source.stat().st_mtime > copy.stat().st_mtime
    if not newer:
        return None
    if size > SMALL_SOURCE:
        return Waiting(what="the source is newer than the inventory", command="opsctl inventory sync")
    from opsctl.inventory import sync

    try:
        planned = sync.plan(settings)
    except SetupError as error:
        return Waiting(what=f"the source has faults: {error.message}", command="opsctl inventory check")
    if not planned.diff:
        return None
    return Waiting(what=f"the source has changed: {planned.diff.summary}", command="opsctl inventory sync")
