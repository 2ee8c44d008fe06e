"""`inventory reconcile`: the inventory against an independent list of machines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from opsctl.cli import output as out
from opsctl.cli.app import App, output_option, pass_app
from opsctl.cli.inventory import aside
from opsctl.cli.inventory.options import tenant_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opsctl.inventory.population import Machine
    from opsctl.inventory.reconcile import Reconciled
    from opsctl.model.host import Host


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
    """The inventory against an independent list of machines. Shows what is in no inventory, and hosts that nobody has.

    The list comes from a hypervisor or from monitoring. A machine is a host that has its name (without the domain, in
    any case) or one of its addresses.
    """
    from opsctl.inventory import population as lists
    from opsctl.inventory import reconcile as room

    machines = lists.read(population)
    for tenant in tenants:
        app.inventory.tenant(tenant)
    app.warn_old_inventory(tenants or [tenant.name for tenant in app.inventory.tenants])
    found = room.reconcile(machines, app.inventory.hosts, app.inventory.quarantined, tenants=tenants)
    if output == "json":
        out.as_json(_document(found, machines), outcome="ok" if found.agrees else "differs")
    else:
        out.table(("what", "the list", "the inventory"), _rows(found), empty="the list and the inventory agree")
        records = aside.among(app, {"tenants": tenants})
        out.pairs(_counts(found, len(machines), len(records)))
    return 1 if exit_code and not found.agrees else 0


def _rows(found: Reconciled) -> list[tuple[str, str, str]]:
    return [
        *(("in no inventory", _machine(one), "-") for one in found.unlisted),
        *(("only in quarantine", _machine(one), f"{aside.record}: {aside.reason}") for one, aside in found.quarantined),
        *(("not in the list", "-", _host(host)) for host in found.unseen),
        *(
            ("look at this", _machine(one.machine), one.why if len(one.hosts) > 1 else f"{one.hosts[0].key} {one.why}")
            for one in found.doubts
        ),
    ]


def _machine(one: Machine) -> str:
    return " ".join(filter(None, (f"line {one.line}:", one.name, ", ".join(one.addresses))))


def _host(host: Host) -> str:
    """The host as what it is: many of those that no list has are no servers of ours."""
    status = f"; not managed: {host.why_not_managed}" if not host.managed else ""
    stale = "; kept as it was, its record cannot be used" if host.stale else ""
    return f"{host.key} {host.address}".rstrip() + status + stale


def _counts(found: Reconciled, machines: int, records: int) -> dict[str, object]:
    managed = sum(host.managed for host in found.both)
    said = {
        "in the list": out.some(machines, "machine"),
        "in both": f"{out.some(len(found.both), 'host')}, {managed} managed, {len(found.both) - managed} not managed",
        "in no inventory": len(found.unlisted),
        "only in quarantine": f"{len(found.quarantined)} of {out.some(records, 'record')}" if records else "",
        "not in the list": out.some(len(found.unseen), "host"),
        "of other tenants": found.others or "",
        "to look at": len(found.doubts) or "",
    }
    return {name: value for name, value in said.items() if value != ""}


def _document(found: Reconciled, machines: Sequence[Machine]) -> dict[str, object]:
    return {
        "machines": len(machines),
        "both": [host.key for host in found.both],
        "unlisted": [_plain(one) for one in found.unlisted],
        "quarantined": [
            {**_plain(one), "record": record.record, "reason": record.reason, "link": record.link}
            for one, record in found.quarantined
        ],
        "unseen": [
            {
                "host": host.key,
                "address": host.address,
                "managed": host.managed,
                "why_not_managed": host.why_not_managed,
                "stale": host.stale,
            }
            for host in found.unseen
        ],
        "in_doubt": [
            {**_plain(one.machine), "why": one.why, "hosts": [host.key for host in one.hosts]} for one in found.doubts
        ],
        "of_other_tenants": found.others,
    }


def _plain(one: Machine) -> dict[str, object]:
    return {"line": one.line, "name": one.name, "addresses": list(one.addresses)}


VERBS = (reconcile,)
