"""`opsctl inventory`: the hosts, from their source to the copy that every verb works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opsctl.cli import output as out
from opsctl.cli.app import App, dry_run_option, output_option, pass_app, select, selection_options, yes_option
from opsctl.errors import FuseTripped, NothingMatches, Problem, SetupError

if TYPE_CHECKING:
    from opsctl.inventory.diff import Diff
    from opsctl.model.host import Host

tenant_option = click.option("--tenant", "tenants", multiple=True, metavar="TENANT", help="Only this tenant.")
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
@dry_run_option
@yes_option
@output_option
@pass_app
def sync(
    app: App, *, tenants: tuple[str, ...], accepted: tuple[str, ...], dry_run: bool, yes: bool, output: str
) -> None:
    """Take the hosts over from the source, after showing what changes."""
    from opsctl.inventory import sync as room

    planned = room.plan(app.settings, tenants)
    if output == "table":
        _print_diff(planned.diff)
    planned.refuse_losses(name for item in accepted for name in item.split(",") if name)
    written = bool(planned.texts) and not dry_run
    if written:
        app.confirm(f"Write this to {', '.join(planned.texts)}?", yes=yes)
        room.write(planned, app.ledger, app.who, app.now)
    if output == "json":
        diff = _diff_document(planned.diff)
        out.as_json({"written": written, "inventory": planned.inventory.digest, "diff": diff})
    elif written:
        out.line(f"written: {planned.diff.summary}; {out.some(len(planned.inventory), 'host')} in all")
    elif planned.diff:
        out.note("nothing was written (--dry-run)")
    if written:
        out.note(f"ledger: {app.ledger.head()}")


@command.command("diff")
@tenant_option
@click.option("--exit-code", is_flag=True, help="End with 1 when there is a difference.")
@output_option
@pass_app
def diff(app: App, *, tenants: tuple[str, ...], exit_code: bool, output: str) -> int:
    """What a sync would change."""
    from opsctl.inventory import sync as room

    planned = room.plan(app.settings, tenants)
    if output == "json":
        out.as_json({"diff": _diff_document(planned.diff)}, outcome="changes" if planned.diff else "ok")
    else:
        _print_diff(planned.diff)
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
    if not app.inventory.hosts:
        raise NothingMatches(
            "the inventory holds no host yet", hint="write TENANT/source.yml, then: opsctl inventory sync"
        )
    hosts = select(app, selection, managed_only=False)
    if output == "json":
        out.as_json({"hosts": [_host_document(host) for host in hosts], "inventory": app.inventory.digest})
        return
    out.table(
        _LIST_COLUMNS,
        [(h.tenant, h.name, h.role, h.platform, h.ring, h.address, h.cluster, _status(h)) for h in hosts],
    )
    ours = sum(host.managed for host in hosts)
    out.note(f"{out.some(len(hosts), 'host')}, {ours} managed, {len(hosts) - ours} not managed")


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
