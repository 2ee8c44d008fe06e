"""Bare `opsctl`: what is running, what waits for a person, and the next command to type.

Only files and store are read, no host is asked, so it is quick; what it knows of hosts is what they said last.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl import config
from opsctl.errors import SetupError
from opsctl.inventory import files
from opsctl.model.host import Inventory
from opsctl.overview.examination import some
from opsctl.overview.waiting import Waiting, of_inventory

if TYPE_CHECKING:
    from opsctl.config import Settings
    from opsctl.state.store import Store


@dataclass(frozen=True, kw_only=True)
class Site:
    """The workspace at a glance; `waiting` in the order in which to take it up, `frozen` the freezes that hold now."""

    workspace: Path
    hosts: int
    managed: int
    tenants: tuple[str, ...]
    running: tuple[str, ...]
    waiting: tuple[Waiting, ...]
    frozen: tuple[str, ...] = ()

    @property
    def size(self) -> str:
        return f"{some(self.hosts, 'host')} of {some(len(self.tenants), 'tenant')}, {self.managed} managed"

    @property
    def next(self) -> str:
        return self.waiting[0].command if self.waiting else "opsctl monitor status"


def in_workspace(start: Path) -> bool:
    """Is there an opsctl.yml here or above?"""
    return any((folder / config.FILE).is_file() for folder in (start.absolute(), *start.absolute().parents))


def look(settings: Settings, now: datetime) -> Site:
    """The site as files and store know it. Faults of the inventory are the first thing that waits."""
    waiting: list[Waiting] = []
    try:
        inventory = files.load(settings)
        waiting += of_inventory(settings, inventory)
    except SetupError as error:
        inventory = Inventory()
        what = f"{error.message}: {some(len(error.problems), 'fault')}"
        waiting.append(Waiting(what=what, command="opsctl inventory check"))
    frozen: tuple[str, ...] = ()
    try:
        frozen = _frozen(settings, inventory, now)
    except SetupError as error:
        what = f"{error.message}: {some(len(error.problems), 'fault')}"
        waiting.append(Waiting(what=what, command="opsctl inventory check"))
    running: list[str] = []
    if (settings.state / "store.db").is_file():
        from opsctl.overview import remembered
        from opsctl.state.store import Store

        with Store.open(settings.state) as store:
            rollouts = remembered.rollouts(store)
            running += remembered.running(store, rollouts, now)
            waiting += _old_copy(settings, store, inventory, now)
            waiting += remembered.alarms(store, rollouts, now)
            waiting += remembered.stopped(rollouts)
            waiting += remembered.unapproved(store, rollouts, now)
            waiting += remembered.unfinished(store, at_work=bool(running))
            waiting += remembered.of_hosts(store, inventory, rollouts, now)
    elif any(host.managed for host in inventory):
        waiting.append(Waiting(what="no host was looked at yet", command="opsctl monitor status"))
    return Site(
        workspace=settings.workspace,
        hosts=len(inventory),
        managed=sum(host.managed for host in inventory),
        tenants=tuple(tenant.name for tenant in inventory.tenants),
        running=tuple(running),
        waiting=tuple(waiting),
        frozen=frozen,
    )


def _frozen(settings: Settings, inventory: Inventory, now: datetime) -> tuple[str, ...]:
    """The freezes that hold now; a workspace without calendars has none, and need not work any out."""
    from opsctl.inventory import calendars

    folders = (settings.inventories / tenant.name for tenant in inventory.tenants)
    if not any(path.exists() for folder in folders for path in calendars.calendar_files(folder)):
        return ()
    hours = calendars.load(settings, inventory, now)
    return tuple(
        f"{freeze.tenant}: {freeze.name} ({freeze.scope}) until {hours.local(freeze.tenant, span.end)}"
        for calendar in hours.calendars.values()
        for freeze in calendar.freezes
        for span in freeze.spans
        if span.holds(now)
    )


def _old_copy(settings: Settings, store: Store, inventory: Inventory, now: datetime) -> list[Waiting]:
    """A copy of NetBox that is too old to start a change from."""
    from opsctl.inventory import freshness

    old = freshness.too_old(settings, store, {host.tenant for host in inventory}, now)
    what = f"the copy of NetBox is old: {freshness.warning(old, now)}"
    return [Waiting(what=what, command="opsctl inventory sync")] if old else []
