"""`opsctl patch status`: how far every rollout is."""

from __future__ import annotations

import click

from opsctl.cli.app import GROUND_MOVED, App, output_option, pass_app
from opsctl.cli.output import as_json, line, note, table
from opsctl.cli.patch.pieces import kept_until, show_state
from opsctl.model.rollout import RolloutState
from opsctl.rollout import shown
from opsctl.rollout.journal import Journal


@click.command()
@click.argument("rollout_id", metavar="[ROLLOUT|latest]", required=False)
@output_option
@pass_app
def status(app: App, rollout_id: str | None, *, output: str) -> None:
    """How far a rollout is, host by host. Without a name every plan and rollout."""
    journal = Journal(app.store)
    if rollout_id is None:
        found = journal.all("patch")
        if output == "json":
            as_json({"rollouts": [shown.summary(one, journal.at_work(one.plan.id)) for one in found]})
        else:
            table(
                shown.ROLLOUT_COLUMNS,
                [shown.rollout_row(one, journal.at_work(one.plan.id)) for one in found],
                empty="no plans yet",
            )
        return
    state = journal.load(rollout_id, kind="patch")
    busy = journal.at_work(state.plan.id)
    moved = bool(state.open_hosts) and app.ground(state.plan.inventory_digest).has_moved()
    left = _window_left(app, state)
    if output == "json":
        more = {"inventory_moved": moved, "window_left": left, "kept_until": kept_until(app, state)}
        as_json({**shown.document(state, busy), **more})
    else:
        show_state(state, busy, kept_until(app, state))
        if left:
            line(f"window left: {left}")
        if moved:
            note(f"{GROUND_MOVED}; the plan stays as it was frozen")


def _window_left(app: App, state: RolloutState) -> str:
    """How long what has not begun may still begin, by the calendars as they are now; empty where all has."""
    from opsctl.inventory import snapshot
    from opsctl.rollout.schedule import Schedule

    own = snapshot.load(app.store, state.plan.id)
    waiting = {host.host for host in state.open_hosts if host.untouched}
    if own is None or not waiting:
        return ""
    schedule = Schedule(app.settings, own, app.now, emergency=bool(state.plan.emergency))
    return schedule.left(item for item in state.plan.hosts if item.host in waiting)


VERBS = (status,)
