"""Looking at rollouts as they are at this moment: store, locks, leases and calendars, never a host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from opsctl.config import Settings
from opsctl.inventory import snapshot
from opsctl.model.rollout import HostPlan, RolloutState, Status
from opsctl.rollout import approval, claims, probing
from opsctl.rollout.journal import Journal
from opsctl.rollout.schedule import Schedule
from opsctl.rollout.standing import Standing
from opsctl.state.appointments import Appointments
from opsctl.state.leases import Leases
from opsctl.state.store import Store

_WATCHED = (Status.RUNNING, Status.INTERRUPTED)


@dataclass(frozen=True, kw_only=True)
class Looking:
    """The eyes of every verb that follows rollouts."""

    store: Store
    settings: Settings
    clock: Callable[[], datetime]
    # A calendar is worked out once and then only where its files were touched: a watch looks twice a second.
    _schedules: dict[str, Schedule | None] = field(default_factory=dict)

    def at(self, rollout: str, *, calendars: bool = True) -> Standing:
        """How one rollout stands. Who is at work is asked first: what is read after its end is its end.

        Without `calendars` nothing is said of windows and freezes.
        """
        journal = Journal(self.store)
        busy, waiter = journal.at_work(rollout), journal.waiter(rollout)
        state, now = journal.load(rollout), self.clock()
        over = state.status in (Status.DONE, Status.ABORTED)
        schedule = self._schedule(state) if calendars and not over else None
        waiting = {host.host for host in state.open_hosts if host.untouched}
        booked = Appointments(self.store).of(rollout)
        return Standing(
            state=state,
            now=now,
            busy=busy,
            beat=journal.last_beat(rollout),
            wishes=journal.wishes.open(rollout) if busy or state.status is not Status.ABORTED else (),
            kept=claims.kept_until(state.plan, Leases(self.store), now),
            starts=booked.starts if booked and booked.settled is None else None,
            waiter=waiter,
            left=schedule.left(i for i in state.plan.hosts if i.host in waiting) if schedule else "",
            probed=probing.kept(journal, rollout),
            closed=schedule.closed if schedule else _open,
            approval=approval.of(self.store, state, now),
        )

    def all(self, kind: str) -> Sequence[Standing]:
        """Every rollout of a kind, newest first, without its calendars."""
        ids = [saved.id for saved in self.store.rollouts() if saved.id.startswith(f"{kind}-")]
        return [self.at(one, calendars=False) for one in ids]

    def watched(self) -> Sequence[Standing]:
        """Every rollout that says of itself that it runs or was interrupted, newest first, without its calendars."""
        # The text is canonical; whatever else holds these words is sorted out by its status.
        words = [f'"status":"{status}"' for status in _WATCHED]
        ids = [one.id for one in self.store.rollouts() if any(word in one.document_json for word in words)]
        found = [self.at(one, calendars=False) for one in ids]
        return [look for look in found if look.state.status in _WATCHED]

    def _schedule(self, state: RolloutState) -> Schedule | None:
        plan = state.plan
        if plan.id not in self._schedules:
            own = snapshot.load(self.store, plan.id)
            emergency = bool(plan.emergency)
            made = Schedule(self.settings, own, self.clock, emergency=emergency) if own else None
            self._schedules[plan.id] = made
        return self._schedules[plan.id]


def _open(_item: HostPlan) -> str:
    return ""
