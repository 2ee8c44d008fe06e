"""`opsctl comply recheck` and `sample`: does a host still say what a kept run says of it?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from opsctl.cli.app import App, output_option, pass_app
from opsctl.cli.output import as_json, line, note, progress, table

if TYPE_CHECKING:
    from opsctl.compliance.sample import Again
    from opsctl.model.finding import Assessment, CheckResult, Evidence

WIDEST = 60
EXIT = {"ok": 0, "findings": 6, "incomplete": 1}
run_option = click.option(
    "--run", "run_id", metavar="RUN", help="Against this run.  [default: the latest whole one by a profile that judges]"
)


@click.command("recheck")
@click.argument("host", metavar="HOST")
@click.argument("control", metavar="CONTROL")
@run_option
@output_option
@pass_app
def recheck(app: App, *, host: str, control: str, run_id: str | None, output: str) -> int:
    """Check one control on one host again, live. Shown beside what a kept run says; changes nothing.

    Exit codes: 0 the same result, 6 another one, 1 the host could not be asked, or one of the two could not be judged.
    """
    from opsctl.compliance import again, defaults

    run_id, kept = _kept(app, run_id, [defaults.of_host(host, app.inventory, app.settings)])
    looks = _looked(app, "comply recheck", {}, [again.one(kept, run_id, host, control)], run_id, kept)
    code = _finish(looks, run_id, output, {})
    if output == "table":
        (look,) = looks
        rows = [("result", look.old.result, look.new.result)]
        rows += [
            (name, getattr(look.old, name), getattr(look.new, name)) for name in ("observed", "expected", "reason")
        ]
        rows.append(("time (UTC)", f"{look.old.at:%Y-%m-%d %H:%M:%S}", f"{look.new.at:%Y-%m-%d %H:%M:%S}"))
        table([f"{look.old.control} on {look.old.host}", f"run {run_id}", "now"], [row for row in rows if any(row[1:])])
        for number, (old, new) in enumerate(_pairs(look), 1):
            _show_evidence(number, old, new, run_id)
        line(_word(look))
    return code


@click.command("sample")
@click.option("--n", "count", type=click.IntRange(1, 10_000), default=25, show_default=True, help="So many results.")
@click.option("--seed", required=True, metavar="TEXT", help="The same one draws the same results again.")
@click.option("--tenant", metavar="TENANT", help="Only this tenant's results, of the profile that judges it.")
@run_option
@click.option("--draw-only", is_flag=True, help="Only show what is drawn; ask no host.")
@output_option
@pass_app
def sample(
    app: App, *, count: int, seed: str, tenant: str | None, run_id: str | None, draw_only: bool, output: str
) -> int:
    """Draw results of a kept run, and check each again. Live; changes nothing.

    An auditor names the seed: SHA-256 over "SEED RUN HOST CONTROL" is taken of every result, the smallest are drawn, so
    that anybody can draw the same ones. Without --run they are those of the latest whole run by any profile that judges
    a tenant; which run it was, and by which profile, is said.

    Exit codes: 0 all the same, 6 something differs, 1 not all could be asked.
    """
    from opsctl.compliance import sample as room

    run_id, kept = _kept(app, run_id, _profiles(app, tenant))
    drawn = room.draw(kept, run_id, count=count, seed=seed, tenant=tenant)
    head = {"profile": kept.scope.profile, "tenant": tenant or "", "seed": seed, "n": count, "drawn": len(drawn)}
    if draw_only:
        if output == "json":
            as_json({"run": run_id, **head, "results": [_plain(result) for result in drawn]})
        else:
            table(["host", "control", "result"], [(one.host, one.control, one.result) for one in drawn])
        return 0
    looks = _looked(app, "comply sample", head, drawn, run_id, kept)
    code = _finish(looks, run_id, output, head)
    if output == "table":
        columns = ["host", "control", f"run {run_id}", "now", "", "observed now"]
        rows = [[x.old.host, x.old.control, x.old.result, x.new.result, x.word, _said(x.new)] for x in looks]
        table(columns, rows, empty="the run has no result that could be drawn")
        words = [look.word for look in looks]
        told = ", ".join(f"{words.count(word)} {word}" for word in ("same", "differs", "unknown"))
        line(f"{len(looks)} drawn with seed {seed}: {told}")
    return code


def _profiles(app: App, tenant: str | None) -> Sequence[str]:
    """The profile that judges the tenant, or every one that judges somebody."""
    from opsctl.compliance import defaults

    if tenant is None:
        return defaults.in_use(app.inventory, app.settings)
    return [defaults.names(app.inventory, app.settings)[app.inventory.tenant(tenant).name]]


def _kept(app: App, run_id: str | None, profiles: Sequence[str]) -> tuple[str, Assessment]:
    """The run that is named, or the latest whole one of these profiles; which one it is, is said."""
    from opsctl.compliance import record
    from opsctl.report import build

    name = run_id or build.latest(app.store, *profiles)[0]
    kept = record.read(app.store, name)[1]
    looked_at = "every host" if kept.scope.whole else "a selection"
    progress(f"run {name} of {kept.started:%Y-%m-%d %H:%M} UTC: {looked_at}, by profile {kept.scope.profile}")
    return name, kept


def _looked(
    app: App, verb: str, detail: dict[str, Any], asked: Sequence[CheckResult], run_id: str, kept: Assessment
) -> tuple[Again, ...]:
    """Each result again, entered in the ledger: who asked which host for what, and what came of it."""
    from opsctl.compliance import again, catalogue
    from opsctl.compliance import sample as room
    from opsctl.rollout.records import gather

    known = catalogue.load(app.settings.own_content)
    told = {**detail, "run": run_id, "results": [f"{result.host} {result.control}" for result in asked]}
    with app.ledger.act(verb, [result.host for result in asked], told, app.who, app.now) as act:
        hosts = [host for host in app.inventory if host.managed and host.key in {result.host for result in asked}]
        records = gather(hosts, {result.control for result in asked}, app.settings, app.store, app.now())
        looks = again.look(
            asked, kept, catalogue=known, operator=app.who, transport=app.transport, inventory=app.inventory,
            settings=app.settings, now=app.now, records=records, say=progress,
        )  # fmt: skip
        act.outcome = room.outcome(looks)
        act.detail["words"] = [look.word for look in looks]
    note(f"ledger: {act.head}")
    return looks


def _finish(looks: Sequence[Again], run_id: str, output: str, head: dict[str, Any]) -> int:
    from opsctl.compliance import sample as room

    outcome = room.outcome(looks)
    if output == "json":
        pairs = [{"word": look.word, "old": _plain(look.old), "new": _plain(look.new)} for look in looks]
        as_json({"run": run_id, **head, "looks": pairs}, outcome=outcome)
    return EXIT[outcome]


def _plain(result: CheckResult) -> dict[str, Any]:
    return {**vars(result), "evidence": [vars(piece) for piece in result.evidence]}


def _said(result: CheckResult) -> str:
    from textwrap import shorten

    return shorten(result.observed or result.reason, 100, placeholder=" ...")


def _pairs(look: Again) -> list[tuple[Evidence | None, Evidence | None]]:
    """The evidence of both looks, what came of the same command beside each other."""
    old = {piece.command: piece for piece in look.old.evidence}
    new = {piece.command: piece for piece in look.new.evidence}
    return [(old.get(command), new.get(command)) for command in dict.fromkeys((*old, *new))]


def _show_evidence(number: int, old: Evidence | None, new: Evidence | None, run_id: str) -> None:
    """One command, then and now; of a long output only its ends and what is different. The JSON has all of it."""
    from opsctl.compliance import beside

    command = next(piece.command for piece in (old, new) if piece)
    line(f"evidence {number}: {command}")
    told = [
        (name, *("not asked" if one is None else str(getattr(one, field)) for one in (old, new)))
        for name, field in (("exit code", "exit_code"), ("asked", "how"), ("SHA-256", "sha256"))
    ]
    table(["", f"run {run_id}", "now"], told)
    printed = beside.rows(*("" if one is None else one.output for one in (old, new)))
    table(["", f"printed in {run_id}", "printed now"], [(mark, _short(a), _short(b)) for mark, a, b in printed])


def _short(text: str) -> str:
    """A line beside another one on the same screen."""
    return text if len(text) <= WIDEST else f"{text[:WIDEST]} ..."


def _word(look: Again) -> str:
    return {
        "same": "the same result as in the run",
        "differs": f"not as in the run: {look.old.result} then, {look.new.result} now",
        "unknown": f"nothing can be said: {look.new.reason or look.old.reason}",
    }[look.word]


VERBS = (recheck, sample)
