"""`opsctl host`: one host's key, a look at it, and all that is known of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from opsctl.cli.app import (
    App,
    dry_run_option,
    output_option,
    pass_app,
    select,
    selection_options,
    yes_option,
)
from opsctl.cli.output import as_json, line, note, pairs, say_next, some, table
from opsctl.errors import HostKeyRefused, Incomplete, NothingMatches, Unreachable, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opsctl.model.host import Host
    from opsctl.monitor.status import HostStatus
    from opsctl.ssh.approval import Judgement
    from opsctl.ssh.fingerprints import Fingerprint

_WORDS = {
    "approve": "approve this key",
    "replace": "approve this key INSTEAD of the earlier one",
    "same": "approved already",
    "refused": "REFUSED",
    "unreachable": "unreachable",
}


@click.group("host")
def command() -> None:
    """One host: approve its key, probe it, show all that is known."""


@command.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--fingerprints", "file", type=click.Path(path_type=Path, dir_okay=False), help="File from the owner.")
@click.option("--fingerprint", "typed", help="The one fingerprint of the one host: SHA256:...")
@click.option("--all", "everyone", is_flag=True, help="Every host that FILE names.")
@click.option("--tenant", "tenants", multiple=True, metavar="TENANT", help="With --all: only hosts of this tenant.")
@click.option("--replace", is_flag=True, help="Let a new key take the place of an approved one.")
@dry_run_option
@yes_option
@output_option
@pass_app
def approve(
    app: App,
    names: tuple[str, ...],
    file: Path | None,
    typed: str | None,
    tenants: tuple[str, ...],
    output: str,
    *,
    everyone: bool,
    replace: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Approve host keys by the fingerprint that their owner hands over.

    The key that each host shows now is read and compared; only an equal one is approved. FILE holds lines
    `NAME SHA256:...`, or what `ssh-keygen -lf` prints. A host behind a jump host is approved after, or with, that one.
    """
    given = _given(file, typed, names)
    hosts = _hosts_to_approve(app, names, tenants, given, everyone=everyone)
    judgements = _judge(app, hosts, given, replace=replace)
    to_pin = [one for one in judgements if one.to_pin]
    if output == "table":
        _show_judgements(judgements)
    if to_pin and not dry_run:
        app.confirm(f"Approve the keys of {some(len(to_pin), 'host')}?", yes=yes)
        _pin(app, to_pin)
    failed = [one for one in judgements if one.failed]
    if output == "json":
        outcome = "ok" if not failed else "incomplete" if len(failed) < len(judgements) else "failed"
        as_json({"dry_run": dry_run, "hosts": [_judgement(one) for one in judgements]}, outcome=outcome)
    if failed:
        _raise_refused(failed, judgements)


def _given(file: Path | None, typed: str | None, names: Sequence[str]) -> tuple[Fingerprint, ...]:
    from opsctl.ssh import fingerprints

    if (file is None) == (typed is None):
        raise UsageError("give --fingerprints FILE or --fingerprint SHA256:..., as the host's owner handed it over")
    if file is not None:
        return fingerprints.read(file)
    if len(names) != 1:
        raise UsageError("--fingerprint is for one host", hint="use --fingerprints FILE for several")
    return (fingerprints.parse(str(typed)),)


def _hosts_to_approve(
    app: App, names: Sequence[str], tenants: Sequence[str], given: Sequence[Fingerprint], *, everyone: bool
) -> tuple[Host, ...]:
    if bool(names) == everyone:
        raise UsageError("name the hosts, or say --all for every host that the file names")
    if names:
        return tuple(dict.fromkeys(app.inventory.host(name) for name in names))
    hosts = app.inventory.select(tenants=tenants)
    chosen = tuple(host for host in hosts if any(one.name in (host.name, host.key) for one in given))
    if not chosen:
        raise NothingMatches("the file names no host of this inventory")
    return chosen


def _judge(
    app: App, hosts: tuple[Host, ...], given: tuple[Fingerprint, ...], *, replace: bool
) -> tuple[Judgement, ...]:
    from opsctl.ssh import approval
    from opsctl.ssh.hostkeys import Pins

    pins = Pins.load(app.settings.inventories)
    return approval.look(hosts, given, inventory=app.inventory, pins=pins, settings=app.settings, replace=replace)


def _pin(app: App, judgements: Sequence[Judgement]) -> None:
    from opsctl.ssh import hostkeys

    detail = {
        "approved": {one.host.key: [str(key) for key in one.keys] for one in judgements},
        "replaced": [one.host.key for one in judgements if one.verdict == "replace"],
        "source": sorted({one.source for one in judgements}),
    }
    with app.ledger.act("host approve", [one.host.key for one in judgements], detail, app.who, app.now) as act:
        for one in judgements:
            hostkeys.approve(
                app.settings.inventories,
                one.host,
                one.keys,
                now=app.now(),
                who=app.who,
                source=one.source,
                replace=one.verdict == "replace",
            )
    note(f"approved the keys of {some(len(judgements), 'host')}; ledger head {act.head}")


def _show_judgements(judgements: Sequence[Judgement]) -> None:
    table(
        ["host", "verdict", "key"],
        [
            (one.host.key, _WORDS[one.verdict], one.reason or "\n".join(str(key) for key in one.keys))
            for one in judgements
        ],
    )


def _judgement(one: Judgement) -> dict[str, object]:
    return {
        "host": one.host.key,
        "verdict": one.verdict,
        "keys": [{"kind": key.kind, "fingerprint": key.fingerprint} for key in one.keys],
        "reason": one.reason,
        "source": one.source,
    }


def _raise_refused(failed: Sequence[Judgement], judgements: Sequence[Judgement]) -> None:
    if len(failed) == len(judgements) == 1:
        (one,) = failed
        if one.verdict == "unreachable":
            raise Unreachable(one.host.key, one.reason, hint=one.hint or "bring the host up, then approve it again")
        raise HostKeyRefused(one.host.key, one.reason, hint="ask the host's owner; nothing was approved")
    names = ", ".join(one.host.key for one in failed)
    down = sum(one.verdict == "unreachable" for one in failed)
    again = "bring up those that do not answer and approve them again" if down else ""
    ask = "ask the owners of the refused ones for their fingerprints again" if down < len(failed) else ""
    what = f"{len(failed)} of {some(len(judgements), 'host')} not approved: {names}"
    raise Incomplete(what, hint="; ".join(text for text in (again, ask) if text))


@command.command()
@selection_options
@output_option
@pass_app
def probe(app: App, /, output: str, **selection: tuple[str, ...]) -> int:
    """Look at hosts without changing them. What they said is remembered.

    Exit code 1: a host could not be reached or asked.
    """
    from opsctl.monitor.status import collect

    found = collect(select(app, selection), app.transport, app.store, app.now())
    failed = [one for one in found if one.error]
    if output == "json":
        as_json({"hosts": [_status(one) for one in found]}, outcome="unreachable" if failed else "ok")
    else:
        table(["host", "answer", "system", "kernel", "python", "up", "virtual", "address"], [_probed(o) for o in found])
        say_next((one.host.key, one.hint) for one in failed)
    return 1 if failed else 0


def _probed(one: HostStatus) -> tuple[object, ...]:
    if one.error or one.probe is None:
        return (one.host.key, f"{one.word}: {one.error}", "", "", "", "", "", one.host.address)
    p = one.probe
    up = "" if p.uptime is None else f"{p.uptime / 3600:.1f} h"
    return (one.host.key, "ok", p.os_name, p.kernel, p.python, up, p.virtualization or "none", one.host.address)


def _status(one: HostStatus) -> dict[str, object]:
    from opsctl.monitor.probe import document

    return {
        "host": one.host.key,
        "state": one.word,
        "error": one.error,
        "hint": one.hint,
        "at": one.at,
        "remarks": list(one.remarks),
        "probe": document(one.probe) if one.probe else None,
    }


@command.command()
@click.argument("name")
@click.option("--offline", is_flag=True, help="Do not contact the host; only what is remembered.")
@output_option
@pass_app
def show(app: App, name: str, output: str, *, offline: bool) -> int:
    """Everything that is known of one host, on one screen.

    The host is asked now; when it does not answer, what it said last is shown, with its age, and the exit code is 1.
    """
    from opsctl.overview import sheet
    from opsctl.overview.host import describe

    host, now = app.inventory.host(name), app.now()
    known = describe(
        host,
        inventory=app.inventory,
        settings=app.settings,
        store=app.store,
        ledger=app.ledger,
        now=now,
        transport=None if offline or not host.managed else app.transport,
    )
    failed = bool(known.status and known.status.error)
    if output == "json":
        as_json(known.document(), outcome="unreachable" if failed else "ok")
        return int(failed)
    for title, values in sheet.sections(known, now):
        pairs(values, title=title)
        line()
    if known.status:
        say_next([(host.key, known.status.hint)])
    return int(failed)
