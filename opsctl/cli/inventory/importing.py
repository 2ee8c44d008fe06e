"""`inventory import`: the hosts that a municipality already has."""

from __future__ import annotations

from pathlib import Path

import click

from opsctl.cli import output as out
from opsctl.cli.app import App, dry_run_option, pass_app, yes_option
from opsctl.errors import UsageError


@click.command("import")
@click.option("--tenant", required=True, metavar="TENANT", help="Whose hosts these are.")
@click.option(
    "--ansible-inventory",
    "source",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    metavar="DIR",
    help="An Ansible inventory: a file, or a folder of them.",
)
@click.option(
    "--known-hosts",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The host keys that were trusted until now.",
)
@click.option("--role-group", "roles", multiple=True, metavar="GROUP", help="A group that says its hosts' role.")
@click.option("--role", default="server", show_default=True, help="The role of all others.")
@click.option("--platform", default="debian-12", show_default=True, help="FAMILY-VERSION of them all.")
@click.option(
    "--for-netbox",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write records for `inventory push --from` instead of the file source.",
)
@click.option("--site", default="", metavar="SLUG", help="Their site in NetBox.")
@click.option("--cluster", default="", metavar="NAME", help="Their cluster of hypervisors in NetBox.")
@click.option("--device-type", default="", metavar="SLUG", help="They are devices of this type, not virtual machines.")
@dry_run_option
@yes_option
@pass_app
def import_(
    app: App, *, tenant: str, source: Path, known_hosts: Path | None, roles: tuple[str, ...], role: str, platform: str,
    file: Path | None, site: str, cluster: str, device_type: str, dry_run: bool, yes: bool,
) -> int:  # fmt: skip
    """Take over hosts from an Ansible inventory. They become the file source, or go into NetBox."""
    from opsctl.inventory import adopting
    from opsctl.inventory.wanted import Place

    place = Place(site=site, cluster=cluster, device_type=device_type)
    if place != Place() and file is None:
        raise UsageError("--site, --cluster and --device-type are for --for-netbox FILE")
    planned = adopting.plan(
        app.settings, app.inventory.tenant(tenant).name, source, known_hosts,
        roles=roles, role=role, platform=platform, netbox=adopting.ForNetBox(file=file, place=place) if file else None,
    )  # fmt: skip
    out.table(("host", "address", "port", "role", "platform"),
              [(h.key, h.address, h.port, h.role, h.platform) for h in planned.adopted.hosts])  # fmt: skip
    if planned.left:
        out.table(("left out", "reason"), list(planned.left.items()))
    if not dry_run:
        app.confirm(f"Write {', '.join(path.name for path in planned.texts)} of {tenant}?", yes=yes)
        adopting.write(planned, app.ledger, app.who, app.now)
        for path in planned.texts:
            out.note(f"written: {path}")
        following = f"inventory push --from {file} --tenant {tenant}" if file else "inventory sync --source file"
        out.note(f"  what next: review them, then: opsctl {following}")
    return 1 if planned.left else 0


VERBS = (import_,)
