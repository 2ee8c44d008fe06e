"""`opsctl inventory`: the hosts, from their source to the copy that every verb works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opsctl.cli import output as out
from opsctl.cli.app import App, dry_run_option, output_option, pass_app, select, selection_options, yes_option
from opsctl.errors import FuseTripped, NothingMatches, Problem, SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opsctl.inventory.diff import Diff
    from opsctl.inventory.sync import SyncPlan
    from opsctl.model.host import Host, Quarantined

tenant_option = click.option("--tenant", "tenants", multiple=True, metavar="TENANT", help="Only this tenant.")
source_option = click.option(
    "--source", type=click.Choice(["file", "netbox"]), help="Where from.  [default: inventory.source]"
)
full_option = click.option("--full", is_flag=True, help="Read all of NetBox, not only what has changed.")
_ASIDE_COLUMNS = ("what", "tenant", "record", "name", "reason", "link")
_DIFF_COLUMNS = ("what", "host", "field", "before", "after")
_LIST_COLUMNS = ("tenant", "host", "role", "platform", "ring", "address", "cluster", "status")


@click.group("inventory")
def command() -> None:
    """The hosts: take them from the source, list, show, compare, check."""


@command.command("sync")
@tenant_option
@click.option(
    "--accept-removals", "accepted", multiple=True, metavar="HOST",
    help="These hosts are gone for good: names, comma-separated.",
)  # fmt: skip
@click.option(
    "--accept-additions",
    "additions",
    multiple=True,
    metavar="HOST",
    help="These hosts come from another tenant, and that is agreed: names, comma-separated.",
)
@source_option
@full_option
@dry_run_option
@yes_option
@output_option
@pass_app
def sync(
    app: App,
    *,
    tenants: tuple[str, ...],
    source: str | None,
    full: bool,
    accepted: tuple[str, ...],
    additions: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    output: str,
) -> None:
    """Take the hosts over from the source, after showing what changes."""
    from opsctl.inventory import sync as room

    planned = room.plan(app.settings, tenants, source, now=app.now(), full=full)
    if planned.how:
        out.note(f"NetBox: read {planned.how}")
    if output == "table":
        _print_diff(planned.diff)
        _print_put_aside(planned.stale, planned.quarantined)
    planned.refuse_losses(_words(accepted), _words(additions))
    written = bool(planned.writes) and not dry_run
    if written:
        app.confirm(f"Write this to {', '.join(planned.writes)}?", yes=yes)
        room.write(planned, app.ledger, app.who, app.now)
    if planned.source == "netbox" and not dry_run:
        from opsctl.inventory import freshness

        freshness.remember(app.store, planned.tenants, planned.inventory.digest, app.now())
    if output == "json":
        out.as_json({"written": written, **_sync_document(planned)})
    elif written:
        out.line(f"written: {planned.diff.summary}; {out.some(len(planned.inventory), 'host')} in all")
    elif planned.writes:
        out.note("nothing was written (--dry-run)")
    if written:
        out.note(f"ledger: {app.ledger.head()}")


@command.command("diff")
@tenant_option
@source_option
@click.option("--exit-code", is_flag=True, help="End with 1 when there is a difference.")
@output_option
@pass_app
def diff(app: App, *, tenants: tuple[str, ...], source: str | None, exit_code: bool, output: str) -> int:
    """What a sync would change."""
    from opsctl.inventory import sync as room

    planned = room.plan(app.settings, tenants, source, now=app.now())
    if output == "json":
        out.as_json(_sync_document(planned), outcome="changes" if planned.diff else "ok")
    else:
        _print_diff(planned.diff)
        _print_put_aside(planned.stale, planned.quarantined)
    try:
        planned.refuse_losses()
    except FuseTripped as refused:
        out.note(f"a sync would refuse this: {refused.message}\n  what next: {refused.hint}")
    return 1 if exit_code and planned.diff else 0


@command.command("list")
@selection_options
@output_option
@pass_app
def list_hosts(app: App, /, *, output: str, **selection: tuple[str, ...]) -> None:
    """Every host, also those that opsctl does not manage."""
    from opsctl.inventory.document import encode_quarantined

    if not app.inventory.hosts:
        raise NothingMatches(
            "the inventory holds no host yet", hint="write TENANT/source.yml, then: opsctl inventory sync"
        )
    hosts = select(app, selection, managed_only=False)
    app.warn_old_inventory({host.tenant for host in hosts})
    if output == "json":
        listed = [_host_document(host) for host in hosts]
        records = encode_quarantined(_quarantined(app, selection))
        out.as_json({"hosts": listed, "quarantined": records, "inventory": app.inventory.digest})
        return
    out.table(
        _LIST_COLUMNS,
        [(h.tenant, h.name, h.role, h.platform, h.ring, h.address, h.cluster, _status(h)) for h in hosts],
    )
    ours = sum(host.managed for host in hosts)
    put_aside = _quarantined(app, selection)
    aside = f", {out.some(len(put_aside), 'record')} in quarantine" if put_aside else ""
    out.note(f"{out.some(len(hosts), 'host')}, {ours} managed, {len(hosts) - ours} not managed{aside}")


@command.command("quarantine")
@tenant_option
@output_option
@pass_app
def quarantine(app: App, *, tenants: tuple[str, ...], output: str) -> None:
    """The records of NetBox that cannot be used, and the hosts that are kept as they were."""
    for tenant in tenants:
        app.inventory.tenant(tenant)
    found = [one for one in app.inventory.quarantined if not tenants or one.tenant in tenants]
    stale = [host for host in app.inventory if host.stale and (not tenants or host.tenant in tenants)]
    if output == "json":
        out.as_json(_put_aside_document(stale, found))
    else:
        _print_put_aside(stale, found, empty="every record can be used")


@command.command("show")
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
    values["windows"] = ", ".join(host.windows) or "none: any time"
    values["services"] = ", ".join(f"{s.name} {s.protocol}/{s.port} {s.url}".rstrip() for s in host.services) or "none"
    values["reached through"] = " > ".join(through) or "directly"
    values["status"] = _status(host)
    out.pairs({field: value for field, value in values.items() if field not in ("managed", "why_not_managed", "key")},
              title=host.key)  # fmt: skip


@command.command("export")
@selection_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "csv", "ssh-config", "ansible", "prometheus"]),
    required=True,
    help="For which program.",
)
@pass_app
def export(app: App, /, *, form: str, **selection: tuple[str, ...]) -> None:
    """The inventory for other programs, on stdout."""
    from opsctl.ansible import render
    from opsctl.inventory import export as room
    from opsctl.monitor import prometheus

    hosts = select(app, selection, managed_only=False)
    app.warn_old_inventory({host.tenant for host in hosts})
    text = {
        "json": lambda: room.as_json(app.inventory, hosts),
        "csv": lambda: room.as_csv(hosts),
        "ssh-config": lambda: room.as_ssh_config(app.inventory, hosts, app.settings.text("ssh.user")),
        "ansible": lambda: render.inventory_text(hosts, app.inventory, reach=True),
        "prometheus": lambda: prometheus.render(host for host in hosts if host.managed),
    }[form]()
    click.echo(text, nl=False)


@command.command("graph")
@selection_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "svg"]),
    default="text",
    show_default=True,
    help="For a terminal, or as an image.",
)
@pass_app
def graph(app: App, /, *, form: str, **selection: tuple[str, ...]) -> None:
    """The fleet as a tree: tenants, sites, clusters, hosts."""
    from opsctl.inventory import graph as room

    roots = room.tree(app.inventory, select(app, selection, managed_only=False))
    if form == "svg":
        click.echo(room.as_svg(roots), nl=False)
    else:
        out.line(room.as_text(roots).rstrip())


@command.command("check")
@output_option
@pass_app
def check(app: App, *, output: str) -> int:
    """Every fault of opsctl.yml, tenants, source and inventory, with its line."""
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
    return faults(settings)


def _words(given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for item in given for name in item.split(",") if name)


def _quarantined(app: App, selection: dict[str, tuple[str, ...]]) -> list[Quarantined]:
    """The records that could be among the selected hosts; a record has no role or ring that anybody could name."""
    if any(selection.get(name) for name in ("limit", "roles", "rings")):
        return []
    tenants = selection.get("tenants", ())
    return [one for one in app.inventory.quarantined if not tenants or one.tenant in tenants]


def _print_put_aside(stale: Sequence[Host], quarantined: Sequence[Quarantined], empty: str = "") -> None:
    """Nothing at all is printed where there is nothing, unless `empty` says so."""
    rows = [
        *(("kept as it was", host.tenant, host.record, host.name, host.stale, "") for host in stale),
        *(("quarantined", one.tenant or "-", one.record, one.name, one.reason, one.link) for one in quarantined),
    ]
    if rows or empty:
        # A foreign name may hold a line break, which must not look like a row of its own.
        flat = [[str(cell).replace("\n", "\\n") for cell in row] for row in rows]
        title = f"{len(quarantined)} records in quarantine, {len(stale)} hosts kept as they were" if rows else ""
        out.table(_ASIDE_COLUMNS, flat, title=title, empty=empty)


def _put_aside_document(stale: Sequence[Host], quarantined: Sequence[Quarantined]) -> dict[str, object]:
    from opsctl.inventory.document import encode_quarantined

    return {
        "quarantined": encode_quarantined(quarantined),
        "stale": [{"host": host.key, "record": host.record, "reason": host.stale} for host in stale],
    }


def _sync_document(planned: SyncPlan) -> dict[str, object]:
    return {
        "source": planned.source,
        "read": planned.how,
        "inventory": planned.inventory.digest,
        "diff": _diff_document(planned.diff),
        **_put_aside_document(planned.stale, planned.quarantined),
        "left_out": dict(planned.left_out),
    }


def _status(host: Host) -> str:
    return host.status if host.managed else f"not managed: {host.why_not_managed}"


def _host_document(host: Host) -> dict[str, object]:
    from opsctl.inventory.document import encode_host

    return {
        "key": host.key,
        **encode_host(host),
        "managed": host.managed,
        "why_not_managed": host.why_not_managed,
    }


def _print_diff(found: Diff) -> None:
    rows: list[tuple[str, str, str, str, str]] = [
        ("removed", host.key, "", host.address, "-") for host in found.removed
    ]
    for word, pairs in (("moved", found.moved), ("renamed", found.renamed), ("changed", found.changed)):
        for pair in pairs:
            rows += [(word, pair.before.key, c.name, c.before or "-", c.after or "-") for c in pair.changes]
    rows += [("added", host.key, "", "-", f"{host.address} {host.role} {host.platform}") for host in found.added]
    empty = "the source and the inventory are the same"
    out.table(_DIFF_COLUMNS, rows, title=found.summary, empty=empty)


def _diff_document(found: Diff) -> dict[str, object]:
    from opsctl.inventory.document import encode_host

    pairs = {
        word: [
            {
                "before": pair.before.key,
                "after": pair.after.key,
                "fields": {c.name: {"before": c.before, "after": c.after} for c in pair.changes},
            }
            for pair in getattr(found, word)
        ]
        for word in ("changed", "renamed", "moved")
    }
    return {
        "added": [encode_host(host) for host in found.added],
        "removed": [encode_host(host) for host in found.removed],
        **pairs,
    }
