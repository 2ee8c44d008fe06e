"""`opsctl doctor`: what this machine, workspace and the hosts still need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opsctl.cli import output as out
from opsctl.cli.app import App, output_option, pass_app, select, selection_options
from opsctl.errors import ConfigError, InventoryError

if TYPE_CHECKING:
    from opsctl.overview.examination import Look

_WORDS = {"ok": "ok", "warn": "warn", "bad": "BAD"}


@click.command("doctor")
@click.option("--hosts", "ask_hosts", is_flag=True, help="Also ask every (selected) host: reachable, sudo, Python.")
@click.option("--support", is_flag=True, help="Which verb is tested, written or refused on which platform.")
@selection_options
@output_option
@pass_app
def command(app: App, /, *, ask_hosts: bool, support: bool, output: str, **selection: tuple[str, ...]) -> int:
    """What this machine, workspace and the hosts still need, each with its mend.

    Exit code 1: something is bad. Nothing is changed.
    """
    if support:
        return _support(as_json=output == "json")
    from opsctl.overview import doctor

    looks = list(doctor.examine(lambda: app.settings, app.now()))
    if ask_hosts:
        looks += _ask(app, selection)
    _print(looks, as_json=output == "json")
    return 1 if any(look.verdict == "bad" for look in looks) else 0


def _ask(app: App, selection: dict[str, tuple[str, ...]]) -> list[Look]:
    from opsctl.overview.examination import Look
    from opsctl.overview.examine_hosts import hosts

    try:
        return list(hosts(select(app, selection), app.transport))
    except (ConfigError, InventoryError) as error:
        return [Look(area="hosts", name="hosts", verdict="bad", seen=f"not asked: {error.message}", mend=error.hint)]


def _print(looks: list[Look], *, as_json: bool) -> None:
    count = {verdict: sum(look.verdict == verdict for look in looks) for verdict in _WORDS}
    if as_json:
        found = [{"area": k.area, "name": k.name, "verdict": k.verdict, "seen": k.seen, "mend": k.mend} for k in looks]
        out.as_json({"looks": found, "count": count}, outcome="failed" if count["bad"] else "ok")
        return
    rows = [(look.area, look.name, _WORDS[look.verdict], look.seen) for look in looks]
    out.table(("area", "what", "verdict", "seen"), rows)
    for look in looks:
        if look.verdict != "ok":
            out.line(f"{_WORDS[look.verdict]}: {look.area} {look.name}: {look.seen}")
            if look.mend:
                out.line(f"  mend: {look.mend}")
    out.note(f"{count['ok']} ok, {count['warn']} to look at, {count['bad']} bad")


def _support(*, as_json: bool) -> int:
    from opsctl.overview.support import PLATFORMS, rows

    if as_json:
        out.as_json({"support": {verb: dict(zip(PLATFORMS, levels, strict=True)) for verb, *levels in rows()}})
    else:
        out.table(("verb", *PLATFORMS), rows())
    return 0
