"""`opsctl patch scheduled|watchdog`: what will begin by itself, and whether what runs still lives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from opsctl.cli import follow, units
from opsctl.cli.app import App, dry_run_option, output_option, pass_app, yes_option
from opsctl.cli.output import as_json, line, note, table
from opsctl.errors import Incomplete

if TYPE_CHECKING:
    from opsctl.rollout.watchdog import Alarm


@click.command()
@output_option
@pass_app
def scheduled(app: App, *, output: str) -> None:
    """What `start --at` will begin, when, and who starts it.

    One whose waiting process is gone (a reboot, a kill) stays here until it is started anew or aborted.
    """
    from opsctl.rollout import waiting

    found = waiting.scheduled(app.store)
    if output == "json":
        as_json({
            "scheduled": [
                {"rollout": one.appointment.rollout, "starts": one.appointment.starts, "by": one.appointment.who,
                 "hosts": len(one.state.hosts), "kept": one.kept, "told": one.told, "next": one.next}
                for one in found
            ]
        })  # fmt: skip
        return
    rows = [
        (one.appointment.rollout, f"{one.appointment.starts:%Y-%m-%d %H:%MZ}", one.appointment.who, one.told, one.next)
        for one in found
    ]
    table(waiting.COLUMNS, rows, empty="nothing is scheduled")


@click.command()
@click.option("--units", is_flag=True, help="Show the systemd units that ask this again and again.")
@click.option("--minutes", type=click.IntRange(1, 60), default=5, show_default=True, help="Between two looks.")
@click.option("--user", default="", metavar="ACCOUNT", help="Runs them.  [default: the workspace's owner]")
@click.option(
    "--into",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Write the units there, as /etc/systemd/system.",
)
@dry_run_option
@yes_option
@output_option
@pass_app
def watchdog(
    app: App, *, units: bool, minutes: int, user: str, into: Path | None, dry_run: bool, yes: bool, output: str
) -> None:
    """Tell whether a rollout's process has died or frozen.

    And whether a start was missed. Nothing is asked of hosts. Exit code 1, with what is drained and the command to run:
    there is an alarm. Whom opsctl.yml names under notify is told of it, once an hour.
    """
    if units or into:
        _units(app, minutes=minutes, user=user, into=into, dry_run=dry_run, yes=yes)
        return
    from opsctl.model import wire
    from opsctl.rollout import waiting
    from opsctl.rollout import watchdog as room

    looks = follow.looking(app).watched()
    found = room.alarms(looks, waiting.scheduled(app.store), app.now())
    if output == "json":
        as_json({"alarms": wire.as_document(found)}, outcome="incomplete" if found else "ok")
    else:
        running = sum(bool(look.busy) for look in looks)
        line(f"{running} at work, {len(found)} to see to")
    if found:
        _tell(app, found)
        raise Incomplete("\n".join(map(str, found)), hint=_first(found))


def _tell(app: App, found: tuple[Alarm, ...]) -> None:
    """Notify whom opsctl.yml names; an alarm is one also where that fails, or the inventory cannot be read."""
    from opsctl.errors import SetupError
    from opsctl.model.host import Inventory
    from opsctl.rollout import alarming

    try:
        inventory = app.inventory
    except SetupError:
        inventory = Inventory()
    for one in alarming.tell(found, settings=app.settings, store=app.store, inventory=inventory, now=app.now()):
        note(f"notification to {one.target}: {one.why or 'sent'}")


def _first(found: tuple[Alarm, ...]) -> str:
    return found[0].next


def _units(app: App, *, minutes: int, user: str, into: Path | None, dry_run: bool, yes: bool) -> None:
    from opsctl.rollout import detach, watchdog_units

    texts = watchdog_units.units(app.settings, detach.program(), minutes=minutes, user=user)
    units.offer(app, texts, into, dry_run=dry_run, yes=yes)


VERBS = (scheduled, watchdog)
