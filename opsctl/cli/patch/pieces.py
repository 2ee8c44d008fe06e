"""What several verbs of patching share: their means, and how a plan and a rollout are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.cli.output import line, some, table
from opsctl.model.rollout import Stage, Status
from opsctl.rollout import shown
from opsctl.rollout.limits import listed
from opsctl.rollout.resume import how_to_go_on

if TYPE_CHECKING:
    from datetime import datetime

    from opsctl.cli.app import App
    from opsctl.model.rollout import Plan, RolloutState
    from opsctl.rollout.means import Means


def means_of(app: App) -> Means:
    from opsctl.rollout.means import Means

    return Means(
        inventory=app.inventory,
        transport=app.transport,
        store=app.store,
        ledger=app.ledger,
        settings=app.settings,
        who=app.who,
        clock=app.now,
    )


def show_plan(made: Plan) -> None:
    empty = f"plan {made.id} is empty: {shown.why_empty(made)}"
    table(shown.PLAN_COLUMNS, shown.plan_rows(made), title=f"plan {made.id}", empty=empty)
    if rows := shown.package_rows(made):
        table(shown.PACKAGE_COLUMNS, rows)
    if made.left_out:
        table(("left out", "reason"), [(one.host, one.reason) for one in made.left_out])
    batches = some(sum(1 for _ in made.batches()), "batch")
    line(
        f"{some(len(made.hosts), 'host')} in {batches} of at most {made.max_parallel}; "
        f"{made.failure_budget} failed halts it; reboot: {made.reboot}; {len(made.left_out)} left out"
        f"{f'; ticket: {made.ticket}' if made.ticket else ''}"
    )
    if made.start_at:
        line(f"made for {made.start_at:%Y-%m-%d %H:%MZ}")
    if made.emergency:
        line(f"EMERGENCY, over windows and freezes: {made.emergency}")
    if made.packages:
        line(f"only {', '.join(made.packages)} and what they need")
    if made.down:
        line(f"counted as out of service: {listed(made.down)}")
    line(f"hash {made.hash}")


def kept_until(app: App, state: RolloutState) -> datetime | None:
    """Until when a rollout that stands still keeps its hosts from others."""
    from opsctl.rollout import claims
    from opsctl.state.leases import Leases

    return claims.kept_until(state.plan, Leases(app.store), app.now())


def show_state(state: RolloutState, busy: str, kept: datetime | None = None) -> None:
    table(shown.HOST_COLUMNS, shown.host_rows(state))
    line(f"{state.plan.id}: {shown.standing(state, busy)}")
    if kept and not busy:
        line(f"its hosts are kept from others until {kept:%Y-%m-%d %H:%M:%SZ}")
    if busy:
        line(f"at work: {busy}")
    elif (state.open_hosts or state.count(Stage.FAILED)) and state.status not in (Status.PLANNED, Status.ABORTED):
        line(f"to go on: {how_to_go_on(state)}")
