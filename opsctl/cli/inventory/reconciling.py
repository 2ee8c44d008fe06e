"""`inventory reconcile`: the inventory against an independent list of machines."""

from __future__ import annotations

from pathlib import Path

import click

from opsctl.cli import output as out
from opsctl.cli.app import App, output_option, pass_app
from opsctl.cli.inventory.options import tenant_option


@click.command("reconcile")
@tenant_option
@click.option(
    "--population",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    metavar="FILE",
    help="CSV with the names or addresses of all machines there are.",
)
@click.option("--exit-code", is_flag=True, help="End with 1 when the two lists differ.")
@output_option
@pass_app
def reconcile(app: App, *, tenants: tuple[str, ...], population: Path, exit_code: bool, output: str) -> int:
    """The inventory against an independent list: machines in no inventory, and hosts that nobody has."""
    from opsctl.inventory import reconcile as room

    machines = room.read(population.read_text(encoding="utf-8", errors="replace"), str(population))
    hosts = app.inventory.select(tenants=tenants, managed_only=False)
    found = room.reconcile(machines, hosts, app.inventory.quarantined)
    if output == "json":
        out.as_json({
            "unlisted": [{"line": m.line, "name": m.name, "address": m.address} for m in found.unlisted],
            "quarantined": [{"line": m.line, "name": m.name, "address": m.address} for m in found.quarantined],
            "unseen": [host.key for host in found.unseen],
            "both": found.both,
        })  # fmt: skip
    else:
        rows = [
            *(("in no inventory", m.name, m.address, f"line {m.line}") for m in found.unlisted),
            *(("only in quarantine", m.name, m.address, f"line {m.line}") for m in found.quarantined),
            *(("not in the list", host.key, host.address, host.status) for host in found.unseen),
        ]
        out.table(("what", "name", "address", "where"), rows, title=f"{found.both} hosts are in both",
                  empty=f"all {found.both} hosts are in both")  # fmt: skip
    return 1 if exit_code and (found.unlisted or found.unseen or found.quarantined) else 0


VERBS = (reconcile,)
