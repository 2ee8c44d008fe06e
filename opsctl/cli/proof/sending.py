"""`opsctl comply send-head`: the head of a run, to whoever is to keep it."""

from __future__ import annotations

import click

from opsctl.cli.app import App, dry_run_option, output_option, pass_app, yes_option
from opsctl.cli.output import as_json, line, note


@click.command("send-head")
@click.argument("run_id", metavar="RUN")
@dry_run_option
@yes_option
@output_option
@pass_app
def send_head(app: App, *, run_id: str, dry_run: bool, yes: bool, output: str) -> int:
    """Send the head of a run to who keeps it. By mail (notify, event:audit), and for a timestamp (RFC 3161).

    It names no host and no finding. Whoever keeps it can see later that this run and all before it are as they were.
    comply run does the same at its end. Exit code 1: not everybody was reached.
    """
    from opsctl.errors import Refused
    from opsctl.report import witness
    from opsctl.rollout import heads

    text = witness.head(app.store, app.ledger, run_id)
    if output == "table":
        line(text.rstrip())
    if not heads.wanted(app.settings) and not witness.wanted(app.settings):
        raise Refused(
            "nobody is named who keeps heads",
            hint="notify.routes with event:audit, or comply.timestamp_url: docs/reference/report-seal.md",
        )
    if dry_run:
        note("nothing was sent (--dry-run)")
        return 0
    app.confirm(f"Send the head of run {run_id}?", yes=yes)
    told = send(app, run_id, text)
    if output == "json":
        as_json({"run": run_id, "head": text, "sent": told}, outcome="incomplete" if any(told.values()) else "ok")
    return 1 if any(told.values()) else 0


def send(app: App, run_id: str, text: str) -> dict[str, str]:
    """Mail and timestamp, each told on stderr; why it was not done, or empty, by whom. Never raises for one of them."""
    from opsctl.errors import OpsctlError
    from opsctl.report import witness
    from opsctl.rollout import heads

    told: dict[str, str] = {}
    if heads.wanted(app.settings):
        try:
            told |= heads.tell(run_id, text, app.settings, app.store.redactor)
        except OpsctlError as error:
            told["notify"] = error.message
    if witness.wanted(app.settings):
        try:
            found = witness.stamped(text, app.settings)
            witness.keep(app.store, run_id, found, app.now())
            told["timestamp"] = ""
        except OpsctlError as error:
            told["timestamp"] = error.message
    for who, why in told.items():
        note(f"head of the run, {who}: {why or 'sent'}")
    return told


def send_where_wanted(app: App, run_id: str) -> None:
    """At the end of a run: send where somebody is named; a run is kept whatever becomes of it."""
    from opsctl.errors import OpsctlError
    from opsctl.report import witness
    from opsctl.rollout import heads

    try:
        if heads.wanted(app.settings) or witness.wanted(app.settings):
            send(app, run_id, witness.head(app.store, app.ledger, run_id))
    except OpsctlError as error:
        note(f"the head of the run was not sent: {error.message}")


VERBS = (send_head,)
