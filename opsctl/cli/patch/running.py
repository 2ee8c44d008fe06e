"""`opsctl patch start|resume`: what changes hosts."""

from __future__ import annotations

import click

from opsctl.cli import rollout as shared
from opsctl.cli.app import App, dry_run_option, old_inventory_option, output_option, pass_app, yes_option
from opsctl.cli.output import line, some
from opsctl.cli.patch.pieces import show_plan
from opsctl.cli.rollout import means_of


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
    from opsctl.patch import rehearsal, run

    means = means_of(app)
    ready = run.ready(means, plan_id)
    if output == "table":
        show_plan(ready.state.plan)
        line(rehearsal.told(rehearsal.load(app.store, ready.state.plan)))
    question = f"Patch {some(len(ready.state.plan.hosts), 'host')}?"
    shared.begin(
        app, run.RIDER, means, ready,
        question=question, old_inventory=old_inventory, dry_run=dry_run, yes=yes, output=output,
    )  # fmt: skip


@click.command()
@click.argument("rollout_id", metavar="ROLLOUT|latest")
@click.option("--retry", is_flag=True, help="Try the failed hosts again; without it they are left as they are.")
@dry_run_option
@yes_option
@output_option
@pass_app
def resume(app: App, rollout_id: str, *, retry: bool, dry_run: bool, yes: bool, output: str) -> None:
    """Go on with a rollout that was stopped, halted or killed. Each host itself says how far it is."""
    from opsctl.patch import run

    shared.resume(app, run.RIDER, rollout_id, retry=retry, dry_run=dry_run, yes=yes, output=output)


VERBS = (start, resume)
