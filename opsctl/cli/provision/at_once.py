"""`opsctl provision` without a verb: plan, ask and run at once; with --check only what would change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.cli.app import App, budgets_of, select
from opsctl.cli.output import as_json, line, note, some, table
from opsctl.cli.provision.pieces import tell
from opsctl.cli.rollout import means_of, telling
from opsctl.errors import Incomplete

if TYPE_CHECKING:
    from opsctl.model.rollout import Plan
    from opsctl.model.run import PlaybookRun
    from opsctl.rollout.execute import Ended


def provision(
    app: App,
    selection: dict[str, tuple[str, ...]],
    *,
    check: bool,
    max_parallel: int | None,
    ticket: str,
    emergency: bool,
    reason: str,
    old_inventory: bool,
    dry_run: bool,
    yes: bool,
    output: str,
) -> None:
    """The short way from a selection of hosts to their end."""
    from opsctl.provision import run as room
    from opsctl.rollout.emergency import emergency_of, ticket_of

    wish = room.Wish(
        pace=room.pace(app.settings, max_parallel),
        budgets=budgets_of(app.settings, "provision", "", ""),
        ticket=ticket_of(ticket),
        emergency=emergency_of(reason, ticket, declared=emergency),
    )
    means = means_of(app)
    made = room.plan(means, select(app, selection), wish, check=check)
    if output == "table":
        _show_plan(made)
    if dry_run or not (made.hosts or check):
        _nothing_done(made, "(--dry-run)" if dry_run else "(no host can be provisioned)", output)
    elif check:
        _finish_check(room.check(means, made, on_event=tell), made, output)
    else:
        room.refuse_unapproved(made)
        planned = {item.host for item in made.hosts}
        app.refuse_old_inventory((host for host in app.inventory if host.key in planned), accepted=old_inventory)
        app.confirm(f"Provision {some(len(made.hosts), 'host')}?", yes=yes)
        _finish(room.run(means, made, telling(app, made), on_event=tell), output)


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
