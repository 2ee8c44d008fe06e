"""The calendars of a workspace: calendar.yml, *.ics and public holidays of each tenant, as one `Hours` to ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from opsctl.documents import Problems
from opsctl.errors import InventoryError
from opsctl.inventory.calendarfile import FILE, HOLIDAYS, Known, Period, read_calendar
from opsctl.model.calendar import Calendar, Freeze, Holiday, Hours
from opsctl.model.spans import MIDNIGHT, stretch

if TYPE_CHECKING:
    from opsctl.config import Settings
    from opsctl.model.host import Inventory, Tenant


def load(settings: Settings, inventory: Inventory, now: datetime) -> Hours:
    """What the calendars say around a moment, and a year on from it. Raises InventoryError with every fault."""
    problems = Problems()
    hours = read_hours(settings.inventories, inventory.tenants, inventory, now, problems)
    problems.finish(InventoryError, "the calendar is not usable")
    return hours


def read_hours(
    inventories: Path, tenants: Iterable[Tenant], inventory: Inventory, now: datetime, problems: Problems
) -> Hours:
    """The same, with all that is wrong noted."""
    return Hours([_of_tenant(inventories / tenant.name, tenant, inventory, now, problems) for tenant in tenants])


def calendar_files(folder: Path) -> tuple[Path, ...]:
    """The files of a tenant that say when nothing is changed, there or not."""
    return (folder / FILE, *sorted(folder.glob("*.ics")))


def _of_tenant(folder: Path, tenant: Tenant, inventory: Inventory, now: datetime, problems: Problems) -> Calendar:
    period = Period.around(now)
    found = read_calendar(folder, tenant, Known.of(tenant, inventory), period, problems)
    calendar, zone = found.calendar, ZoneInfo(found.calendar.zone)
    freezes = list(calendar.freezes)
    for path in calendar_files(folder)[1:]:
        from opsctl.inventory.icsfile import read_freezes

        freezes.extend(read_freezes(path, tenant.name, zone, period, problems))
    holidays = tuple(sorted(_holidays(period, found.holidays), key=lambda holiday: holiday.day))
    freezes.extend(
        Freeze(
            name=holiday.name, tenant=tenant.name, reason="public holiday", where=str(folder / FILE),
            spans=(stretch(holiday.day, "00:00", holiday.day, MIDNIGHT, zone),),
        )
        for holiday in holidays if holiday.frozen
    )  # fmt: skip
    return replace(calendar, freezes=tuple(freezes), holidays=holidays)


def _holidays(period: Period, kept: str) -> Iterator[Holiday]:
    """Sweden's public holidays, and the eves that the law puts beside them (SFS 1977:480, section 7)."""
    for category, least in (("public", 1), ("de_facto", 2)):
        for day, name in _sweden(period.years(), category):
            yield Holiday(day=day, name=name, frozen=HOLIDAYS.index(kept) >= least)


@cache
def _sweden(years: range, category: str) -> tuple[tuple[date, str], ...]:
    from holidays.countries.sweden import Sweden

    return tuple(sorted(Sweden(years=years, language="sv", categories=category).items()))
