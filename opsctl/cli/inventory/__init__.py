"""`opsctl inventory`: the hosts, from their source to the copy that every verb works with."""

from __future__ import annotations

import click

from opsctl.cli.inventory import drifting, exporting, importing, pushing, reading, reconciling, syncing


@click.group("inventory")
def command() -> None:
    """The hosts: take them from the source, list, show, compare, check."""


for verbs in (syncing, reading, exporting, pushing, drifting, reconciling, importing):
    for verb in verbs.VERBS:
        command.add_command(verb)
