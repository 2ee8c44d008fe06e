"""`opsctl provision status`: how far every provisioning is."""

from __future__ import annotations

import click

from opsctl.cli import rollout as shared
from opsctl.cli.app import App, output_option, pass_app


@click.command()
@click.argument("rollout_id", metavar="[ROLLOUT|latest]", required=False)
@output_option
@pass_app
def status(app: App, rollout_id: str | None, *, output: str) -> None:
    """How far a provisioning is, host by host. Without a name all."""
    shared.status(app, "provision", rollout_id, output=output)


VERBS = (status,)
