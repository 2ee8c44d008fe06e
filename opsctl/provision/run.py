"""Provisioning from a selection of hosts to its end: look who answers, arrange, run or only show what would change."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

from opsctl.ansible.runner import run_playbook
from opsctl.config import Settings
from opsctl.errors import Incomplete, Locked, StalePlan
from opsctl.inventory import calendars
from opsctl.model.host import Host
from opsctl.model.rollout import HostPlan, LeftOut, Plan, Status
from opsctl.model.run import PlaybookRun, RunEvent, TaskEnded
from opsctl.provision.change import PLAYBOOK, ProvisionChange
from opsctl.rollout import claims, contact
from opsctl.rollout import limits as limiting
from opsctl.rollout import plan as planning
from opsctl.rollout.drive import Progress
from opsctl.rollout.execute import Ended, execute, mend_missed, why_missed
from opsctl.rollout.journal import Journal
from opsctl.rollout.limits import Limits
from opsctl.rollout.means import Means
from opsctl.rollout.plan import Pace
from opsctl.rollout.schedule import Schedule
from opsctl.rollout.timing import Slot, Timing
from opsctl.state.leases import Leases
from opsctl.state.store import Store

KIND = "provision"
# Provisioning stops at the first host that fails or cannot be reached afterwards.
BUDGET = 1


def limits(means: Means) -> Limits:
    return limiting.of(means.inventory)


def pace(settings: Settings, hosts: int | None) -> Pace:
    """One host first, then twice as many each time, up to `provision.max_hosts`; more only where a person says so."""
    return Pace(limit=hosts or settings.number("provision.max_hosts"), growing=True)


def plan(
    means: Means, hosts: Sequence[Host], pace: Pace, *, check: bool = False, emergency: str = "", ticket: str = ""
) -> Plan:
    """Who comes when; hosts that do not answer are left out, and count as out of service. Changes nothing.

    Those that may not be changed now, by window or freeze, are left out as well, but for a check that changes nothing.
    Raises InventoryError for a calendar with faults.
    """
    slots = {} if check else _slots(means, hosts, emergency=bool(emergency))
    managed = [host for host in hosts if host.managed]
    keys = limits(means).fellows(host.key for host in managed)
    fellows = [host for host in means.inventory if host.key in keys and host.managed]
    answers = contact.health_of_all(means.transport, [*managed, *fellows])
    silent = {key: answer for key, answer in answers.items() if isinstance(answer, str)}
    why = {host.key: f"not managed: {host.why_not_managed}" for host in hosts if not host.managed}
    why |= {key: slot.reason for key, slot in slots.items() if slot.reason}
    why |= {host.key: f"unreachable: {silent[host.key]}" for host in managed if host.key in silent}
    arrangement = planning.arrange(
        [_host_plan(host.key, slots.get(host.key)) for host in managed if host.key not in why],
        means.inventory,
        limits(means),
        pace=pace,
        down=frozenset(silent),
    )
    return planning.freeze(
        arrangement,
        kind=KIND,
        now=means.clock(),
        made_by=means.who,
        inventory_digest=means.inventory.digest,
        content_digest=means.content_digest,
        left_out=[LeftOut(host=key, reason=reason, missed=key in answers) for key, reason in why.items()],
        pace=pace,
        failure_budget=BUDGET,
        ticket=ticket,
        emergency=emergency,
        down=silent,
    )


def _slots(means: Means, hosts: Sequence[Host], *, emergency: bool) -> Mapping[str, Slot]:
    """When the managed hosts may be changed; only now counts, for nobody comes back later."""
    now, usual = means.clock(), timedelta(minutes=means.settings.number("provision.expected_minutes"))
    hours = calendars.load(means.settings, means.inventory, now)
    timing = Timing(hours=hours, now=now, at=now, emergency=emergency, usual=usual)
    return {host.key: timing.slot(host) for host in hosts if host.managed}


def _host_plan(key: str, slot: Slot | None) -> HostPlan:
    if slot is None:
        return HostPlan(host=key)
    return HostPlan(host=key, expected_seconds=int(slot.takes.total_seconds()), window=slot.window)


def run(
    means: Means,
    made: Plan,
    observe: Callable[[Progress], None],
    *,
    on_event: Callable[[RunEvent], None] | None = None,
) -> Ended:
    """Carry the plan out, batch by batch."""
    journal = means.journal
    _clear_after_killed(means, journal)
    claims.refuse_held(made, Leases(means.store), limits(means), means.clock())
    change = ProvisionChange(
        means.transport,
        means.inventory,
        means.settings,
        keep=lambda done: keep(means.store, done),
        on_event=on_event,
    )
    return execute(
        journal.unsaved(made),
        change,
        verb=KIND,
        who=means.who,
        store=means.store,
        ledger=means.ledger,
        inventory=means.inventory,
        limits=limits(means),
        clock=means.clock,
        observe=observe,
        down=frozenset(made.down),
        closed=Schedule(means.settings, means.inventory, means.clock, emergency=bool(made.emergency)).closed,
        keep=lambda: means.refuse_moved(made),
    )


def check(means: Means, made: Plan, *, on_event: Callable[[RunEvent], None] | None = None) -> PlaybookRun:
    """What provisioning would change on the plan's hosts; changes nothing."""
    hosts = [means.inventory.host(item.host) for item in made.hosts]
    if not hosts:
        raise Incomplete(f"no host can be provisioned; {why_missed(made)}", hint=mend_missed(made))
    done = run_playbook(
        PLAYBOOK,
        hosts,
        transport=means.transport,
        inventory=means.inventory,
        settings=means.settings,
        check=True,
        on_event=on_event,
    )
    keep(means.store, done)
    return done


def keep(store: Store, done: PlaybookRun) -> None:
    """Record a playbook run: what changed or failed, and each host's end."""
    detail = {"playbook": done.playbook, "check": done.check, "hosts": list(done.hosts), "exit_code": done.exit_code}
    with store.transaction():
        run_id = store.new_run(KIND, json.dumps(detail), done.started)
        told = (event for event in done.events if isinstance(event, TaskEnded))
        store.add_events(
            run_id,
            [
                (event.host, event.outcome, json.dumps({"task": event.task, "message": event.message}), event.at)
                for event in told
                if event.outcome not in ("ok", "skipped")
            ],
        )
        store.end_run(run_id, "ok" if done.good else "failed", done.ended)


def _clear_after_killed(means: Means, journal: Journal) -> None:
    """A provisioning whose process is gone holds its hosts no longer: a new one begins from the hosts themselves."""
    leases = Leases(means.store)
    # By the leases: one that was killed at once holds some, and nothing else of it was ever kept.
    leases.release([one for one in leases.held() if _is_dead(claims.rollout_of(one.holder), journal)])
    for state in journal.all(KIND):
        if state.status is Status.RUNNING and not journal.at_work(state.plan.id):
            # Others may see the same, or it ended while we looked: then it is clear without us.
            with suppress(Locked, StalePlan), journal.alone(state.plan.id, f"{means.who} clears up"):
                journal.save_status(state, Status.ABORTED, means.clock(), reason="its process was killed")


def _is_dead(rollout: str, journal: Journal) -> bool:
    return rollout.startswith(f"{KIND}-") and not journal.at_work(rollout)
