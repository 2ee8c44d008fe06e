"""Waiting for the time at which a plan is to begin: a process holds a lock meanwhile, and the store the appointment.

So whoever looks sees who waits; and after a reboot, that nobody does any more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from opsctl.errors import OpsctlError, Refused, UsageError
from opsctl.model.rollout import Plan, RolloutState, Status
from opsctl.rollout import lines
from opsctl.rollout.journal import Journal
from opsctl.state.appointments import Appointment, Appointments
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store

_PAUSE = 1.0
_LATE, _FAR = timedelta(minutes=10), timedelta(days=366)
COLUMNS = ("rollout", "starts", "asked by", "who starts it", "what next")


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Who waits, and with what."""

    store: Store
    ledger: Ledger
    who: str
    clock: Callable[[], datetime]
    sleep: Callable[[float], None] = time.sleep

    @contextmanager
    def until(self, plan: Plan, starts: datetime) -> Iterator[None]:
        """Wait for the time, then run the block, which begins the plan; what it raises settles the appointment.

        Raises Locked where somebody else waits already, Refused where the plan was aborted or begun meanwhile. Left by
        Ctrl-C or a reboot, the appointment stays: it is shown as one that nobody keeps.
        """
        journal, appointments = Journal(self.store), Appointments(self.store)
        with journal.waiting(plan.id, f"{self.who}, process {os.getpid()}, since {self.clock():%Y-%m-%d %H:%M:%SZ}"):
            detail: dict[str, object] = {
                "rollout": plan.id,
                "plan_hash": plan.hash,
                "starts": f"{starts:%Y-%m-%d %H:%MZ}",
            }
            hosts = [item.host for item in plan.hosts]
            with self.ledger.act(f"{plan.kind} schedule", hosts, detail, self.who, self.clock):
                appointments.make(plan.id, starts, who=self.who, now=self.clock())
            try:
                self._wait(journal, plan, starts)
                yield
            except OpsctlError as error:
                if journal.load(plan.id).status is Status.PLANNED:
                    appointments.settle(plan.id, f"it did not begin: {error.message}", self.clock())
                raise
            appointments.settle(plan.id, "begun", self.clock())

    def _wait(self, journal: Journal, plan: Plan, starts: datetime) -> None:
        while (left := (starts - self.clock()).total_seconds()) > 0:
            if (status := journal.load(plan.id).status) is not Status.PLANNED:
                raise Refused(f"{plan.id} is {status} by now: nothing is left to wait for")
            self.sleep(min(left, _PAUSE))


def begins_at(plan: Plan, asked: datetime | None, now: datetime) -> datetime | None:
    """When a plan that is started now is to begin: at the time asked for, or that it was made for; None: at once.

    Raises UsageError for a time that is over; a detached start may come a little late.
    """
    if asked is not None and not -_LATE <= asked - now <= _FAR:
        raise UsageError(f"{asked:%Y-%m-%d %H:%MZ} is over, or too far away", hint="a time of the coming year")
    starts = asked or plan.start_at
    return starts if starts is not None and starts > now else None


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """An appointment that is still of interest, with the process that keeps it (empty: none does)."""

    appointment: Appointment
    state: RolloutState
    waiter: str

    @property
    def kept(self) -> bool:
        return bool(self.waiter)

    @property
    def told(self) -> str:
        """Who starts it, or that nobody does."""
        if self.appointment.settled:
            return self.appointment.outcome
        return self.waiter or "nobody: the process that waited is gone"

    @property
    def next(self) -> str:
        """What a person should type; nothing where all goes by itself."""
        plan = self.state.plan
        if self.kept:
            return ""
        return f"{lines.begin(plan)} --detach" if plan.kind == "patch" else lines.begin(plan)


def scheduled(store: Store) -> list[Scheduled]:
    """The appointments of plans that have not begun, the next one first."""
    journal, found = Journal(store), []
    for one in Appointments(store).all():
        state = journal.load(one.rollout)
        if state.status is Status.PLANNED and not journal.at_work(one.rollout):
            found.append(Scheduled(appointment=one, state=state, waiter=journal.waiter(one.rollout)))
    return found
