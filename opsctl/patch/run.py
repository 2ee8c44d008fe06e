"""Patching from wish to plan, and whether the plan still fits. How a plan runs: rollout/ride.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from opsctl.errors import HostFailed, NothingMatches
from opsctl.inventory import calendars, snapshot
from opsctl.model.host import Host
from opsctl.model.rollout import HostPlan, Plan, RolloutState
from opsctl.monitor.alerts import Alerts
from opsctl.patch import propose, reading, rollback, stale, waits
from opsctl.patch.change import PatchChange
from opsctl.patch.expected import from_history
from opsctl.patch.pending import Readings
from opsctl.patch.propose import Wish
from opsctl.rollout import claims, contact, frozen, probing, ride
from opsctl.rollout import explain as explaining
from opsctl.rollout import limits as limiting
from opsctl.rollout import plan as planning
from opsctl.rollout.change import Change
from opsctl.rollout.limits import Limits
from opsctl.rollout.means import Means
from opsctl.rollout.plan import Pace
from opsctl.rollout.ride import Ready, Rider
from opsctl.rollout.timing import Timing
from opsctl.rollout.timing import not_in_time as late
from opsctl.state.leases import Leases
from opsctl.state.updates import Updates


def limits(means: Means) -> Limits:
    return limiting.of(means.inventory, balancers=contact.balancers(means.inventory))


def _change(means: Means, plan: Plan) -> Change:
    def installed(host: Host, item: HostPlan) -> None:
        versions = {package.name: package.after for package in item.packages}
        Updates(means.store).installed(host.key, versions, means.clock(), plan.id)

    return PatchChange(means.transport, means.inventory, means.settings, plan=plan, installed=installed)


def _account(means: Means, state: RolloutState) -> None:
    """Remember for the year's account why hosts of a rollout were not changed."""
    Updates(means.store).keep_waits(waits.of_rollout(state))


RIDER = Rider(kind=propose.KIND, limits=limits, change=_change, ended=_account)


def refresh(means: Means, hosts: Iterable[Host]) -> Readings:
    """Fetch the package lists on the hosts, entered in the ledger, and read what is pending."""
    chosen = tuple(hosts)
    keys = [host.key for host in chosen]
    with means.ledger.act("patch refresh", keys, {}, means.who, means.clock) as act:
        readings = reading.read(means.transport, chosen, means.store, means.clock, refresh=True)
        failed = [key for key, one in readings.items() if isinstance(one, HostFailed)]
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
    asked = (*managed, *ride.fellows(RIDER, means, managed))
    only, names = wish.security_only, wish.packages
    # Asked first: hosts are not read for nothing.
    alerting = Alerts.of(means.settings, means.inventory).hosts() & {host.key for host in asked}
    readings = reading.read(means.transport, asked, means.store, means.clock, security_only=only, packages=names)
    propose.refuse_unknown(wish.packages, {host.key: readings[host.key] for host in managed})
    made = propose.propose(
        means.inventory,
        chosen,
        readings,
        wish,
        now=timing.now,
        who=means.who,
        content_digest=means.content_digest,
        alerting=alerting,
        timing=timing,
        outages=probing.outages(means.store, propose.KIND),
        profile=means.settings.text("comply.profile"),
        held=claims.held_by_others(
            managed, Leases(means.store), limits(means), contact.balancers(means.inventory), timing.now, wish.at
        ),
    )
    Updates(means.store).keep_waits(waits.of_plan(made))
    if not made.emergency:
        return ride.keep(means, made)
    detail: dict[str, object] = {"plan": made.id, "plan_hash": made.hash}
    detail |= {"emergency": made.emergency, "ticket": made.ticket}
    with means.ledger.act("patch plan", [item.host for item in made.hosts], detail, means.who, means.clock):
        return ride.keep(means, made)


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


def explain(means: Means, made: Plan, key: str) -> tuple[str, ...]:
    """Why a host stands where it stands in a plan that was made now, or why it was left out."""
    return explaining.explain(made, key, limits(means))


def ready(means: Means, plan_id: str) -> Ready:
    """A plan that has not begun, compared with the hosts as they are now. Raises StalePlan, saying what moved."""
    state = ride.not_begun(RIDER, means, plan_id)
    plan, before = state.plan, snapshot.load(means.store, state.plan.id)
    # Compared first without the hosts: that says more than a host which is gone from the inventory.
    stale.refuse_stale(plan, means.inventory, means.content_digest, {}, before=before)
    hosts = [means.inventory.host(item.host) for item in plan.hosts]
    readings = read_planned(means, plan, hosts)
    stale.refuse_stale(plan, means.inventory, means.content_digest, readings, before=before)
    near = ride.silent(means, ride.fellows(RIDER, means, hosts))
    told = stale.mirrors_moved(plan, readings)
    return Ready(state=state, down=contact.unreachable(readings.items()) | near, told=told)


def take_back(means: Means, state: RolloutState, limit: Sequence[str], wish: Wish) -> Ready:
    """What puts back the versions that a rollout replaced, as a plan that is not kept yet. Hosts are only read.

    `limit` names hosts of the rollout. `means` hold the rollout's own copy of the inventory.
    """
    plan, timing = state.plan, _timing(means, None, emergency=bool(wish.emergency))
    asked = {host.key for host in means.inventory.named(limit)} if limit else None
    keys = [item.host for item in plan.hosts if asked is None or item.host in asked]
    if not keys:
        raise NothingMatches(f"{plan.id} has none of these hosts", hint=f"opsctl patch status {plan.id}")
    gone = ride.no_longer_ours(means, plan)
    hosts, exact = [means.inventory.host(key) for key in keys], rollback.wanted(plan)
    readings = reading.read(
        means.transport, [host for host in hosts if host.key not in gone], means.store, means.clock,
        planned=exact, downgrade=True,
    )  # fmt: skip
    slots = {host.key: timing.slot(host) for host in hosts}
    chosen = rollback.choose(plan, keys, readings, reboot=wish.reboot, gone=gone, slots=slots)
    near = [host for host in ride.fellows(RIDER, means, hosts) if host.key not in gone]
    down = contact.unreachable(readings.items()) | ride.silent(means, near)
    pace = Pace(limit=wish.max_parallel)
    arranged = planning.arrange(chosen.hosts, means.inventory, limits(means), pace=pace, down=down)
    whole, each = frozen.budgets(means.inventory, arranged.waves, wish.budgets)
    usual = means.settings.text("comply.profile")
    gates = frozen.gates(means.inventory, arranged.waves, emergency=bool(wish.emergency), profile=usual)
    made = planning.freeze(
        arranged, kind=propose.KIND, now=timing.now, made_by=means.who, inventory_digest=means.inventory.digest,
        content_digest=means.content_digest, left_out=chosen.left_out, pace=pace, failure_budget=whole,
        wave_budgets=each, gates=gates, reboot=wish.reboot, options=wish.options, ticket=wish.ticket,
        emergency=wish.emergency, down=down, approval=planning.approval_rings(arranged.waves, means.inventory),
        rollback_of=plan.id, mirrors=propose.mirror_states(readings[item.host] for item in chosen.hosts),
    )  # fmt: skip
    claims.refuse_held(made, Leases(means.store), limits(means), means.clock())
    return Ready(state=means.journal.unsaved(made), down=down, gone=frozenset(gone))


def read_planned(means: Means, plan: Plan, hosts: Iterable[Host]) -> Readings:
    """What the planned versions would do on each host now."""
    exact = {item.host: item.packages for item in plan.hosts}
    back = bool(plan.rollback_of)
    return reading.read(means.transport, hosts, means.store, means.clock, planned=exact, downgrade=back, brief=True)
