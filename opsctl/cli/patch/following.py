"""`opsctl patch status|attach|history`: how rollouts stand, go on, and what they have been."""

from __future__ import annotations

import click

from opsctl.cli import verbs
from opsctl.cli.app import App, output_option, pass_app
from opsctl.cli.output import as_json, note, table
from opsctl.rollout.journal import Journal

STATUS = """How far a rollout is, host by host. Without a name every plan and rollout.

It tells each host's state and since when, what blocks, what comes next, how long the window is open, and the next
command. --watch takes the one at work where none is named, and ends as with --exit-code.
"""
ATTACH = """Show a rollout's progress as it goes on, wherever it runs.

Ctrl-C leaves it without stopping it. It ends with the rollout, and with the same exit code.
"""


@click.command()
@click.argument("host", metavar="[HOST]", required=False)
@output_option
@pass_app
def history(app: App, host: str | None, *, output: str) -> None:
    """Every rollout: when, by whom, how it ended, how long it took.

    With HOST those of one host, also those that left it out.
    """
    from opsctl.rollout import past
    from opsctl.rollout.named import host_of, newest_with

    journal = Journal(app.store)
    found = journal.all("patch")
    if host:
        key = host_of(newest_with(found, host).plan, host)
        entries = past.of_host(found, key)
        rows = [past.host_row(one, past.took) for one in entries]
    else:
        key, now = "", app.now()
        entries = [past.of_rollout(one, journal.at_work(one.plan.id), now) for one in found]
        rows = [past.row(one, past.took) for one in entries]
    if output == "json":
        as_json({**({"host": key} if key else {}), "history": entries})
        return
    table(past.HOST_COLUMNS if key else past.COLUMNS, rows, title=key, empty="no rollouts yet")
    if not entries:
        note("make a plan: opsctl patch plan")


VERBS = (verbs.standing("patch", STATUS), verbs.attaching("patch", ATTACH), history)
