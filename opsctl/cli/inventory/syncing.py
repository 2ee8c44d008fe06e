"""`inventory sync`, `diff` and `timer`: the hosts as the source has them now, by hand or again and again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opsctl.cli import output as out
from opsctl.cli.app import App, dry_run_option, output_option, pass_app, yes_option
from opsctl.cli.inventory import aside
from opsctl.cli.inventory.options import tenant_option
from opsctl.errors import FuseTripped
from opsctl.inventory.quick import quick

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsctl.inventory.cache import Fingerprint
    from opsctl.inventory.diff import Diff
    from opsctl.inventory.sync import SyncPlan

source_option = click.option(
    "--source", type=click.Choice(["file", "netbox"]), help="Where from.  [default: inventory.source]"
)
full_option = click.option("--full", is_flag=True, help="Read all of NetBox, not only what has changed.")
_COLUMNS = ("what", "host", "field", "before", "after")


@click.command("sync")
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
@quick()
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
    """Take the hosts over from the source. What changes is shown first."""
    from opsctl.inventory import sync as room

    if dry_run:
        planned = _planned(app, tenants, source, full=full, output=output)
        planned.refuse_losses(_words(accepted), _words(additions), _remembered(app, planned))
        if output == "json":
            out.as_json({"written": False, **_sync_document(planned)})
        elif planned.writes:
            out.note("nothing was written (--dry-run)")
        return
    with room.alone(app.settings):
        # The store first: the state folder also keeps what the next sync need not ask for again.
        books = app.ledger
        planned = _planned(app, tenants, source, full=full, output=output)
        planned.refuse_losses(_words(accepted), _words(additions), _remembered(app, planned))
        written = planned.copies
        if planned.writes:
            app.confirm(f"Write this to {', '.join(planned.writes)}?", yes=yes)
            written = room.write(planned, books, app.who, app.now)
        _remember(app, planned, written)
    if output == "json":
        out.as_json({"written": bool(planned.writes), **_sync_document(planned)})
    elif planned.writes:
        out.line(f"written: {planned.diff.summary}; {out.some(len(planned.inventory), 'host')} in all")
    if planned.writes:
        out.note(f"ledger: {app.ledger.head()}")


def _planned(app: App, tenants: tuple[str, ...], source: str | None, *, full: bool, output: str) -> SyncPlan:
    """The plan, shown."""
    from opsctl.inventory import sync as room

    planned = room.plan(app.settings, tenants, source, now=app.now(), full=full)
    if planned.how:
        since = " since it was read last" if planned.how.endswith(" changes") else ""
        out.note(f"NetBox: read {planned.how}{since}")
    if output == "table":
        _print_diff(planned.diff)
        _print_aside(planned)
    return planned


def _remembered(app: App, planned: SyncPlan) -> Mapping[str, frozenset[str]]:
    from opsctl.inventory import witness

    # Looking must not make a store where there is none.
    return witness.recall(app.store, planned.bare) if planned.bare and app.settings.state.is_dir() else {}


def _remember(app: App, planned: SyncPlan, written: Fingerprint) -> None:
    """Source and copy are equal now."""
    from opsctl.inventory import freshness, witness
    from opsctl.inventory import sync as room

    if not planned.settled:
        witness.remember(app.store, planned.tenants, planned.after, app.now())
    if planned.source == "netbox":
        freshness.remember(app.store, planned.tenants, planned.inventory.digest, app.now())
        room.settle(planned, written)


@click.command("diff")
@tenant_option
@source_option
@click.option("--exit-code", is_flag=True, help="End with 1 when there is a difference.")
@output_option
@pass_app
@quick()
def diff(app: App, *, tenants: tuple[str, ...], source: str | None, exit_code: bool, output: str) -> int:
    """What a sync would change."""
    planned = _planned(app, tenants, source, full=False, output=output)
    if output == "json":
        out.as_json(_sync_document(planned), outcome="changes" if planned.diff else "ok")
    try:
        planned.refuse_losses(remembered=_remembered(app, planned))
    except FuseTripped as refused:
        out.note(f"a sync would refuse this: {refused.message}\n  what next: {refused.hint}")
    return 1 if exit_code and planned.diff else 0


@click.command("timer")
@click.option("--minutes", type=click.IntRange(1, 1440), default=15, show_default=True, help="Between two syncs.")
@click.option("--user", default="", metavar="ACCOUNT", help="Runs the sync.  [default: the workspace's owner]")
@click.option(
    "--into",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Write them there, as /etc/systemd/system.  [default: only show them]",
)
@dry_run_option
@yes_option
@pass_app
def timer(app: App, *, minutes: int, user: str, into: Path | None, dry_run: bool, yes: bool) -> None:
    """Units for systemd that sync this workspace again and again.

    They hold no secret, and removals and moves are never accepted by them: a person names those.
    """
    from opsctl.inventory import timer as room

    units = room.units(app.settings, _program(), minutes=minutes, user=user)
    for name, text in units.items():
        out.line(f"# {into / name if into else name}\n{text}")
    if into is None or dry_run:
        out.note("nothing was written")
        return
    app.confirm(f"Write {' and '.join(units)} into {into}?", yes=yes)
    for name, text in units.items():
        (into / name).write_text(text, encoding="utf-8")
    out.note(f"next: systemctl daemon-reload; systemctl enable --now {list(units)[-1]}")


def _program() -> tuple[str, ...]:
    """How opsctl is called on this machine, by its full path."""
    beside = Path(sys.executable).with_name("opsctl")
    return (str(beside),) if beside.is_file() else (sys.executable, "-m", "opsctl")


def _words(given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for item in given for name in item.split(",") if name)


def _sync_document(planned: SyncPlan) -> dict[str, object]:
    return {
        "source": planned.source,
        "read": planned.how,
        "inventory": planned.inventory.digest,
        "diff": _diff_document(planned.diff),
        **aside.document(planned.stale, planned.quarantined, planned.settings.text("netbox.url")),
        "left_out": dict(planned.left_out),
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
    out.table(_COLUMNS, rows, title=found.summary, empty=empty)


def _print_aside(planned: SyncPlan) -> None:
    """What was put aside long ago is only counted: it is not to bury the changes, nor to fill a timer's journal."""
    put_aside = planned.stale, planned.quarantined
    new = planned.newly_aside if planned.writes else ((), ())
    if any(new):
        title = "" if new == put_aside else "newly put aside"
        aside.show(*new, address=planned.settings.text("netbox.url"), title=title)
    if new != put_aside:
        aside.count(*put_aside)


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


VERBS = (sync, diff, timer)
