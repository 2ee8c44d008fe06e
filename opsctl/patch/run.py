"""Patching from wish to end: make a plan, see that it still fits, run it, take it up again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from opsctl.errors import HostFailed, InventoryError, Refused
from opsctl.inventory import calendars, files, snapshot
from opsctl.model.host import Host
from opsctl.model.rollout import Plan, RolloutState, Status
from opsctl.patch import pending, propose, stale
from opsctl.patch.change import PatchChange
from opsctl.patch.expected import from_history
from opsctl.patch.pending import Readings
from opsctl.patch.propose import Wish
from opsctl.rollout import claims, contact
from opsctl.rollout import explain as explaining
from opsctl.rollout import limits as limiting
from opsctl.rollout import resume as resuming
from opsctl.rollout.drive import Progress, who_waits
from opsctl.rollout.execute import Ended, execute
from opsctl.rollout.limits import Limits
from opsctl.rollout.means import Means
from opsctl.rollout.resume import Taken, take_up
from opsctl.rollout.schedule import Schedule
from opsctl.rollout.telling import telling
from opsctl.rollout.timing import Timing
from opsctl.rollout.timing import not_in_time as late
from opsctl.state.leases import Leases


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A rollout that may begin or go on now.

    `down` are hosts of it, and their fellows, that do not answer, `gone` those no longer ours.
    """

    state: RolloutState
    down: frozenset[str]
    gone: frozenset[str] = frozenset()


def limits(means: Means) -> Limits:
    return limiting.of(means.inventory, balancers=contact.balancers(means.inventory))


def refresh(means: Means, hosts: Iterable[Host]) -> Readings:
    """Fetch the package lists on the hosts, entered in the ledger, and read what is pending."""
    chosen = tuple(hosts)
    keys = [host.key for host in chosen]
    with means.ledger.act("patch refresh", keys, {}, means.who, means.clock) as act:
        readings = pending.read(means.transport, chosen, means.store, means.clock, refresh=True)
        failed = [key for key, reading in readings.items() if isinstance(reading, HostFailed)]
        act.outcome = "incomplete" if failed else "ok"
        act.detail["failed"] = failed
    return readings


def plan(means: Means, hosts: Iterable[Host], wish: Wish) -> RolloutState:
    """Read every host and its fellows, freeze a plan over the hosts and keep it. The hosts are only read.

    Raises UnknownName for a package that none of them has, InventoryError for a calendar with faults; then nothing is
    kept.
    """
    chosen, timing = tuple(hosts), _timing(means, wish.at, emergency=bool(wish.emergency))
    managed = [host for host in chosen if host.managed and host.key not in wish.excluded]
    asked = (*managed, *_fellows(means, managed))
    only, names = wish.security_only, wish.packages
    readings = pending.read(means.transport, asked, means.store, means.clock, security_only=only, packages=names)
    propose.refuse_unknown(wish.packages, {host.key: readings[host.key] for host in managed})
    made = propose.propose(
        means.inventory,
        chosen,
        readings,
        wish,
        now=timing.now,
        who=means.who,
        content_digest=means.content_digest,
        timing=timing,
    )
    if not made.emergency:
        return _keep(means, made)
    detail: dict[str, object] = {"plan": made.id, "plan_hash": made.hash}
    detail |= {"emergency": made.emergency, "ticket": made.ticket}
    with means.ledger.act("patch plan", [item.host for item in made.hosts], detail, means.who, means.clock):
        return _keep(means, made)


def _keep(means: Means, made: Plan) -> RolloutState:
    with means.store.transaction():
        state = means.journal.add(made)
        _keep_inventory(means, made)
    return state


def not_in_time(means: Means, made: Plan) -> tuple[str, ...]:
    """The hosts of a plan that was made now which would not have their turn before their window ends."""
    timing = _timing(means, made.start_at, emergency=bool(made.emergency))
    return late(made, means.inventory, timing)


def _timing(means: Means, at: datetime | None, *, emergency: bool) -> Timing:
    """Windows, freezes and expected times. Raises InventoryError for a calendar with faults."""
    settings, now = means.settings, means.clock()
    return Timing(
        hours=calendars.load(settings, means.inventory, now),
        now=now,
        at=at,
        emergency=emergency,
        expected=from_history(means.store, propose.KIND, longest=timedelta(seconds=settings.number("patch.timeout"))),
        usual=timedelta(minutes=settings.number("patch.expected_minutes")),
    )


def _schedule(means: Means, plan: Plan) -> Schedule:
    return Schedule(means.settings, means.inventory, means.clock, emergency=bool(plan.emergency))


def why_closed(means: Means, plan: Plan) -> str:
    """Why nothing of a plan may start now: its first ring is outside its windows, or frozen; empty where it may."""
    schedule = _schedule(means, plan)
    waiting = {item.host: schedule.closed(item) for wave in plan.waves[:1] for item in wave.hosts}
    return who_waits(waiting) if waiting and all(waiting.values()) else ""


def explain(means: Means, made: Plan, key: str) -> tuple[str, ...]:
    """Why a host stands where it stands in a plan that was made now, or why it was left out."""
    return explaining.explain(made, key, limits(means))


def _keep_inventory(means: Means, plan: Plan) -> None:
    """Its copy of the inventory and of the approved keys: what moved is told from it, and a resume works from it."""
    hosts = [item.host for item in plan.hosts]
    known = {*hosts, *(item.drain_through for item in plan.hosts if item.drain_through)}
    approved = {key: _approved_now(means)(key) for key in known}
    snapshot.save(means.store, plan.id, means.inventory, hosts, means.clock(), approved=approved)


def _fellows(means: Means, hosts: Iterable[Host]) -> tuple[Host, ...]:
    """The managed hosts whose state decides whether these may be out of service."""
    keys = limits(means).fellows(host.key for host in hosts)
    return tuple(host for host in means.inventory if host.key in keys and host.managed)


def ready(means: Means, plan_id: str) -> Ready:
    """A plan that has not begun, compared with the hosts as they are now. Raises StalePlan, saying what moved."""
    state = means.journal.load(plan_id, kind=propose.KIND)
    means.journal.refuse_at_work(state.plan.id)
    if state.status is not Status.PLANNED:
        hint = f"opsctl patch resume {state.plan.id}" if state.status is not Status.DONE else "opsctl patch plan"
        raise Refused(f"{state.plan.id} has begun before: it is {state.status}", hint=hint)
    claims.refuse_held(state.plan, Leases(means.store), limits(means), means.clock())
    plan, before = state.plan, snapshot.load(means.store, state.plan.id)
    # Compared first without the hosts: that says more than a host which is gone from the inventory.
    stale.refuse_stale(plan, means.inventory, means.content_digest, {}, before=before)
    hosts = [means.inventory.host(item.host) for item in plan.hosts]
    only, names = plan.security_only, plan.packages
    readings = pending.read(means.transport, hosts, means.store, means.clock, security_only=only, packages=names)
    stale.refuse_stale(plan, means.inventory, means.content_digest, readings, before=before)
    return Ready(state=state, down=contact.unreachable(readings.items()) | _silent(means, _fellows(means, hosts)))


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
    means: Means, rollout_id: str, *, retry: bool, gone: Mapping[str, str] | None = None
) -> tuple[Ready, Taken]:
    """A rollout that stopped, ready to go on. What each host has become is asked of the host itself, step by step."""
    state = means.journal.load(rollout_id, kind=propose.KIND)
    means.journal.refuse_at_work(state.plan.id)
    gone = gone or {}
    taken = take_up(state, now=means.clock(), retry=retry, gone=gone)
    hosts = [means.inventory.host(item.host) for item in taken.state.plan.hosts if item.host not in gone]
    asked = (*hosts, *(host for host in _fellows(means, hosts) if host.key not in gone))
    return Ready(state=taken.state, down=_silent(means, asked), gone=frozenset(gone)), taken


def _silent(means: Means, hosts: Sequence[Host]) -> frozenset[str]:
    """The hosts whose health nobody can read now."""
    answers = contact.health_of_all(means.transport, hosts)
    return frozenset(key for key, answer in answers.items() if isinstance(answer, str))


def start(means: Means, rollout: Ready, observe: Callable[[Progress], None]) -> Ended:
    """Begin a plan; its copy of the inventory, from which a resume works, is kept with it."""
    plan = rollout.state.plan

    def keep() -> None:
        means.refuse_moved(plan)
        _keep_inventory(means, plan)

    return _run(means, rollout, observe, verb="patch start", keep=keep)


def resume(means: Means, rollout: Ready, observe: Callable[[Progress], None]) -> Ended:
    """Go on with what `take_up_again` gave."""
    return _run(means, rollout, observe, verb="patch resume")


def _run(
    means: Means,
    rollout: Ready,
    observe: Callable[[Progress], None],
    *,
    verb: str,
    keep: Callable[[], None] = lambda: None,
) -> Ended:
    change = PatchChange(means.transport, means.inventory, means.settings, reboot=rollout.state.plan.reboot)
    with telling(means, observe) as tell:
        return execute(
            rollout.state,
            change,
            verb=verb,
            who=means.who,
            store=means.store,
            ledger=means.ledger,
            inventory=means.inventory,
            limits=limits(means),
            clock=means.clock,
            observe=observe,
            closed=_schedule(means, rollout.state.plan).closed,
            down=rollout.down,
            gone=rollout.gone,
            keep=keep,
            tell=tell,
        )
