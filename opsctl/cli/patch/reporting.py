"""`opsctl patch report|notify`: what auditors and service owners get."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from opsctl.cli.app import App, dry_run_option, moment_of, moment_option, output_option, pass_app, yes_option
from opsctl.cli.output import as_json, line, note, some, table
from opsctl.cli.rollout import means_of
from opsctl.errors import Incomplete, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from opsctl.rollout.notify import Delivery


@click.command()
@click.argument("rollout_id", metavar="[ROLLOUT|latest]", required=False)
@click.option("--tenant", metavar="TENANT", help="Instead of one rollout: everything of this tenant in a period.")
@moment_option("--from", "start", help="With --tenant: the period's first moment, YYYY-MM-DD.")
@click.option("--to", "to", metavar="MOMENT|DIR", help="With --tenant its end, not in it; of a rollout as --folder.")
@click.option("--lang", type=click.Choice(["sv", "en", "both"]), help="Default: setting report.languages.")
@click.option("--format", "formats", type=click.Choice(["html", "json"]), multiple=True, help="Default: both.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where the files go.  [default: here]")
@output_option
@pass_app
def report(
    app: App,
    /,
    rollout_id: str | None,
    tenant: str | None,
    start: datetime | None,
    to: str | None,
    lang: str | None,
    formats: tuple[str, ...],
    folder: Path | None,
    output: str,
) -> int:
    """Write a report for auditors. Of one rollout, or with --tenant of a period: an HTML page by language, and JSON.

    Of a period it tells for each host and security update the time from availability to installation, against
    `patch_policy` of tenant.yml. Exit code 1: it cannot tell the whole, and says why first.
    """
    from opsctl.patch import account, sheets, story

    if (rollout_id is None) == (tenant is None):
        raise UsageError("name a rollout, or --tenant with --from and --to", hint="opsctl patch history lists rollouts")
    if tenant is None and start:
        raise UsageError("--from goes with --tenant")
    languages = app.settings.texts("report.languages") if lang is None else ("sv", "en") if lang == "both" else (lang,)
    asked = sheets.Asked(languages=languages, formats=formats or ("html", "json"), own=app.settings.own_content)
    if tenant is None:
        told = story.story(app.store, app.ledger, app.inventory, rollout_id or "", app.now())
        written = sheets.write_story(told, asked, folder or Path(to or "."))
        _show(written, sheets.story_lines(told), told.ledger_head, "ok", output)
        return 0
    end = moment_of(to)
    if start is None or end is None or not start < end:
        raise UsageError("--tenant takes a period: --from DAY --to LATER-DAY")
    found = account.account(means_of(app), tenant, start, end)
    written = sheets.write_account(found, asked, folder or Path())
    _show(written, sheets.account_lines(found), found.ledger_head, found.outcome, output)
    return 1 if found.incomplete else 0


def _show(written: list[tuple[Path, str]], summary: list[str], head: str, outcome: str, output: str) -> None:
    if output == "json":
        files = [{"path": str(file), "sha256": digest} for file, digest in written]
        as_json({"files": files, "summary": summary, "ledger_head": head}, outcome=outcome)
        return
    for file, digest in written:
        line(f"{digest}  {file}")
    for text in summary:
        line(text)
    line(f"ledger head {head}")


@click.command()
@click.argument("plan_id", metavar="PLAN|latest")
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write mails and calendar files there instead.",
)
@dry_run_option
@yes_option
@output_option
@pass_app
def notify(app: App, /, plan_id: str, *, folder: Path | None, dry_run: bool, yes: bool, output: str) -> int:
    """Tell the owners of services ahead of a rollout. Which hosts, when, for how long, with a calendar entry (ICS).

    It goes to the targets of `notify.routes` that name `event:ahead`. Exit code 1: somebody could not be told.
    """
    from opsctl.patch import ahead, telling

    means = means_of(app)
    state = means.journal.load(plan_id, kind="patch")
    told = telling.words(means, state.plan)
    if output == "table":
        table(
            ("owner", "hosts", "first begins", "downtime"),
            [telling.row(word) for word in told],
            empty=f"plan {state.plan.id} is empty: nobody is to be told",
        )
    nobody = [turn.host.key for word in told if word.owner == ahead.NO_OWNER for turn in word.turns]
    if nobody:
        note(f"nobody owns {', '.join(nobody)}: an owner stands in the inventory")
    named = [word for word in told if word.owner != ahead.NO_OWNER]
    if folder is None and named:
        telling.refuse_nobody(app.settings)
    if dry_run or not named:
        if output == "json":
            as_json({"plan": state.plan.id, "told": [telling.document(word) for word in told]})
        note(f"nobody was told ({'--dry-run' if dry_run else 'there is no owner'})")
        return 0
    app.confirm(f"{'Write the mails to' if folder else 'Tell'} {some(len(named), 'owner')}?", yes=yes)
    if folder is not None:
        files, head = telling.write(means, state.plan, named, folder)
        return _wrote(state.plan.id, files, head, output)
    return _sent(*telling.send(means, state.plan, named), plan=state.plan.id, output=output)


def _wrote(plan: str, files: list[tuple[Path, str]], head: str, output: str) -> int:
    if output == "json":
        as_json({"plan": plan, "files": [{"path": str(file), "sha256": digest} for file, digest in files]})
    else:
        for file, digest in files:
            line(f"{digest}  {file}")
    note(f"ledger: {head}")
    return 0


def _sent(made: list[Delivery], head: str, *, plan: str, output: str) -> int:
    failed = [one for one in made if one.why]
    if output == "json":
        rows = [{"target": one.target, "why": one.why} for one in made]
        as_json({"plan": plan, "deliveries": rows}, outcome="incomplete" if failed else "ok")
    else:
        line(f"{len(made) - len(failed)} of {some(len(made), 'message')} delivered")
    note(f"ledger: {head}")
    if failed:
        told = "; ".join(f"{one.target}: {one.why}" for one in failed)
        raise Incomplete(
            f"not told: {told}", hint="mend it and send again, or write them: opsctl patch notify PLAN --to DIR"
        )
    return 0


VERBS = (report, notify)
