"""`opsctl provision`: bring hosts to their configured state, ring by ring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opsctl.cli.app import (
    GROUND_MOVED,
    App,
    dry_run_option,
    emergency_options,
    old_inventory_option,
    output_option,
    pass_app,
    select,
    selection_options,
    yes_option,
)
from opsctl.cli.output import as_json, line, note, progress, some, table
from opsctl.errors import Incomplete

if TYPE_CHECKING:
    from collections.abc import Callable

    from opsctl.model.rollout import Plan
    from opsctl.model.run import PlaybookRun, RunEvent
    from opsctl.rollout.drive import Progress
    from opsctl.rollout.execute import Ended


@click.command("provision")
@selection_options
@click.option("--check", is_flag=True, help="Show what would change on the hosts, and change nothing.")
@click.option("--hosts", type=click.IntRange(1), metavar="N", help="At most N at once.  [default: provision.max_hosts]")
@emergency_options
@old_inventory_option
@dry_run_option
@yes_option
@output_option
@pass_app
def command(
    app: App,
    /,
    *,
    check: bool,
    hosts: int | None,
    ticket: str,
    emergency: bool,
    reason: str,
    old_inventory: bool,
    dry_run: bool,
    yes: bool,
    output: str,
    **selection: tuple[str, ...],
) -> None:
    """Bring hosts to their configured state, ring by ring.

    One host first, then more at once. It stops at the first host that fails or cannot be reached anew afterwards. A
    change of ssh, firewall or sudo that locks us out is undone by the host itself. Run it again to go on.

    Hosts outside their window, or within a freeze, are left out (exit code 1).
    """
    from opsctl.provision import run as room
    from opsctl.rollout.emergency import emergency_of, ticket_of
    from opsctl.rollout.means import Means

    why, named = emergency_of(reason, ticket, declared=emergency), ticket_of(ticket)
    means = Means(
        inventory=app.inventory, transport=app.transport, store=app.store, ledger=app.ledger,
        settings=app.settings, who=app.who, clock=app.now,
    )  # fmt: skip
    pace = room.pace(app.settings, hosts)
    made = room.plan(means, select(app, selection), pace, check=check, emergency=why, ticket=named)
    if output == "table":
        _show_plan(made)
    if dry_run or not (made.hosts or check):
        _nothing_done(made, "(--dry-run)" if dry_run else "(no host can be provisioned)", output)
    elif check:
        _finish_check(room.check(means, made, on_event=_tell), made, output)
    else:
        planned = {item.host for item in made.hosts}
        app.refuse_old_inventory((host for host in app.inventory if host.key in planned), accepted=old_inventory)
        app.confirm(f"Provision {some(len(made.hosts), 'host')}?", yes=yes)
        _finish(room.run(means, made, _telling(app, made), on_event=_tell), output)


def _show_plan(made: Plan) -> None:
    rows = [
        (f"{w} {wave.ring}", b, ", ".join(item.host for item in batch.hosts)) for w, b, wave, batch in made.batches()
    ]
    table(("wave", "batch", "hosts"), rows, title="provision", empty="no host of the selection can be provisioned")
    if made.emergency:
        line(f"EMERGENCY, over windows and freezes: {made.emergency}")
    if made.left_out:
        table(("left out", "reason"), [(one.host, one.reason) for one in made.left_out])


def _nothing_done(made: Plan, why: str, output: str) -> None:
    from opsctl.model import wire
    from opsctl.rollout.execute import raise_missed

    if output == "json":
        as_json({"plan": wire.as_document(made)}, outcome="ok" if not _missed(made) else "incomplete")
    note(f"nothing was done {why}")
    raise_missed(made)


def _telling(app: App, made: Plan) -> Callable[[Progress], None]:
    """Shows each step, and once that the ground has moved."""
    ground = app.ground(made.inventory_digest)

    def tell(step: Progress) -> None:
        if ground.just_moved():
            progress(f"{GROUND_MOVED}; these hosts go on as they were planned")
        progress(f"{step.host}: {step.text}" if step.host else step.text)

    return tell


def _tell(event: RunEvent) -> None:
    from opsctl.model.run import TaskEnded

    if isinstance(event, TaskEnded) and event.outcome in ("changed", "failed", "unreachable") and not event.ignored:
        told = f": {event.message}" if event.message and event.outcome != "changed" else ""
        progress(f"  {event.host}: {event.outcome}: {event.task}{told}")


def _missed(made: Plan) -> list[str]:
    return [one.host for one in made.left_out if one.missed]


def _finish_check(done: PlaybookRun, made: Plan, output: str) -> None:
    from opsctl.rollout.execute import raise_missed

    rows = [
        (host, done.outcome(host), done.recaps[host].changed if host in done.recaps else "", done.reason(host))
        for host in done.hosts
    ]
    bad = [row[0] for row in rows if row[1] not in ("ok", "changed")]
    if output == "json":
        names = ("host", "outcome", "would_change", "reason")
        told = [
            {**dict(zip(names, row, strict=True)), "diffs": [e.diff for e in done.results(str(row[0])) if e.diff]}
            for row in rows
        ]
        as_json({"check": True, "hosts": told}, outcome="incomplete" if bad or _missed(made) else "ok")
    else:
        for host in done.hosts:
            for event in (event for event in done.results(host) if event.diff):
                line(f"{host}: {event.task}\n{event.diff.expandtabs()}")
        table(("host", "outcome", "would change", "reason"), rows)
    note("nothing was changed (--check)")
    if bad:
        raise Incomplete(f"the check failed on {', '.join(bad)}")
    raise_missed(made)


def _finish(ended: Ended, output: str) -> None:
    from opsctl.model import wire
    from opsctl.rollout.execute import raise_unless_ok

    state = ended.state
    missed = _missed(state.plan)
    if output == "json":
        outcome = "incomplete" if missed and ended.outcome == "ok" else ended.outcome
        document = {"id": state.plan.id, "status": str(state.status), "reason": state.reason}
        as_json({**document, "hosts": wire.as_document(state.hosts), "missed": missed}, outcome=outcome)
    else:
        rows = [
            (
                host.host,
                f"{host.stage}{f' ({host.last})' if host.last else ''}",
                "; ".join(text for text in (*host.notes, host.reason) if text),
            )
            for host in state.hosts
        ]
        table(("host", "stage", "remarks"), rows)
    note(f"ledger: {ended.head}")
    raise_unless_ok(state)
