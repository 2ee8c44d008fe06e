"""A rollout of any kind from its frozen plan to its end: kept, seen to be still ours, begun, taken up again.

What the kinds differ in is a `Rider`; everything here holds for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta

from opsctl.errors import InventoryError, Refused
from opsctl.inventory import files, snapshot
from opsctl.model.host import Host
from opsctl.model.rollout import HostPlan, Plan, RolloutState, Status
from opsctl.rollout import approval, claims, contact, gating, lines, smoke
from opsctl.rollout import resume as resuming
from opsctl.rollout.change import Change
from opsctl.rollout.execute import Ended, execute
from opsctl.rollout.holding import who_waits
from opsctl.rollout.hook import Hooking
from opsctl.rollout.hooked import Hooked
from opsctl.rollout.limits import Limits
from opsctl.rollout.means import Means
from opsctl.rollout.parts import Progress
from opsctl.rollout.probing import probing
from opsctl.rollout.resume import Taken, take_up
from opsctl.rollout.schedule import Schedule
from opsctl.rollout.telling import telling
from opsctl.state.leases import Leases


@dataclass(frozen=True, kw_only=True)
class Rider:
    """One kind of change: its name, who may be out of service together, and what carries a plan of it out.

    `keeps`: one that stands still keeps its hosts from others; not where it is run again under another name instead.
    `ended` hears of each rollout of it that stopped or ended. `moved` tells what a resume would read otherwise than the
    plan does.
    """

    kind: str
    limits: Callable[[Means], Limits]
    change: Callable[[Means, Plan], Change]
    keeps: bool = True
    ended: Callable[[Means, RolloutState], None] = lambda _means, _state: None
    moved: Callable[[Means, Plan], tuple[str, ...]] = lambda _means, _plan: ()


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A rollout that may begin or go on now.

    `down` are hosts of it, and their fellows, that do not answer, `gone` those no longer ours. `told`: what a
    person should know before it begins.
    """

    state: RolloutState
    down: frozenset[str]
    gone: frozenset[str] = frozenset()
    told: tuple[str, ...] = ()


def keep(means: Means, made: Plan) -> RolloutState:
    """Keep a new plan with its copy of the inventory; nothing of it has begun."""
    with means.store.transaction():
        state = means.journal.add(made)
        keep_inventory(means, made)
    return state


def keep_inventory(means: Means, plan: Plan) -> None:
    """Its copy of the inventory and of the approved keys: what moved is told from it, and a resume works from it."""
    hosts = [item.host for item in plan.hosts]
    known = {*hosts, *(item.drain_through for item in plan.hosts if item.drain_through)}
    approved = {key: _approved_now(means)(key) for key in known}
    snapshot.save(means.store, plan.id, means.inventory, hosts, means.clock(), approved=approved)


def fellows(rider: Rider, means: Means, hosts: Iterable[Host]) -> tuple[Host, ...]:
    """The managed hosts whose state decides whether these may be out of service."""
    keys = rider.limits(means).fellows(host.key for host in hosts)
    return tuple(host for host in means.inventory if host.key in keys and host.managed)


def silent(means: Means, hosts: Sequence[Host]) -> frozenset[str]:
    """The hosts whose health nobody can read now."""
    answers = contact.health_of_all(means.transport, hosts)
    return frozenset(key for key, answer in answers.items() if isinstance(answer, str))


def schedule(means: Means, plan: Plan, at: datetime | None = None) -> Schedule:
    """The calendars of a plan, as they are asked now, or as they will be asked at another moment."""
    clock = means.clock if at is None else lambda: at
    return Schedule(means.settings, means.inventory, clock, emergency=bool(plan.emergency))


def keeps(means: Means, plan: Plan, items: Sequence[HostPlan]) -> datetime:
    """Until when a rollout that stops now keeps these hosts from others: its window's end, within patch.keep_hours."""
    most = means.clock() + timedelta(hours=means.settings.number("patch.keep_hours"))
    end = schedule(means, plan).end(items)
    return most if end is None else min(end, most)


def why_closed(means: Means, plan: Plan, at: datetime | None = None) -> str:
    """Why nothing of a plan may start now, or at a moment; empty where it may.

    Its first ring is outside its windows, or frozen.
    """
    calendars = schedule(means, plan, at)
    waiting = {item.host: calendars.closed(item) for wave in plan.waves[:1] for item in wave.hosts}
    return who_waits(waiting) if waiting and all(waiting.values()) else ""


def not_begun(rider: Rider, means: Means, plan_id: str) -> RolloutState:
    """A plan of this kind that has not begun. Raises Refused where it has, Locked where others hold what it needs."""
    state = means.journal.load(plan_id, kind=rider.kind)
    means.journal.refuse_at_work(state.plan.id)
    if state.status is not Status.PLANNED:
        over = state.status in (Status.DONE, Status.ABORTED)
        hint = f"make a new plan: {lines.plan(rider.kind)}" if over else lines.resume(state.plan)
        raise Refused(f"{state.plan.id} has begun before: it is {state.status}", hint=hint)
    claims.refuse_held(state.plan, Leases(means.store), rider.limits(means), means.clock())
    return state


def no_longer_ours(means: Means, plan: Plan) -> Mapping[str, str]:
    """Hosts and load balancers of a plan that a resume must not touch, with the reason.

    By the inventory that is written now, never by its source; one that cannot be read says nothing.
    """
    try:
        written = files.load(means.settings)
    except InventoryError:
        return {}
    return resuming.no_longer_ours(plan, written, snapshot.approved(means.store, plan.id), _approved_now(means))


def _approved_now(means: Means) -> Callable[[str], frozenset[str]]:
    return lambda key: frozenset(pin.key.fingerprint for pin in means.transport.pins.of(key))


def take_up_again(
    rider: Rider, means: Means, rollout_id: str, *, retry: bool, gone: Mapping[str, str] | None = None
) -> tuple[Ready, Taken]:
    """A rollout that stopped, ready to go on. What each host has become is asked of the host itself, step by step."""
    state = means.journal.load(rollout_id, kind=rider.kind)
    means.journal.refuse_at_work(state.plan.id)
    gone = gone or {}
    taken = take_up(state, now=means.clock(), retry=retry, gone=gone)
    approval.refuse_to_go_on(means, taken.state)
    hosts = [means.inventory.host(item.host) for item in taken.state.plan.hosts if item.host not in gone]
    asked = (*hosts, *(host for host in fellows(rider, means, hosts) if host.key not in gone))
    return Ready(state=taken.state, down=silent(means, asked), gone=frozenset(gone)), taken


def start(
    rider: Rider,
    means: Means,
    rollout: Ready,
    observe: Callable[[Progress], None],
    *,
    verb: str = "",
    recovering: bool = False,
) -> Ended:
    """Begin a plan; its copy of the inventory, from which a resume works, is kept with it.

    `recovering`: it works from an earlier copy, whatever has been written since.
    """
    plan = rollout.state.plan
    approval.refuse_without(means, plan)
    smoke.refuse_unready(means, plan)

    def keep_copy() -> None:
        if not recovering:
            means.refuse_moved(plan)
        keep_inventory(means, plan)

    return _run(rider, means, rollout, observe, verb=verb or lines.BEGINS[rider.kind], keep=keep_copy)


def resume(
    rider: Rider, means: Means, rollout: Ready, observe: Callable[[Progress], None], *, moved: str = ""
) -> Ended:
    """Go on with what `take_up_again` gave. `moved`: what is other than the plan says, as a person knows."""
    return _run(rider, means, rollout, observe, verb=f"{rider.kind} resume", moved=moved)


def _run(
    rider: Rider,
    means: Means,
    rollout: Ready,
    observe: Callable[[Progress], None],
    *,
    verb: str,
    keep: Callable[[], None] = lambda: None,
    moved: str = "",
) -> Ended:
    plan = rollout.state.plan
    hours, waits = schedule(means, plan), approval.waits(means, plan)
    watch = gating.watch(means, plan)
    with telling(means, observe) as tell:
        done = execute(
            rollout.state,
            Hooked(rider.change(means, plan), plan, _hooking(means, plan)),
            verb=verb,
            moved=moved,
            who=means.who,
            store=means.store,
            ledger=means.ledger,
            inventory=means.inventory,
            limits=rider.limits(means),
            clock=means.clock,
            observe=observe,
            closed=lambda item: waits(item) or hours.closed(item),
            keeps=lambda items: keeps(means, plan, items) if rider.keeps else None,
            down=rollout.down,
            gone=rollout.gone,
            keep=keep,
            tell=tell,
            alerting=watch.alerting,
            gate=watch.gate,
            silencer=watch.silencer,
            during=_probing(means, plan),
        )
        rider.ended(means, done.state)
        return done


def _hooking(means: Means, plan: Plan) -> Hooking:
    return Hooking(rollout=plan.id, lock=lambda key: means.journal.file(plan.id, f"{key}.hook"))


def _probing(means: Means, plan: Plan) -> AbstractContextManager[None]:
    """The services of the hosts of a plan, asked while it is at work; of hosts that are gone nobody knows where."""
    known = {host.key: host for host in means.inventory}
    hosts = [known[item.host] for item in plan.hosts if item.host in known]
    return probing(means.journal, plan.id, hosts, means.clock)
