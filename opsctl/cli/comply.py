"""`opsctl comply`: check hosts against the catalogue of controls, and report what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opsctl.cli.app import App, output_option, pass_app, select, selection_options
from opsctl.cli.output import as_json, line, note, progress, table
from opsctl.cli.proof import VERBS, sending, waiving

if TYPE_CHECKING:
    from opsctl.compliance.assess import Order
    from opsctl.compliance.record import Audit
    from opsctl.model.finding import Catalogue, Profile
    from opsctl.model.host import Host
    from opsctl.report.build import Kept, Report
    from opsctl.state.store import Run, Store

# What a table of runs shows of each; the JSON has the hash and the reason as well.
SHOWN = ("outcome", "profile", "scope", "hosts", "failed", "waived")
EXIT = {"ok": 0, "findings": 6, "incomplete": 1}


@click.group("comply")
def command() -> None:
    """Check hosts against the catalogue of controls, and report."""


@command.command()
@selection_options
@click.option(
    "--profile",
    metavar="NAME",
    help="Which controls, with which values (default: each tenant's own, else setting comply.profile).",
)
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

    Where the chosen hosts' tenants have different profiles, each profile gets a run of its own, one after another; the
    exit code is that of the worst, and the JSON holds them as `runs`.
    """
    from opsctl.compliance import catalogue as catalogues
    from opsctl.compliance import defaults, profiles, waiverfile

    catalogue = catalogues.load(app.settings.own_content)
    hosts = select(app, selection, managed_only=False)
    parts = defaults.judged(hosts, profile, inventory=app.inventory, settings=app.settings, catalogue=catalogue)
    chosen = [profiles.narrow(part.profile, controls, severities) for part in parts]
    waivers = waiverfile.current(app.settings.inventories, {host.tenant for host in hosts}, catalogue.by_id, app.now())
    _settle(app)
    done = []
    for part, (narrowed, left) in zip(parts, chosen, strict=True):
        tenants = dict.fromkeys(host.tenant for host in part.hosts)
        progress(f"{', '.join(tenants)}: judged by profile {narrowed.name} ({part.why})")
        mine = tuple(waiver for waiver in waivers if waiver.tenant in tenants)
        order = _order(app, part.hosts, narrowed, catalogue, selection=selection, deselected=left, waivers=mine)
        done.append(_audited(app, order))
        if output != "json":
            _print(done[-1])
        sending.send_where_wanted(app, done[-1].id)
    worst = next(word for word in ("incomplete", "findings", "ok") if word in {kept.outcome for kept in done})
    if output == "json":
        documents = [_document(kept) for kept in done]
        runs = {"runs": [{**one, "outcome": kept.outcome} for one, kept in zip(documents, done, strict=True)]}
        as_json(documents[0] if len(documents) == 1 else runs, outcome=worst)
    return EXIT[worst]


def _order(app: App, hosts: tuple[Host, ...], profile: Profile, catalogue: Catalogue, **what: Any) -> Order:
    """`what`: the selection, what it left out, and the waivers."""
    from opsctl.compliance.assess import Order
    from opsctl.rollout.records import gather

    managed = [host for host in hosts if host.managed]
    return Order(
        hosts=hosts,
        profile=profile,
        catalogue=catalogue,
        operator=app.who,
        records=gather(managed, (control.id for control in profile.controls), app.settings, app.store, app.now()),
        host_keys={h.key: tuple(pin.key.fingerprint for pin in app.transport.pins.of(h.key)) for h in hosts},
        **what,
    )


def _audited(app: App, order: Order) -> Audit:
    from opsctl.compliance.record import audit

    return audit(
        order,
        transport=app.transport,
        inventory=app.inventory,
        settings=app.settings,
        store=app.store,
        ledger=app.ledger,
        now=app.now,
        say=progress,
    )


def _settle(app: App) -> None:
    """Before anything is said of runs: those whose process was killed get their incomplete report."""
    from opsctl.compliance.settle import settle

    for run_id in settle(app.store, app.ledger, app.settings.state, app.who, app.now):
        note(f"run {run_id} was cut off: its report is kept, incomplete")


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

    _settle(app)
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
    """The profiles that a run can be made with. Each one is a selection of controls with its values.

    `judges`: the tenants whose hosts it judges where `comply run` is given no --profile.
    """
    from opsctl.compliance import catalogue as catalogues
    from opsctl.compliance import defaults, profiles

    own, inventories = app.settings.own_content, app.settings.inventories
    catalogue = catalogues.load(own)
    found = [profiles.load(name, catalogue, own, inventories) for name in profiles.names(own, inventories)]
    chosen = defaults.names(app.inventory, app.settings)
    judges = {one.name: tuple(tenant for tenant, name in chosen.items() if name == one.name) for one in found}
    if output == "json":
        plain = [{**vars(one), "controls": [c.id for c in one.controls], "judges": judges[one.name]} for one in found]
        as_json({"profiles": plain})
        return
    rows = []
    for one in found:
        about = ", ".join(filter(None, [one.tenant, *one.roles, "jump hosts" if one.jump_hosts else ""]))
        rows.append([one.name, len(one.controls), one.extends, about, ", ".join(judges[one.name]), one.title])
    table(["profile", "controls", "extends", "about", "judges", "title"], rows)
    for tenant, name in chosen.items():
        if name not in judges:
            note(f"warning: {tenant} is to be judged by {name!r}, which is no profile")


def _formats(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    from opsctl.report.formats import FORMATS

    names = tuple(name.strip() for words in given for name in words.split(","))
    for name in names:
        if name not in FORMATS:
            raise click.BadParameter(f"{name!r} is none of: {', '.join(FORMATS)}")
    return names


@command.command()
@click.argument("run_id", required=False, metavar="[RUN]")
@click.option(
    "--profile",
    metavar="NAME",
    help="Without RUN: of this profile (default: each tenant's own, else setting comply.profile).",
)
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

    Without RUN it is the latest whole run of the profile that judges the tenant: one over every host that it judges,
    with every control, that was not interrupted. A smaller run has to be named.

    The report is a folder of its own, sealed: SHA256SUMS names the hash of every file and is signed with the key of
    opsctl ledger key; VERIFY.txt tells an auditor how to check that.
    """
    from opsctl.report import build, seal

    _settle(app)
    runs, passed_over = ((run_id,), ()) if run_id else _newest(app, profile, tenants)
    found = [build.kept(app.store, app.ledger, name) for name in runs]
    languages = app.settings.texts("report.languages") if lang is None else ("sv", "en") if lang == "both" else (lang,)
    reports = [build.report(run, tenant) for run, tenant in _shares(app, found, tenants)]
    for place in (_place(built, folder) for built in reports):
        if not (place / seal.UNSEALED).exists():
            seal.refuse_other_files(place)
    written = [(_write(app, built, formats, languages, folder), built) for built in reports]
    if output == "json":
        # Each report names its own; what a program reads first is that of `comply.profile`.
        as_json({"run": runs[0], "reports": [one for one, _ in written], "passed_over": passed_over})
        return
    for told, built in written:
        for file in told["files"]:
            line(f"{file['sha256']}  {file['path']}")
        _tell_run(built)
        line(f"chain of runs {told['chain']}")
        line(f"signed with   {told['signer'] or 'nothing: opsctl ledger key makes a key'}")
    for reason in passed_over:
        note(f"newer, not taken: {reason}")


def _newest(app: App, profile: str | None, tenants: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The latest whole run of each profile that judges somebody, and the newer runs that are none of them."""
    from opsctl.compliance import defaults
    from opsctl.report import build

    by_tenant = defaults.names(app.inventory, app.settings)
    usual = app.settings.text(defaults.OPTION)
    wanted = (
        {by_tenant.get(name, usual) for name in tenants} if tenants else defaults.in_use(app.inventory, app.settings)
    )
    return build.latest_of(app.store, (profile,) if profile else tuple(dict.fromkeys(wanted)))


def _shares(app: App, runs: Sequence[Kept], tenants: tuple[str, ...]) -> list[tuple[Kept, str]]:
    """Which run tells of which tenant: of several each tells of those that its profile judges."""
    from opsctl.compliance import defaults

    if len(runs) == 1:
        return [(runs[0], tenant) for tenant in tenants or runs[0].tenants]
    by_tenant, usual = defaults.names(app.inventory, app.settings), app.settings.text(defaults.OPTION)
    return [
        (run, tenant)
        for run in runs
        for tenant in run.tenants
        if by_tenant.get(tenant, usual) == run.assessment.scope.profile and (not tenants or tenant in tenants)
    ]


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
        "run": built.run,
        "profile": built.assessment.scope.profile,
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
