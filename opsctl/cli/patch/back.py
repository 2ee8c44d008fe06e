"""`opsctl patch rollback`: puts back what a rollout replaced."""

from __future__ import annotations

import click

from opsctl.cli import rollout as shared
from opsctl.cli.app import (
    App,
    budget_options,
    budgets_of,
    dry_run_option,
    emergency_options,
    output_option,
    pass_app,
    yes_option,
)
from opsctl.cli.output import note, some
from opsctl.cli.patch.pieces import show_plan
from opsctl.errors import Refused
from opsctl.rollout.journal import Journal


@click.command()
@click.argument("rollout_id", metavar="ROLLOUT|latest")
@click.option("--limit", multiple=True, metavar="HOST", help="Only these hosts of it: names or patterns.")
@click.option("--max-parallel", type=click.IntRange(1), help="Hosts changed at once.  [default: patch.max_parallel]")
@budget_options("patch")
@click.option(
    "--reboot", type=click.Choice(["never", "if-required", "always"]), help="Restart hosts.  [default: patch.reboot]"
)
@emergency_options
@dry_run_option
@yes_option
@output_option
@pass_app
def rollback(
    app: App, rollout_id: str, *, limit: tuple[str, ...], max_parallel: int | None, budget: str,
    wave_budget: str, reboot: str | None, ticket: str, emergency: bool, reason: str, dry_run: bool, yes: bool,
    output: str,
) -> None:  # fmt: skip
    """Put back the versions that a rollout replaced.

    Host by host, with the same gates, windows and drains, from the mirror or from the copies that the hosts kept;
    where neither has a version, it says so before it begins.

    Packages that were new stay. It works from the rollout's own copy of the inventory. Exit code 1: hosts are left out.
    """
    from opsctl.inventory import snapshot
    from opsctl.patch import rollback as deciding
    from opsctl.patch import run
    from opsctl.patch.propose import Wish
    from opsctl.rollout import ride
    from opsctl.rollout.emergency import emergency_of, ticket_of

    journal = Journal(app.store)
    state = journal.load(rollout_id, kind="patch")
    journal.refuse_at_work(state.plan.id)
    deciding.refuse_unfit(state)
    app.work_from(snapshot.load(app.store, state.plan.id))
    means, settings = shared.means_of(app), app.settings
    wish = Wish(
        max_parallel=max_parallel or settings.number("patch.max_parallel"),
        budgets=budgets_of(settings, "patch", budget, wave_budget),
        reboot=reboot or settings.text("patch.reboot"),
        options=tuple(f"limit={','.join(limit)}" for _ in limit[:1]),
        ticket=ticket_of(ticket),
        emergency=emergency_of(reason, ticket, declared=emergency),
    )
    ready = run.take_back(means, state, limit, wish)
    made = ready.state.plan
    if output == "table":
        show_plan(made)
    if staying := deciding.staying(state.plan, (item.host for item in made.hosts)):
        note(f"new with {state.plan.id}, and left installed: {', '.join(staying)}")
    closed = ride.why_closed(means, made)
    if dry_run or not made.hosts:
        if closed:
            note(f"it may not start now: {closed}")
        shared.nothing_done(made, "(--dry-run)" if dry_run else "(nothing can be put back)", output)
        return
    if closed:
        raise Refused(f"the rollback may not start now: {closed}", hint=shared.WHEN.format("opsctl patch rollback"))
    app.confirm(f"Put the old versions back on {some(len(made.hosts), 'host')}?", yes=yes)
    ride.keep(means, made)
    ended = ride.start(run.RIDER, means, ready, shared.telling(app, made), verb="patch rollback", recovering=True)
    shared.finish(app, ended, output)


VERBS = (rollback,)
