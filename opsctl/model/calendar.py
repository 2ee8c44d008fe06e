"""Maintenance windows and freezes: may a change start on a host now, and if not, when? Pure; `now` is an argument.

Windows: the narrowest of host, ring and tenant that names any decides. The windows of a service hold besides, for they
are what its owner agreed to: a host must be inside those of each of its services. A host of which nobody says
anything may be changed at any time. Freezes add up: each one that holds for a host, its ring, one of its services or
its whole tenant keeps it, and so do those of the tenants whose residents use one of its services.

Nothing starts that cannot end, by its expected time, before the window ends or a freeze begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from opsctl.model.host import Host, Window
from opsctl.model.spans import FOREVER, WEEKDAYS, Span, days, joined, night, overlap, without

ZONE = "Europe/Stockholm"
# How far freezes are known and openings are looked for.
HORIZON = timedelta(days=400)
_SOON = timedelta(days=8)
_DAY = timedelta(days=1)
NO_TIME = timedelta(0)


@dataclass(frozen=True, kw_only=True)
class Freeze:
    """Time in which nothing starts. Without rings, services and hosts it holds for the whole tenant.

    `where` is its file:line.
    """

    name: str
    tenant: str
    spans: tuple[Span, ...]
    reason: str = ""
    rings: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    where: str = ""

    @property
    def whole(self) -> bool:
        return not (self.rings or self.services or self.hosts)

    def keeps(self, host: Host) -> bool:
        """Does it hold for this host?"""
        if host.tenant == self.tenant and (self.whole or host.ring in self.rings or host.name in self.hosts):
            return True
        return any(
            (host.tenant == self.tenant or self.tenant in service.serves)
            and (self.whole or service.name in self.services)
            for service in host.services
        )

    @property
    def scope(self) -> str:
        """For whom it holds, in words."""
        parts = (("ring", self.rings), ("service", self.services), ("host", self.hosts))
        return ", ".join(f"{what} {name}" for what, names in parts for name in names) or "everything"


@dataclass(frozen=True, kw_only=True)
class Holiday:
    """A public holiday, or an eve that is kept as one; `frozen`: nothing starts on it."""

    day: date
    name: str
    frozen: bool = False


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """What one tenant says of time: which of its windows hold for whom, its freezes and holidays."""

    tenant: str
    zone: str = ZONE
    windows: Mapping[str, Window] = field(default_factory=dict)
    default: tuple[str, ...] = ()
    rings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    services: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    freezes: tuple[Freeze, ...] = ()
    holidays: tuple[Holiday, ...] = ()

    def windows_of(self, host: Host) -> tuple[tuple[Window, ...], ...]:
        """Groups of windows: a host must be inside one window of each group; no group: at any time."""
        own = host.windows or self.rings.get(host.ring) or self.default
        named = (own, *(self.services.get(service.name, ()) for service in host.services))
        # A window that is no longer known opens at no time: its host may be one that the inventory no longer has.
        known = (tuple(self.windows[name] for name in names if name in self.windows) for names in named if names)
        return tuple(dict.fromkeys(known))

    def said_of(self, host: Host) -> str:
        """Which windows hold for a host and by whose word."""
        whose = ("host", host.windows), (f"ring {host.ring}", self.rings.get(host.ring)), ("tenant", self.default)
        own = next(((word, names) for word, names in whose if names), ("", ()))
        named = (own, *((f"service {s.name}", self.services.get(s.name, ())) for s in host.services))
        return ", and ".join(dict.fromkeys(f"{' or '.join(names)} ({word})" for word, names in named if names))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """May it start? `reason` why not, `next_at` when it may (None: not within the horizon).

    `until` is the end of the time in which it may, None where that has none; `override`: it may only because of an
    emergency, and `reason` is what it overrides.
    """

    allowed: bool
    reason: str = ""
    next_at: datetime | None = None
    until: datetime | None = None
    override: bool = False


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """What holds for a host: groups of windows, and freezes."""

    groups: tuple[tuple[Window, ...], ...]
    freezes: tuple[Freeze, ...]


class Hours:
    """The calendars of all tenants, asked host by host."""

    def __init__(self, calendars: Sequence[Calendar]) -> None:
        self.calendars: Mapping[str, Calendar] = {calendar.tenant: calendar for calendar in calendars}
        self._rules: dict[object, _Rule] = {}
        self._known: dict[tuple[int, date, timedelta], tuple[Span, ...]] = {}

    def of(self, tenant: str) -> Calendar:
        """A tenant's calendar; an empty one for a tenant that has none."""
        return self.calendars.get(tenant) or Calendar(tenant=tenant)

    def may_start(
        self, host: Host, now: datetime, expected: timedelta = NO_TIME, *, emergency: bool = False
    ) -> Verdict:
        """May a change that takes `expected` start on this host now? An emergency may; the verdict says over what."""
        rule = self._rule(host)
        opening = self._opening(rule, now)
        if opening and now + expected <= opening.end:
            return Verdict(allowed=True, next_at=now, until=_end(opening))
        reason = self._why_not(host, rule, now, opening, expected)
        if emergency:
            return Verdict(allowed=True, reason=reason, next_at=now, override=True)
        return Verdict(allowed=False, reason=reason, next_at=self._next(rule, now, expected))

    def remaining(self, host: Host, now: datetime) -> timedelta | None:
        """How long changes of this host may still go on; nothing outside its windows, None where there is no end."""
        opening = self._opening(self._rule(host), now)
        if opening is None:
            return NO_TIME
        return None if opening.end >= FOREVER else opening.end - now

    def openings(self, host: Host, after: datetime, until: datetime) -> tuple[Span, ...]:
        """The time between two moments in which changes of this host may go on."""
        return overlap(_openings(self._rule(host), after, until), (Span(start=after, end=until),))

    def local(self, tenant: str, at: datetime) -> str:
        """A moment as the tenant's clocks show it."""
        return f"{at.astimezone(ZoneInfo(self.of(tenant).zone)):%a %Y-%m-%d %H:%M %Z}"

    def next_words(self, tenant: str, verdict: Verdict) -> str:
        """When it may, after a verdict that says no."""
        return f"next {self.local(tenant, verdict.next_at)}" if verdict.next_at else "and at no time within a year"

    def _rule(self, host: Host) -> _Rule:
        groups = self.of(host.tenant).windows_of(host)
        asked = {host.tenant, *(tenant for service in host.services for tenant in service.serves)}
        keeping = [
            freeze
            for tenant, calendar in self.calendars.items()
            if tenant in asked
            for freeze in calendar.freezes
            if freeze.keeps(host)
        ]
        key = (groups, tuple(map(id, keeping)))
        if key not in self._rules:
            self._rules[key] = _Rule(groups=groups, freezes=tuple(keeping))
        return self._rules[key]

    def _opening(self, rule: _Rule, now: datetime) -> Span | None:
        return next((span for span in self._ahead(rule, now, _SOON) if span.holds(now)), None)

    def _ahead(self, rule: _Rule, now: datetime, far: timedelta) -> tuple[Span, ...]:
        """The openings of the time ahead, worked out once a day and rule."""
        today = now.astimezone(UTC).date()
        key = (id(rule), today, far)
        if key not in self._known:
            start = datetime(today.year, today.month, today.day, tzinfo=UTC)
            self._known[key] = _openings(rule, start, start + far)
        return self._known[key]

    def _next(self, rule: _Rule, now: datetime, expected: timedelta) -> datetime | None:
        for far in (_SOON, HORIZON):
            for span in self._ahead(rule, now, far):
                start = max(span.start, now)
                if start + expected <= span.end and start < now + far:
                    return start
        return None

    def _why_not(self, host: Host, rule: _Rule, now: datetime, opening: Span | None, expected: timedelta) -> str:
        calendar = self.of(host.tenant)
        for freeze in rule.freezes:
            for span in freeze.spans:
                if span.holds(now):
                    why = f": {freeze.reason}" if freeze.reason else ""
                    whose = "" if freeze.tenant == host.tenant else f" of {freeze.tenant}"
                    return f"freeze {freeze.name}{whose} until {self.local(host.tenant, span.end)}{why}"
        if opening is None:
            return f"outside its window {calendar.said_of(host)}"
        left, takes = _minutes(opening.end - now), _minutes(expected)
        return f"only {left} min left until {self.local(host.tenant, opening.end)}, and it takes about {takes} min"


def window_spans(window: Window, after: datetime, until: datetime) -> Iterator[Span]:
    """The nights of a window that touch the time between two moments, whole."""
    zone = ZoneInfo(window.zone)
    for day in days(after, until, zone):
        span = night(day, window.start, window.end, zone) if WEEKDAYS[day.weekday()] in window.days else None
        if span and span.end > after and span.start < until:
            yield span


def _openings(rule: _Rule, after: datetime, until: datetime) -> tuple[Span, ...]:
    """What begins before `until`; a last one may reach beyond it."""
    found: tuple[Span, ...] = (Span(start=after, end=FOREVER),)
    for group in rule.groups:
        # A night that begins just after `until` may touch one before it, and make it longer.
        found = overlap(found, (span for window in group for span in window_spans(window, after, until + _DAY)))
    found = without(found, (span for freeze in rule.freezes for span in freeze.spans))
    return tuple(span for span in joined(found) if span.start < until)


def _end(opening: Span) -> datetime | None:
    return None if opening.end >= FOREVER else opening.end


def _minutes(length: timedelta) -> int:
    return int(length.total_seconds() // 60)
