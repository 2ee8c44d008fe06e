"""When the hosts of one rollout may be changed, as the calendars say at the moment of asking.

A freeze that somebody writes while a rollout runs holds from its next host on; so does a calendar that cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from pathlib import Path

from opsctl.config import Settings
from opsctl.errors import InventoryError, UnknownName
from opsctl.inventory import calendars, files
from opsctl.model.calendar import Hours
from opsctl.model.host import Host, Inventory
from opsctl.model.rollout import HostPlan

# The files are looked at no more often: a large batch asks for thousands of hosts at once.
_GLANCE = timedelta(seconds=1)


class Schedule:
    """The calendars of a workspace, read again whenever one of their files was touched.

    `inventory` is the rollout's own, for hosts that the written one no longer has. An emergency is never kept.
    """

    def __init__(
        self, settings: Settings, inventory: Inventory, clock: Callable[[], datetime], *, emergency: bool = False
    ) -> None:
        self._settings = settings
        self._own = inventory
        self._clock = clock
        self._emergency = emergency
        self._looked: datetime | None = None
        self._seen: object = None
        self._hours = Hours(())
        self._written = inventory
        self._broken = ""

    def closed(self, item: HostPlan) -> str:
        """Why nothing may start on a host now, and when it may; empty where it may."""
        if self._emergency:
            return ""
        now = self._clock()
        self._read(now)
        if self._broken:
            return self._broken
        host = self._host(item.host)
        verdict = self._hours.may_start(host, now, timedelta(seconds=item.expected_seconds))
        return "" if verdict.allowed else f"{verdict.reason}; {self._hours.next_words(host.tenant, verdict)}"

    def left(self, items: Iterable[HostPlan]) -> str:
        """How long hosts that have not begun may still begin, in words: the least of all; empty where all have."""
        waiting = [item.host for item in items]
        if not waiting or self._emergency:
            return "no end: an emergency" if waiting else ""
        now = self._clock()
        self._read(now)
        if self._broken:
            return f"none: {self._broken}"
        ends = [(end, key) for key in waiting if (end := self._hours.remaining(self._host(key), now)) is not None]
        return f"{int(min(ends)[0].total_seconds() // 60)} min ({min(ends)[1]})" if ends else "no end"

    def end(self, items: Iterable[HostPlan]) -> datetime | None:
        """The last moment at which one of these hosts may still be changed, were none of it over; None: no end.

        A moment that is over where none of them may be changed now.
        """
        now = self._clock()
        self._read(now)
        if self._emergency or self._broken:
            return None
        left = [self._hours.remaining(self._host(item.host), now) for item in items]
        ends = [one for one in left if one is not None]
        return None if len(ends) < len(left) else now + max(ends, default=timedelta(0))

    def _host(self, key: str) -> Host:
        try:
            return self._written.host(key)
        except UnknownName:
            return self._own.host(key)

    def _read(self, now: datetime) -> None:
        # A clock that was set back must not make the last look seem recent until it has caught up.
        if self._looked is not None and abs(now - self._looked) < _GLANCE:
            return
        self._looked = now
        touched = self._touched(now.date())
        if touched == self._seen:
            return
        self._seen = touched
        try:
            self._written = files.load(self._settings)
        except InventoryError:
            self._written = self._own
        try:
            self._hours, self._broken = calendars.load(self._settings, self._written, now), ""
        except InventoryError as error:
            self._broken = f"{error.message}: {'; '.join(str(problem) for problem in error.problems[:3])}"

    def _touched(self, today: date) -> object:
        """What tells that the files are other ones; each day they are worked out anew."""
        base = self._settings.inventories
        asked = [*files.copied_files(base)]
        asked += [path for tenant in self._own.tenants for path in calendars.calendar_files(base / tenant.name)]
        return today, tuple(map(_mark, asked))


def _mark(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return path, 0, 0, 0
    return path, found.st_ino, found.st_size, found.st_mtime_ns
