"""`opsctl patch pause|abort|skip`: what a person asks of a rollout, from any terminal, at work or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opsctl.cli.app import App, dry_run_option, output_option, pass_app, yes_option
from opsctl.cli.output import as_json, line, note, table
from opsctl.cli.patch.pieces import kept_until, means_of
from opsctl.errors import Incomplete, Refused
from opsctl.rollout import shown
from opsctl.rollout.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opsctl.model.rollout import HostState, RolloutState
    from opsctl.rollout.asking import Asked, Asking

reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; kept with it and in the ledger.")


@click.command()
@click.argument("rollout_id", metavar="[ROLLOUT|latest]", default="latest")
@reason_option
@dry_run_option
@yes_option
@output_option
@pass_app
def pause(app: App, rollout_id: str, *, reason: str, dry_run: bool, yes: bool, output: str) -> None:
    """Let a rollout start nothing new. Hosts under way are finished.

    It keeps its hosts from others until their window ends, and so does a halted one. `patch resume` goes on.
    """
    from opsctl.inventory import snapshot
    from opsctl.model.rollout import Stage
    from opsctl.patch import run
    from opsctl.rollout.asking import refuse_pause

    state, asking = _rollout(app, rollout_id), _asking(app, reason)
    busy = Journal(app.store).at_work(state.plan.id)
    refuse_pause(state, busy)
    if _previewed(state, busy, dry_run=dry_run, output=output):
        return
    app.confirm(f"Pause {state.plan.id}?", yes=yes)
    app.work_from(snapshot.load(app.store, state.plan.id))
    means = means_of(app)
    left = {host.host for host in state.hosts if host.stage is not Stage.DONE}
    items = [item for item in state.plan.hosts if item.host in left]
    done = asking.pause(state, run.limits(means), lambda: run.keeps(means, state.plan, items))
    _tell(app, done, output)


@click.command()
@click.argument("rollout_id", metavar="ROLLOUT|latest")
@reason_option
@dry_run_option
@yes_option
@output_option
@pass_app
def abort(app: App, rollout_id: str, *, reason: str, dry_run: bool, yes: bool, output: str) -> None:
    """End a rollout for good, and free its hosts for others.

    One that is at work starts nothing new; hosts under way are finished and undrained. Where no process is at it, no
    host is touched. Exit code 1: hosts stay drained or changed halfway; they are listed.
    """
    from opsctl.rollout.abort import in_the_middle
    from opsctl.rollout.asking import refuse_abort

    state, asking = _rollout(app, rollout_id), _asking(app, reason)
    busy, left = Journal(app.store).at_work(state.plan.id), in_the_middle(state)
    refuse_abort(state)
    if left and not busy:
        note(f"these stay as they are: {_described(left)}; opsctl patch resume {state.plan.id} would finish them")
    if _previewed(state, busy, dry_run=dry_run, output=output):
        return
    app.confirm(f"Abort {state.plan.id} for good?", yes=yes)
    done = asking.abort(state)
    left = in_the_middle(done.state) if done.wish is None else ()
    _tell(app, done, output, outcome="incomplete" if left else "ok")
    if left:
        raise Incomplete(
            f"left as they are: {_described(left)}", hint="see to them; for what is left: opsctl patch plan"
        )


@click.command()
@click.argument("host")
@click.argument("rollout_id", metavar="[ROLLOUT|latest]", required=False)
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept with it and in the ledger.")
@dry_run_option
@yes_option
@output_option
@pass_app
def skip(app: App, host: str, rollout_id: str | None, *, reason: str, dry_run: bool, yes: bool, output: str) -> None:
    """Leave a host out of a rollout that has not begun with it.

    Also one whose state is unknown, so that the others can go on; where it is drained, a resume undrains it. Without
    ROLLOUT the newest one that has the host and is not over.
    """
    from opsctl.errors import UsageError
    from opsctl.rollout import asking as room
    from opsctl.rollout.named import host_of, newest_with

    asking = _asking(app, reason)
    if not asking.reason:
        raise UsageError("--reason says nothing")
    journal = Journal(app.store)
    state = _rollout(app, rollout_id) if rollout_id else newest_with(journal.all("patch"), host, going=True)
    key = host_of(state.plan, host)
    room.refuse_skip(state, key)
    if _previewed(state, journal.at_work(state.plan.id), dry_run=dry_run, output=output):
        return
    app.confirm(f"Skip {key} in {state.plan.id}?", yes=yes)
    done = asking.skip(state, key)
    refused = done.wish.answer if done.wish and done.wish.answer != "skipped" else ""
    _tell(app, done, output, outcome="refused" if refused else "ok")
    if refused:
        raise Refused(f"{key}: {refused}")


def _rollout(app: App, name: str) -> RolloutState:
    return Journal(app.store).load(name, kind="patch")


def _asking(app: App, reason: str) -> Asking:
    from opsctl.rollout.asking import Asking
    from opsctl.rollout.emergency import ticket_of

    why = ticket_of(reason, "--reason")
    return Asking(store=app.store, ledger=app.ledger, who=app.who, clock=app.now, reason=why)


def _previewed(state: RolloutState, busy: str, *, dry_run: bool, output: str) -> bool:
    """Show how it stands; whether that is all."""
    if output == "table":
        table(shown.HOST_COLUMNS, shown.host_rows(state))
        line(f"{state.plan.id}: {shown.standing(state, busy)}")
    if dry_run:
        if output == "json":
            as_json(shown.document(state, busy))
        note("nothing was done (--dry-run)")
    return dry_run


def _tell(app: App, done: Asked, output: str, *, outcome: str = "ok") -> None:
    """What became of it: done at once, or what the process that is at it has said."""
    wish, plan = done.wish, done.state.plan.id
    busy, kept = Journal(app.store).at_work(plan), kept_until(app, done.state)
    if output == "json":
        asked = wish and {"kind": str(wish.kind), "seen": wish.seen, "answer": wish.answer}
        as_json({**shown.document(done.state, busy), "asked": asked, "kept_until": kept}, outcome=outcome)
    elif wish is None:
        line(f"{plan}: {shown.standing(done.state, busy)}")
        if kept and not busy:
            line(f"its hosts are kept from others until {kept:%Y-%m-%d %H:%M:%SZ}")
    else:
        heard = wish.answer or ("its process knows" if wish.seen else "its process has not looked yet, and will")
        line(f"{plan}: {wish}: {heard}")
        note(f"follow it: opsctl patch status {plan}")
    note(f"ledger: {done.head}")


def _described(hosts: Sequence[HostState]) -> str:
    return ", ".join(f"{one.host} ({one.stage}{', drained' if one.drained else ''})" for one in hosts)


VERBS = (pause, abort, skip)
