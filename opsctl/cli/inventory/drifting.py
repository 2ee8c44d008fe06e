"""`inventory drift`: NetBox against the hosts themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from opsctl.cli import output as out
from opsctl.cli.app import App, output_option, pass_app, select, selection_options
from opsctl.cli.inventory import aside
from opsctl.errors import NothingMatches, SetupError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opsctl.model.host import Host, Quarantined
    from opsctl.overview.compared import Drift
    from opsctl.overview.drift import Uncompared


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
    """NetBox against the hosts themselves.

    Compared are name, os_release, CPUs, memory, disks, primary addresses and listening TCP services, as NetBox and the
    hosts are now. Exit code 1: a host could not be asked, or NetBox does not show its record.
    """
    from opsctl.overview import compared

    if suggest and suggest.exists():
        raise UsageError(f"{suggest} is there already", hint="somebody may be reviewing it: name another file")
    chosen = select(app, selection, managed_only=False)
    managed = tuple(host for host in chosen if host.managed)
    if not managed:
        raise NothingMatches(f"opsctl manages none of {out.some(len(chosen), 'selected host')}; nothing was compared")
    app.warn_old_inventory({host.tenant for host in managed})
    found = compared.look(app.settings, managed, app.transport, app.store, app.now())
    others = [host for host in chosen if not host.managed]
    put_aside = aside.among(app, selection)
    if output == "json":
        out.as_json(_document(found, others, put_aside), outcome=found.outcome)
    else:
        _print(found, others, put_aside)
    if suggest:
        _suggest(suggest, found)
    return 1 if not found.complete or (exit_code and found.differences) else 0


def _print(found: Drift, others: Sequence[Host], put_aside: Sequence[Quarantined]) -> None:
    source = "NetBox" if any(host.record for host in (*found.compared, *found.without_record)) else "inventory"
    if found.differences:
        rows = [(one.host, one.what, one.netbox, one.found) for one in found.differences]
        out.table(("host", "what", source, "host says"), rows)
    if found.silent:
        out.table(("not asked", "why"), [(one.host.key, f"{one.word}: {one.error}") for one in found.silent])
    if found.uncompared:
        out.table(("not compared", "why", "hosts"), _by_reason(found.uncompared))
    out.line(_verdict(found))
    out.line(_counts(found, others, put_aside))
    out.say_next((one.host.key, one.hint) for one in found.silent)


def _by_reason(uncompared: Sequence[Uncompared]) -> list[tuple[str, str, str]]:
    """The same reason once, with its parts and its hosts."""
    parts: dict[tuple[str, str], list[str]] = {}
    for one in uncompared:
        parts.setdefault((one.host, one.why), []).append(one.what)
    hosts: dict[tuple[str, str], list[str]] = {}
    for (host, why), whats in parts.items():
        hosts.setdefault((", ".join(whats), why), []).append(host)
    return [(what, why, out.grouped(keys, most=2)) for (what, why), keys in hosts.items()]


def _verdict(found: Drift) -> str:
    drifted = len({one.host for one in found.differences})
    if drifted:
        return f"{out.some(len(found.differences), 'difference')} on {out.some(drifted, 'host')}"
    return "no differences" if found.compared else "nothing was compared"


def _counts(found: Drift, others: Sequence[Host], put_aside: Sequence[Quarantined]) -> str:
    """How many there are of each, so that nobody takes silence for agreement."""
    chosen = len(found.compared) + len(found.silent) + len(found.without_record)
    said = [f"compared: {len(found.compared)} of {out.some(chosen, 'host')}"]
    said += [f"not asked: {len(found.silent)}"] if found.silent else []
    said += [f"not seen in NetBox: {len(found.without_record)}"] if found.without_record else []
    said += [f"not managed: {len(others)}"] if others else []
    said += [f"in quarantine: {out.some(len(put_aside), 'record')}"] if put_aside else []
    return "; ".join(said)


def _suggest(file: Path, found: Drift) -> None:
    from opsctl.inventory import corrections
    from opsctl.overview.drift import suggestions

    suggested = suggestions(found.differences)
    if not suggested:
        out.note("nothing that NetBox could be told: no file was written")
        return
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(corrections.text(suggested))
    except OSError as error:
        raise SetupError(f"{file} cannot be written: {error.strerror}") from error
    questions = sum(bool(one.doubt) for one in suggested)
    said = [out.some(len(suggested) - questions, "correction")]
    said += [f"{out.some(questions, 'question')} (as comments)"] if questions else []
    without = len(found.differences) - len(suggested)
    said += [f"{out.some(without, 'difference')} left to a person"] if without else []
    out.note(f"written: {file}: {', '.join(said)}")
    out.note(f"  what next: review it, then: opsctl inventory push --from {file}")


def _document(found: Drift, others: Sequence[Host], put_aside: Sequence[Quarantined]) -> dict[str, object]:
    from opsctl.inventory.document import encode_quarantined
    from opsctl.overview import compared

    return {
        "compared": [host.key for host in found.compared],
        **compared.document(found.differences, found.uncompared),
        "not_asked": [
            {"host": one.host.key, "state": one.word, "error": one.error, "hint": one.hint} for one in found.silent
        ],
        "not_managed": [{"host": host.key, "why": host.why_not_managed} for host in others],
        "quarantined": encode_quarantined(put_aside),
    }


VERBS = (drift,)
