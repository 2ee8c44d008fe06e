"""`opsctl comply`: check hosts against the catalogue of controls, and report what was found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opsctl.cli.app import App, output_option, pass_app, select, selection_options
from opsctl.cli.output import as_json, line, note, progress, table
from opsctl.cli.proof import VERBS, sending, waiving

if TYPE_CHECKING:
    from opsctl.compliance.record import Audit
    from opsctl.model.finding import Catalogue, Profile
    from opsctl.report.build import Report
    from opsctl.state.store import Run, Store

# What a table of runs shows of each; the JSON has the hash and the reason as well.
SHOWN = ("outcome", "profile", "scope", "hosts", "failed", "waived")
EXIT = {"ok": 0, "findings": 6, "incomplete": 1}


@click.group("comply")
def command() -> None:
    """Check hosts against the catalogue of controls, and report."""


@command.command()
@selection_options
@click.option("--profile", metavar="NAME", help="Which controls, with which values (default: setting comply.profile).")
@click.option("--control", "controls", multiple=True, metavar="ID", help="Only this control (repeatable).")
@click.option(
    "--severity", "severities", multiple=True, type=click.Choice(["high", "medium", "low"]), help="Only such controls."
)
@output_option
@pass_app
def run(
    app: App,
    /,
    profile: str | None,
    controls: tuple[str, ...],
    severities: tuple[str, ...],
    output: str,
    **selection: tuple[str, ...],
) -> int:
    """Check hosts now, and keep what was found. Nothing on any host is changed.

    A host that does not answer stays in the count: its controls are not checked, and the run is incomplete. A failure
    that a valid waiver covers is shown, and is no finding. Exit codes: 0 all is well, 6 findings, 1 incomplete (a host
    did not answer, or something could not be judged).
    """
    from opsctl.compliance import profiles, waiverfile
    from opsctl.compliance.assess import Order
    from opsctl.compliance.record import audit
    from opsctl.rollout.records import gather

    catalogue, found = _profile(app, profile)
    hosts = profiles.hosts_of(found, select(app, selection, managed_only=False))
    chosen, left = profiles.narrow(found, controls, severities)
    managed = [host for host in hosts if host.managed]
    order = Order(
        hosts=hosts,
        profile=chosen,
        catalogue=catalogue,
        operator=app.who,
        selection=selection,
        deselected=left,
        waivers=waiverfile.current(
            app.settings.inventories, {host.tenant for host in hosts}, catalogue.by_id, app.now()
        ),
        records=gather(managed, (c.id for c in chosen.controls), app.settings, app.store, app.now()),
        host_keys={h.key: tuple(pin.key.fingerprint for pin in app.transport.pins.of(h.key)) for h in hosts},
    )
    kept = audit(
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
        as_json(_document(kept), outcome=kept.outcome)
    else:
        _print(kept)
    sending.send_where_wanted(app, kept.id)
    return EXIT[kept.outcome]


def _profile(app: App, name: str | None) -> tuple[Catalogue, Profile]:
    from opsctl.compliance import catalogue as catalogues
    from opsctl.compliance import profiles

    own = app.settings.own_content
    catalogue = catalogues.load(own)
    profile = profiles.load(name or app.settings.text("comply.profile"), catalogue, own, app.settings.inventories)
    days = app.settings.number("comply.max_list_age_days")
    return catalogue, profiles.tailor(profile, catalogue, "PAT-04", "max_age_days", days)


def _print(found: Audit) -> None:
    from opsctl.cli import findings
    from opsctl.compliance import waivers

    findings.show(found)
    repeats = found.assessment.repeats
    if repeats:
        equal = sum(one.outcome == "same" for one in repeats)
        line(f"{len(repeats)} answers, chosen by chance, were asked for again: {equal} are the same")
    waiving.show_waived(found.findings)
    for one in waivers.standings(found.assessment, found.assessment.waivers, found.assessment.ended):
        for warning in waiving.warnings(one):
            note(f"warning: {warning}")
    line(f"run {found.id}: {found.outcome}; kept with SHA-256 {found.sha256}")
    line(f"ledger head after the run {found.ledger_head}")
    note(f"what next: opsctl comply report {found.id} --to DIR   (every host by name)")


def _document(found: Audit) -> Mapping[str, Any]:
    from opsctl.compliance import waivers
    from opsctl.model.finding import count

    assessment, coverage = found.assessment, found.assessment.coverage
    judged = {(finding.result.host, finding.result.control): finding for finding in found.findings}
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
        "repeats": [vars(one) for one in assessment.repeats],
        "counts": count(assessment.results),
        "waivers": [
            waiving.document(one) for one in waivers.standings(assessment, assessment.waivers, assessment.ended)
        ],
        "results": [
            {
                "host": result.host,
                "control": result.control,
                "result": result.result,
                "observed": result.observed,
                "expected": result.expected,
                "reason": result.reason,
                **waiving.disposition(judged.get((result.host, result.control))),
            }
            for result in assessment.results
        ],
    }


@command.command("list")
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="So many runs at most.")
@output_option
@pass_app
def list_runs(app: App, /, last: int, output: str) -> None:
    """The runs that are kept, newest first. "Whole" means every host, with every control of the profile.

    A run that cannot be read (damaged, or kept by a newer opsctl) is listed as unreadable, with the reason; the exit
    code is 0 all the same, because the list itself is whole.
    """
    from opsctl.compliance.record import KIND

    rows = [_row(app.store, run) for run in app.store.runs(KIND, limit=last)]
    if output == "json":
        as_json({"runs": rows})
        return
    cells = [[row["run"], f"{row['started']:%Y-%m-%d %H:%M}", *(row[name] for name in SHOWN)] for row in rows]
    table(["run", "started (UTC)", *SHOWN], cells, empty="no run is kept yet: opsctl comply run")
    for row in rows:
        if row["reason"]:
            note(row["reason"])


def _row(store: Store, run: Run) -> dict[str, Any]:
    """One run for the list; `reason` says why there is nothing to tell of it."""
    from opsctl.cli.findings import scope_words
    from opsctl.compliance.record import read, sha256
    from opsctl.compliance.waivers import judge
    from opsctl.errors import StoreError
    from opsctl.model.finding import count

    bare = {"run": run.id, "started": run.started, "outcome": run.outcome or "running or crashed"}
    bare |= dict.fromkeys(("profile", "scope", "hosts", "failed", "waived", "sha256", "reason"), "")
    if store.report(run.id) is None:
        return bare
    try:
        document, found = read(store, run.id)
    except StoreError as error:
        return {**bare, "outcome": "unreadable", "reason": error.message}
    return {
        **bare,
        "profile": found.scope.profile,
        "scope": scope_words(found.scope),
        "hosts": f"{len(found.coverage.assessed)} of {found.coverage.total}",
        "failed": count(found.results)["fail"],
        "waived": sum(one.disposition == "waived" for one in judge(found.results, found.waivers, found.ended)),
        "sha256": sha256(document),
    }


@command.command()
@click.option("--profile", metavar="NAME", help="Only the controls of this profile.")
@output_option
@pass_app
def controls(app: App, /, profile: str | None, output: str) -> None:
    """The controls of the catalogue. Which ones can be checked, and what each demands."""
    from opsctl.compliance import catalogue as catalogues
    from opsctl.compliance import profiles

    own = app.settings.own_content
    catalogue = catalogues.load(own)
    shown = profiles.load(profile, catalogue, own, app.settings.inventories).controls if profile else catalogue.controls
    if output == "json":
        as_json({"controls": [vars(control) for control in shown], "sha256": catalogue.digest})
        return
    table(
        ["control", "severity", "built", "title", "role"],
        [[c.id, c.severity, "yes" if c.built else "", c.title, c.remediation_role] for c in shown],
    )
    line(f"{len(shown)} controls, {sum(control.built for control in shown)} of them can be checked")


@command.command("profiles")
@output_option
@pass_app
def list_profiles(app: App, /, output: str) -> None:
    """The profiles that a run can be made with. Each one is a selection of controls with its values."""
    from opsctl.compliance import catalogue as catalogues
    from opsctl.compliance import profiles

    own, inventories = app.settings.own_content, app.settings.inventories
    catalogue = catalogues.load(own)
    found = [profiles.load(name, catalogue, own, inventories) for name in profiles.names(own, inventories)]
    if output == "json":
        as_json({"profiles": [{**vars(one), "controls": [c.id for c in one.controls]} for one in found]})
        return
    table(
        ["profile", "controls", "extends", "about", "title"],
        [
            [one.name, len(one.controls), one.extends, ", ".join([one.tenant, *one.roles]).strip(", "), one.title]
            for one in found
        ],
    )


def _formats(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    from opsctl.report.formats import FORMATS

    names = tuple(name.strip() for words in given for name in words.split(","))
    for name in names:
        if name not in FORMATS:
            raise click.BadParameter(f"{name!r} is none of: {', '.join(FORMATS)}")
    return names


@command.command()
@click.argument("run_id", required=False, metavar="[RUN]")
@click.option("--profile", metavar="NAME", help="Without RUN: of this profile (default: setting comply.profile).")
@click.option(
    "--format", "formats", multiple=True, metavar="FORMAT", callback=_formats,
    help="html, pdf, json, junit, csv, oscal: comma-separated or repeated.  [default: html,json]",
)  # fmt: skip
@click.option(
    "--tenant",
    "tenants",
    multiple=True,
    metavar="TENANT",
    help="Only this tenant's (default: each tenant's own).",
)
@click.option("--lang", type=click.Choice(["sv", "en", "both"]), help="Default: setting report.languages.")
@click.option(
    "--to", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="Where the files go."
)
@output_option
@pass_app
def report(
    app: App,
    /,
    run_id: str | None,
    profile: str | None,
    formats: tuple[str, ...],
    tenants: tuple[str, ...],
    lang: str | None,
    folder: Path,
    output: str,
) -> None:
    """Write the report of a run for auditors. One for each municipality, without a word of another's.

    html is one page in each language, or for a large fleet a folder of pages (begin with index.html); pdf holds the
    overview and the findings; csv opens in a spreadsheet; json, junit and oscal are for programs.

    Without RUN it is the latest whole run of the profile: one over every host, with every control, that was not
    interrupted. A smaller run has to be named.

    The report is a folder of its own, sealed: SHA256SUMS names the hash of every file and is signed with the key of
    opsctl ledger key; VERIFY.txt tells an auditor how to check that.
    """
    from opsctl.report import build, seal

    passed_over: tuple[str, ...] = ()
    if run_id is None:
        run_id, passed_over = build.latest(app.store, profile or app.settings.text("comply.profile"))
    run = build.kept(app.store, app.ledger, run_id)
    chosen = tenants or tuple(run.tenants)
    languages = app.settings.texts("report.languages") if lang is None else ("sv", "en") if lang == "both" else (lang,)
    reports = [build.report(run, tenant) for tenant in chosen]
    for place in (_place(built, folder) for built in reports):
        if not (place / seal.UNSEALED).exists():
            seal.refuse_other_files(place)
    written = [(_write(app, built, formats, languages, folder), built) for built in reports]
    if output == "json":
        as_json({"run": run_id, "reports": [one for one, _ in written], "passed_over": passed_over})
        return
    for told, built in written:
        for file in told["files"]:
            line(f"{file['sha256']}  {file['path']}")
        _tell_run(built)
        line(f"chain of runs {told['chain']}")
        line(f"signed with   {told['signer'] or 'nothing: opsctl ledger key makes a key'}")
    for reason in passed_over:
        note(f"newer, not taken: {reason}")


def _write(
    app: App, built: Report, formats: tuple[str, ...], languages: tuple[str, ...], folder: Path
) -> dict[str, Any]:
    """The files of one municipality's report, sealed; of its many pages only the first is told."""
    from opsctl.cli.findings import scope_words
    from opsctl.report import exports, seal, witness
    from opsctl.report.formats import USUAL
    from opsctl.state import reportkey

    place = _place(built, folder)
    seal.clear(place)
    written = exports.write(built, place, formats or USUAL, languages, app.settings.own_content)
    witness.put(place, app.store, built.run)
    key = reportkey.load(app.settings.state)
    links = seal.chain(app.ledger, built.run, built.sha256, built.tenant)
    sealed = seal.seal(place, run=built.run, links=links, key=key, own=app.settings.own_content)
    shown = [one for one in written if one[0].parent == place or one[0].name == "index.html"]
    return {
        "tenant": built.tenant,
        "scope": scope_words(built.assessment.scope),
        "outcome": built.outcome,
        "ledger_head": built.ledger_head,
        "ledger_entry": built.ledger_entry,
        "chain": sealed.chain,
        "signer": sealed.signer,
        "files": [{"path": str(file), "sha256": digest} for file, digest in (*shown, *sealed.files)],
        "pages": len(written) - len(shown),
    }


def _place(built: Report, folder: Path) -> Path:
    """Each report is a folder of its own, which can be handed over as it is."""
    return folder / f"compliance-{built.run}-{built.tenant}"


def _tell_run(built: Report) -> None:
    """Which run it was, and the two heads that hold it in the ledger."""
    from opsctl.cli.findings import scope_words

    run = built.assessment
    line(
        f"run {built.run}, {built.title}, {run.started:%Y-%m-%d %H:%M} UTC, {built.outcome}: "
        f"profile {run.scope.profile}, {scope_words(run.scope)}: {run.coverage.total} hosts in scope, "
        f"{len(run.coverage.assessed)} assessed"
    )
    line(f"ledger head before the run {built.ledger_head}")
    line(f"ledger head after the run  {built.ledger_entry or 'none: the run was cut short'}")


for verb in VERBS:
    command.add_command(verb)
