"""Writes calendar entries as iCalendar (RFC 5545): published, as news that wants no answer. icsfile.py reads them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, kw_only=True)
class CalendarEntry:
    """One entry; `uid` stays the same for the same thing, so that a second sending replaces the first."""

    uid: str
    start: datetime
    end: datetime
    summary: str
    description: str


def calendar_text(entries: Iterable[CalendarEntry], now: datetime) -> bytes:
    """A calendar of these entries; they do not mark their reader as busy."""
    from icalendar import Calendar, Event

    calendar = Calendar()
    calendar.add("prodid", "-//opsctl//patching//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    for entry in entries:
        event = Event()
        event.add("uid", entry.uid)
        event.add("dtstamp", now.astimezone(UTC))
        event.add("dtstart", entry.start.astimezone(UTC))
        event.add("dtend", entry.end.astimezone(UTC))
        event.add("summary", entry.summary)
        event.add("description", entry.description)
        event.add("transp", "TRANSPARENT")
        calendar.add_component(event)
    found: bytes = calendar.to_ical()
    return found
