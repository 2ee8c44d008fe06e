"""*.ics in a tenant's folder: each event of it is a freeze for the whole tenant, as calendars export them (RFC 5545).

What an .ics file says is foreign: its text is shown without control characters, rules that repeat within a day and
files beyond all measure are faults. The only importer of icalendar and recurring_ical_events.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from opsctl.documents import Problems
from opsctl.inventory.calendarfile import Period
from opsctl.inventory.words import sound
from opsctl.model.calendar import Freeze
from opsctl.model.spans import Span, stretch

MOST_BYTES, MOST_EVENTS, MOST_SPANS = 1_000_000, 500, 5_000
_FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY")
_EARLIEST = 2000
_LONGEST_NAME = 80
_LINE = re.compile(r"[ \t]|[A-Za-z0-9-]+[;:]")


@dataclass(frozen=True, kw_only=True)
class _Event:
    """An event, as the library gives it, with file:line of its beginning."""

    found: Any
    where: str


def read_freezes(path: Path, tenant: str, zone: ZoneInfo, period: Period, problems: Problems) -> tuple[Freeze, ...]:
    """The freezes of one file; none where it has a fault."""
    import icalendar

    text = _text(path, problems)
    if text is None:
        return ()
    try:
        calendar = icalendar.Calendar.from_ical(text)
    except (ValueError, RecursionError) as error:
        problems.note(*_not_a_calendar(path, text, error))
        return ()
    events = tuple(_events(calendar, path, text))
    before = len(problems.found)
    for event in events:
        for what, allowed in _faults(event.found):
            problems.note(event.where, what, allowed)
    if len(events) > MOST_EVENTS:
        problems.note(str(path), f"{len(events)} events", f"at most {MOST_EVENTS}")
    if len(problems.found) > before:
        return ()
    for event in events:
        _bound(event.found, period)
    try:
        found = tuple(_freezes(calendar, events, tenant, zone, period))
        return tuple(replace(freeze, reason=path.name) for freeze in found)
    except Exception as error:  # noqa: BLE001 - whatever two libraries make of foreign text, it is this file's fault
        problems.note(str(path), f"its events cannot be worked out: {_clean(str(error))}")
        return ()


def _text(path: Path, problems: Problems) -> str | None:
    try:
        if not path.is_file():
            problems.note(str(path), "is not a file")
        elif path.stat().st_size > MOST_BYTES:
            problems.note(str(path), f"{path.stat().st_size} bytes", f"at most {MOST_BYTES}")
        else:
            return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.note(str(path), f"cannot be read: {error}")
    return None


def _not_a_calendar(path: Path, text: str, error: Exception) -> tuple[str, str, str]:
    """Where a file stops being a calendar: the first line that is none of iCalendar's; one set in goes on another."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not _LINE.match(line):
            return f"{path}:{number}", f"not iCalendar: {_clean(line)!r}", "NAME:VALUE, as RFC 5545 writes it"
    return f"{path}:1", f"not iCalendar: {_clean(str(error))}", "one VCALENDAR, begun and ended"


def _events(calendar: Any, path: Path, text: str) -> Iterator[_Event]:
    begun = [number for number, line in enumerate(text.splitlines(), 1) if line.strip().upper() == "BEGIN:VEVENT"]
    found = calendar.walk("VEVENT")
    for index, event in enumerate(found):
        where = f"{path}:{begun[index]}" if len(begun) == len(found) else str(path)
        yield _Event(found=event, where=where)


def _faults(event: Any) -> Iterator[tuple[str, str]]:
    """What keeps an event from being a freeze, and what would be right."""
    for name, why in event.errors:
        yield f"event {_title(event)!r}: {name or 'a line'} is not understood: {_clean(str(why))}", ""
    broken = [name for name, value in event.property_items(recursive=False) if type(value).__name__ == "vBroken"]
    if broken:
        yield f"event {_title(event)!r}: {', '.join(broken)} is not understood", "as RFC 5545 writes it"
        return
    begins = event.get("DTSTART")
    moment = getattr(begins, "dt", None)
    if not isinstance(moment, date):
        yield f"event {_title(event)!r} has no DTSTART that is a day or a moment", "DTSTART, once"
        return
    if moment.year < _EARLIEST:
        yield f"event {_title(event)!r} begins in {moment.year}", f"{_EARLIEST} or later"
    if isinstance(moment, datetime) and moment.tzinfo is None and (zone := begins.params.get("TZID")):
        yield f"event {_title(event)!r}: time zone {_clean(str(zone))!r} is not known", "a name as Europe/Stockholm"
    if isinstance(moment, datetime) and not {"DTEND", "DURATION"} & event.keys():
        yield f"event {_title(event)!r} has no end", "DTEND or DURATION"
    rules = event.get("RRULE", [])
    for rule in rules if isinstance(rules, list) else [rules]:
        if str((rule.get("FREQ") or [""])[0]).upper() not in _FREQUENCIES:
            yield f"event {_title(event)!r} repeats in a way that no freeze does", "FREQ: " + ", ".join(_FREQUENCIES)


def _bound(event: Any, period: Period) -> None:
    """A rule without an end ends with the period: else one that never comes true is sought up to the year 9999."""
    rules = event.get("RRULE", [])
    begins = event["DTSTART"].dt
    for rule in rules if isinstance(rules, list) else [rules]:
        if not {"UNTIL", "COUNT"} & rule.keys():
            until: date = period.until if isinstance(begins, datetime) else period.until.date()
            if isinstance(begins, datetime) and begins.tzinfo is None:
                until = period.until.replace(tzinfo=None)
            rule["UNTIL"] = [until]


def _freezes(
    calendar: Any, events: tuple[_Event, ...], tenant: str, zone: ZoneInfo, period: Period
) -> Iterator[Freeze]:
    import recurring_ical_events

    lines = {str(event.found.get("UID", "")): event.where for event in reversed(events)}
    spans: dict[tuple[str, str], list[Span]] = {}
    for number, one in enumerate(recurring_ical_events.of(calendar).between(period.after, period.until), 1):
        if number > MOST_SPANS:
            raise ValueError(f"more than {MOST_SPANS} times within the coming year")
        # A cancelled event is none; one that its calendar shows as free is one, as all-day events often are.
        if str(one.get("STATUS", "")).upper() != "CANCELLED":
            span = _span(one["DTSTART"].dt, one["DTEND"].dt, zone)
            spans.setdefault((str(one.get("UID", "")), _title(one)), []).append(span)
    for (uid, title), found in spans.items():
        yield Freeze(name=title, tenant=tenant, spans=tuple(found), where=lines.get(uid, ""))


def _span(start: Any, end: Any, zone: ZoneInfo) -> Span:
    """A span in UTC; whole days and times without a zone are those of the tenant's zone."""
    if isinstance(start, datetime) and isinstance(end, datetime):
        return Span(start=_utc(start, zone), end=_utc(end, zone))
    return stretch(start, "00:00", end, "00:00", zone)


def _utc(moment: datetime, zone: ZoneInfo) -> datetime:
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def _title(event: Any) -> str:
    return _clean(str(event.get("SUMMARY", ""))) or "without a title"


def _clean(text: str) -> str:
    """Foreign text on one line, of words alone."""
    return " ".join("".join(char if sound(char) else " " for char in text).split())[:_LONGEST_NAME]
