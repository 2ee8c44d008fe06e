"""`opsctl provision plan|diff`: a saved plan, and what it would change on each host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opsctl.cli.app import (
    App,
    budget_options,
    budgets_of,
    emergency_options,
    moment_option,
    output_option,
    pass_app,
    select,
    selection_options,
)
from opsctl.cli.output import as_json, line, table
from opsctl.cli.provision.pieces import parallel_option, show_plan, tell_trouble
from opsctl.cli.rollout import means_of, one_of, tell_plan
from opsctl.errors import UnknownName
from opsctl.rollout import lines

if TYPE_CHECKING:
    from datetime import datetime


@click.command()
@selection_options
@click.option("--exclude", multiple=True, metavar="HOST", help="Not these hosts: names or patterns, comma-separated.")
@parallel_option
@budget_options("provision")
@moment_option("--at", "at", help="For this time, instead of within a day: YYYY-MM-DD HH:MM.")
@emergency_options
@click.option("--explain", metavar="HOST", help="Say also why this host stands where it stands, or was left out.")
@output_option
@pass_app
def plan(
    app: App,
    /,
    *,
    exclude: tuple[str, ...],
    max_parallel: int | None,
    budget: str,
    wave_budget: str,
    ticket: str,
    at: datetime | None,
    emergency: bool,
    reason: str,
    explain: str | None,
    output: str,
    **selection: tuple[str, ...],
) -> int:
    """Save a plan: what would change on each host, and who comes when.

    The playbook runs in check mode; hosts are only read. Hosts on which nothing would change are left out. Exit code
    1: it leaves a host out that could not be read or checked, or that a limit needs in service.
    """
    from opsctl.provision import run as room
    from opsctl.provision import saved
    from opsctl.rollout.emergency import emergency_of, ticket_of

    means, hosts = means_of(app), select(app, selection, managed_only=False)
    explained = one_of(app, hosts, explain) if explain else ""
    wish = room.Wish(
        pace=room.pace(app.settings, max_parallel),
        budgets=budgets_of(app.settings, "provision", budget, wave_budget),
        options=tuple(
            f"{name}={','.join(words)}" for name, words in {**selection, "exclude": exclude}.items() if words
        ),
        excluded=frozenset(host.key for host in app.inventory.named(exclude)),
        ticket=ticket_of(ticket),
        at=app.coming(at),
        emergency=emergency_of(reason, ticket, declared=emergency),
    )
    made = saved.save_plan(means, hosts, wish, on_event=tell_trouble).plan
    why = room.explain(means, made, explained) if explained else ()
    late = room.not_in_time(means, made)
    told_next = f"what would change: opsctl provision diff {made.id}     carry it out: {lines.begin(made)}"
    return tell_plan(
        app, made, show_plan, late=late, explained=explained, why=why, output=output,
        upcoming=told_next if made.hosts else "",
    )  # fmt: skip


@click.command()
@click.argument("plan_id", metavar="PLAN|latest")
@click.argument("host", metavar="[HOST]", required=False)
@output_option
@pass_app
def diff(app: App, plan_id: str, host: str | None, *, output: str) -> None:
    """Show what a saved plan would change on its hosts, or on one.

    As it was when the plan was made. No host is asked.
    """
    from opsctl.provision import foreseen
    from opsctl.rollout.journal import Journal

    made = Journal(app.store).load(plan_id, kind="provision").plan
    found = foreseen.load(app.store, made)
    if host is not None:
        found = tuple(one for one in found if host in (one.host, one.host.partition(".")[2]))
        if not found:
            raise UnknownName(f"{made.id} foresees nothing of a host {host!r}", hint=f"opsctl provision diff {made.id}")
    if output == "json":
        hosts = [
            {"host": one.host, "tasks": [{"task": t.task, "role": t.role, "diff": t.diff} for t in one.tasks]}
            for one in found
        ]
        as_json({"plan": made.id, "made_at": made.made_at, "hosts": hosts})
        return
    for one in found:
        for task in one.tasks:
            line(f"{one.host}: {task.task}\n{task.diff.expandtabs()}" if task.diff else f"{one.host}: {task.task}\n")
    table(("host", "would change"), [(one.host, len(one.tasks)) for one in found], empty=f"{made.id}: nobody looked")


VERBS = (plan, diff)
