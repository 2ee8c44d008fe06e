"""The verbs that every kind of rollout has with the same options, made for each kind with its own words of help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from opsctl.cli import follow
from opsctl.cli import rollout as shared
from opsctl.cli.app import App, dry_run_option, output_option, pass_app, yes_option
from opsctl.cli.output import as_json, line, note

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsctl.model.rollout import Plan
    from opsctl.rollout.ride import Rider

_reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; kept with it and in the ledger.")


def pausing(rider: Callable[[], Rider], told: str) -> click.Command:
    """`pause`. `rider` gives the kind once it is wanted: to import it costs time."""

    @click.command(help=told)
    @click.argument("rollout_id", metavar="ROLLOUT|latest")
    @_reason_option
    @dry_run_option
    @yes_option
    @output_option
    @pass_app
    def pause(app: App, rollout_id: str, *, reason: str, dry_run: bool, yes: bool, output: str) -> None:
        shared.pause(app, rider(), rollout_id, reason=reason, dry_run=dry_run, yes=yes, output=output)

    return pause


def aborting(kind: str, told: str) -> click.Command:
    """`abort`."""

    @click.command(help=told)
    @click.argument("rollout_id", metavar="ROLLOUT|latest")
    @_reason_option
    @dry_run_option
    @yes_option
    @output_option
    @pass_app
    def abort(app: App, rollout_id: str, *, reason: str, dry_run: bool, yes: bool, output: str) -> None:
        shared.abort(app, kind, rollout_id, dry_run=dry_run, yes=yes, output=output, reason=reason)

    return abort


def skipping(kind: str, told: str) -> click.Command:
    """`skip`."""

    @click.command(help=told)
    @click.argument("host")
    @click.argument("rollout_id", metavar="[ROLLOUT|latest]", required=False)
    @click.option("--reason", required=True, metavar="TEXT", help="Why; kept with it and in the ledger.")
    @dry_run_option
    @yes_option
    @output_option
    @pass_app
    def skip(
        app: App, host: str, rollout_id: str | None, *, reason: str, dry_run: bool, yes: bool, output: str
    ) -> None:
        shared.skip(app, kind, host, rollout_id, reason=reason, dry_run=dry_run, yes=yes, output=output)

    return skip


def standing(kind: str, told: str) -> click.Command:
    """`status`."""

    @click.command(help=told)
    @click.argument("rollout_id", metavar="[ROLLOUT|latest]", required=False)
    @click.option("--watch", is_flag=True, help="Until it rests: a screen on a terminal, dated lines elsewhere.")
    @click.option("--exit-code", is_flag=True, help="End as it stands: 5 paused or halted, 1 stalled or incomplete.")
    @output_option
    @pass_app
    def status(app: App, rollout_id: str | None, *, watch: bool, exit_code: bool, output: str) -> None:
        follow.status(app, kind, rollout_id, output=output, watch=watch, exit_code=exit_code)

    return status


def attaching(kind: str, told: str) -> click.Command:
    """`attach`."""

    @click.command(help=told)
    @click.argument("rollout_id", metavar="ROLLOUT|latest")
    @pass_app
    def attach(app: App, rollout_id: str) -> None:
        follow.attach(app, kind, rollout_id)

    return attach


def approving(kind: str, show_plan: Callable[[Plan], None]) -> click.Command:
    """`approve`: a second person's signature over a plan."""

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

        What is signed is its hash, with an SSH key. Whose keys count stands in inventories/operators; whoever planned
        it cannot approve it. --dry-run shows the plan, and the command that signs it on another machine.
        """
        from opsctl.errors import UsageError
        from opsctl.model import wire
        from opsctl.rollout import approval
        from opsctl.state import signing

        if key and signature:
            raise UsageError("--key signs here, --signature was signed elsewhere: one of them")
        means = shared.means_of(app)
        state = means.journal.load(plan_id, kind=kind)
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

    return approve
