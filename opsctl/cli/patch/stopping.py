"""`opsctl patch pause|abort|skip`: what a person asks of a rollout, from any terminal, at work or not."""

from __future__ import annotations

import click

from opsctl.cli import rollout as shared
from opsctl.cli.app import App, dry_run_option, output_option, pass_app, yes_option

reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; kept with it and in the ledger.")


@click.command()
@click.argument("rollout_id", metavar="ROLLOUT|latest")
@reason_option
@dry_run_option
@yes_option
@output_option
@pass_app
def pause(app: App, rollout_id: str, *, reason: str, dry_run: bool, yes: bool, output: str) -> None:
    """Let a rollout start nothing new. Hosts under way are finished.

    It keeps its hosts from others until their window ends, and so does a halted one. `patch resume` goes on.
    """
    from opsctl.patch import run

    shared.pause(app, run.RIDER, rollout_id, reason=reason, dry_run=dry_run, yes=yes, output=output)


@click.command()
@click.argument("rollout_id", metavar="ROLLOUT|latest")
@reason_option
@dry_run_option
@yes_option
@output_option
@pass_app
def abort(app: App, rollout_id: str, *, reason: str, dry_run: bool, yes: bool, output: str) -> None:
    """End a rollout for good, and free its hosts for others.

    One that is at work starts nothing new; hosts under way are finished and undrained. Where no process is at it, no
    host is touched. Exit code 1: hosts stay drained or changed halfway; they are listed.
    """
    shared.abort(app, "patch", rollout_id, dry_run=dry_run, yes=yes, output=output, reason=reason)


@click.command()
@click.argument("host")
@click.argument("rollout_id", metavar="[ROLLOUT|latest]", required=False)
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept with it and in the ledger.")
@dry_run_option
@yes_option
@output_option
@pass_app
def skip(app: App, host: str, rollout_id: str | None, *, reason: str, dry_run: bool, yes: bool, output: str) -> None:
    """Leave a host out of a rollout that has not begun with it.

    Also one whose state is unknown, so that the others can go on; where it is drained, a resume undrains it. Without
    ROLLOUT the newest one that has the host and is not over.
    """
    shared.skip(app, "patch", host, rollout_id, reason=reason, dry_run=dry_run, yes=yes, output=output)


VERBS = (pause, abort, skip)
