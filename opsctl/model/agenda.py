"""What a planner looks at: the coming windows, freezes and holidays, and what may start at a moment. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from opsctl.model.calendar import Calendar, Hours, Verdict, window_spans
from opsctl.model.host import Host, Inventory
from opsctl.model.spans import MIDNIGHT, Span, stretch

WINDOW, FREEZE, HOLIDAY, OPEN = "window", "freeze", "holiday", "open"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of an agenda: `what` is window, freeze, holiday or open; `scope` says for whom, `remark` why."""

    span: Span
    tenant: str
    what: str
    name: str
    scope: str
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Hosts of which the same is true at a moment."""

    verdict: Verdict
    hosts: tuple[str, ...]


def of_tenants(
    hours: Hours, inventory: Inventory, tenants: Iterable[str], after: datetime, until: datetime
) -> tuple[Entry, ...]:
    """Every window, freeze and holiday of these tenants that touches the time between two moments, in order."""
    found = [entry for name in tenants for entry in _of_tenant(hours.of(name), inventory, after, until)]
    return tuple(sorted(found, key=lambda entry: (entry.span, entry.tenant, entry.what, entry.name)))


def of_host(hours: Hours, host: Host, after: datetime, until: datetime) -> tuple[Entry, ...]:
    """When changes of one host may go on between two moments, and what keeps it else."""
    said = hours.of(host.tenant).said_of(host) or "at any time"
    found = [
        Entry(span=span, tenant=host.tenant, what=OPEN, name=host.name, scope=said)
        for span in hours.openings(host, after, until)
    ]
    for calendar in hours.calendars.values():
        found += _freezes(calendar, after, until, keeping=host)
    return tuple(sorted(found, key=lambda entry: (entry.span, entry.tenant, entry.what, entry.name)))


def standings(hours: Hours, hosts: Iterable[Host], now: datetime, expected: timedelta) -> tuple[Standing, ...]:
    """What may start now and what may not, hosts of which the same is true together; first those that may."""
    found: dict[Verdict, list[str]] = {}
    for host in hosts:
        found.setdefault(hours.may_start(host, now, expected), []).append(host.key)
    grouped = [Standing(verdict=verdict, hosts=tuple(keys)) for verdict, keys in found.items()]
    return tuple(sorted(grouped, key=lambda one: (not one.verdict.allowed, one.hosts)))


def _of_tenant(calendar: Calendar, inventory: Inventory, after: datetime, until: datetime) -> Iterator[Entry]:
    for name, window in calendar.windows.items():
        users = _users(calendar, name, inventory)
        for span in window_spans(window, after, until):
            yield Entry(span=span, tenant=calendar.tenant, what=WINDOW, name=name, scope=users)
    yield from _freezes(calendar, after, until)
    for holiday in calendar.holidays:
        span = stretch(holiday.day, "00:00", holiday.day, MIDNIGHT, ZoneInfo(calendar.zone))
        if not holiday.frozen and _touches(span, after, until):
            yield Entry(
                span=span, tenant=calendar.tenant, what=HOLIDAY, name=holiday.name, scope="shown", remark="no freeze"
            )


def _freezes(calendar: Calendar, after: datetime, until: datetime, keeping: Host | None = None) -> Iterator[Entry]:
    for freeze in calendar.freezes:
        for span in freeze.spans:
            if _touches(span, after, until) and (keeping is None or freeze.keeps(keeping)):
                yield Entry(
                    span=span, tenant=calendar.tenant, what=FREEZE, name=freeze.name, scope=freeze.scope,
                    remark=freeze.reason,
                )  # fmt: skip


def _touches(span: Span, after: datetime, until: datetime) -> bool:
    return span.end > after and span.start < until


def _users(calendar: Calendar, window: str, inventory: Inventory) -> str:
    """For whom a window holds, by whose word."""
    found = ["everything else"] if window in calendar.default else []
    found += [f"ring {ring}" for ring, names in calendar.rings.items() if window in names]
    found += [f"service {service}" for service, names in calendar.services.items() if window in names]
    hosts = sum(window in host.windows for host in inventory if host.tenant == calendar.tenant)
    found += [f"{hosts} host{'' if hosts == 1 else 's'}"] if hosts else []
    return ", ".join(found) or "nobody"
