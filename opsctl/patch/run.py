"""Patching from wish to end: make a plan, see that it still fits, run it, take it up again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from opsctl.errors import HostFailed, InventoryError, Refused
from opsctl.inventory import files, snapshot
from opsctl.model.host import Host
from opsctl.model.rollout import Plan, RolloutState, Status
from opsctl.patch import pending, propose
from opsctl.patch.change import PatchChange
from opsctl.patch.pending import Readings
from opsctl.patch.propose import Wish
from opsctl.rollout import claims, contact
from opsctl.rollout import limits as limiting
from opsctl.rollout import resume as resuming
from opsctl.rollout.drive import Progress
from opsctl.rollout.execute import Ended, execute
from opsctl.rollout.limits import Limits
from opsctl.rollout.means import Means
from opsctl.rollout.resume import Taken, take_up
from opsctl.state.leases import Leases


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A rollout that may begin or go on now; `down` are hosts of it that do not answer, `gone` those no longer ours."""

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
    """Read every host, freeze a plan over them and keep it. The hosts are only read."""
    chosen = tuple(hosts)
    managed = [host for host in chosen if host.managed]
    readings = pending.read(means.transport, managed, means.store, means.clock, security_only=wish.security_only)
    return means.journal.add(
        propose.propose(
            means.inventory,
            chosen,
            readings,
            wish,
            now=means.clock(),
            who=means.who,
            content_digest=means.content_digest,
        )
    )


def ready(means: Means, plan_id: str) -> Ready:
    """A plan that has not begun, compared with the hosts as they are now. Raises StalePlan, saying what moved."""
    state = means.journal.load(plan_id, kind=propose.KIND)
    means.journal.refuse_at_work(state.plan.id)
    if state.status is not Status.PLANNED:
        hint = f"opsctl patch resume {state.plan.id}" if state.status is not Status.DONE else "opsctl patch plan"
        raise Refused(f"{state.plan.id} has begun before: it is {state.status}", hint=hint)
    claims.refuse_held(state.plan, Leases(means.store), limits(means), means.clock())
    # Compared first without the hosts: that says more than a host which is gone from the inventory.
    propose.refuse_stale(state.plan, means.inventory, means.content_digest, {})
    hosts = [means.inventory.host(item.host) for item in state.plan.hosts]
    only = state.plan.security_only
    readings = pending.read(means.transport, hosts, means.store, means.clock, security_only=only)
    propose.refuse_stale(state.plan, means.inventory, means.content_digest, readings)
    return Ready(state=state, down=contact.unreachable(readings.items()))


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
    answers = contact.health_of_all(means.transport, hosts)
    down = frozenset(key for key, answer in answers.items() if isinstance(answer, str))
    return Ready(state=taken.state, down=down, gone=frozenset(gone)), taken


def start(means: Means, rollout: Ready, observe: Callable[[Progress], None]) -> Ended:
    """Begin a plan; its copy of the inventory, from which a resume works, is kept with it."""
    plan = rollout.state.plan
    hosts = [item.host for item in plan.hosts]
    known = {*hosts, *(item.drain_through for item in plan.hosts if item.drain_through)}
    approved = {key: _approved_now(means)(key) for key in known}

    def keep() -> None:
        means.refuse_moved(plan)
        snapshot.save(means.store, plan.id, means.inventory, hosts, means.clock(), approved=approved)

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
        down=rollout.down,
        gone=rollout.gone,
        keep=keep,
    )
