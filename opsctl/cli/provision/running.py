"""`opsctl provision apply|resume`: what changes hosts."""

from __future__ import annotations

import click

from opsctl.cli import rollout as shared
from opsctl.cli.app import App, dry_run_option, old_inventory_option, output_option, pass_app, yes_option
from opsctl.cli.output import some
from opsctl.cli.provision.pieces import show_plan, tell, tell_trouble
from opsctl.cli.rollout import means_of


@click.command()
@click.argument("plan_id", metavar="PLAN|latest")
@old_inventory_option
@dry_run_option
@yes_option
@output_option
@pass_app
def apply(app: App, plan_id: str, *, old_inventory: bool, dry_run: bool, yes: bool, output: str) -> None:
    """Carry a saved plan out, ring by ring. Ctrl-C stops it cleanly; `provision resume` goes on.

    Its hosts are checked anew before anything begins. A plan that no longer fits them, the inventory, the variables or
    the content is refused.
    """
    from opsctl.provision import run, saved

    means = means_of(app)
    ready = saved.ready(means, plan_id, on_event=tell_trouble)
    if output == "table":
        show_plan(ready.state.plan)
    question = f"Provision {some(len(ready.state.plan.hosts), 'host')}?"
    shared.begin(
        app, run.rider(tell), means, ready,
        question=question, old_inventory=old_inventory, dry_run=dry_run, yes=yes, output=output,
    )  # fmt: skip


@click.command()
@click.argument("rollout_id", metavar="ROLLOUT|latest")
@click.option("--retry", is_flag=True, help="Try the failed hosts again; without it they are left as they are.")
@click.option("--accept-moved", is_flag=True, help="Also where variables or content are others than the plan's.")
@dry_run_option
@yes_option
@output_option
@pass_app
def resume(
    app: App, rollout_id: str, *, retry: bool, accept_moved: bool, dry_run: bool, yes: bool, output: str
) -> None:
    """Go on with a provisioning that was stopped, halted or killed.

    A host whose end is not known is run again: what is done there stays as it is. Where variables or content have
    changed since the plan was saved, it says which and is refused without --accept-moved; the ledger keeps that.
    """
    from opsctl.provision import run

    shared.resume(
        app, run.rider(tell), rollout_id, retry=retry, dry_run=dry_run, yes=yes, output=output,
        accept_moved=accept_moved,
    )  # fmt: skip


VERBS = (apply, resume)
