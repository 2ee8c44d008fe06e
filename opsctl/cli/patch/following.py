"""`opsctl patch status`: how far every rollout is."""

from __future__ import annotations

import click

from opsctl.cli import rollout as shared
from opsctl.cli.app import App, output_option, pass_app
from opsctl.cli.output import line


@click.command()
@click.argument("rollout_id", metavar="[ROLLOUT|latest]", required=False)
@output_option
@pass_app
def status(app: App, rollout_id: str | None, *, output: str) -> None:
    """How far a rollout is, host by host. Without a name every plan and rollout."""
    shared.status(app, "patch", rollout_id, output=output)
    if rollout_id and output == "table":
        from opsctl.patch import rehearsal
        from opsctl.rollout.journal import Journal

        line(rehearsal.told(rehearsal.load(app.store, Journal(app.store).load(rollout_id, kind="patch").plan)))


VERBS = (status,)
