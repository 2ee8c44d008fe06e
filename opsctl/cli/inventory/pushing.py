"""`inventory setup-netbox` and `push`: what opsctl writes into NetBox."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opsctl.cli import output as out
from opsctl.cli.app import App, dry_run_option, output_option, pass_app, select, selection_options, yes_option
from opsctl.errors import UsageError

if TYPE_CHECKING:
    from opsctl.inventory.making import MakePlan

Selection = Mapping[str, tuple[str, ...]]


@click.command("setup-netbox")
@dry_run_option
@yes_option
@pass_app
def setup_netbox(app: App, *, dry_run: bool, yes: bool) -> None:
    """Make opsctl's own custom fields in NetBox, where missing."""
    from opsctl.inventory import push as room
    from opsctl.inventory.netbox import NetBox

    netbox = NetBox.of(app.settings)
    missing = room.missing_fields(netbox)
    out.table(("field", "type", "meaning"), [(f.name, f.type, f.meaning) for f in room.FIELDS if f.name in missing],
              title="to be made", empty="NetBox has them all")  # fmt: skip
    if missing and not dry_run:
        app.confirm(f"Make {len(missing)} custom fields in {netbox.address}?", yes=yes)
        with app.ledger.act("inventory setup-netbox", (), {"fields": missing}, app.who, app.now):
            room.set_up(netbox, missing)
        out.note(f"ledger: {app.ledger.head()}")


@click.command("push")
@selection_options
@click.option(
    "--from",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Apply the reviewed corrections of this file instead, or make the records that it lists.",
)
@dry_run_option
@yes_option
@output_option
@pass_app
def push(
    app: App, /, *, file: Path | None, dry_run: bool, yes: bool, output: str, **selection: tuple[str, ...]
) -> None:
    """Write what opsctl knows of the hosts into NetBox.

    Without --from it touches opsctl's own custom fields alone. With corrections, as `inventory drift --suggest` writes
    them, it changes what they name. With records, as `inventory import --for-netbox` writes them, it makes those that
    are missing, and what is there is left as it is. A push that was cut off is finished by the next one.
    """
    from opsctl.inventory import correct, corrections, making, wanted
    from opsctl.inventory import push as room
    from opsctl.inventory.address import checked_address
    from opsctl.overview import compared, told

    if file is not None and wanted.holds(file):
        _make(app, file, selection, dry_run=dry_run, yes=yes, output=output)
        return
    hosts = select(app, selection, managed_only=False)
    planned: room.PushPlan | correct.CorrectionPlan
    if file is None:
        planned = room.plan(app.settings, hosts, told.values(app.store, hosts))
    else:
        planned = correct.plan(app.settings, hosts, corrections.read(file, hosts))
    rows = [(w.host, w.field, "-" if w.before is None else w.before, "-" if w.after is None else w.after)
            for w in planned.writes]  # fmt: skip
    if output == "table":
        title = f"{out.some(len(planned.writes), 'value')} of {out.some(len(planned.hosts), 'host')}"
        empty = "NetBox has it all" if file is None else "NetBox says all of this already; lines with # ask for nothing"
        out.table(("host", "field", "before", "after"), rows, title=title, empty=empty)
    written = bool(planned.writes) and not dry_run
    if written:
        app.confirm(f"Write this to {checked_address(app.settings)}?", yes=yes)
        detail = {"values": len(planned.writes), "from": str(file or "")}
        with ExitStack() as held:
            if isinstance(planned, correct.CorrectionPlan) and file is not None:
                held.enter_context(making.alone(file))
                correct.refuse_moved(planned, correct.plan(app.settings, hosts, corrections.read(file, hosts)))
            act = held.enter_context(app.ledger.act("inventory push", planned.hosts, detail, app.who, app.now))
            message = f"opsctl inventory push by {app.who}, run {act.id}"
            if isinstance(planned, correct.CorrectionPlan):
                correct.write(app.settings, planned, message)
                compared.refresh(app.settings, app.store, [host for host in hosts if host.key in planned.hosts])
            else:
                room.write(app.settings, hosts, planned, message)
        out.note(f"ledger: {app.ledger.head()}")
    if output == "json":
        fields = ("host", "record", "field", "before", "after")
        writes = [{name: getattr(write, name) for name in fields} for write in planned.writes]
        others = dict(planned.others)
        out.as_json({"written": written, "writes": writes, "missing_fields": planned.missing, "other_hosts": others})
    if planned.missing:
        out.note(f"NetBox has no field {', '.join(planned.missing)}\n  what next: opsctl inventory setup-netbox")
    for key, other in planned.others.items():
        out.note(
            f"{key}: its record is {other} in NetBox now; nothing is written there\n  what next: opsctl inventory sync"
        )


def _make(app: App, file: Path, selection: Selection, *, dry_run: bool, yes: bool, output: str) -> None:
    """Make the records of a reviewed file, as far as NetBox lacks them."""
    from opsctl.inventory import making, wanted
    from opsctl.inventory.address import checked_address

    if selection["limit"] or selection["roles"] or selection["rings"]:
        raise UsageError(
            "a file of records is narrowed by --tenant alone", hint="take out of the file what is not to be"
        )
    known = [app.inventory.tenant(name).name for name in selection["tenants"]]
    with making.alone(file):
        tenants = known or [tenant.name for tenant in app.inventory.tenants]
        # Before it is read: an editor may put another file there while somebody thinks about the plan.
        reviewed = wanted.fingerprint(file)
        planned = making.plan(app.settings, wanted.read(file), tenants)
        if output == "table":
            _show(planned)
        written = bool(planned.makes) and not dry_run
        if written:
            making.refuse_lacks(planned.lacks)
            app.confirm(f"Make this in {checked_address(app.settings)}?", yes=yes)
            keys = [lack.host for lack in planned.makes]
            detail = {"made": len(keys), "from": str(file), "sha256": reviewed}
            with app.ledger.act("inventory push", keys, detail, app.who, app.now) as act:
                message = f"opsctl inventory push by {app.who}, run {act.id}"
                making.make(
                    app.settings,
                    planned,
                    message,
                    lambda done: out.progress(f"{done} of {len(keys)} hosts are in NetBox"),
                )
            out.note(f"ledger: {app.ledger.head()}\n  what next: opsctl inventory sync --source netbox")
    if output == "json":
        out.as_json({"written": written, **making.document(planned)})
    if dry_run and planned.lacks:
        out.note(f"the token lacks for this: {', '.join(planned.lacks)}")


def _show(planned: MakePlan) -> None:
    rows = [(lack.host, *lack.words) for lack in planned.makes]
    title = f"{out.some(len(rows), 'host')} to be made or completed, {planned.whole} there already"
    out.table(("host", "record", "address", "services"), rows, title=title, empty="NetBox has them all")
    if planned.differs:
        out.table(
            ("host", "field", "NetBox", "file"), [(d.host, d.field, d.netbox, d.file) for d in planned.differs],
            title="left as NetBox has it",
        )  # fmt: skip


VERBS = (setup_netbox, push)
