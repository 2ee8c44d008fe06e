"""`opsctl inventory`: the hosts, from their source to the copy that every verb works with."""

from __future__ import annotations

from pathlib import Path
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
        room.settle(planned)
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


@command.command("setup-netbox")
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


@command.command("push")
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
    from opsctl.inventory import push as room
    from opsctl.inventory.corrections import read
    from opsctl.inventory.netbox import NetBox
    from opsctl.overview import told

    hosts = select(app, selection, managed_only=False)
    netbox = NetBox.of(app.settings)
    if file is None:
        planned = room.plan(netbox, hosts, told.values(app.store, hosts))
    else:
        planned = room.corrections(netbox, hosts, read(file))
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
            room.write(netbox, planned, f"opsctl inventory push by {app.who}, run {act.id}")
        out.note(f"ledger: {app.ledger.head()}")
    if output == "json":
        fields = ("host", "record", "field", "before", "after")
        writes = [{name: getattr(write, name) for name in fields} for write in planned.writes]
        out.as_json({"written": written, "writes": writes, "missing_fields": planned.missing})
    if planned.missing:
        out.note(f"NetBox has no field {', '.join(planned.missing)}\n  what next: opsctl inventory setup-netbox")


@command.command("drift")
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


@command.command("reconcile")
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


@command.command("import")
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
@dry_run_option
@yes_option
@pass_app
def import_(
    app: App, *, tenant: str, source: Path, known_hosts: Path | None, roles: tuple[str, ...], role: str, platform: str,
    dry_run: bool, yes: bool,
) -> int:  # fmt: skip
    """Take over the hosts that a municipality already has in Ansible, as the file source."""
    from opsctl.inventory import adopting

    planned = adopting.plan(
        app.settings, app.inventory.tenant(tenant).name, source, known_hosts,
        roles=roles, role=role, platform=platform,
    )  # fmt: skip
    out.table(("host", "address", "port", "role", "platform"),
              [(h.key, h.address, h.port, h.role, h.platform) for h in planned.adopted.hosts])  # fmt: skip
    if planned.adopted.left:
        out.table(("left out", "reason"), list(planned.adopted.left.items()))
    if not dry_run:
        app.confirm(f"Write {', '.join(path.name for path in planned.texts)} of {tenant}?", yes=yes)
        adopting.write(planned, app.ledger, app.who, app.now)
        for path in planned.texts:
            out.note(f"written: {path}")
        out.note("  what next: review them, then: opsctl inventory sync --source file")
    return 1 if planned.adopted.left else 0


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
