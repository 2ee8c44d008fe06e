"""`opsctl patch start|resume`: what changes hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opsctl.cli.app import (
    GROUND_MOVED,
    App,
    dry_run_option,
    old_inventory_option,
    output_option,
    pass_app,
    yes_option,
)
from opsctl.cli.output import as_json, line, note, progress, some, table
from opsctl.cli.patch.pieces import kept_until, means_of, show_plan, show_state
from opsctl.errors import Refused
from opsctl.rollout import shown
from opsctl.rollout.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsctl.model.rollout import Plan
    from opsctl.rollout.drive import Progress
    from opsctl.rollout.execute import Ended

WHEN = "opsctl calendar says when; in an emergency: opsctl patch plan --emergency --reason TEXT --ticket TEXT"


@click.command()
@click.argument("plan_id", metavar="PLAN|latest")
@old_inventory_option
@dry_run_option
@yes_option
@output_option
@pass_app
def start(app: App, plan_id: str, *, old_inventory: bool, dry_run: bool, yes: bool, output: str) -> None:
    """Roll a plan out, ring by ring. Ctrl-C stops it cleanly; `patch resume` goes on.

    A plan that no longer fits its hosts, inventory or content is refused.
    """
    from opsctl.patch import run

    means = means_of(app)
    ready = run.ready(means, plan_id)
    if output == "table":
        show_plan(ready.state.plan)
    closed = run.why_closed(means, ready.state.plan)
    if dry_run and closed:
        note(f"it may not start now: {closed}")
    if dry_run or not ready.state.plan.hosts:
        _nothing_done(ready.state.plan, "(--dry-run)" if dry_run else "(the plan is empty)", output)
        return
    if closed:
        raise Refused(f"{ready.state.plan.id} may not start now: {closed}", hint=WHEN)
    planned = {item.host for item in ready.state.plan.hosts}
    app.refuse_old_inventory((host for host in app.inventory if host.key in planned), accepted=old_inventory)
    app.confirm(f"Patch {some(len(ready.state.plan.hosts), 'host')}?", yes=yes)
    _finish(app, run.start(means, ready, _telling(app, ready.state.plan)), output)


def _nothing_done(made: Plan, why: str, output: str) -> None:
    from opsctl.rollout.execute import missed, raise_missed

    if output == "json":
        as_json({"plan": shown.plan_document(made)}, outcome="incomplete" if missed(made) else "ok")
    note(f"nothing was done {why}")
    raise_missed(made)


@click.command()
@click.argument("rollout_id", metavar="ROLLOUT|latest")
@click.option("--retry", is_flag=True, help="Try the failed hosts again; without it they are left as they are.")
@dry_run_option
@yes_option
@output_option
@pass_app
def resume(app: App, rollout_id: str, *, retry: bool, dry_run: bool, yes: bool, output: str) -> None:
    """Go on with a rollout that was stopped, halted or killed. Each host itself says how far it is."""
    from opsctl.inventory import snapshot
    from opsctl.patch import run

    state = Journal(app.store).load(rollout_id, kind="patch")
    app.work_from(snapshot.load(app.store, state.plan.id))
    means = means_of(app)
    means.journal.refuse_at_work(state.plan.id)
    if output == "table":
        line(f"{state.plan.id}: {shown.standing(state, '')}")
        table(shown.HOST_COLUMNS, shown.host_rows(state))
    gone = run.no_longer_ours(means, state.plan)
    for host, why in gone.items():
        note(f"{host}: {why}; what still waits for it is skipped")
    if dry_run:
        if output == "json":
            as_json(shown.document(state, ""))
        note("nothing was done (--dry-run)")
        return
    app.confirm(f"Go on with {some(len(state.open_hosts), 'host')}{' and the failed ones' if retry else ''}?", yes=yes)
    ready, taken = run.take_up_again(means, state.plan.id, retry=retry, gone=gone)
    for host in taken.left:
        progress(f"{host}: failed before, left as it is (--retry tries it again)")
    _finish(app, run.resume(means, ready, _telling(app, ready.state.plan)), output)


def _telling(app: App, made: Plan) -> Callable[[Progress], None]:
    """Shows each step, and once that the ground has moved."""
    ground = app.ground(made.inventory_digest)

    def tell(step: Progress) -> None:
        if ground.just_moved():
            progress(f"{GROUND_MOVED}; this rollout goes on as it was planned")
        progress(f"{step.host}: {step.text}" if step.host else step.text)

    return tell


def _finish(app: App, ended: Ended, output: str) -> None:
    from opsctl.rollout.execute import raise_unless_ok

    if output == "json":
        kept = {"kept_until": kept_until(app, ended.state)}
        as_json({**shown.document(ended.state, ""), **kept}, outcome=ended.outcome)
    else:
        show_state(ended.state, "", kept_until(app, ended.state))
    note(f"ledger: {ended.head}")
    raise_unless_ok(ended.state)


VERBS = (start, resume)
