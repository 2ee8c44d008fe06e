"""`opsctl comply explain` and `export-schedule`: one control in plain words; a timer for regular runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from textwrap import fill, shorten
from typing import TYPE_CHECKING

import click

from opsctl.cli import units
from opsctl.cli.app import App, dry_run_option, output_option, pass_app, yes_option
from opsctl.cli.output import as_json, console, line

if TYPE_CHECKING:
    from opsctl.report.explain import Explanation, Seen

# So many hosts are named with what was seen on them; of more, the number is told.
NAMED = 20
WORDS = {
    "en": {
        "high": "high", "medium": "medium", "low": "low", "why": "What and why", "how": "How it is checked",
        "values": "Values", "mend": "How it is mended", "maps": "Supports", "now": "Now", "role": "role {role}",
        "variable": "variable {variable}", "verb": "opsctl provision plan shows what it would change",
        "judgement": "which control supports which section is opsctl's judgement", "source": "by {source}",
        "unbuilt": "there is no check for it yet: it is never claimed",
        "control": "asked of the control node's records",
        "fails": "fails on {count}", "waived": "waived on {count}", "undecided": "not known of {count}",
        "good": "passes on {count}, does not apply to {other}",
        "none": "no whole run asked for it yet: opsctl comply run",
        "judges": "{tenants}: judged by profile {profile}", "unasked": "which does not ask for it",
        "run": "run {run}", "more": "and {count} more", "host": "1 host", "hosts": "{count} hosts",
    },
    "sv": {
        "high": "hög", "medium": "medel", "low": "låg", "why": "Vad och varför", "how": "Hur det kontrolleras",
        "values": "Värden", "mend": "Hur det åtgärdas", "maps": "Stöder", "now": "Nu", "role": "roll {role}",
        "variable": "variabel {variable}", "verb": "opsctl provision plan visar vad den skulle ändra",
        "judgement": "vilken kontroll som stöder vilket avsnitt är opsctls bedömning", "source": "av {source}",
        "unbuilt": "det finns ingen kontroll för det än: det påstås aldrig",
        "control": "hämtas ur driftnodens uppgifter",
        "fails": "brister på {count}", "waived": "undantag på {count}", "undecided": "okänt för {count}",
        "good": "uppfylls på {count}, gäller inte {other}",
        "none": "ingen hel körning har frågat efter den än: opsctl comply run",
        "judges": "{tenants}: bedöms enligt profilen {profile}", "unasked": "som inte frågar efter den",
        "run": "körning {run}", "more": "och {count} till", "host": "1 server", "hosts": "{count} servrar",
    },
}  # fmt: skip


@click.command("explain")
@click.argument("control", metavar="CONTROL")
@click.option(
    "--lang", type=click.Choice(["en", "sv"]), default="en", show_default=True, help="The language of the text."
)
@output_option
@pass_app
def explain(app: App, *, control: str, lang: str, output: str) -> None:
    """One control in plain words. What it means, why it matters, how it is checked and mended, and who fails it now.

    Who fails it is told from the latest whole run of the profile that judges the tenant.
    """
    from opsctl.compliance import defaults
    from opsctl.report import explain as room

    own, profile = app.settings.own_content, app.settings.text(defaults.OPTION)
    # Looking must not make a store where there is none.
    store = app.store if app.settings.state.is_dir() else None
    found = room.explain(
        control, own=own, store=store, profile=profile, inventories=app.settings.inventories,
        judged_by=defaults.names(app.inventory, app.settings),
    )  # fmt: skip
    if output == "json":
        hosts = [vars(seen) for seen in found.hosts]
        as_json({**vars(found), "control": vars(found.control), "hosts": hosts})
        return
    for text in _lines(found, lang):
        line(fill(text, max(console().width, 40), subsequent_indent="    ", break_on_hyphens=False))


def _lines(found: Explanation, lang: str) -> Iterable[str]:
    word, control = WORDS[lang], found.control
    swedish = lang == "sv"
    yield f"{control.id}, {word[control.severity]}: {(swedish and control.title_sv) or control.title}"
    yield f"{word['why']}: {control.plain_sv if swedish else control.plain}"
    how = (swedish and control.check_sv) or control.check
    by = word["source"].format(source=found.source) if found.source else word["unbuilt"]
    where = f"; {word['control']}" if control.where == "control" else ""
    yield f"{word['how']}: {how} ({by}{where})"
    asking: dict[str, list[str]] = {}
    for profile, values in found.profiles.items():
        asking.setdefault(", ".join(f"{name} {_value(value)}" for name, value in values.items()), []).append(profile)
    for shown, names in asking.items():
        yield f"{word['values']} ({', '.join(names)}): {shown or '-'}"
    for profile in dict.fromkeys(found.judged_by.values()):
        tenants = ", ".join(tenant for tenant, name in found.judged_by.items() if name == profile)
        asks = "" if profile in found.profiles else f" ({word['unasked']})"
        yield word["judges"].format(tenants=tenants, profile=profile) + asks
    mend = [word["role"].format(role=control.remediation_role)]
    mend += [word["variable"].format(variable=control.remediation_variable)] if control.remediation_variable else []
    yield f"{word['mend']}: {', '.join(mend)}; {word['verb']}"
    maps = "; ".join(f"{found.benchmarks.get(name, name)}: {', '.join(v)}" for name, v in control.maps.items())
    yield f"{word['maps']}: {maps or '-'} ({word['judgement']})"
    yield from _now(found, word)


def _now(found: Explanation, word: dict[str, str]) -> Iterable[str]:
    if not found.run:
        yield f"{word['now']}: {word['none']}"
        return
    failed = found.with_result("fail")
    open_ones = tuple(seen for seen in failed if seen.disposition != "waived")
    waived = tuple(seen for seen in failed if seen.disposition == "waived")
    unknown = found.with_result("error", "notchecked")
    good = word["good"].format(
        count=_hosts(found.with_result("pass"), word), other=_hosts(found.with_result("notapplicable"), word)
    )
    yield f"{word['now']} ({word['run'].format(run=found.run)}): {good}"
    for kind, seen in (("fails", open_ones), ("waived", waived), ("undecided", unknown)):
        if not seen:
            continue
        yield f"  {word[kind].format(count=_hosts(seen, word))}:"
        yield from (f"  {one.host}: {shorten(one.said, 160, placeholder=' ...')}" for one in seen[:NAMED])
        if len(seen) > NAMED:
            yield f"  {word['more'].format(count=len(seen) - NAMED)}"


def _hosts(seen: tuple[Seen, ...], word: dict[str, str]) -> str:
    return word["host"] if len(seen) == 1 else word["hosts"].format(count=len(seen))


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


@click.command("export-schedule")
@click.option(
    "--every", type=click.Choice(["day", "week", "month"]), default="week", show_default=True, help="How often."
)
@click.option(
    "--at", default="05:30", show_default=True, metavar="HH:MM", help="When, in UTC; a week begins on Monday."
)
@click.option(
    "--profile", default="", metavar="NAME", help="Which controls.  [default: each tenant's own, else comply.profile]"
)
@click.option("--user", default="", metavar="ACCOUNT", help="Runs it.  [default: the workspace's owner]")
@click.option(
    "--into", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER",
    help="Write them there, as /etc/systemd/system.  [default: only show them]",
)  # fmt: skip
@dry_run_option
@yes_option
@pass_app
def export_schedule(
    app: App, *, every: str, at: str, profile: str, user: str, into: Path | None, dry_run: bool, yes: bool
) -> None:
    """Units for systemd that check the whole fleet regularly. A run that was missed is made up for.

    Findings do not make the unit fail; an incomplete run does. They hold no secret.
    """
    from opsctl.report import schedule
    from opsctl.rollout import detach

    texts = schedule.units(app.settings, detach.program(), every=every, at=at, profile=profile, user=user)
    units.offer(app, texts, into, dry_run=dry_run, yes=yes)


VERBS = (explain, export_schedule)
