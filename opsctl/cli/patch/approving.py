"""`opsctl patch approve`: a second person's signature over a plan."""

from __future__ import annotations

from pathlib import Path

import click

from opsctl.cli.app import App, dry_run_option, output_option, pass_app, yes_option
from opsctl.cli.output import as_json, line, note
from opsctl.cli.patch.pieces import show_plan
from opsctl.cli.rollout import means_of


@click.command()
@click.argument("plan_id", metavar="PLAN|latest")
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Sign with this key file (a .pub: with the agent).  [default: the agent]",
)
@click.option(
    "--signature",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Hand in a signature that was made on another machine.",
)
@dry_run_option
@yes_option
@output_option
@pass_app
def approve(
    app: App, plan_id: str, *, key: Path | None, signature: Path | None, dry_run: bool, yes: bool, output: str
) -> None:
    """Approve a plan as the second person.

    What is signed is its hash, with an SSH key. Whose keys count stands in inventories/operators; whoever planned it
    cannot approve it. --dry-run shows the plan, and the command that signs it on another machine.
    """
    from opsctl.errors import UsageError
    from opsctl.model import wire
    from opsctl.rollout import approval
    from opsctl.state import signing

    if key and signature:
        raise UsageError("--key signs here, --signature was signed elsewhere: one of them")
    means = means_of(app)
    state = means.journal.load(plan_id, kind="patch")
    plan, operators = state.plan, signing.load(app.settings.inventories)
    approval.refuse_to_approve(state)
    if output == "table":
        show_plan(plan)
    told = approval.of(app.store, state, app.now())
    if dry_run:
        if output == "json":
            as_json({"plan": plan.id, "approval": wire.as_document(told), "message": approval.message(plan)})
        note(f"nothing was done (--dry-run); {approval.how(plan, operators)}")
        return
    if signature is None:
        approval.refuse_own(plan, app.who)
    app.confirm(f"Approve {plan.id}, planned by {plan.made_by}?", yes=yes)
    if signature:
        signed = signature.read_text(encoding="ascii", errors="replace")
    elif key:
        signed = signing.sign(approval.message(plan), key)
    else:
        signed = signing.sign_with_agent(approval.message(plan), approval.entries_for(plan, operators, app.who))
    made = approval.judged(operators, plan, signed, who=app.who, now=app.now())
    head = approval.keep(means, made)
    if output == "json":
        as_json({"plan": plan.id, "approval": wire.as_document(approval.of(app.store, state, app.now()))})
    else:
        line(f"{plan.id} is approved by {made}")
    note(f"ledger: {head}")


VERBS = (approve,)
