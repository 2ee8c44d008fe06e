"""`opsctl comply diff`: what changed between two runs, and which acts of opsctl may be behind it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from opsctl.cli.app import App, output_option, pass_app
from opsctl.cli.output import as_json, line, table

if TYPE_CHECKING:
    from opsctl.compliance.compare import Change, Comparison, Judged

TITLES = {
    "new": "new: it did not fail before",
    "lapsed": "no longer waived",
    "open": "still open",
    "unseen": "no longer seen: it failed, and nothing says that it is mended",
    "waived": "newly waived",
    "fixed": "fixed",
}


@click.command("diff")
@click.argument("old", metavar="RUN")
@click.argument("new", metavar="RUN")
@click.option("--exit-code", is_flag=True, help="End with 1 when there is a difference.")
@output_option
@pass_app
def diff(app: App, *, old: str, new: str, exit_code: bool, output: str) -> int:
    """What changed from the first run to the second. New, fixed, still open, newly waived; hosts in and out; controls.

    Fixed is only what was seen to pass. A newly failed control names the runs of opsctl that touched its host between
    the two looks at it.
    """
    from opsctl.compliance import compare
    from opsctl.report import causes

    before, after = _judged(app, old), _judged(app, new)
    hosts = [host.key for host in after.assessment.scope.hosts]
    found = compare.compare(before, after, causes.touches(app.ledger, hosts))
    different = "changes" if found.different else "ok"
    if output == "json":
        as_json(asdict(found), outcome=different)
    else:
        _show(found)
    return 1 if exit_code and found.different else 0


def _judged(app: App, run_id: str) -> Judged:
    from opsctl.compliance import record, waivers
    from opsctl.compliance.compare import Judged

    assessment = record.read(app.store, run_id)[1]
    findings = waivers.judge(assessment.results, assessment.waivers, assessment.ended)
    return Judged(run=run_id, assessment=assessment, findings=findings)


def _show(found: Comparison) -> None:
    for kind, title in TITLES.items():
        if changes := found.of(kind):
            table(
                ["host", "control", "before", "after", "observed"],
                map(_row, changes),
                title=f"{title} ({len(changes)})",
            )
        for change in changes if kind == "new" else ():
            _show_causes(change)
    for word, hosts in (("in", found.hosts_in), ("out", found.hosts_out)):
        for host in hosts:
            line(f"host {word}: {host}")
    for what in found.catalogue:
        line(f"catalogue: {what}")
    told = ", ".join(f"{len(found.of(kind))} {kind}" for kind in TITLES)
    line(f"{found.old} -> {found.new}: {told}; {len(found.hosts_in)} hosts in, {len(found.hosts_out)} out")


def _row(change: Change) -> tuple[str, ...]:
    from textwrap import shorten

    said = shorten(change.observed, 100, placeholder=" ...")
    return change.host, change.control, change.before, change.after, said


def _show_causes(change: Change) -> None:
    if not change.causes:
        line(f"  {change.control} on {change.host}: no run of opsctl touched this host in between")
    for one in change.causes:
        line(
            f"  {change.control} on {change.host}: in between {one.verb} {one.what}, {one.began:%Y-%m-%d %H:%M} UTC by "
            f"{one.who}: {one.outcome} (ledger entry {one.entry})"
        )


VERBS = (diff,)
