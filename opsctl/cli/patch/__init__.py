"""`opsctl patch`: security updates, planned exactly, rolled out ring by ring, followed and resumed."""

from __future__ import annotations

import click

from opsctl.cli.patch import (
    approving,
    back,
    following,
    guarding,
    oncall,
    planning,
    rehearsing,
    reporting,
    running,
    stopping,
)


@click.group("patch")
def command() -> None:
    """Security updates: plan, roll out, follow."""


for verbs in (planning, rehearsing, approving, running, stopping, following, oncall, guarding, back, reporting):
    for verb in verbs.VERBS:
        command.add_command(verb)
