"""`opsctl monitor`: the live state of every host, and what Prometheus is told to watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opsctl.cli.app import App, dry_run_option, output_option, pass_app, select, selection_options, yes_option
from opsctl.cli.output import as_json, grouped, line, note, say_next, some, table

if TYPE_CHECKING:
    from opsctl.monitor.probe import Probe
    from opsctl.monitor.prometheus import TargetFile
    from opsctl.monitor.status import HostStatus


@click.group("monitor")
def command() -> None:
    """Live state of every host, and targets for Prometheus."""


@command.command()
@selection_options
@output_option
@pass_app
def status(app: App, /, output: str, **selection: tuple[str, ...]) -> int:
    """Read the live state of every host. One round trip each, no agent.

    A host that does not answer keeps its line, with the reason and when it was last seen. The exporter column: what
    the host says of its own node exporter, and whether the monitoring host gets an answer from it. Exit code 1: a host
    did not answer.
    """
    from opsctl.monitor.status import ask_monitoring, collect

    found = collect(select(app, selection), app.transport, app.store, app.now())
    found = ask_monitoring(found, app.inventory, app.transport)
    failed = [one for one in found if one.error]
    if output == "json":
        as_json({"hosts": [_document(one) for one in found]}, outcome="unreachable" if failed else "ok")
        return 1 if failed else 0
    columns = ["host", "state", "load", "memory", "disk", "failed", "updates", "reboot", "clock", "exporter"]
    table(columns, [_row(one) for one in found])
    said: dict[str, list[str]] = {}
    for one in found:
        for remark in one.remarks:
            said.setdefault(f"{remark}{_seen(one)}", []).append(one.host.key)
    for remark, hosts in said.items():
        line(f"{grouped(hosts)}: {remark}")
    line(f"{some(len(found), 'host')}: {len(found) - len(failed)} answered, {len(failed)} did not")
    say_next((one.host.key, one.hint) for one in failed)
    return 1 if failed else 0


def _row(one: HostStatus) -> tuple[object, ...]:
    if one.error or one.probe is None:
        return (one.host.key, one.word, *[""] * 8)
    p = one.probe
    fullest = max(p.filesystems or (), key=lambda entry: entry.used_percent, default=None)
    return (
        one.host.key,
        one.word,
        "" if p.load is None else f"{p.load[0]:.1f}",
        "" if p.memory is None else f"{p.memory.used_percent:.0f} %",
        "" if fullest is None else f"{fullest.mount} {fullest.used_percent:.0f} %",
        "" if p.failed_units is None else len(p.failed_units),
        _updates(p),
        {True: "yes", False: "no", None: ""}[p.reboot_required],
        "" if p.clock is None else f"{p.clock.offset:+.1f} s",
        _exporter(one),
    )


def _updates(probe: Probe) -> str:
    if probe.updates is None or probe.updates.lists_at is None:
        return "not known"
    return f"{len(probe.updates.packages)} ({len(probe.updates.security)} security)"


def _seen(one: HostStatus) -> str:
    if not one.error:
        return ""
    return f"; last seen {one.seen:%Y-%m-%d %H:%M} UTC" if one.seen else "; never seen"


def _exporter(one: HostStatus) -> str:
    local = one.probe is not None and one.probe.exporter is not None and one.probe.exporter.answers
    if not local:
        return "no"
    return "yes" if not one.scraped else "only locally"


def _document(one: HostStatus) -> dict[str, object]:
    from opsctl.monitor.probe import document

    return {
        "host": one.host.key,
        "state": one.word,
        "error": one.error,
        "hint": one.hint,
        "remarks": list(one.remarks),
        "seen": one.seen,
        "exporter_from_monitoring": one.scraped,
        "probe": document(one.probe) if one.probe else None,
    }


@command.command()
@click.option("--write", is_flag=True, help="Write the files that differ.")
@click.option("--check", is_flag=True, help="Exit code 1 when a file differs; nothing is written.")
@dry_run_option
@yes_option
@output_option
@pass_app
def targets(app: App, output: str, *, write: bool, check: bool, dry_run: bool, yes: bool) -> int:
    """Prometheus file_sd targets, one file a tenant, from the inventory.

    Without an option: what would be written. A file with targets is never replaced by one without.
    """
    from opsctl.monitor import prometheus

    folder = app.settings.path("monitor.targets")
    plan = prometheus.plan(folder, [tenant.name for tenant in app.inventory.tenants], app.inventory.hosts)
    differ = [one for one in plan if one.change != "same"]
    if output == "table":
        table(["file", "targets", "before", "change"], [(o.path, o.hosts, o.before, _CHANGES[o.change]) for o in plan])
    if write and not check and differ and not dry_run:
        app.confirm(f"Write {some(len(differ), 'file')}?", yes=yes)
        detail = {"files": [str(one.path) for one in differ], "targets": sum(one.hosts for one in differ)}
        with app.ledger.act("monitor targets", [], detail, app.who, app.now) as act:
            prometheus.write(differ)
        note(f"written; ledger head {act.head}")
    if output == "json":
        as_json({"files": [_file(one) for one in plan]}, outcome="differs" if check and differ else "ok")
    return 1 if check and differ else 0


_CHANGES = {
    "new": "new",
    "changed": "changed",
    "same": "no change",
    "stale": "would be emptied: refused",
}


def _file(one: TargetFile) -> dict[str, object]:
    return {
        "path": str(one.path),
        "tenant": one.tenant,
        "targets": one.hosts,
        "before": one.before,
        "change": one.change,
    }
