"""Ends a rollout for good: its leases are free again, and its hosts stay as they are. No host is asked or touched."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from opsctl.errors import Refused
from opsctl.model.rollout import RESTING, UNTOUCHED, HostState, Plan, RolloutState, Stage, Status
from opsctl.rollout import claims
from opsctl.rollout.journal import Journal
from opsctl.state.leases import Leases
from opsctl.state.ledger import Head, Ledger
from opsctl.state.store import Store


@dataclass(frozen=True, kw_only=True)
class Aborted:
    """A rollout that was ended, and the ledger's head."""

    state: RolloutState
    head: Head | None


def in_the_middle(state: RolloutState) -> tuple[HostState, ...]:
    """Hosts that nobody will look after once the rollout is aborted: drained, unknown, or changed halfway."""
    return tuple(
        host
        for host in state.hosts
        if host.drained or host.stage is Stage.UNKNOWN or host.stage not in (RESTING | UNTOUCHED)
    )


def refuse_unless_open(state: RolloutState, journal: Journal) -> None:
    """Raise Locked where somebody works on the rollout now, Refused where there is nothing to abort."""
    journal.refuse_at_work(state.plan.id)
    if state.status in (Status.DONE, Status.ABORTED):
        raise Refused(f"{state.plan.id} is {state.status}: there is nothing to abort")


def abort(state: RolloutState, *, who: str, store: Store, ledger: Ledger, clock: Callable[[], datetime]) -> Aborted:
    """Mark a rollout aborted and release its leases. Raises Locked, Refused and StalePlan; see refuse_unless_open."""
    journal, plan = Journal(store), state.plan
    refuse_unless_open(state, journal)
    runner = f"{who}, process {os.getpid()}, aborts it"
    detail: dict[str, object] = {"rollout": plan.id, "plan_hash": plan.hash}
    with (
        journal.alone(plan.id, runner),
        ledger.act(f"{plan.kind} abort", [item.host for item in plan.hosts], detail, who, clock) as act,
    ):
        journal.refuse_moved(state)
        release(plan, store)  # first: after a kill right here it can be aborted once more
        ended = journal.save_status(state, Status.ABORTED, clock(), reason=f"by {who}")
        act.detail["in_the_middle"] = {host.host: str(host.stage) for host in in_the_middle(ended)}
        act.outcome = "incomplete" if in_the_middle(ended) else "ok"
    return Aborted(state=ended, head=act.head)


def release(plan: Plan, store: Store) -> None:
    """Give back what a rollout still holds whose process is gone."""
    leases = Leases(store)
    leases.release([lease for lease in leases.held() if lease.holder == claims.holder(plan)])
