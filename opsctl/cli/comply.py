"""`opsctl comply`: check hosts against the catalogue of controls, and report what was found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click

from opsctl.cli.app import App, output_option, pass_app, select, selection_options
from opsctl.cli.output import as_json, line, note, progress, table

if TYPE_CHECKING:
    from opsctl.compliance.record import Audit
    from opsctl.model.finding import Catalogue, Finding, Profile

EXIT = {"ok": 0, "findings": 6, "incomplete": 1}


@click.group("comply")
def command() -> None:
    """Check hosts against the catalogue of controls, and report."""


@command.command()
@selection_options
@click.option("--profile", metavar="NAME", help="Which controls, with which values (default: setting comply.profile).")
@click.option("--control", "controls", multiple=True, metavar="ID", help="Only this control (repeatable).")
@output_option
@pass_app
def run(app: App, /, profile: str | None, controls: tuple[str, ...], output: str, **selection: tuple[str, ...]) -> int:
    """Check hosts now, and keep what was found. Nothing on any host is changed.

    A host that does not answer stays in the count: its controls are not checked, and the run is incomplete. Exit codes:
    0 all is well, 6 findings, 1 incomplete (a host did not answer, or something could not be judged).
    """
    from opsctl.compliance.assess import Order
    from opsctl.compliance.record import audit

    hosts = select(app, selection, managed_only=False)
    catalogue, chosen, left = _chosen(app, profile, controls)
    order = Order(
        hosts=hosts, profile=chosen, catalogue=catalogue, operator=app.who, selection=selection, deselected=left
    )
    found = audit(
        order,
        transport=app.transport,
        inventory=app.inventory,
        settings=app.settings,
        store=app.store,
        ledger=app.ledger,
        now=app.now,
        say=progress,
    )
    if output == "json":
        as_json(_document(found), outcome=found.outcome)
    else:
        _print(found)
    return EXIT[found.outcome]


def _chosen(
    app: App, name: str | None, controls: tuple[str, ...]
) -> tuple[Catalogue, Profile, tuple[tuple[str, str], ...]]:
    from opsctl.compliance import catalogue as catalogues
    from opsctl.compliance import profiles

    own = app.settings.own_content
    catalogue = catalogues.load(own)
    profile = profiles.load(name or app.settings.text("comply.profile"), catalogue, own)
    days = app.settings.number("comply.max_list_age_days")
    profile = profiles.tailor(profile, catalogue, "PAT-04", "max_age_days", days)
    return catalogue, *profiles.narrow(profile, controls)


def _print(found: Audit) -> None:
    from opsctl.model.finding import RESULTS, count

    assessment, coverage = found.assessment, found.assessment.coverage
    columns = ["host", *RESULTS, "open findings"]
    rows = []
    for host in (*coverage.assessed, *(absent.host for absent in coverage.unreachable)):
        mine = [f for f in found.findings if f.result.host == host and f.disposition != "waived"]
        counts = count(assessment.of(host))
        rows.append([host, *(counts[kind] or "" for kind in RESULTS), " ".join(f.result.control for f in mine)])
    table(columns, rows)
    _print_findings(found)
    line(
        f"{coverage.total} in scope: {len(coverage.assessed)} assessed, {len(coverage.unreachable)} unreachable, "
        f"{len(coverage.excluded)} excluded, {len(coverage.quarantined)} quarantined"
    )
    for absent in (*coverage.unreachable, *coverage.excluded, *coverage.quarantined):
        line(f"  not assessed: {absent.host}: {absent.reason}")
    for fault in assessment.faults:
        line(f"  incomplete: {fault}")
    line(f"run {found.id}: {found.outcome}; kept with SHA-256 {found.sha256}")
    line(f"ledger head {found.ledger_head}")
    note(f"what next: opsctl comply report {found.id} --to DIR")


def _print_findings(found: Audit) -> None:
    """Open findings by control, the worst first, then what could not be judged."""
    by_control: dict[str, list[Finding]] = {}
    for finding in found.findings:
        if finding.disposition != "waived":
            by_control.setdefault(finding.result.control, []).append(finding)
    for control in sorted(found.assessment.scope.controls, key=lambda control: control.order):
        if mine := by_control.get(control.id):
            variable = f", variable {control.remediation_variable}" if control.remediation_variable else ""
            line(f"{control.id} {control.severity}: {control.title} (role {control.remediation_role}{variable})")
            for finding in mine:
                line(f"    {finding.result.host}: {shorten(finding.result.observed, 160, placeholder=' ...')}")
    for result in found.assessment.results:
        if result.result == "error":
            line(f"{result.control} error on {result.host}: {result.reason.splitlines()[0]}")


def _document(found: Audit) -> Mapping[str, Any]:
    from opsctl.model.finding import count

    assessment, coverage = found.assessment, found.assessment.coverage
    return {
        "run": found.id,
        "sha256": found.sha256,
        "ledger_head": found.ledger_head,
        "coverage": {
            "total": coverage.total,
            "assessed": coverage.assessed,
            "unreachable": [{"host": a.host, "reason": a.reason} for a in coverage.unreachable],
            "excluded": [{"host": a.host, "reason": a.reason} for a in coverage.excluded],
            "quarantined": [{"host": a.host, "reason": a.reason} for a in coverage.quarantined],
        },
        "faults": assessment.faults,
        "counts": count(assessment.results),
        "results": [
            {
                "host": result.host,
                "control": result.control,
                "result": result.result,
                "observed": result.observed,
                "expected": result.expected,
                "reason": result.reason,
            }
            for result in assessment.results
        ],
    }


@command.command("list")
@output_option
@pass_app
def list_runs(app: App, /, output: str) -> None:
    """The runs that are kept, newest first."""
    from opsctl.compliance.record import KIND, from_document, sha256, stored
    from opsctl.model.finding import count

    rows = []
    for run in app.store.runs(KIND):
        report = app.store.report(run.id)
        if report is None:
            rows.append([run.id, run.started, run.outcome or "running or crashed", "", "", "", ""])
            continue
        document = stored(app.store, run.id)
        found = from_document(document)
        counts = count(found.results)
        hosts = f"{len(found.coverage.assessed)} of {found.coverage.total}"
        rows.append([run.id, found.started, run.outcome, found.scope.profile, hosts, counts["fail"], sha256(document)])
    columns = ["run", "started", "outcome", "profile", "hosts", "failed", "sha256"]
    if output == "json":
        as_json({"runs": [dict(zip(columns, row, strict=True)) for row in rows]})
    else:
        table(columns, [[*row[:-1], str(row[-1])[:16]] for row in rows], empty="no run is kept yet: opsctl comply run")


@command.command()
@click.option("--profile", metavar="NAME", help="Only the controls of this profile.")
@output_option
@pass_app
def controls(app: App, /, profile: str | None, output: str) -> None:
    """The controls of the catalogue: which ones can be checked, and what each demands."""
    from opsctl.compliance import catalogue as catalogues
    from opsctl.compliance import profiles

    own = app.settings.own_content
    catalogue = catalogues.load(own)
    shown = profiles.load(profile, catalogue, own).controls if profile else catalogue.controls
    if output == "json":
        as_json({"controls": [vars(control) for control in shown], "sha256": catalogue.digest})
        return
    table(
        ["control", "severity", "built", "title", "role"],
        [[c.id, c.severity, "yes" if c.built else "", c.title, c.remediation_role] for c in shown],
    )
    line(f"{len(shown)} controls, {sum(control.built for control in shown)} of them can be checked")


@command.command()
@click.argument("run_id", required=False, metavar="[RUN]")
@click.option("--format", "formats", type=click.Choice(["html", "json"]), multiple=True, help="Default: both.")
@click.option("--lang", type=click.Choice(["sv", "en", "both"]), help="Default: setting report.languages.")
@click.option(
    "--to", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="Where the files go."
)
@output_option
@pass_app
def report(
    app: App, /, run_id: str | None, formats: tuple[str, ...], lang: str | None, folder: Path, output: str
) -> None:
    """Write the report of a run (the latest, when none is named) for auditors: HTML page by language, and JSON."""
    from opsctl.report import build, exports

    languages = app.settings.texts("report.languages") if lang is None else ("sv", "en") if lang == "both" else (lang,)
    built = build.report(app.store, run_id or build.latest(app.store))
    written = exports.write(built, folder, formats or ("html", "json"), languages, app.settings.own_content)
    if output == "json":
        as_json({"run": built.run, "files": [{"path": str(file), "sha256": digest} for file, digest in written]})
        return
    for file, digest in written:
        line(f"{digest}  {file}")
    line(f"run {built.run}: ledger head {built.ledger_head}")
