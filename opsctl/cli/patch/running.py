"""`opsctl patch start|resume`: what changes hosts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from opsctl.cli import rollout as shared
from opsctl.cli.app import (
    App,
    dry_run_option,
    moment_option,
    old_inventory_option,
    output_option,
    pass_app,
    yes_option,
)
from opsctl.cli.output import line, progress, some
from opsctl.cli.patch.pieces import show_plan
from opsctl.cli.rollout import means_of

if TYPE_CHECKING:
    from datetime import datetime

    from opsctl.model.rollout import Plan

detach_option = click.option("--detach", is_flag=True, help="Let it go on without this terminal.")


@click.command()
@click.argument("plan_id", metavar="PLAN|latest")
@moment_option("--at", "at", help="Wait until then, and begin it: YYYY-MM-DD HH:MM.")
@detach_option
@old_inventory_option
@dry_run_option
@yes_option
@output_option
@pass_app
def start(
    app: App,
    plan_id: str,
    *,
    at: datetime | None,
    detach: bool,
    old_inventory: bool,
    dry_run: bool,
    yes: bool,
    output: str,
) -> None:
    """Roll a plan out, ring by ring. Ctrl-C stops it cleanly; `patch resume` goes on.

    A plan that no longer fits its hosts, inventory or content is refused.

    With --detach it goes on without this terminal: as a unit of systemd, or where that does not run this machine as a
    process with a log beside the store. A plan that was made for a later time (`plan --at`) then waits for it; as a
    unit also after a reboot of this machine.
    """
    from opsctl.rollout import atboot
    from opsctl.rollout.journal import Journal

    plan = Journal(app.store).load(plan_id, kind="patch").plan.id
    with atboot.taken_away_at_the_end(plan):
        _start(app, plan, at=at, detach=detach, old_inventory=old_inventory, dry_run=dry_run, yes=yes, output=output)


def _start(
    app: App,
    plan_id: str,
    *,
    at: datetime | None,
    detach: bool,
    old_inventory: bool,
    dry_run: bool,
    yes: bool,
    output: str,
) -> None:
    from opsctl.patch import rehearsal, run
    from opsctl.rollout.waiting import begins_at

    means = means_of(app)
    ready = run.ready(means, plan_id)
    made = ready.state.plan
    if output == "table":
        show_plan(made)
        line(rehearsal.told(rehearsal.load(app.store, made)))
    starts = begins_at(made, at, app.now()) if at or detach else None
    then = ["--at", starts.isoformat()] if starts else []
    instead = None
    if detach:
        words = ["patch", "start", made.id, "--yes", *(["--old-inventory"] if old_inventory else []), *then]
        instead = partial(shared.hand_over, app, made.id, words, output, starts=starts)
    elif starts:
        instead = partial(_wait_and_begin, app, made, starts, old_inventory=old_inventory, output=output)
    when = f" at {starts:%Y-%m-%d %H:%MZ}" if starts else ""
    question = f"Patch {some(len(made.hosts), 'host')}{when}?"
    shared.begin(
        app, run.RIDER, means, ready, question=question, old_inventory=old_inventory, dry_run=dry_run, yes=yes,
        output=output, at=starts, instead=instead,
    )  # fmt: skip


def _wait_and_begin(app: App, made: Plan, starts: datetime, *, old_inventory: bool, output: str) -> None:
    """Hold the appointment, then begin with everything read anew."""
    from opsctl.patch import run
    from opsctl.rollout.waiting import Waiting

    progress(f"waits until {starts:%Y-%m-%d %H:%MZ} to begin {made.id}; opsctl patch abort {made.id} calls it off")
    waiting = Waiting(store=app.store, ledger=app.ledger, who=app.who, clock=app.now)
    with waiting.until(made, starts):
        fresh = app.again()
        means = means_of(fresh)
        ready = run.ready(means, made.id)
        shared.begin(
            fresh, run.RIDER, means, ready, question="", old_inventory=old_inventory, dry_run=False, yes=True,
            output=output,
        )  # fmt: skip


@click.command()
@click.argument("rollout_id", metavar="ROLLOUT|latest")
@click.option("--retry", is_flag=True, help="Try the failed hosts again; without it they are left as they are.")
@detach_option
@dry_run_option
@yes_option
@output_option
@pass_app
def resume(app: App, rollout_id: str, *, retry: bool, detach: bool, dry_run: bool, yes: bool, output: str) -> None:
    """Go on with a rollout that was stopped, halted or killed. Each host itself says how far it is."""
    from opsctl.patch import run

    shared.resume(
        app, run.RIDER, rollout_id, retry=retry, dry_run=dry_run, yes=yes, output=output, detach=detach
    )  # fmt: skip


VERBS = (start, resume)
