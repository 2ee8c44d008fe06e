"""calendar.yml: which windows hold for whom, freezes, holidays. People write it; a sync never touches it.

A freeze is one span (`from`, `to`), the same days of each year (`from`, `to` without a year), days of the week (`days`)
or days of the month (`month_days`). Where the clock shows a time twice, a freeze is the longer one.
"""

from __future__ import annotations

import calendar as months
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from opsctl.documents import Problems, Section, read
from opsctl.inventory.words import CLOCK, CLOCK_END, CLOCK_END_RULE, CLOCK_RULE, free_text, read_days, read_zone
from opsctl.model.calendar import HORIZON, Calendar, Freeze
from opsctl.model.host import Inventory, Tenant
from opsctl.model.spans import MIDNIGHT, WEEKDAYS, Span, days, stretch

FILE = "calendar.yml"
HOLIDAYS = ("shown", "public", "public-and-eves")
_MOMENT = re.compile(r"(?:(\d{4})-)?(\d\d)-(\d\d)(?:[ T]((?:[01]\d|2[0-3]):[0-5]\d))?")
_MOMENT_RULE = 'YYYY-MM-DD, or in quotes "YYYY-MM-DD HH:MM", or for each year "MM-DD" or "MM-DD HH:MM"'
_MONTH_DAYS = "a list of 1 to 31, or last"
_KEPT = timedelta(days=8)


@dataclass(frozen=True, kw_only=True)
class Period:
    """The time for which freezes are worked out: a while before the moment asked about, to the horizon."""

    after: datetime
    until: datetime

    @classmethod
    def around(cls, now: datetime) -> Period:
        return cls(after=now - _KEPT, until=now + HORIZON + _KEPT)

    def years(self) -> range:
        """The years that touch it, and those before and after for what goes over New Year."""
        return range(self.after.year - 1, self.until.year + 2)


@dataclass(frozen=True, kw_only=True)
class Known:
    """The names that a tenant's calendar may use; None: any, for there is no host yet."""

    windows: Collection[str]
    rings: Collection[str]
    services: Collection[str] | None
    hosts: Collection[str] | None

    @classmethod
    def of(cls, tenant: Tenant, inventory: Inventory) -> Known:
        own = [host for host in inventory if host.tenant == tenant.name]
        served = {s.name for host in inventory for s in host.services if tenant.name in s.serves}
        return cls(
            windows=sorted(window.name for window in tenant.windows),
            rings=tenant.rings,
            services=sorted(served | {s.name for host in own for s in host.services}) if own else None,
            hosts=sorted({host.name for host in own}) if own else None,
        )


@dataclass(frozen=True, kw_only=True)
class CalendarFile:
    """What calendar.yml says; `holidays` is one of HOLIDAYS."""

    calendar: Calendar
    holidays: str


@dataclass(frozen=True, kw_only=True)
class _Moment:
    year: int | None
    month: int
    day: int
    clock: str

    def on(self, year: int) -> date:
        """The day in a year; 29 February of a year without one is the day before."""
        return date(year, self.month, min(self.day, months.monthrange(year, self.month)[1]))


def read_calendar(folder: Path, tenant: Tenant, known: Known, period: Period, problems: Problems) -> CalendarFile:
    """The calendar of one tenant's folder; a tenant without the file has only its windows."""
    path = folder / FILE
    windows = {window.name: window for window in tenant.windows}
    if not path.exists():
        return CalendarFile(calendar=Calendar(tenant=tenant.name, windows=windows), holidays=HOLIDAYS[0])
    document = read(path, problems)
    document.number("version", 1, low=1, high=1)
    zone = read_zone(document)
    held = document.section("windows")
    default = _names(held, "tenant", known.windows)
    rings = _holders(held, "rings", known.rings, known.windows)
    services = _holders(held, "services", known.services, known.windows)
    held.done()
    holidays = document.one_of("holidays", HOLIDAYS, HOLIDAYS[0])
    freezes = tuple(_freezes(document, tenant.name, known, ZoneInfo(zone), period))
    document.done()
    found = Calendar(
        tenant=tenant.name, zone=zone, windows=windows, default=default, rings=rings, services=services,
        freezes=freezes,
    )  # fmt: skip
    return CalendarFile(calendar=found, holidays=holidays)


def _names(section: Section, key: str, known: Collection[str] | None) -> tuple[str, ...]:
    """Names that must be known; those that are not are noted and left out."""
    found = section.texts(key)
    return tuple(dict.fromkeys(name for name in found if _is_known(section, key, key, name, known)))


def _is_known(section: Section, at: str, what: str, name: str, known: Collection[str] | None) -> bool:
    if known is None or name in known:
        return True
    listed = f"known: {', '.join(list(known)[:20])}" if known else "there is none"
    section.wrong(at, f"{what}: {name!r} is not in the inventory", listed)
    return False


def _holders(
    held: Section, key: str, holders: Collection[str] | None, windows: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Whose windows are which: the rings or services of the inventory, each with names of windows."""
    section = held.section(key)
    found = {name: _names(section, name, windows) for name in section.keys()}  # noqa: SIM118 - a Section is no mapping
    return {name: names for name, names in found.items() if _is_known(section, name, key, name, holders) and names}


def _freezes(document: Section, tenant: str, known: Known, zone: ZoneInfo, period: Period) -> Iterator[Freeze]:
    seen: set[str] = set()
    for section in document.sections("freezes"):
        name = section.name("name", required=True)
        if name in seen:
            section.wrong("name", f"freezes: {name!r} is there twice")
        seen.add(name)
        reason = free_text(section, "reason")
        scope = {
            "rings": _names(section, "rings", known.rings),
            "services": _names(section, "services", known.services),
            "hosts": _names(section, "hosts", known.hosts),
        }
        # A freeze for one wrong name must not become one for everything; the fault is noted, and nothing goes on.
        spans = tuple(_spans(section, zone, period))
        section.done()
        yield Freeze(name=name, tenant=tenant, spans=spans, reason=reason, where=section.where, **scope)


def _spans(section: Section, zone: ZoneInfo, period: Period) -> Iterable[Span]:
    """What the one of the three ways that the freeze uses comes to, within the period."""
    ways = [key for key in ("from", "days", "month_days") if section.has(key)]
    if len(ways) != 1:
        for key in ("from", "to", "days", "month_days", "start", "end"):
            section.texts(key) if key.endswith("days") else section.text(key)
        section.wrong(ways[0] if ways else "name", "a freeze has from and to, or days, or month_days", "one of them")
        return ()
    return _dated(section, zone, period) if ways == ["from"] else _recurring(section, ways[0], zone, period)


def _dated(section: Section, zone: ZoneInfo, period: Period) -> Iterator[Span]:
    first, last = _moment(section, "from", "00:00"), _moment(section, "to", MIDNIGHT)
    if first is None or last is None:
        return
    if (first.year is None) != (last.year is None):
        section.wrong("to", "from and to: one of them has a year and the other has none", "both or neither")
    elif first.year is not None and last.year is not None:
        span = stretch(first.on(first.year), first.clock, last.on(last.year), last.clock, zone)
        if span.start >= span.end:
            section.wrong("to", "to: the freeze ends before it begins")
            return
        yield span
    else:
        over = (last.month, last.day, last.clock) <= (first.month, first.day, first.clock)
        for year in period.years():
            yield stretch(first.on(year), first.clock, last.on(year + over), last.clock, zone)


def _moment(section: Section, key: str, clock: str) -> _Moment | None:
    text = section.text(key, required=True)
    if not text:
        return None
    found = _MOMENT.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        year, month, day = (int(part) if part else None for part in found.group(1, 2, 3))
        assert month is not None
        assert day is not None
        date(year if year is not None else 2024, month, day)  # a leap year: any day that a year can have
    except ValueError:
        section.wrong(key, f"{key}: {text!r} is no day", _MOMENT_RULE)
        return None
    if year is not None and not 2000 <= year <= 2200:
        section.wrong(key, f"{key}: {text!r} is too far away", "2000 to 2200")
        return None
    return _Moment(year=year, month=month, day=day, clock=found.group(4) or clock)


def _recurring(section: Section, key: str, zone: ZoneInfo, period: Period) -> Iterator[Span]:
    frozen = _weekly(section) if key == "days" else _monthly(section)
    start = section.text("start", "00:00", pattern=CLOCK, allowed=CLOCK_RULE)
    end = section.text("end", MIDNIGHT, pattern=CLOCK_END, allowed=CLOCK_END_RULE)
    if start == end:
        section.wrong("end", f"end: the freeze ends when it starts, at {start}")
        return
    for day in days(period.after, period.until, zone):
        if frozen(day):
            yield stretch(day, start, day if end > start else day + timedelta(days=1), end, zone)


def _weekly(section: Section) -> Callable[[date], bool]:
    given = read_days(section)
    return lambda day: WEEKDAYS[day.weekday()] in given


def _monthly(section: Section) -> Callable[[date], bool]:
    given = section.texts("month_days")
    wrong = [text for text in given if text != "last" and not (text.isdecimal() and 1 <= int(text) <= 31)]
    for text in wrong:
        section.wrong("month_days", f"month_days: {text!r} is no day of a month", _MONTH_DAYS)
    if not given:
        section.wrong("month_days", "month_days is empty", _MONTH_DAYS)
    numbers = {int(text) for text in given if text != "last" and text not in wrong}
    return lambda day: day.day in numbers or ("last" in given and (day + timedelta(days=1)).day == 1)
