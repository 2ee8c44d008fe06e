"""`opsctl patch`: security updates, planned exactly, rolled out ring by ring, followed and resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opsctl.cli.app import (
    GROUND_MOVED,
    App,
    dry_run_option,
    emergency_options,
    moment_option,
    old_inventory_option,
    output_option,
    pass_app,
    select,
    selection_options,
    yes_option,
)
from opsctl.cli.output import as_json, grouped, line, note, pairs, progress, some, table
from opsctl.errors import Incomplete, OpsctlError, Refused, UnknownName
from opsctl.model.rollout import Stage, Status
from opsctl.rollout import shown
from opsctl.rollout.journal import Journal
from opsctl.rollout.limits import listed
from opsctl.rollout.resume import how_to_go_on

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from opsctl.model.host import Host
    from opsctl.model.rollout import HostState, Plan, RolloutState
    from opsctl.patch.pending import Readings
    from opsctl.rollout.drive import Progress
    from opsctl.rollout.execute import Ended
    from opsctl.rollout.means import Means

WHEN = "opsctl calendar says when; in an emergency: opsctl patch plan --emergency --reason TEXT --ticket TEXT"
refresh_option = click.option("--refresh", is_flag=True, help="Fetch the package lists on the hosts first.")


@click.group("patch")
def command() -> None:
    """Security updates: plan, roll out, follow."""


@command.command()
@click.argument("host", metavar="[HOST]", required=False)
@selection_options
@refresh_option
@output_option
@pass_app
def pending(app: App, /, *, host: str | None, refresh: bool, output: str, **selection: tuple[str, ...]) -> int:
    """List the updates that wait on each host. With HOST all that it says of them, package by package.

    Exit code 1: a host could not be read.
    """
    from opsctl.patch import pending as room
    from opsctl.patch import run, told

    hosts, means = (app.inventory.host(host),) if host else select(app, selection), _means(app)
    readings = run.refresh(means, hosts) if refresh else room.read(means.transport, hosts, means.store, means.clock)
    failed = [key for key, reading in readings.items() if isinstance(reading, OpsctlError)]
    if output == "json":
        as_json({"hosts": [told.document(key, one) for key, one in readings.items()]}, outcome=_word(failed, readings))
    elif host and not failed:
        for key, one in readings.items():
            if isinstance(one, room.Pending):
                pairs(told.sheet(one), title=key)
                table(told.PACKAGE_COLUMNS, told.package_rows(one), empty="no package would change")
    else:
        table(told.COLUMNS, [told.row(key, one) for key, one in readings.items()])
        line(f"{some(len(readings), 'host')}: {len(readings) - len(failed)} read, {len(failed)} not")
    return 1 if failed else 0


@command.command()
@selection_options
@click.option("--security-only", is_flag=True, help="Only security updates, and what they need.")
@click.option("--package", "packages", multiple=True, metavar="NAME", help="Only this package, and what it needs.")
@click.option("--exclude", multiple=True, metavar="HOST", help="Not these hosts: names or patterns, comma-separated.")
@click.option("--max-parallel", type=click.IntRange(1), help="Hosts changed at once.  [default: patch.max_parallel]")
@click.option("--budget", type=click.IntRange(1), help="Failed hosts that halt it.  [default: patch.failure_budget]")
@click.option(
    "--reboot", type=click.Choice(["never", "if-required", "always"]), help="Restart hosts.  [default: patch.reboot]"
)
@moment_option("--at", "at", help="For this time, instead of within a day: YYYY-MM-DD HH:MM.")
@emergency_options
@click.option("--explain", metavar="HOST", help="Say also why this host stands where it stands, or was left out.")
@refresh_option
@output_option
@pass_app
def plan(
    app: App,
    /,
    *,
    security_only: bool,
    packages: tuple[str, ...],
    exclude: tuple[str, ...],
    max_parallel: int | None,
    budget: int | None,
    reboot: str | None,
    ticket: str,
    at: datetime | None,
    emergency: bool,
    reason: str,
    explain: str | None,
    refresh: bool,
    output: str,
    **selection: tuple[str, ...],
) -> int:
    """Freeze a plan. It says which host gets which package version, in which wave and batch.

    Hosts are only read. Exit code 1: it leaves a host out that could not be read, or that a limit needs in service.
    """
    from opsctl.patch import run
    from opsctl.patch.propose import Wish, package_names
    from opsctl.rollout import execute
    from opsctl.rollout.emergency import emergency_of, ticket_of

    means, hosts = _means(app), select(app, selection, managed_only=False)
    explained = _one_of(app, hosts, explain) if explain else ""
    said = {**selection, "exclude": exclude, "package": packages}
    wish = Wish(
        max_parallel=max_parallel or app.settings.number("patch.max_parallel"),
        failure_budget=budget or app.settings.number("patch.failure_budget"),
        reboot=reboot or app.settings.text("patch.reboot"),
        security_only=security_only,
        options=tuple(f"{name}={','.join(words)}" for name, words in said.items() if words),
        packages=package_names(packages),
        excluded=frozenset(host.key for host in app.inventory.named(exclude)),
        ticket=ticket_of(ticket),
        at=app.coming(at),
        emergency=emergency_of(reason, ticket, declared=emergency),
    )
    if refresh:
        run.refresh(means, [host for host in hosts if host.managed and host.key not in wish.excluded])
    made = run.plan(means, hosts, wish).plan
    missed, why = execute.missed(made), run.explain(means, made, explained) if explained else ()
    late = run.not_in_time(means, made)
    if output == "json":
        told = {"plan": shown.plan_document(made), "empty_because": shown.why_empty(made), "not_in_time": late}
        asked = {"explained": {"host": explained, "why": why}} if explained else {}
        as_json({**told, **asked}, outcome="incomplete" if missed else "ok")
    else:
        _show_plan(made)
        for text in why:
            line(f"{explained}: {text}")
    if late:
        note(f"by the expected times outside their window when their turn comes: {grouped(late)}; they would wait")
    if made.emergency:
        note(f"ledger: {app.ledger.head()}")
    if missed:
        note(f"incomplete: {execute.why_missed(made)}\n  what next: {execute.mend_missed(made)}")
    return 1 if missed else 0


@command.command()
@click.argument("plan_id", metavar="PLAN|latest")
@old_inventory_option
@dry_run_option
@yes_option
@output_option
@pass_app
def start(app: App, plan_id: str, *, old_inventory: bool, dry_run: bool, yes: bool, output: str) -> None:
    """Roll a plan out, ring by ring. Ctrl-C stops it cleanly; `patch resume` goes on.

    A plan that no longer fits its hosts, inventory or content is refused.
    """
    from opsctl.patch import run

    means = _means(app)
    ready = run.ready(means, plan_id)
    if output == "table":
        _show_plan(ready.state.plan)
    closed = run.why_closed(means, ready.state.plan)
    if dry_run and closed:
        note(f"it may not start now: {closed}")
    if dry_run or not ready.state.plan.hosts:
        _nothing_done(ready.state.plan, "(--dry-run)" if dry_run else "(the plan is empty)", output)
        return
    if closed:
        raise Refused(f"{ready.state.plan.id} may not start now: {closed}", hint=WHEN)
    planned = {item.host for item in ready.state.plan.hosts}
    app.refuse_old_inventory((host for host in app.inventory if host.key in planned), accepted=old_inventory)
    app.confirm(f"Patch {some(len(ready.state.plan.hosts), 'host')}?", yes=yes)
    _finish(run.start(means, ready, _telling(app, ready.state.plan)), output)


@command.command()
@click.argument("rollout_id", metavar="ROLLOUT|latest")
@click.option("--retry", is_flag=True, help="Try the failed hosts again; without it they are left as they are.")
@dry_run_option
@yes_option
@output_option
@pass_app
def resume(app: App, rollout_id: str, *, retry: bool, dry_run: bool, yes: bool, output: str) -> None:
    """Go on with a rollout that was stopped, halted or killed. Each host itself says how far it is."""
    from opsctl.inventory import snapshot
    from opsctl.patch import run

    state = Journal(app.store).load(rollout_id, kind="patch")
    app.work_from(snapshot.load(app.store, state.plan.id))
    means = _means(app)
    means.journal.refuse_at_work(state.plan.id)
    if output == "table":
        line(f"{state.plan.id}: {shown.standing(state, '')}")
        table(shown.HOST_COLUMNS, shown.host_rows(state))
    gone = run.no_longer_ours(means, state.plan)
    for host, why in gone.items():
        note(f"{host}: {why}; what still waits for it is skipped")
    if dry_run:
        if output == "json":
            as_json(shown.document(state, ""))
        note("nothing was done (--dry-run)")
        return
    app.confirm(f"Go on with {some(len(state.open_hosts), 'host')}{' and the failed ones' if retry else ''}?", yes=yes)
    ready, taken = run.take_up_again(means, state.plan.id, retry=retry, gone=gone)
    for host in taken.left:
        progress(f"{host}: failed before, left as it is (--retry tries it again)")
    _finish(run.resume(means, ready, _telling(app, ready.state.plan)), output)


@command.command()
@click.argument("rollout_id", metavar="ROLLOUT|latest")
@dry_run_option
@yes_option
@output_option
@pass_app
def abort(app: App, rollout_id: str, *, dry_run: bool, yes: bool, output: str) -> None:
    """End a rollout for good, and free its hosts for others. No host is touched.

    Refused while somebody works on it. Exit code 1: hosts stay drained or changed halfway; they are listed.
    """
    from opsctl.rollout import abort as room

    state = Journal(app.store).load(rollout_id, kind="patch")
    room.refuse_unless_open(state, Journal(app.store))
    left = room.in_the_middle(state)
    if output == "table":
        line(f"{state.plan.id}: {shown.standing(state, '')}")
        table(shown.HOST_COLUMNS, shown.host_rows(state))
    if left:
        note(f"these stay as they are: {_described(left)}; opsctl patch resume {state.plan.id} would finish them")
    if dry_run:
        if output == "json":
            as_json(shown.document(state, ""))
        note("nothing was done (--dry-run)")
        return
    app.confirm(f"Abort {state.plan.id} for good?", yes=yes)
    done = room.abort(state, who=app.who, store=app.store, ledger=app.ledger, clock=app.now)
    if output == "json":
        as_json(shown.document(done.state, ""), outcome="incomplete" if left else "ok")
    else:
        line(f"{state.plan.id}: {shown.standing(done.state, '')}")
    note(f"ledger: {done.head}")
    if left:
        raise Incomplete(
            f"left as they are: {_described(left)}", hint="see to them; for what is left: opsctl patch plan"
        )


@command.command()
@click.argument("rollout_id", metavar="[ROLLOUT|latest]", required=False)
@output_option
@pass_app
def status(app: App, rollout_id: str | None, *, output: str) -> None:
    """How far a rollout is, host by host. Without a name every plan and rollout."""
    journal = Journal(app.store)
    if rollout_id is None:
        found = journal.all("patch")
        if output == "json":
            as_json({"rollouts": [shown.summary(one, journal.at_work(one.plan.id)) for one in found]})
        else:
            table(
                shown.ROLLOUT_COLUMNS,
                [shown.rollout_row(one, journal.at_work(one.plan.id)) for one in found],
                empty="no plans yet",
            )
        return
    state = journal.load(rollout_id, kind="patch")
    busy = journal.at_work(state.plan.id)
    moved = bool(state.open_hosts) and app.ground(state.plan.inventory_digest).has_moved()
    left = _window_left(app, state)
    if output == "json":
        as_json({**shown.document(state, busy), "inventory_moved": moved, "window_left": left})
    else:
        _show_state(state, busy)
        if left:
            line(f"window left: {left}")
        if moved:
            note(f"{GROUND_MOVED}; the plan stays as it was frozen")


# --- the pieces ------------------------------------------------------------------------------------------------------


def _means(app: App) -> Means:
    from opsctl.rollout.means import Means

    return Means(
        inventory=app.inventory,
        transport=app.transport,
        store=app.store,
        ledger=app.ledger,
        settings=app.settings,
        who=app.who,
        clock=app.now,
    )


def _window_left(app: App, state: RolloutState) -> str:
    """How long what has not begun may still begin, by the calendars as they are now; empty where all has."""
    from opsctl.inventory import snapshot
    from opsctl.rollout.schedule import Schedule

    own = snapshot.load(app.store, state.plan.id)
    waiting = {host.host for host in state.open_hosts if host.untouched}
    if own is None or not waiting:
        return ""
    schedule = Schedule(app.settings, own, app.now, emergency=bool(state.plan.emergency))
    return schedule.left(item for item in state.plan.hosts if item.host in waiting)


def _one_of(app: App, hosts: Sequence[Host], name: str) -> str:
    """The key of a host by its name, which must be selected: asked before anything is read."""
    host = app.inventory.host(name)
    if host not in hosts:
        raise UnknownName(f"{host.key} is not among the selected hosts", hint="--explain takes one of them")
    return host.key


def _described(hosts: Sequence[HostState]) -> str:
    return ", ".join(f"{one.host} ({one.stage}{', drained' if one.drained else ''})" for one in hosts)


def _telling(app: App, made: Plan) -> Callable[[Progress], None]:
    """Shows each step, and once that the ground has moved."""
    ground = app.ground(made.inventory_digest)

    def tell(step: Progress) -> None:
        if ground.just_moved():
            progress(f"{GROUND_MOVED}; this rollout goes on as it was planned")
        progress(f"{step.host}: {step.text}" if step.host else step.text)

    return tell


def _nothing_done(made: Plan, why: str, output: str) -> None:
    from opsctl.rollout.execute import missed, raise_missed

    if output == "json":
        as_json({"plan": shown.plan_document(made)}, outcome="incomplete" if missed(made) else "ok")
    note(f"nothing was done {why}")
    raise_missed(made)


def _finish(ended: Ended, output: str) -> None:
    from opsctl.rollout.execute import raise_unless_ok

    if output == "json":
        as_json(shown.document(ended.state, ""), outcome=ended.outcome)
    else:
        _show_state(ended.state, "")
    note(f"ledger: {ended.head}")
    raise_unless_ok(ended.state)


def _word(failed: list[str], readings: Readings) -> str:
    return "ok" if not failed else "failed" if len(failed) == len(readings) else "incomplete"


def _show_plan(made: Plan) -> None:
    empty = f"plan {made.id} is empty: {shown.why_empty(made)}"
    table(shown.PLAN_COLUMNS, shown.plan_rows(made), title=f"plan {made.id}", empty=empty)
    if rows := shown.package_rows(made):
        table(shown.PACKAGE_COLUMNS, rows)
    if made.left_out:
        table(("left out", "reason"), [(one.host, one.reason) for one in made.left_out])
    batches = some(sum(1 for _ in made.batches()), "batch")
    line(
        f"{some(len(made.hosts), 'host')} in {batches} of at most {made.max_parallel}; "
        f"{made.failure_budget} failed halts it; reboot: {made.reboot}; {len(made.left_out)} left out"
        f"{f'; ticket: {made.ticket}' if made.ticket else ''}"
    )
    if made.start_at:
        line(f"made for {made.start_at:%Y-%m-%d %H:%MZ}")
    if made.emergency:
        line(f"EMERGENCY, over windows and freezes: {made.emergency}")
    if made.packages:
        line(f"only {', '.join(made.packages)} and what they need")
    if made.down:
        line(f"counted as out of service: {listed(made.down)}")
    line(f"hash {made.hash}")


def _show_state(state: RolloutState, busy: str) -> None:
    table(shown.HOST_COLUMNS, shown.host_rows(state))
    line(f"{state.plan.id}: {shown.standing(state, busy)}")
    if busy:
        line(f"at work: {busy}")
    elif (state.open_hosts or state.count(Stage.FAILED)) and state.status not in (Status.PLANNED, Status.ABORTED):
        line(f"to go on: {how_to_go_on(state)}")
