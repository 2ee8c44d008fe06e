"""Looking at rollouts as they are at this moment: store, locks, leases and calendars, never a host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Looking:
    """The eyes of every verb that follows rollouts."""

    store: Store
    settings: Settings
    clock: Callable[[], datetime]

    def at(self, rollout: str) -> Standing:
        """How one rollout stands. Who is at work is asked first: what is read after its end is its end."""
        journal = Journal(self.store)
        busy, waiter = journal.at_work(rollout), journal.waiter(rollout)
        state, now = journal.load(rollout), self.clock()
        schedule = None if state.status in (Status.DONE, Status.ABORTED) else self._schedule(state)
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
        """Every rollout of a kind, newest first."""
        ids = [saved.id for saved in self.store.rollouts() if saved.id.startswith(f"{kind}-")]
        return [self.at(one) for one in ids]

    def _schedule(self, state: RolloutState) -> Schedule | None:
        own = snapshot.load(self.store, state.plan.id)
        if own is None:
            return None
        return Schedule(self.settings, own, self.clock, emergency=bool(state.plan.emergency))


def _open(_item: HostPlan) -> str:
    return ""
