"""What a rollout claims while it runs: its hosts, their load balancers, and every limit that it takes members from.

One that is paused or halted keeps its claims up to a moment that is named then: no process is needed for that.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from opsctl.errors import Locked, StoreError
from opsctl.model.host import Host
from opsctl.model.rollout import Plan
from opsctl.rollout import lines
from opsctl.rollout.change import Claim
from opsctl.rollout.limits import Limits
from opsctl.state.leases import Lease, Leases

# Words by which the reason is known again (execute.mend_missed).
HELD = "held by"
LEASE_TIME = timedelta(minutes=15)
RENEW_AFTER = timedelta(minutes=3)
_HOLDER = re.compile(r"rollout (\S+) of ")


def holder(plan: Plan) -> str:
    """In whose name a rollout holds its leases: the same one at every resume."""
    return f"rollout {plan.id} of {plan.made_by}"


def rollout_of(holder: str) -> str:
    """The id of the rollout that holds a lease; empty where something else does."""
    found = _HOLDER.match(holder)
    return found.group(1) if found else ""


def names(plan: Plan, limits: Limits) -> tuple[str, ...]:
    """Load balancers too: another rollout that restarted one would put drained hosts back into service."""
    wanted = limits.lease_names(item.host for item in plan.hosts)
    return tuple(dict.fromkeys((*wanted, *sorted(item.drain_through for item in plan.hosts if item.drain_through))))


def kept_until(plan: Plan, leases: Leases, now: datetime) -> datetime | None:
    """Until when a rollout holds its hosts, whether or not a process works on it; None where it holds none."""
    ours = [lease.expires for lease in leases.held(now) if lease.holder == holder(plan)]
    return min(ours, default=None)


def refuse_held(plan: Plan, leases: Leases, limits: Limits, now: datetime) -> None:
    """Raise Locked where somebody else holds one of the plan's hosts or clusters: asked before hosts are read."""
    wanted = set(names(plan, limits))
    taken = [lease for lease in leases.held(now) if lease.name in wanted and lease.holder != holder(plan)]
    if taken:
        told = "; ".join(
            f"{one.name} is held by {one.holder} since {one.taken:%Y-%m-%d %H:%M:%SZ}, "
            f"until {one.expires:{_day(one.expires, now)}%H:%M:%SZ} unless it is renewed"
            for one in taken
        )
        raise Locked(told, hint=_what_to_do({one.holder for one in taken}))


def held_by_others(
    hosts: Iterable[Host], leases: Leases, limits: Limits, fronts: Mapping[str, str], now: datetime, at: datetime | None
) -> dict[str, str]:
    """The hosts that somebody else works on or keeps, or whose limit or load balancer is, and who; at `at` still."""
    taken = {lease.name: lease for lease in leases.held(now) if at is None or lease.expires > at}
    found = {}
    for host in hosts if taken else ():
        wanted = (*limits.lease_names([host.key]), *([fronts[host.key]] if host.key in fronts else []))
        lease = next((taken[name] for name in wanted if name in taken), None)
        if lease is not None:
            what = "" if lease.name == host.key else f"{lease.name} is "
            until = f"{lease.expires:{_day(lease.expires, now)}%H:%M:%SZ}"
            found[host.key] = (
                f"{what}{HELD} {lease.holder} since {lease.taken:%Y-%m-%d %H:%M:%SZ}, until {until} unless renewed"
            )
    return found


def _day(at: datetime, now: datetime) -> str:
    return "" if at.date() == now.date() else "%Y-%m-%d "


def _what_to_do(holders: set[str]) -> str:
    """Of what holds them: wait for it; where its process is gone, resume it or end it."""
    ours = sorted(one for one in map(rollout_of, holders) if lines.kind_of(one))
    wait = "wait for its end"
    if not ours:
        return wait
    look = " or ".join(dict.fromkeys(lines.status(lines.kind_of(one)) for one in ours))
    return f"{wait} ({look} says whether it is stalled); or resume it: {'; '.join(map(lines.resume_or_abort, ours))}"


def keep(plan: Plan, leases: Leases, limits: Limits, now: datetime, until: datetime) -> None:
    """Claim a rollout's hosts up to a moment, without a process; nothing where it is over. Raises Locked."""
    if until > now:
        refuse_held(plan, leases, limits, now)
        leases.acquire(names(plan, limits), holder(plan), now, until - now)


class Claims:
    """The leases of one running rollout: all or none, renewed while it works, given back at its end."""

    def __init__(self, plan: Plan, leases: Leases, limits: Limits, clock: Callable[[], datetime]) -> None:
        self._plan, self._leases, self._limits, self._clock = plan, leases, limits, clock
        self._held: tuple[Lease, ...] = ()
        self._renewed = clock()
        self.kept_until: datetime | None = None

    @contextmanager
    def held(self) -> Iterator[Mapping[str, Claim]]:
        """The claim on each host and load balancer, with its token. Raises Locked where somebody else holds one."""
        refuse_held(self._plan, self._leases, self._limits, self._clock())
        wanted = names(self._plan, self._limits)
        self._held = self._leases.acquire(wanted, holder(self._plan), self._clock(), LEASE_TIME)
        try:
            store = f"{socket.gethostname()}/{self._leases.origin()}"
            yield {
                lease.name: Claim(rollout=self._plan.id, token=lease.token, installation=store) for lease in self._held
            }
        finally:
            if self.kept_until is None:
                with suppress(StoreError):
                    self._leases.release(self._held)

    def keep(self, until: datetime | None) -> None:
        """Leave them held up to a moment when this process has gone, so that nobody else takes the hosts meanwhile.

        None, a moment that is over, or a lease that was lost: they are given back at the end as ever.
        """
        now = self._clock()
        if until is None or until <= now:
            return
        with suppress(Locked):
            self._held = self._leases.renew(self._held, now, until - now)
            self.kept_until = until

    @property
    def until(self) -> datetime:
        """When the first of them ends, unless it is renewed."""
        return min((lease.expires for lease in self._held), default=self._clock())

    def renew(self) -> bool:
        """Keep them where it is time to; whether it was. Raises Locked where one was lost."""
        now = self._clock()
        if now - self._renewed > RENEW_AFTER:
            self._held = self._leases.renew(self._held, now, LEASE_TIME)
            self._renewed = now
            return True
        return False
