"""`opsctl provision status|attach`: how provisionings stand and go on."""

from __future__ import annotations

import click

from opsctl.cli import follow
from opsctl.cli.app import App, output_option, pass_app


@click.command()
@click.argument("rollout_id", metavar="[ROLLOUT|latest]", required=False)
@click.option("--watch", is_flag=True, help="Until it rests: a screen on a terminal, dated lines elsewhere.")
@click.option("--exit-code", is_flag=True, help="End as it stands: 5 paused or halted, 1 stalled or incomplete.")
@output_option
@pass_app
def status(app: App, rollout_id: str | None, *, watch: bool, exit_code: bool, output: str) -> None:
    """How far a provisioning is, host by host. Without a name all.

    --watch takes the one at work where none is named, and ends as with --exit-code.
    """
    follow.status(app, "provision", rollout_id, output=output, watch=watch, exit_code=exit_code)


@click.command()
@click.argument("rollout_id", metavar="ROLLOUT|latest")
@pass_app
def attach(app: App, rollout_id: str) -> None:
    """Show a provisioning's progress as it goes on.

    Ctrl-C leaves it without stopping it. It ends with the rollout, and with the same exit code.
    """
    follow.attach(app, "provision", rollout_id)


VERBS = (status, attach)
