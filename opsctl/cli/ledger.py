"""`opsctl ledger`: who changed what, when, on which hosts, and the proof that nobody touched the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opsctl.cli.app import App, dry_run_option, output_option, pass_app, yes_option
from opsctl.cli.output import as_json, line, note, table

if TYPE_CHECKING:
    from opsctl.state.ledger import Entry


@click.group("ledger")
def command() -> None:
    """The log of every changing act, and the proof that it is whole."""


@command.command()
@click.option("--last", type=click.IntRange(min=1), default=40, show_default=True, help="So many entries at most.")
@click.option("--verb", help="Only entries of this verb, e.g. provision.")
@click.option("--host", help="Only entries that name this host: NAME or TENANT.NAME.")
@output_option
@pass_app
def log(app: App, last: int, verb: str | None, host: str | None, output: str) -> None:
    """List the latest entries, the newest at the end.

    Every act has two entries: started before its first effect, finished after its last. An act without the second one
    is still running, or was killed.
    """
    entries = app.ledger.entries(verb=verb, host=host, limit=last)
    if output == "json":
        as_json({"entries": [_document(entry) for entry in entries], "head": str(app.ledger.head())})
        return
    table(
        ["entry", "time (UTC)", "who", "verb", "hosts", "what"],
        [(e.seq, f"{e.at:%Y-%m-%d %H:%M:%S}", e.who, e.verb, _hosts(e), _what(e)) for e in entries],
        empty="no entry yet" if not (verb or host) else "no entry like this",
    )


@command.command()
@click.option("--head", metavar="HEAD", help="A head that you kept earlier, as the end of a changing act printed it.")
@output_option
@pass_app
def verify(app: App, head: str | None, output: str) -> int:
    """Recompute the whole chain, and say what does not fit.

    Finds changed, inserted, removed and reordered entries. Only with --head, a value that you kept outside of this
    machine, it also finds entries cut off at the end and a chain that was rewritten as a whole. Exit code 1: broken.
    """
    verdict = app.ledger.verify(head)
    if output == "json":
        as_json(
            {
                "intact": verdict.intact,
                "entries": verdict.entries,
                "head": {"seq": verdict.head.seq, "hash": verdict.head.hash},
                "head_checked": verdict.with_head,
                "faults": verdict.faults,
                "unfinished": [_document(entry) for entry in verdict.unfinished],
                "message": verdict.message,
            },
            outcome="ok" if verdict.intact else "failed",
        )
    else:
        line(verdict.message)
        for fault in verdict.faults:
            line(f"  {fault}")
        for entry in verdict.unfinished:
            line(f"  entry {entry.seq}: {entry.verb} by {entry.who} started {entry.at:%Y-%m-%d %H:%M}, never finished")
        line(f"head: {verdict.head}")
    return 0 if verdict.intact else 1


@command.command()
@output_option
@pass_app
def head(app: App, output: str) -> None:
    """Print the ledger's head, to be kept elsewhere. With it `verify --head` finds what is cut or rewritten later."""
    found = app.ledger.head()
    if output == "json":
        as_json({"head": str(found), "seq": found.seq, "hash": found.hash})
        return
    line(found)
    if not found.seq:
        note("the ledger is empty")


@command.command()
@dry_run_option
@yes_option
@output_option
@pass_app
def key(app: App, /, *, dry_run: bool, yes: bool, output: str) -> None:
    """Print the public key with which reports are verified, on stdout. Where there is no key yet, one is made.

    Hand it to auditors and partners by another way than the reports, and tell them the fingerprint as well. The private
    half stays beside the store, readable by its group alone; no backup of the store holds it.
    """
    from opsctl.report import verify as room
    from opsctl.state import reportkey

    found = reportkey.load(app.settings.state)
    if found is None:
        path = app.settings.state / reportkey.FILE
        note(f"there is no key yet: an Ed25519 key will be made, {path}")
        if dry_run:
            note("nothing was done (--dry-run)")
            return
        app.confirm("Make it?", yes=yes)
        with app.ledger.act("ledger key", (), {}, app.who, app.now) as act:
            found = reportkey.make(app.settings.state)
            act.detail["fingerprint"] = room.fingerprint(room.public_key(found.public.encode()))
        note(f"made; keep a copy of {path} where you keep other secrets\nledger: {act.head}")
    fingerprint = room.fingerprint(room.public_key(found.public.encode()))
    if output == "json":
        as_json({"public": found.public, "fingerprint": fingerprint})
        return
    line(found.public.rstrip())
    note(f"fingerprint: {fingerprint}")


def _document(entry: Entry) -> dict[str, object]:
    return {
        "seq": entry.seq,
        "at": entry.at,
        "who": entry.who,
        "node": entry.node,
        "verb": entry.verb,
        "act": entry.act,
        "phase": entry.phase,
        "hosts": list(entry.hosts),
        "detail": dict(entry.detail),
        "outcome": entry.outcome,
        "hash": entry.hash,
    }


def _hosts(entry: Entry) -> str:
    names = [key.partition(".")[2] or key for key in entry.hosts]
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"


def _what(entry: Entry) -> str:
    told = f": {entry.detail['error']}" if "error" in entry.detail else ""
    return f"{entry.phase}, {entry.outcome}{told}" if entry.outcome else entry.phase
