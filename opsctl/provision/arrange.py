"""Hosts -> a frozen plan of provisioning: who may be changed, when, and in which batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from opsctl.config import Settings
from opsctl.inventory import calendars
from opsctl.model.host import Host, Inventory
from opsctl.model.rollout import HostPlan, LeftOut, Plan
from opsctl.monitor.alerts import Alerts
from opsctl.provision import variables
from opsctl.provision.foreseen import Foreseen
from opsctl.provision.look import Look
from opsctl.rollout import contact, frozen
from opsctl.rollout import limits as limiting
from opsctl.rollout import plan as planning
from opsctl.rollout.frozen import Budgets
from opsctl.rollout.limits import Limits
from opsctl.rollout.means import Means
from opsctl.rollout.plan import Pace
from opsctl.rollout.timing import Slot, Timing

KIND = "provision"
EXCLUDED = "excluded (--exclude)"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a person asks of a plan; `excluded` are host keys, `at` the time that it is made for."""

    pace: Pace
    budgets: Budgets = field(default_factory=Budgets)
    options: tuple[str, ...] = ()
    excluded: frozenset[str] = frozenset()
    ticket: str = ""
    at: datetime | None = None
    emergency: str = ""


def limits(means: Means) -> Limits:
    return limiting.of(means.inventory, balancers=contact.named_balancers(means.inventory))


def pace(settings: Settings, hosts: int | None) -> Pace:
    """One host first, then twice as many each time, up to `provision.max_hosts`; more only where a person says so."""
    return Pace(limit=hosts or settings.number("provision.max_hosts"), growing=True)


def timing_of(means: Means, at: datetime | None, *, emergency: bool) -> Timing:
    """Windows, freezes and expected times. Raises InventoryError for a calendar with faults."""
    now, usual = means.clock(), timedelta(minutes=means.settings.number("provision.expected_minutes"))
    hours = calendars.load(means.settings, means.inventory, now)
    return Timing(hours=hours, now=now, at=at, emergency=emergency, usual=usual)


def arranged(
    means: Means,
    hosts: Sequence[Host],
    wish: Wish,
    timing: Timing | None,
    *,
    look: Look | None = None,
    now_or_never: bool = False,
) -> Plan:
    """The frozen plan; `look` tells what would change on the hosts that are fit.

    `now_or_never`: a host whose window is not open now is missed, for nobody comes back later.
    """
    managed = [host for host in hosts if host.managed and host.key not in wish.excluded]
    slots = {host.key: timing.slot(host) for host in managed} if timing else {}
    keys = limits(means).fellows(host.key for host in managed)
    near = [host for host in means.inventory if host.key in keys and host.managed]
    alerting = Alerts.of(means.settings, means.inventory).hosts() & {host.key for host in (*managed, *near)}
    answers = contact.health_of_all(means.transport, [*managed, *near])
    silent = {key: answer for key, answer in answers.items() if isinstance(answer, str)}
    left = {host.key: _unfit(host, wish, slots.get(host.key), silent, now_or_never=now_or_never) for host in hosts}
    fit = [host for host in managed if left[host.key] is None]
    left |= look.at(fit) if look else {}
    found = look.found if look else {}
    planned = [host for host in fit if left[host.key] is None]
    down = frozenset(silent) | alerting
    arrangement = planning.arrange(
        [_host_plan(means.inventory, host, slots.get(host.key), found.get(host.key)) for host in planned],
        means.inventory,
        limits(means),
        pace=wish.pace,
        down=down,
    )
    whole, each = frozen.budgets(means.inventory, arrangement.waves, wish.budgets)
    usual = means.settings.text("comply.profile")
    gates = frozen.gates(means.inventory, arrangement.waves, emergency=bool(wish.emergency), profile=usual)
    return planning.freeze(
        arrangement,
        kind=KIND,
        now=means.clock(),
        made_by=means.who,
        inventory_digest=means.inventory.digest,
        content_digest=means.content_digest,
        left_out=[one for one in left.values() if one is not None],
        pace=wish.pace,
        failure_budget=whole,
        wave_budgets=each,
        gates=gates,
        options=wish.options,
        ticket=wish.ticket,
        start_at=wish.at,
        emergency=wish.emergency,
        down=down,
        approval=planning.approval_rings(arrangement.waves, means.inventory),
        variables_digest=variables.digest(look.read_for(planned)) if look and planned else "",
    )


def _unfit(
    host: Host, wish: Wish, slot: Slot | None, silent: Mapping[str, str], *, now_or_never: bool
) -> LeftOut | None:
    """Why a host is not in the plan, as far as that is known before anybody looks what would change on it."""
    if host.key in wish.excluded:
        return LeftOut(host=host.key, reason=EXCLUDED)
    if not host.managed:
        return LeftOut(host=host.key, reason=f"not managed: {host.why_not_managed}")
    if host.key in silent:
        return LeftOut(host=host.key, reason=f"unreachable: {silent[host.key]}", missed=True)
    if slot is not None and slot.reason:
        return LeftOut(host=host.key, reason=slot.reason, missed=now_or_never or slot.missed)
    return None


def _host_plan(inventory: Inventory, host: Host, slot: Slot | None, found: Foreseen | None) -> HostPlan:
    """Traffic is taken away only where `handling` says so: most of provisioning disturbs nobody."""
    return HostPlan(
        host=host.key,
        drain_through=contact.named_balancers(inventory).get(host.key, ""),
        hooks=contact.handling_of(inventory, host).hooks,
        expected_seconds=int(slot.takes.total_seconds()) if slot else 0,
        window=slot.window if slot else "",
        opens_at=slot.opens_at if slot else None,
        changes=len(found.tasks) if found else 0,
        foreseen=found.digest if found else "",
    )
