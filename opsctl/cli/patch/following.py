"""`opsctl patch status`: how far every rollout is."""

from __future__ import annotations

import click

from opsctl.cli import rollout as shared
from opsctl.cli.app import App, output_option, pass_app


@click.command()
@click.argument("rollout_id", metavar="[ROLLOUT|latest]", required=False)
@output_option
@pass_app
def status(app: App, rollout_id: str | None, *, output: str) -> None:
    """How far a rollout is, host by host. Without a name every plan and rollout."""
    shared.status(app, "patch", rollout_id, output=output)


VERBS = (status,)
