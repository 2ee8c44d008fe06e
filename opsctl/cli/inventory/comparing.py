"""`inventory drift` and `reconcile`: the inventory against the hosts themselves, and against other lists."""

from __future__ import annotations

from pathlib import Path

import click

from opsctl.cli import output as out
from opsctl.cli.app import App, output_option, pass_app, select, selection_options
from opsctl.cli.inventory.options import tenant_option


@click.command("drift")
@selection_options
@click.option(
    "--suggest",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write what would put NetBox right, for a person to review.",
)
@click.option("--exit-code", is_flag=True, help="End with 1 when there is drift.")
@output_option
@pass_app
def drift(app: App, /, *, suggest: Path | None, exit_code: bool, output: str, **selection: tuple[str, ...]) -> int:
    """NetBox against the hosts themselves: names, releases, sizes, addresses, services."""
    from opsctl.inventory import corrections
    from opsctl.inventory.netbox import NetBox
    from opsctl.inventory.push import intended
    from opsctl.monitor.status import collect
    from opsctl.overview import drift as room

    hosts = select(app, selection)
    meant = intended(NetBox.of(app.settings), hosts) if any(host.record for host in hosts) else {}
    looks = collect(hosts, app.transport, app.store, app.now())
    reached = [look for look in looks if look.reached and look.probe]
    found = tuple(one for look in reached if look.probe
                  for one in room.differences(look.host, meant.get(look.host.key), look.probe))  # fmt: skip
    silent = [(look.host.key, look.error) for look in looks if look not in reached]
    if output == "json":
        listed = [{"host": d.host, "what": d.what, "netbox": d.netbox, "found": d.found} for d in found]
        out.as_json({"drift": listed, "not_asked": dict(silent)}, outcome="incomplete" if silent else "ok")
    else:
        rows = [(d.host, d.what, d.netbox, d.found) for d in found]
        title = f"{len(found)} differences on {len(reached)} hosts"
        out.table(("host", "what", "NetBox", "host says"), rows, title=title, empty="NetBox and the hosts agree")
        for key, why in silent:
            out.note(f"{key} could not be asked: {why}")
    if suggest:
        suggest.write_text(corrections.text(room.suggestions(found)), encoding="utf-8")
        out.note(f"written: {suggest}\n  what next: review it, then: opsctl inventory push --from {suggest}")
    return 1 if silent or (exit_code and found) else 0


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


VERBS = (drift, reconcile)
