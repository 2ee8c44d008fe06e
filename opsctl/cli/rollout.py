"""What the verbs of every kind of rollout share: their means, what they show, and how each goes on or ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.cli.app import GROUND_MOVED
from opsctl.cli.follow import status
from opsctl.cli.output import as_json, grouped, line, note, progress, some, table
from opsctl.errors import Incomplete, Locked, Refused, StalePlan, UnknownName
from opsctl.model.rollout import Stage, Status
from opsctl.rollout import lines, shown
from opsctl.rollout.journal import Journal
from opsctl.rollout.resume import how_to_go_on

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from opsctl.cli.app import App
    from opsctl.model.host import Host
    from opsctl.model.rollout import HostState, Plan, RolloutState
    from opsctl.rollout.asking import Asked, Asking
    from opsctl.rollout.execute import Ended
    from opsctl.rollout.means import Means
    from opsctl.rollout.parts import Progress
    from opsctl.rollout.ride import Ready, Rider

__all__ = [
    "abort", "begin", "finish", "means_of", "nothing_done", "one_of", "pause", "resume", "show_state", "skip", "status",
    "tell_plan", "telling",
]  # fmt: skip
# A start reads every host first.
BEGIN_SECONDS = 120.0
WHEN = "opsctl calendar says when; in an emergency: {} --emergency --reason TEXT --ticket TEXT"


def means_of(app: App) -> Means:
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


def kept_until(app: App, state: RolloutState) -> datetime | None:
    """Until when a rollout that stands still keeps its hosts from others."""
    from opsctl.rollout import claims
    from opsctl.state.leases import Leases

    return claims.kept_until(state.plan, Leases(app.store), app.now())


def show_state(state: RolloutState, busy: str, kept: datetime | None = None) -> None:
    table(shown.HOST_COLUMNS, shown.host_rows(state))
    line(f"{state.plan.id}: {shown.standing(state, busy)}")
    if kept and not busy:
        line(f"its hosts are kept from others until {kept:%Y-%m-%d %H:%M:%SZ}")
    if busy:
        line(f"at work: {busy}")
    elif (state.open_hosts or state.count(Stage.FAILED)) and state.status not in (Status.PLANNED, Status.ABORTED):
        line(f"to go on: {how_to_go_on(state)}")


def telling(app: App, made: Plan) -> Callable[[Progress], None]:
    """Shows each step, and once that the ground has moved."""
    ground = app.ground(made.inventory_digest)

    def tell(step: Progress) -> None:
        if ground.just_moved():
            progress(f"{GROUND_MOVED}; this rollout goes on as it was planned")
        progress(f"{step.host}: {step.text}" if step.host else step.text)

    return tell


def finish(app: App, ended: Ended, output: str) -> None:
    from opsctl.rollout import probing
    from opsctl.rollout.execute import raise_unless_ok

    probed = probing.kept(Journal(app.store), ended.state.plan.id)
    if output == "json":
        more = {"kept_until": kept_until(app, ended.state), "probing": shown.probing_document(probed)}
        as_json({**shown.document(ended.state, ""), **more}, outcome=ended.outcome)
    else:
        show_state(ended.state, "", kept_until(app, ended.state))
        for told in shown.probing_lines(probed):
            line(told)
    note(f"ledger: {ended.head}")
    raise_unless_ok(ended.state)


def one_of(app: App, hosts: Sequence[Host], name: str) -> str:
    """The key of a host by its name, which must be selected: asked before anything is read."""
    host = app.inventory.host(name)
    if host not in hosts:
        raise UnknownName(f"{host.key} is not among the selected hosts", hint="--explain takes one of them")
    return host.key


def tell_plan(
    app: App,
    made: Plan,
    show_plan: Callable[[Plan], None],
    *,
    late: Sequence[str],
    explained: str,
    why: Sequence[str],
    output: str,
    upcoming: str = "",
) -> int:
    """Show a plan that was made now, why a host stands in it where it does, and what is missing. The exit code."""
    from opsctl.rollout import execute

    missed = execute.missed(made)
    if output == "json":
        told = {"plan": shown.plan_document(made), "empty_because": shown.why_empty(made), "not_in_time": late}
        asked = {"explained": {"host": explained, "why": why}} if explained else {}
        as_json({**told, **asked}, outcome="incomplete" if missed else "ok")
    else:
        show_plan(made)
        for text in why:
            line(f"{explained}: {text}")
    if late:
        note(f"by the expected times outside their window when their turn comes: {grouped(late)}; they would wait")
    if upcoming:
        note(upcoming)
    if made.emergency:
        note(f"ledger: {app.ledger.head()}")
    if missed:
        note(f"incomplete: {execute.why_missed(made)}\n  what next: {execute.mend_missed(made)}")
    return 1 if missed else 0


def nothing_done(made: Plan, why: str, output: str) -> None:
    from opsctl.rollout.execute import missed, raise_missed

    if output == "json":
        as_json({"plan": shown.plan_document(made)}, outcome="incomplete" if missed(made) else "ok")
    note(f"nothing was done {why}")
    raise_missed(made)


def begin(
    app: App,
    rider: Rider,
    means: Means,
    ready: Ready,
    *,
    question: str,
    old_inventory: bool,
    dry_run: bool,
    yes: bool,
    output: str,
    at: datetime | None = None,
    instead: Callable[[], None] | None = None,
) -> None:
    """A plan that fits and was shown: refused where it may not start now, else asked for and run to its end.

    `at`: it is to start then. `instead` is called once it was asked for: something else sees to its start.
    """
    from opsctl.rollout import approval, ride

    made = ready.state.plan
    for text in ready.told:
        note(text)
    closed, when = ride.why_closed(means, made, at), f"at {at:%Y-%m-%d %H:%MZ}" if at else "now"
    if dry_run and closed:
        note(f"it may not start {when}: {closed}")
    lacking = approval.lacking(means, made)
    if dry_run and lacking:
        note(f"it may not start: {lacking}")
    if dry_run or not made.hosts:
        nothing_done(made, "(--dry-run)" if dry_run else "(the plan is empty)", output)
        return
    if closed:
        raise Refused(f"{made.id} may not start {when}: {closed}", hint=WHEN.format(lines.plan(made.kind)))
    approval.refuse_without(means, made)
    planned = {item.host for item in made.hosts}
    app.refuse_old_inventory((host for host in app.inventory if host.key in planned), accepted=old_inventory)
    app.confirm(question, yes=yes)
    if instead is not None:
        instead()
        return
    finish(app, ride.start(rider, means, ready, telling(app, made)), output)


def resume(
    app: App,
    rider: Rider,
    rollout_id: str,
    *,
    retry: bool,
    dry_run: bool,
    yes: bool,
    output: str,
    detach: bool = False,
    accept_moved: bool = False,
) -> None:
    """Go on with a rollout that stopped, from its own copy of the inventory."""
    from opsctl.inventory import snapshot
    from opsctl.rollout import ride

    state = Journal(app.store).load(rollout_id, kind=rider.kind)
    app.work_from(snapshot.load(app.store, state.plan.id))
    means = means_of(app)
    means.journal.refuse_at_work(state.plan.id)
    if output == "table":
        line(f"{state.plan.id}: {shown.standing(state, '')}")
        table(shown.HOST_COLUMNS, shown.host_rows(state))
    gone = ride.no_longer_ours(means, state.plan)
    for host, why in gone.items():
        note(f"{host}: {why}; what still waits for it is skipped")
    moved = "; ".join(rider.moved(means, state.plan))
    if moved and (dry_run or accept_moved):
        note(f"changed since {state.plan.id} was made: {moved}")
    if dry_run:
        if output == "json":
            as_json({**shown.document(state, ""), **({"moved": moved} if moved else {})})
        note("nothing was done (--dry-run)")
        return
    if moved and not accept_moved:
        raise StalePlan(
            f"{state.plan.id} no longer fits: {moved}",
            hint=f"put that back; or go on with it as it is now: {lines.resume(state.plan)} --accept-moved",
        )
    app.confirm(f"Go on with {some(len(state.open_hosts), 'host')}{' and the failed ones' if retry else ''}?", yes=yes)
    if detach:
        again = [rider.kind, "resume", state.plan.id, *(["--retry"] if retry else []), "--yes"]
        hand_over(app, state.plan.id, again, output)
        return
    ready, taken = ride.take_up_again(rider, means, state.plan.id, retry=retry, gone=gone)
    for host in taken.left:
        progress(f"{host}: failed before, left as it is (--retry tries it again)")
    finish(app, ride.resume(rider, means, ready, telling(app, ready.state.plan), moved=moved), output)


def hand_over(app: App, rollout: str, words: Sequence[str], output: str, *, starts: datetime | None = None) -> None:
    """Let a process that outlives this terminal run `opsctl WORDS`; see that it holds the rollout, or waits for it.

    One that waits (`starts`) outlives a reboot of this machine too, where systemd runs it.
    """
    from opsctl.rollout import atboot, detach
    from opsctl.state.appointments import Appointments

    journal = Journal(app.store)
    if waiter := journal.waiter(rollout):
        raise Locked(f"{waiter} waits to start {rollout}", hint=f"end that first: {lines.abort(rollout)}")
    before, began = journal.load(rollout).at, app.now()
    systemd = detach.has_systemd()
    if starts and systemd:
        started = atboot.launch(app.settings, rollout, words, who=app.who, starts=starts)
    else:
        started = detach.launch(
            app.settings, journal, rollout, words, who=app.who, program=detach.program(), systemd=systemd
        )

    def begun() -> bool:
        booked = Appointments(app.store).of(rollout)
        waits = booked is not None and booked.made >= began and bool(journal.waiter(rollout))
        return waits or bool(journal.at_work(rollout)) or journal.load(rollout).at != before

    surely = detach.wait_until_begun(started, begun, seconds=BEGIN_SECONDS)
    if output == "json":
        told = {"rollout": rollout, "detached": started.name, "log": started.output, "begun": surely}
        as_json({**told, **({"outlives_reboots": systemd and atboot.outlives_reboots()} if starts else {})})
    else:
        line(f"{rollout}: detached as {started.name}{'' if surely else '; it has not begun yet'}")
        line(f"what it says: {started.output}")
    if starts and not systemd:
        note("a reboot of this machine, without systemd, ends its waiting: opsctl patch scheduled shows it")
    elif starts and not atboot.outlives_reboots():
        note("it outlives a reboot of this machine only with lingering: loginctl enable-linger")
    if not app.settings.text("ssh.identity"):
        note("warning: ssh.identity is empty: it reaches its hosts by your ssh agent, which ends with your login")
    note(f"follow it: {lines.attach(rollout)}")


def abort(app: App, kind: str, rollout_id: str, *, dry_run: bool, yes: bool, output: str, reason: str = "") -> None:
    """End a rollout for good; Incomplete where hosts stay in the middle of it."""
    from opsctl.rollout import atboot, gating
    from opsctl.rollout.abort import in_the_middle
    from opsctl.rollout.asking import refuse_abort

    state, asking = Journal(app.store).load(rollout_id, kind=kind), asking_of(app, reason)
    busy, left = Journal(app.store).at_work(state.plan.id), in_the_middle(state)
    refuse_abort(state)
    if left and not busy:
        note(f"these stay as they are: {described(left)}; {lines.resume(state.plan)} would finish them")
    if previewed(state, busy, dry_run=dry_run, output=output):
        return
    app.confirm(f"Abort {state.plan.id} for good?", yes=yes)
    done = asking.abort(state)
    atboot.take_away(state.plan.id)
    if done.wish is None and (why := gating.lift(app.settings, state.plan.id)):
        note(f"its silences could not be lifted and end by themselves: {why}")
    tell_people(app, done)
    left = in_the_middle(done.state) if done.wish is None else ()
    tell_asked(app, done, output, outcome="incomplete" if left else "ok")
    if left:
        raise Incomplete(
            f"left as they are: {described(left)}", hint=f"see to them; for what is left: {lines.plan(kind)}"
        )


def pause(app: App, rider: Rider, rollout_id: str, *, reason: str, dry_run: bool, yes: bool, output: str) -> None:
    """Let a rollout start nothing new; it keeps its hosts until their window ends."""
    from opsctl.inventory import snapshot
    from opsctl.rollout import ride
    from opsctl.rollout.asking import refuse_pause

    state, asking = Journal(app.store).load(rollout_id, kind=rider.kind), asking_of(app, reason)
    busy = Journal(app.store).at_work(state.plan.id)
    refuse_pause(state, busy)
    if previewed(state, busy, dry_run=dry_run, output=output):
        return
    app.confirm(f"Pause {state.plan.id}?", yes=yes)
    app.work_from(snapshot.load(app.store, state.plan.id))
    means = means_of(app)
    left = {host.host for host in state.hosts if host.stage is not Stage.DONE}
    items = [item for item in state.plan.hosts if item.host in left]
    done = asking.pause(state, rider.limits(means), lambda: ride.keeps(means, state.plan, items))
    tell_people(app, done)
    tell_asked(app, done, output)


def skip(
    app: App, kind: str, host: str, rollout_id: str | None, *, reason: str, dry_run: bool, yes: bool, output: str
) -> None:
    """Leave a host out of a rollout; of the newest one that has it and is not over, where none is named."""
    from opsctl.errors import UsageError
    from opsctl.rollout.asking import refuse_skip
    from opsctl.rollout.named import host_of, newest_with

    asking = asking_of(app, reason)
    if not asking.reason:
        raise UsageError("--reason says nothing")
    journal = Journal(app.store)
    found = None if rollout_id is None else journal.load(rollout_id, kind=kind)
    state = found or newest_with(journal.all(kind), host, going=True)
    key = host_of(state.plan, host)
    refuse_skip(state, key)
    if previewed(state, journal.at_work(state.plan.id), dry_run=dry_run, output=output):
        return
    app.confirm(f"Skip {key} in {state.plan.id}?", yes=yes)
    done = asking.skip(state, key)
    refused = done.wish.answer if done.wish and done.wish.answer != "skipped" else ""
    tell_asked(app, done, output, outcome="refused" if refused else "ok")
    if refused:
        raise Refused(f"{key}: {refused}")


def asking_of(app: App, reason: str) -> Asking:
    from opsctl.rollout.asking import Asking
    from opsctl.rollout.emergency import ticket_of

    why = ticket_of(reason, "--reason")
    return Asking(store=app.store, ledger=app.ledger, who=app.who, clock=app.now, reason=why)


def previewed(state: RolloutState, busy: str, *, dry_run: bool, output: str) -> bool:
    """Show how it stands; whether that is all."""
    if output == "table":
        table(shown.HOST_COLUMNS, shown.host_rows(state))
        line(f"{state.plan.id}: {shown.standing(state, busy)}")
    if dry_run:
        if output == "json":
            as_json(shown.document(state, busy))
        note("nothing was done (--dry-run)")
    return dry_run


def tell_asked(app: App, done: Asked, output: str, *, outcome: str = "ok") -> None:
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
        note(f"follow it: {lines.attach(plan)}")
    note(f"ledger: {done.head}")


def tell_people(app: App, done: Asked) -> None:
    """Whoever hears of the steps of a rollout hears also that it was stopped while no process was at it."""
    from opsctl.errors import SetupError
    from opsctl.inventory import snapshot
    from opsctl.model.host import Inventory
    from opsctl.rollout.telling import told_of_a_stop

    if done.wish is not None:
        return
    try:
        inventory = snapshot.load(app.store, done.state.plan.id) or app.inventory
    except SetupError:
        inventory = Inventory()
    for one in told_of_a_stop(app.settings, app.store, done.state, inventory, app.now):
        note(f"notification to {one.target}: {one.why or 'sent'}")


def described(hosts: Sequence[HostState]) -> str:
    return ", ".join(f"{one.host} ({one.stage}{', drained' if one.drained else ''})" for one in hosts)
