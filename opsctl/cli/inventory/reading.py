"""`inventory list`, `show`, `quarantine` and `check`: what the copy says, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opsctl.cli import output as out
from opsctl.cli.app import App, output_option, pass_app, select, selection_options
from opsctl.cli.inventory import aside
from opsctl.cli.inventory.options import tenant_option
from opsctl.errors import Problem, SetupError

if TYPE_CHECKING:
    from opsctl.model.host import Host

_COLUMNS = ("tenant", "host", "role", "platform", "ring", "address", "cluster", "status", "serves")


@click.command("list")
@selection_options
@output_option
@pass_app
def list_hosts(app: App, /, *, output: str, **selection: tuple[str, ...]) -> None:
    """Every host, also those that opsctl does not manage."""
    from opsctl.inventory.document import encode_quarantined

    hosts = select(app, selection, managed_only=False)
    app.warn_old_inventory({host.tenant for host in hosts})
    put_aside = aside.among(app, selection)
    if output == "json":
        listed = [_host_document(host) for host in hosts]
        records = encode_quarantined(put_aside)
        out.as_json({"hosts": listed, "quarantined": records, "inventory": app.inventory.digest})
        return
    rows = [(h.tenant, h.name, h.role, h.platform, h.ring, h.address, h.cluster, _status(h), _served(h)) for h in hosts]
    shared = any(row[-1] for row in rows)
    out.table(_COLUMNS if shared else _COLUMNS[:-1], rows if shared else [row[:-1] for row in rows])
    ours = sum(host.managed for host in hosts)
    also = f", {out.some(len(put_aside), 'record')} in quarantine" if put_aside else ""
    if stale := sum(bool(host.stale) for host in hosts):
        also += f", {aside.kept(stale)}"
    out.note(f"{out.some(len(hosts), 'host')}, {ours} managed, {len(hosts) - ours} not managed{also}")


@click.command("show")
@click.argument("name")
@output_option
@pass_app
def show(app: App, *, name: str, output: str) -> None:
    """What the inventory says about one host."""
    host = app.inventory.host(name)
    through = [jump.key for jump in app.inventory.jumps(host)]
    if output == "json":
        out.as_json({"host": {**_host_document(host), "through": through}})
        return
    values = {field: value for field, value in _host_document(host).items() if value not in ("", [])}
    values["tags"] = ", ".join(host.tags) or "none"
    values["windows"] = ", ".join(host.windows) or "its ring's or tenant's: opsctl calendar --host " + host.key
    values["services"] = ", ".join(map(str, host.services)) or "none"
    values["reached through"] = " > ".join(through) or "directly"
    values["status"] = _status(host)
    out.pairs({field: value for field, value in values.items() if field not in ("managed", "why_not_managed", "key")},
              title=host.key)  # fmt: skip


@click.command("quarantine")
@tenant_option
@output_option
@pass_app
def quarantine(app: App, *, tenants: tuple[str, ...], output: str) -> None:
    """Records of NetBox that cannot be used. Also the hosts that are kept as they were."""
    for tenant in tenants:
        app.inventory.tenant(tenant)
    found = aside.among(app, {"tenants": tenants})
    stale = [host for host in app.inventory if host.stale and (not tenants or host.tenant in tenants)]
    if output == "json":
        out.as_json(aside.document(stale, found, app.settings.text("netbox.url")))
    else:
        aside.show(stale, found, address=app.settings.text("netbox.url"), empty="every record can be used")


@click.command("check")
@output_option
@pass_app
def check(app: App, *, output: str) -> int:
    """Every fault of configuration and inventory, with its line."""
    problems = _problems(app)
    if output == "json":
        found = [{"where": p.where, "what": p.what, "allowed": p.allowed} for p in problems]
        out.as_json({"problems": found}, outcome="refused" if problems else "ok")
    elif problems:
        out.table(("where", "what", "allowed"), [(p.where, p.what, p.allowed) for p in problems])
    else:
        out.line("no faults")
    return SetupError.exit_code if problems else 0


def _problems(app: App) -> tuple[Problem, ...]:
    from opsctl.errors import ConfigError
    from opsctl.inventory.faults import faults

    try:
        settings = app.settings
    except ConfigError as error:
        if not error.problems:
            raise
        return error.problems
    return faults(settings, app.now())


def _status(host: Host) -> str:
    said = host.status if host.managed else f"not managed: {host.why_not_managed}"
    return f"{said}; kept as it was" if host.stale else said


def _served(host: Host) -> str:
    """For whom its services are, where that is said."""
    return ", ".join(sorted({tenant for service in host.services for tenant in service.serves}))


def _host_document(host: Host) -> dict[str, object]:
    from opsctl.inventory.document import encode_host

    return {
        "key": host.key,
        **encode_host(host),
        "managed": host.managed,
        "why_not_managed": host.why_not_managed,
    }


VERBS = (list_hosts, show, quarantine, check)
