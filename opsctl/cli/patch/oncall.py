"""`opsctl patch why|retry|shift-report`: what on-call staff ask at night, and hand over in the morning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opsctl.cli import follow
from opsctl.cli import rollout as shared
from opsctl.cli.app import App, dry_run_option, moment_option, output_option, pass_app, yes_option
from opsctl.cli.output import as_json, line, note, pairs
from opsctl.errors import OpsctlError, UnknownName, UsageError
from opsctl.rollout.journal import STAGE, Journal

if TYPE_CHECKING:
    from datetime import datetime

    from opsctl.rollout.limits import Limits
    from opsctl.rollout.standing import Standing


@click.command()
@click.argument("host")
@click.argument("rollout_id", metavar="[ROLLOUT|latest]", required=False)
@click.option("--offline", is_flag=True, help="Ask no host; without it the end of its log is fetched where that helps.")
@output_option
@pass_app
def why(app: App, host: str, rollout_id: str | None, *, offline: bool, output: str) -> None:
    """Why a host of a rollout is where it is, and the next command.

    What it waits for, or why it failed, with the end of its log, and where to read. Without ROLLOUT the newest one that
    has the host. Nothing is changed.
    """
    from opsctl.model import wire
    from opsctl.patch import log
    from opsctl.rollout import why as room
    from opsctl.rollout.named import host_of, newest_with

    journal = Journal(app.store)
    state = journal.load(rollout_id, kind="patch") if rollout_id else newest_with(journal.all("patch"), host)
    key, look = host_of(state.plan, host), follow.looking(app).at(state.plan.id)
    found = room.why(look, key, _limits(app, look))
    lines: tuple[str, ...] = ()
    silent = ""
    if not offline and log.helps(look.state, key):
        try:
            lines = log.tail(app.transport, app.inventory.host(key), look.state)
        except OpsctlError as error:
            silent = error.message
    happened = room.story(journal.log.of(state.plan.id, kind=STAGE, host=key))
    if output == "json":
        as_json({**wire.as_document(found), "happened": happened, "log": list(lines), "log_missing": silent})
        return
    pairs({**room.told(found), **({"happened": "\n".join(happened)} if happened else {})}, title=key)
    if lines:
        line("the end of its log:")
        for text in lines:
            line(f"  {text}")
    if silent:
        note(f"its log could not be fetched: {silent}")


def _limits(app: App, look: Standing) -> Limits:
    """The limits of the inventory that the rollout works from."""
    from opsctl.inventory import snapshot
    from opsctl.rollout import contact, limits

    app.work_from(snapshot.load(app.store, look.state.plan.id))
    return limits.of(app.inventory, balancers=contact.balancers(app.inventory))


@click.command()
@click.argument("rollout_id", metavar="[ROLLOUT|latest]", required=False)
@click.option("--failed", is_flag=True, help="The failed hosts; nothing else can be tried again.")
@dry_run_option
@yes_option
@output_option
@pass_app
def retry(app: App, rollout_id: str | None, *, failed: bool, dry_run: bool, yes: bool, output: str) -> None:
    """Try the failed hosts of a rollout again, then go on.

    The same as `resume --retry`. Without ROLLOUT the newest one that has failed hosts.
    """
    from opsctl.model.rollout import Stage, Status
    from opsctl.patch import run

    if not failed:
        hint = "opsctl patch resume goes on with the rest"
        raise UsageError("retry takes --failed: nothing else is tried again", hint=hint)
    if rollout_id is None:
        states = Journal(app.store).all("patch")
        tried = [one for one in states if one.count(Stage.FAILED) and one.status is not Status.ABORTED]
        if not tried:
            raise UnknownName("no rollout has a failed host", hint="opsctl patch history lists every rollout")
        rollout_id = tried[0].plan.id
    shared.resume(app, run.RIDER, rollout_id, retry=True, dry_run=dry_run, yes=yes, output=output)


@click.command("shift-report")
@moment_option("--since", "since", help="When the shift began.  [default: 12 hours ago]")
@output_option
@pass_app
def shift_report(app: App, *, since: datetime | None, output: str) -> None:
    """What the next on-call person must know.

    The decisions that are wanted, hosts of which nobody knows, what is open, what was done.
    """
    from opsctl.model import wire
    from opsctl.rollout import shift

    now = app.now()
    found = shift.report(follow.looking(app).all("patch"), since or now - shift.SHIFT, now)
    if output == "json":
        as_json(wire.as_document(found), outcome="ok")
        return
    line(f"Shift from {found.since:%Y-%m-%d %H:%MZ} to {found.until:%Y-%m-%d %H:%MZ}")
    for heading, matters in shift.parts(found):
        line(f"{heading}:")
        for one in matters:
            # A command stands on a line of its own: it is copied.
            line("\n      ".join(text for text in (f"  {one.rollout}: {one.told}", one.next, one.read) if text))
    if not any(True for _ in shift.parts(found)):
        line("Nothing happened, and nothing is open.")


VERBS = (why, retry, shift_report)
