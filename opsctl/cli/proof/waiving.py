"""`opsctl comply waive`, `approve` and `waivers`: accepted failures, each with an owner, an approver and an end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opsctl.cli.app import App, dry_run_option, output_option, pass_app, yes_option
from opsctl.cli.output import as_json, line, note, table

if TYPE_CHECKING:
    from opsctl.compliance.waivers import Standing
    from opsctl.model.finding import Catalogue, Finding, Waiver
    from opsctl.state.signing import Operators

# So many hosts are named in a line; of more, the number is told.
NAMED = 4
COLUMNS = ("waiver", "tenant", "control", "hosts", "owner", "approver", "until (UTC)", "state", "covers")


@click.command("waive")
@click.argument("control", metavar="CONTROL")
@click.option("--tenant", required=True, metavar="TENANT", help="Whose hosts.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    required=True,
    metavar="PATTERN",
    help="Which of them: a name or pattern, as web*.",
)
@click.option("--reason", required=True, metavar="TEXT", help="Why the failure is accepted.")
@click.option("--owner", required=True, metavar="NAME", help="Who answers for it.")
@click.option("--approver", required=True, metavar="NAME", help="Who is to approve it: another person, of operators.")
@click.option(
    "--expires", required=True, metavar="MOMENT", help="When it ends: YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ, UTC."
)
@dry_run_option
@yes_option
@output_option
@pass_app
def waive(
    app: App, *, control: str, tenant: str, hosts: tuple[str, ...], reason: str, owner: str, approver: str,
    expires: str, dry_run: bool, yes: bool, output: str,
) -> None:  # fmt: skip
    """Accept a failure for a time. Writes an entry into the tenant's waivers.yml, which its approver must sign.

    The check still runs, and its true result is shown: a waiver changes only whether a failure counts as a finding.
    Until the approver has signed (opsctl comply approve), and after the end, it counts for nothing.
    """
    from opsctl.compliance import waiverfile, waivers

    catalogue = _catalogue(app)
    app.inventory.tenant(tenant)
    asked = waiverfile.asked(
        control=control, tenant=tenant, hosts=hosts, reason=reason, owner=owner, approver=approver, expires=expires
    )
    waiverfile.refuse_wrong(asked, catalogue.by_id, app.now())
    known = _load(app, catalogue, (tenant,))
    waiverfile.refuse_known(asked, known)
    covered = _covered(app, asked)
    if output == "table":
        line(f"{app.settings.inventories / tenant / waiverfile.FILE}:")
        line(waiverfile.entry_text(asked).rstrip())
        line(f"covers {len(covered)} of {tenant}'s hosts today: {', '.join(covered) or 'none'}")
    if dry_run:
        if output == "json":
            as_json({"waiver": _document(asked), "covers": covered})
        note("nothing was written (--dry-run)")
        return
    app.confirm(f"Write this waiver of {control}?", yes=yes)
    with app.ledger.act("comply waive", covered, _detail(asked), app.who, app.now) as act:
        waiverfile.add(app.settings.inventories, asked)
    if output == "json":
        as_json({"waiver": _document(asked), "covers": covered, "ledger_head": str(act.head)})
    else:
        line(f"waiver {waivers.name(asked)} is written, and counts once {approver} has approved it")
    note(f"what next: {approver}: opsctl comply approve {waivers.name(asked)}\nledger: {act.head}")


@click.command("approve")
@click.argument("name", metavar="WAIVER")
@click.option(
    "--key", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Sign with this key file (a .pub: with the agent).  [default: the agent]",
)  # fmt: skip
@click.option(
    "--signature", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Hand in a signature that was made on another machine.",
)  # fmt: skip
@dry_run_option
@yes_option
@output_option
@pass_app
def approve(
    app: App, *, name: str, key: Path | None, signature: Path | None, dry_run: bool, yes: bool, output: str
) -> None:
    """Approve a waiver as the person whom it names. What is signed is its hash, with an SSH key.

    Whose keys count stands in inventories/operators; the owner cannot approve. --dry-run shows the waiver, and the
    command that signs it on another machine.
    """
    from opsctl.compliance import waiverfile, waivers
    from opsctl.errors import UsageError
    from opsctl.state import signing

    if key and signature:
        raise UsageError("--key signs here, --signature was signed elsewhere: one of them")
    operators = signing.load(app.settings.inventories)
    waiver = waiverfile.named(_load(app, _catalogue(app), [tenant.name for tenant in app.inventory.tenants]), name)
    short, message = waivers.name(waiver), waivers.message(waiver)
    if output == "table":
        line(waiverfile.entry_text(waiver).rstrip())
    elsewhere = signing.command(message, f"{short}.sig")
    if dry_run:
        if output == "json":
            as_json({"waiver": _document(waiver), "message": message})
        note(f"nothing was written (--dry-run); elsewhere: {elsewhere}")
        note(f"and here: opsctl comply approve {short} --signature {short}.sig")
        return
    if signature is None:
        waiverfile.refuse_own(waiver, app.who)
    app.confirm(f"Approve waiver {short} of {waiver.control}, owned by {waiver.owner}?", yes=yes)
    signed = _signed(waiver, operators, message, key, signature)
    person = waiverfile.judged(waiver, signed, operators, app.now())
    detail = {**_detail(waiver), "person": person, "signature": waiverfile.one_line(signed)}
    with app.ledger.act("comply approve", _covered(app, waiver), detail, app.who, app.now) as act:
        waiverfile.sign(app.settings.inventories, waiver, signed)
    if output == "json":
        as_json({"waiver": _document(waiver), "approved_by": person, "ledger_head": str(act.head)})
    else:
        line(f"waiver {short} is approved by {person}")
    note(f"ledger: {act.head}")


def _signed(waiver: Waiver, operators: Operators, message: str, key: Path | None, signature: Path | None) -> str:
    from opsctl.compliance import waiverfile
    from opsctl.state import signing

    if signature:
        return signature.read_text(encoding="ascii", errors="replace")
    if key:
        return signing.sign(message, key)
    return signing.sign_with_agent(message, waiverfile.entries_for(waiver, operators))


@click.command("waivers")
@click.option("--tenant", "tenants", multiple=True, metavar="TENANT", help="Only of this tenant.")
@output_option
@pass_app
def list_waivers(app: App, *, tenants: tuple[str, ...], output: str) -> None:
    """The waivers and how they stand. Valid, expiring within 30 days, expired, unsigned; and those that cover nothing.

    What each one covers is told from the latest whole run of the profile that judges its tenant.
    """
    chosen = [app.inventory.tenant(name).name for name in tenants] or [one.name for one in app.inventory.tenants]
    known = _load(app, _catalogue(app), chosen)
    run, found = _standings(app, known)
    if output == "json":
        as_json({"run": run, "waivers": [document(one, known=bool(run)) for one in found]})
        return
    table(COLUMNS, [_row(one, run) for one in found], empty="no failure is waived")
    for one in found:
        for warning in warnings(one):
            note(f"warning: {warning}")
    if found and not run:
        note("what they cover is not known: no whole run is kept yet")


def show_waived(findings: Sequence[Finding]) -> None:
    """Every failure that a waiver covers, by control and waiver: its true result is never left out."""
    from opsctl.compliance import waivers

    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        if finding.disposition == "waived" and finding.waiver:
            groups.setdefault((finding.result.control, waivers.name(finding.waiver)), []).append(finding)
    for (control, name), same in groups.items():
        hosts = ", ".join(one.result.host for one in same) if len(same) <= NAMED else f"{len(same)} hosts"
        ends = same[0].waiver.expires if same[0].waiver else ""
        line(f"waived: {control} fails on {hosts} (waiver {name}, until {ends:%Y-%m-%d %H:%M} UTC)")


def warnings(one: Standing) -> list[str]:
    """What somebody should do about a waiver; nothing where all is well."""
    from opsctl.compliance import waivers

    said = f"waiver {waivers.name(one.waiver)} of {one.waiver.control} ({one.waiver.where})"
    told = {
        "expiring": f"{said} ends {one.waiver.expires:%Y-%m-%d %H:%M} UTC: mend it, or agree to a new one",
        "expired": f"{said} ended {one.waiver.expires:%Y-%m-%d %H:%M} UTC: what it covered counts as failed",
        "unsigned": f"{said} does not count: {one.waiver.flaw}",
    }
    found = [told[one.state]] if one.state in told else []
    return found + ([f"{said} covers no failure: it should go"] if one.idle else [])


def _standings(app: App, known: Sequence[Waiver]) -> tuple[str, tuple[Standing, ...]]:
    from opsctl.compliance import defaults, record, waivers
    from opsctl.errors import UnknownName
    from opsctl.report import build

    bare = tuple(waivers.Standing(waiver=one, state=waivers.state(one, app.now())) for one in known)
    if not app.settings.state.is_dir():
        return "", bare
    by_tenant, usual = defaults.names(app.inventory, app.settings), app.settings.text(defaults.OPTION)
    runs, found = dict[str, None](), list[waivers.Standing]()
    for profile in dict.fromkeys(by_tenant.get(one.tenant, usual) for one in known) or (usual,):
        mine = [one for one in bare if by_tenant.get(one.waiver.tenant, usual) == profile]
        try:
            run, _ = build.latest(app.store, profile)
        except UnknownName:
            return "", bare
        runs[run] = None
        found += waivers.standings(record.read(app.store, run)[1], [one.waiver for one in mine], app.now())
    return ", ".join(runs), tuple(found)


def _row(one: Standing, run: str) -> list[object]:
    from opsctl.compliance import waivers

    waiver = one.waiver
    covers = "" if not run else "nothing" if one.idle else len(one.fits)
    ends = f"{waiver.expires:%Y-%m-%d %H:%M}"
    hosts = " ".join(waiver.hosts)
    name = waivers.name(waiver)
    return [name, waiver.tenant, waiver.control, hosts, waiver.owner, waiver.approver, ends, one.state, covers]


def _document(waiver: Waiver) -> dict[str, Any]:
    from opsctl.compliance import waivers

    plain = {name: value for name, value in vars(waiver).items() if name != "signature"}
    return {"waiver": waivers.name(waiver), "sha256": waivers.digest(waiver), **plain, "signed": bool(waiver.signature)}


def document(one: Standing, *, known: bool = True) -> dict[str, Any]:
    """A waiver as JSON shows it; what it covers is null where no run tells."""
    covers: dict[str, Any] = {"covers": one.fits, "covers_nothing": one.idle}
    told = covers if known else dict.fromkeys(covers)
    return {**_document(one.waiver), "state": one.state.value, **told, "warnings": warnings(one)}


def disposition(finding: Finding | None) -> dict[str, str]:
    """How a result is judged: nothing but for a failure; `waiver` is the one that covers it, or has run out."""
    from opsctl.compliance import waivers

    if finding is None:
        return {"disposition": "", "waiver": ""}
    return {"disposition": finding.disposition, "waiver": waivers.name(finding.waiver) if finding.waiver else ""}


def _detail(waiver: Waiver) -> dict[str, object]:
    from opsctl.compliance import waivers

    names = ("control", "tenant", "reason", "owner", "approver")
    detail: dict[str, object] = {name: getattr(waiver, name) for name in names}
    return {**detail, "hosts": list(waiver.hosts), "expires": str(waiver.expires), "sha256": waivers.digest(waiver)}


def _covered(app: App, waiver: Waiver) -> list[str]:
    from opsctl.compliance import waivers

    return [host.key for host in app.inventory if waivers.covers(waiver, host.key)]


def _catalogue(app: App) -> Catalogue:
    from opsctl.compliance import catalogue

    return catalogue.load(app.settings.own_content)


def _load(app: App, catalogue: Catalogue, tenants: Sequence[str]) -> tuple[Waiver, ...]:
    from opsctl.compliance import waiverfile

    return waiverfile.current(app.settings.inventories, tenants, catalogue.by_id, app.now())


VERBS = (waive, approve, list_waivers)
