"""`inventory setup-netbox` and `push`: what opsctl writes into NetBox."""

from __future__ import annotations

from pathlib import Path

import click

from opsctl.cli import output as out
from opsctl.cli.app import App, dry_run_option, output_option, pass_app, select, selection_options, yes_option


@click.command("setup-netbox")
@dry_run_option
@yes_option
@pass_app
def setup_netbox(app: App, *, dry_run: bool, yes: bool) -> None:
    """Make opsctl's own custom fields in NetBox, as far as they are missing."""
    from opsctl.inventory import push as room
    from opsctl.inventory.netbox import NetBox

    netbox = NetBox.of(app.settings)
    missing = room.plan(netbox, (), {}).missing
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
    help="Apply the reviewed corrections of this file instead.",
)
@dry_run_option
@yes_option
@output_option
@pass_app
def push(
    app: App, /, *, file: Path | None, dry_run: bool, yes: bool, output: str, **selection: tuple[str, ...]
) -> None:
    """Write what opsctl knows of the hosts into its own custom fields in NetBox."""
    from opsctl.inventory import correct, corrections
    from opsctl.inventory import push as room
    from opsctl.inventory.netbox import NetBox
    from opsctl.overview import compared, told

    hosts = select(app, selection, managed_only=False)
    netbox = NetBox.of(app.settings)
    planned: room.PushPlan | correct.CorrectionPlan
    if file is None:
        planned = room.plan(netbox, hosts, told.values(app.store, hosts))
    else:
        planned = correct.plan(app.settings, hosts, corrections.read(file, hosts))
    rows = [(w.host, w.field, "-" if w.before is None else w.before, "-" if w.after is None else w.after)
            for w in planned.writes]  # fmt: skip
    if output == "table":
        title = f"{len(planned.writes)} values of {len(planned.hosts)} hosts"
        out.table(("host", "field", "before", "after"), rows, title=title, empty="NetBox has it all")
    written = bool(planned.writes) and not dry_run
    if written:
        app.confirm(f"Write this to {netbox.address}?", yes=yes)
        detail = {"values": len(planned.writes), "from": str(file or "")}
        with app.ledger.act("inventory push", planned.hosts, detail, app.who, app.now) as act:
            message = f"opsctl inventory push by {app.who}, run {act.id}"
            if isinstance(planned, correct.CorrectionPlan):
                correct.write(app.settings, planned, message)
                compared.refresh(app.settings, app.store, [host for host in hosts if host.key in planned.hosts])
            else:
                room.write(netbox, planned, message)
        out.note(f"ledger: {app.ledger.head()}")
    if output == "json":
        fields = ("host", "record", "field", "before", "after")
        writes = [{name: getattr(write, name) for name in fields} for write in planned.writes]
        out.as_json({"written": written, "writes": writes, "missing_fields": planned.missing})
    if planned.missing:
        out.note(f"NetBox has no field {', '.join(planned.missing)}\n  what next: opsctl inventory setup-netbox")


VERBS = (setup_netbox, push)
