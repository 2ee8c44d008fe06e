"""When a change may start: windows over both changes of summer time, freezes, whose word counts, the cut-off."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.model.calendar import HORIZON, Calendar, Freeze, Hours, window_spans
from opsctl.model.host import Host, Service, Window
from opsctl.model.spans import WEEKDAYS, Span, instant, joined, night, overlap, without

STOCKHOLM = ZoneInfo("Europe/Stockholm")
# Half an hour of summer time, a day that was left out, and the other side of the equator.
ZONES = ("Europe/Stockholm", "Australia/Lord_Howe", "Pacific/Apia", "America/Santiago", "UTC")
SPRING, AUTUMN = date(2026, 3, 29), date(2026, 10, 25)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NIGHTS = Window(name="nights", days=WEEKDAYS, start="22:00", end="04:00")
SUNDAYS = Window(name="sundays", days=("sun",), start="01:00", end="05:00")
OFFICE = Window(name="office", days=("mon", "tue", "wed", "thu"), start="09:00", end="15:00")
WINDOWS = {window.name: window for window in (NIGHTS, SUNDAYS, OFFICE)}
WEB = Host(name="web1", tenant="ange", address="192.0.2.1", role="web", platform="debian-12")
# A Wednesday.
NOON = datetime(2026, 11, 25, 11, 0, tzinfo=UTC)


def at(text: str) -> datetime:
    """A moment by Stockholm's clocks (the first one of two)."""
    return datetime.fromisoformat(text).replace(tzinfo=STOCKHOLM).astimezone(UTC)


def span(start: str, end: str) -> Span:
    return Span(start=datetime.fromisoformat(start + "Z"), end=datetime.fromisoformat(end + "Z"))


def hours(**more: object) -> Hours:
    return Hours([Calendar(tenant="ange", windows=WINDOWS, **more)])  # type: ignore[arg-type] # test shorthand


def freeze(*spans: Span, **more: object) -> Freeze:
    return Freeze(name="election", tenant="ange", spans=spans, **more)  # type: ignore[arg-type] # test shorthand


# --- wall clocks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "start", "end", "expected"),
    [
        (date(2026, 7, 1), "02:00", "04:00", span("2026-07-01T00:00", "2026-07-01T02:00")),
        # March: 02:00-03:00 does not exist, so an hour of the window does not either.
        (SPRING, "02:00", "04:00", span("2026-03-29T01:00", "2026-03-29T02:00")),
        (SPRING, "02:30", "04:00", span("2026-03-29T01:00", "2026-03-29T02:00")),
        (date(2026, 3, 28), "22:00", "02:30", span("2026-03-28T21:00", "2026-03-29T01:00")),
        (SPRING, "02:10", "02:50", None),
        # October: 02:00-03:00 comes twice; a window that begins in it begins with the second, and is as long as agreed.
        (AUTUMN, "02:00", "04:00", span("2026-10-25T01:00", "2026-10-25T03:00")),
        (AUTUMN, "02:10", "02:50", span("2026-10-25T01:10", "2026-10-25T01:50")),
        # One that ends in it ends with the first.
        (date(2026, 10, 24), "22:00", "02:30", span("2026-10-24T20:00", "2026-10-25T00:30")),
        # One that holds the whole hour holds it twice.
        (AUTUMN, "01:00", "04:00", span("2026-10-24T23:00", "2026-10-25T03:00")),
        (AUTUMN, "00:00", "24:00", span("2026-10-24T22:00", "2026-10-25T23:00")),
    ],
)
def test_a_window_on_an_ordinary_night_and_over_both_changes_of_summer_time(
    day: date, start: str, end: str, expected: Span | None
) -> None:
    assert night(day, start, end, STOCKHOLM) == expected


clocks = st.builds(lambda h, m: f"{h:02}:{m:02}", st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 59]))


@given(
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    # Around the changes of 2026, and of Samoa's lost day at the end of 2011.
    day=st.one_of(
        st.dates(date(2026, 3, 27), date(2026, 4, 7)),
        st.dates(date(2026, 9, 4), date(2026, 10, 27)),
        st.dates(date(2011, 12, 27), date(2012, 1, 2)),
    ),
    start=clocks,
    end=st.one_of(clocks, st.just("24:00")),
    inside=st.floats(0, 0.999999),
)
def test_inside_a_window_the_wall_clock_always_shows_a_time_of_it(
    zone: ZoneInfo, day: date, start: str, end: str, inside: float
) -> None:
    found = night(day, start, end, zone)
    first = datetime.combine(day, time.fromisoformat(start))
    last = datetime.combine(day, time(0)) + timedelta(
        days=0 if end > start else 1, hours=int(end[:2]), minutes=int(end[3:])
    )
    if found is None:
        return
    moment = found.start + (found.end - found.start) * inside
    shown = moment.astimezone(zone).replace(tzinfo=None, microsecond=0)
    assert first <= shown < last
    assert found.end - found.start <= last - first + HOUR
    crossed = found.start.astimezone(zone).utcoffset() != found.end.astimezone(zone).utcoffset()
    if not crossed:
        assert found.end - found.start <= last - first


@given(day=st.dates(date(2026, 1, 1), date(2027, 12, 31)), clock=clocks, later=st.booleans())
def test_a_time_that_the_clock_shows_is_a_moment_at_which_it_shows_it(day: date, clock: str, later: bool) -> None:
    found = instant(day, clock, STOCKHOLM, later=later).astimezone(STOCKHOLM)
    if day.month == 3 and day.weekday() == 6 and day.day > 24 and clock.startswith("02"):
        assert f"{found:%H:%M}" == "03:00"
    else:
        assert (found.date(), f"{found:%H:%M}") == (day, clock)


spans = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 12)).map(
        lambda pair: Span(start=NOON + pair[0] * HOUR, end=NOON + sum(pair) * HOUR)
    ),
    max_size=8,
)


@given(one=spans, other=spans)
def test_spans_are_joined_cut_and_taken_away_hour_by_hour(one: list[Span], other: list[Span]) -> None:
    def hour_by_hour(found: tuple[Span, ...] | list[Span]) -> list[bool]:
        return [any(piece.holds(NOON + number * HOUR) for piece in found) for number in range(60)]

    first, second = hour_by_hour(one), hour_by_hour(other)
    for found, expected in (
        (joined(one), first),
        (overlap(one, other), [a and b for a, b in zip(first, second, strict=True)]),
        (without(one, other), [a and not b for a, b in zip(first, second, strict=True)]),
    ):
        assert hour_by_hour(found) == expected
        assert all(a.end < b.start for a, b in pairwise(found))
        assert all(piece.start < piece.end for piece in found)


# --- may it start? ---------------------------------------------------------------------------------------------------


def test_a_host_of_which_nobody_says_anything_may_be_changed_at_any_time() -> None:
    verdict = hours().may_start(WEB, NOON, HOUR)
    assert (verdict.allowed, verdict.until) == (True, None)
    assert hours().remaining(WEB, NOON) is None


def test_inside_its_window_a_host_may_be_changed_until_the_cut_off() -> None:
    room, night_host = hours(), replace(WEB, windows=("nights",))
    end = at("2026-11-26T04:00")
    assert room.may_start(night_host, end - HOUR, HOUR).until == end
    late = room.may_start(night_host, end - HOUR + MINUTE, HOUR)
    assert late.reason == "only 59 min left until Thu 2026-11-26 04:00 CET, and it takes about 60 min"
    assert late.next_at == at("2026-11-26T22:00")
    assert room.remaining(night_host, end - HOUR) == HOUR
    assert room.remaining(night_host, end) == timedelta(0)


def test_outside_its_window_a_host_learns_when_the_next_one_opens() -> None:
    verdict = hours().may_start(replace(WEB, windows=("sundays",)), NOON, HOUR)
    assert not verdict.allowed
    assert verdict.reason == "outside its window sundays (host)"
    assert verdict.next_at == at("2026-11-29T01:00")


def test_a_window_that_is_no_longer_known_opens_at_no_time() -> None:
    verdict = hours().may_start(replace(WEB, windows=("forgotten",)), NOON)
    assert (verdict.allowed, verdict.reason, verdict.next_at) == (False, "outside its window forgotten (host)", None)


def test_what_takes_longer_than_every_window_has_no_time_at_all() -> None:
    verdict = hours().may_start(replace(WEB, windows=("sundays",)), NOON, 6 * HOUR)
    assert (verdict.allowed, verdict.next_at) == (False, None)


@pytest.mark.parametrize(
    ("host_windows", "ring", "expected"),
    [
        ((), "broad", "nights (tenant)"),
        ((), "canary", "office (ring canary)"),
        (("sundays",), "canary", "sundays (host)"),
    ],
)
def test_the_narrowest_of_host_ring_and_tenant_decides(host_windows: tuple[str, ...], ring: str, expected: str) -> None:
    room = hours(default=("nights",), rings={"canary": ("office",)})
    assert room.of("ange").said_of(replace(WEB, windows=host_windows, ring=ring)) == expected


def test_a_services_windows_hold_besides_for_they_are_its_owners_word() -> None:
    room = hours(default=("nights",), services={"booking": ("sundays",)})
    booking = replace(WEB, services=(Service(name="booking", port=443),))
    assert room.may_start(booking, at("2026-11-26T23:00")).next_at == at("2026-11-29T01:00")
    # Inside the service's window and outside the tenant's.
    late = room.may_start(booking, at("2026-11-29T04:30"))
    assert late.reason == "outside its window nights (tenant), and sundays (service booking)"
    assert room.may_start(booking, at("2026-11-29T03:00")).until == at("2026-11-29T04:00")


def test_windows_that_never_meet_leave_no_time() -> None:
    room = hours(services={"booking": ("sundays",)})
    booking = replace(WEB, windows=("office",), services=(Service(name="booking", port=443),))
    assert room.may_start(booking, NOON).next_at is None


def test_windows_that_touch_are_one() -> None:
    late = Window(name="late", days=WEEKDAYS, start="20:00", end="24:00")
    early = Window(name="early", days=WEEKDAYS, start="00:00", end="05:00")
    room = Hours([Calendar(tenant="ange", windows={"late": late, "early": early}, default=("late", "early"))])
    assert room.may_start(WEB, at("2026-11-25T23:30"), 2 * HOUR).until == at("2026-11-26T05:00")


def test_a_freeze_keeps_everything_until_its_end_and_is_named() -> None:
    stop = freeze(Span(start=NOON - HOUR, end=NOON + HOUR), reason="the election")
    verdict = hours(freezes=(stop,)).may_start(WEB, NOON)
    assert verdict.reason == "freeze election until Wed 2026-11-25 13:00 CET: the election"
    assert verdict.next_at == NOON + HOUR


def test_nothing_starts_that_cannot_end_before_a_freeze_begins() -> None:
    room = hours(freezes=(freeze(Span(start=NOON + HOUR, end=NOON + 3 * HOUR)),))
    assert room.may_start(WEB, NOON, HOUR).allowed
    assert room.may_start(WEB, NOON + MINUTE, HOUR).next_at == NOON + 3 * HOUR
    assert room.remaining(WEB, NOON) == HOUR


@pytest.mark.parametrize(
    ("scope", "kept"),
    [
        ({}, True), ({"rings": ("broad",)}, True), ({"rings": ("canary",)}, False), ({"hosts": ("web1",)}, True),
        ({"hosts": ("web2",)}, False), ({"services": ("booking",)}, True), ({"services": ("payroll",)}, False),
        ({"rings": ("canary",), "hosts": ("web1",)}, True), ({"tenant": "sundsvall"}, True),
        ({"tenant": "sundsvall", "rings": ("broad",)}, False), ({"tenant": "bollnas"}, False),
        ({"tenant": "sundsvall", "services": ("booking",)}, True),
    ],
)  # fmt: skip
def test_a_freeze_holds_for_whom_it_names_and_for_hosts_that_serve_its_tenant(
    scope: dict[str, object], kept: bool
) -> None:
    shared = replace(WEB, services=(Service(name="booking", port=443, serves=("ange", "sundsvall")),))
    stop = replace(freeze(Span(start=NOON, end=NOON + HOUR)), **scope)  # type: ignore[arg-type] # test shorthand
    assert hours(freezes=(stop,)).may_start(shared, NOON).allowed is not kept


def test_an_emergency_overrides_window_and_freeze_and_the_verdict_says_so() -> None:
    room = hours(default=("sundays",), freezes=(freeze(Span(start=NOON, end=NOON + HOUR)),))
    verdict = room.may_start(WEB, NOON, emergency=True)
    assert (verdict.allowed, verdict.override) == (True, True)
    assert verdict.reason.startswith("freeze election until")
    assert not room.may_start(WEB, at("2026-11-29T02:00"), emergency=True).override


@given(
    offset=st.integers(0, 60 * 24 * 400),
    takes=st.integers(0, 300),
    names=st.sets(st.sampled_from(sorted(WINDOWS)), max_size=2).map(lambda names: tuple(sorted(names))),
    service=st.sampled_from([(), ("nights",), ("sundays",)]),
    stops=st.lists(st.tuples(st.integers(0, 24 * 400), st.integers(1, 24 * 20)), max_size=5),
)
def test_a_verdict_keeps_its_word(
    offset: int, takes: int, names: tuple[str, ...], service: tuple[str, ...], stops: list[tuple[int, int]]
) -> None:
    """Whatever the windows and freezes: yes means that it ends in time, no names the first moment that is a yes."""
    frozen = tuple(Span(start=NOON + first * HOUR, end=NOON + (first + length) * HOUR) for first, length in stops)
    room = hours(services={"booking": service}, freezes=(freeze(*frozen),))
    host = replace(WEB, windows=names, services=(Service(name="booking", port=443),))
    now, expected = NOON + offset * MINUTE, takes * MINUTE
    verdict = room.may_start(host, now, expected)
    if verdict.allowed:
        for passed in (timedelta(0), expected / 2, expected - timedelta(seconds=1)):
            if passed >= timedelta(0):
                assert all(not piece.holds(now + passed) for piece in frozen)
                assert not names or any(_inside(WINDOWS[name], now + passed) for name in names)
                assert not service or any(_inside(WINDOWS[name], now + passed) for name in service)
        return
    assert verdict.reason
    if verdict.next_at is not None:
        assert now < verdict.next_at < now + HORIZON
        assert room.may_start(host, verdict.next_at, expected).allowed
        assert not room.may_start(host, verdict.next_at - MINUTE, expected).allowed
        assert verdict.next_at not in [piece.start for piece in frozen]


def _inside(window: Window, moment: datetime) -> bool:
    return any(piece.holds(moment) for piece in window_spans(window, moment, moment + MINUTE))
