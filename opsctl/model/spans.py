"""Spans of time, and what a wall clock means on the nights on which summer time begins and ends. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MIDNIGHT = "24:00"
# The end of what has no end; far from the last date that Python knows, for zones move it by hours.
FOREVER = datetime(9000, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True, order=True)
class Span:
    """From `start` until just before `end`, both in UTC."""

    start: datetime
    end: datetime

    def holds(self, at: datetime) -> bool:
        return self.start <= at < self.end


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same time as spans in order that neither overlap nor touch."""
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.start <= found[-1].end:
            found[-1] = Span(start=found[-1].start, end=max(found[-1].end, span.end))
        elif span.start < span.end:
            found.append(span)
    return tuple(found)


def overlap(one: Iterable[Span], other: Iterable[Span]) -> tuple[Span, ...]:
    """The time that is in both."""
    left, right = list(joined(one)), list(joined(other))
    found: list[Span] = []
    while left and right:
        a, b = left[-1], right[-1]
        if (start := max(a.start, b.start)) < (end := min(a.end, b.end)):
            found.append(Span(start=start, end=end))
        (left if a.start > b.start else right).pop()
    return joined(found)


def without(spans: Iterable[Span], holes: Iterable[Span]) -> tuple[Span, ...]:
    """The time that is in `spans` and in none of `holes`."""
    left: list[Span] = []
    gaps, passed = joined(holes), 0
    for span in joined(spans):
        start = span.start
        while passed < len(gaps) and gaps[passed].end <= start:
            passed += 1
        for gap in islice(gaps, passed, None):
            if gap.start >= span.end:
                break
            left.append(Span(start=start, end=max(start, gap.start)))
            start = gap.end
        left.append(Span(start=start, end=max(start, span.end)))
    return joined(left)


def instant(day: date, clock: str, zone: ZoneInfo, *, later: bool = False) -> datetime:
    """The moment, in UTC, at which a wall clock shows `clock` (HH:MM or 24:00) on `day`.

    A time that is shown twice is the first of the two, or the second where `later`. A time that is not shown at all,
    because the clock jumps over it, is the moment of the jump.
    """
    local = datetime.combine(day, time(0 if clock == MIDNIGHT else int(clock[:2]), int(clock[3:])))
    local += _DAY if clock == MIDNIGHT else timedelta(0)
    found = local.replace(tzinfo=zone, fold=1 if later else 0).astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) == local:
        return found
    before, after = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (1, 0))
    return _jump(before, after, zone)


def _jump(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The first second between two moments at which the zone's clock is no longer set as at the first."""
    old = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + timedelta(seconds=(after - before) // _SECOND // 2)
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after


def days(after: datetime, until: datetime, zone: ZoneInfo) -> Iterator[date]:
    """Every day that touches the time between two moments, and the day before, whose night may reach into it."""
    day = after.astimezone(zone).date() - _DAY
    last = until.astimezone(zone).date()
    while day <= last:
        yield day
        day += _DAY


def night(day: date, start: str, end: str, zone: ZoneInfo) -> Span | None:
    """From `start` on `day` until `end`, the next day where that is no later; None where the clock shows none of it.

    At each moment of it the wall clock shows a time from `start` to `end`, and never is it longer than that by more
    than the hour in its middle that comes twice. So a start that comes twice is the second one, an end the first one
    that follows.
    """
    begins = instant(day, start, zone, later=True)
    last = day if end > start else day + _DAY
    ends = instant(last, end, zone)
    if ends <= begins:
        ends = instant(last, end, zone, later=True)
    return Span(start=begins, end=ends) if begins < ends else None


def stretch(first: date, start: str, last: date, end: str, zone: ZoneInfo) -> Span:
    """From `start` on `first` until `end` on `last`, the longer one where a time comes twice."""
    return Span(start=instant(first, start, zone), end=instant(last, end, zone, later=True))
