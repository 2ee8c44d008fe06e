"""Provisioning as a kind of rollout, and the short way: plan, ask and run at once. A saved plan: saved.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from opsctl.errors import Incomplete, Refused
from opsctl.model.approval import SECOND_PERSON
from opsctl.model.host import Host
from opsctl.model.rollout import Plan
from opsctl.model.run import PlaybookRun
from opsctl.provision import variables
from opsctl.provision.arrange import KIND, Wish, arranged, limits, pace, timing_of
from opsctl.provision.change import ProvisionChange
from opsctl.provision.playbook import OnEvent, check_run, keep
from opsctl.rollout import approval, claims, ride
from opsctl.rollout import explain as explaining
from opsctl.rollout.change import Change
from opsctl.rollout.execute import Ended, mend_missed, why_missed
from opsctl.rollout.means import Means
from opsctl.rollout.parts import Progress
from opsctl.rollout.ride import Ready, Rider
from opsctl.rollout.timing import not_in_time as late
from opsctl.state.leases import Leases

__all__ = ["KIND", "Wish", "pace"]


def rider(on_event: OnEvent | None = None) -> Rider:
    """Provisioning as the engine takes it; `on_event` is told of every task."""

    def change(means: Means, _plan: Plan) -> Change:
        return ProvisionChange(
            means.transport,
            means.inventory,
            means.settings,
            keep=lambda done: keep(means.store, done),
            on_event=on_event,
        )

    return Rider(kind=KIND, limits=limits, change=change, moved=_moved)


def _moved(means: Means, made: Plan) -> tuple[str, ...]:
    """Of a saved plan, what a resume would read anew and find changed; what was begun at once promised nothing."""
    if not made.variables_digest:
        return ()
    content = () if means.content_digest == made.content_digest else ("playbooks, roles or checks have changed",)
    return (*variables.moved(means, made), *content)


def plan(means: Means, hosts: Sequence[Host], wish: Wish, *, check: bool = False) -> Plan:
    """Who comes when; hosts that do not answer are left out, and count as out of service. Keeps nothing.

    Those that may not be changed now, by window or freeze, are left out as well, but for a check that changes nothing.
    Raises InventoryError for a calendar with faults.
    """
    now = means.clock()
    timing = None if check else timing_of(means, now, emergency=bool(wish.emergency))
    return arranged(means, hosts, wish, timing, now_or_never=True)


def refuse_unapproved(made: Plan) -> None:
    """Raise Refused where a ring wants a second person, who can only approve a plan that is kept."""
    if made.approval and not approval.may_follow(made):
        raise Refused(
            f"ring {', '.join(made.approval)} {SECOND_PERSON}: not without a saved plan",
            hint="opsctl provision plan; then provision approve and provision apply with its name",
        )


def run(means: Means, made: Plan, observe: Callable[[Progress], None], *, on_event: OnEvent | None = None) -> Ended:
    """Keep a plan that was made just now, and carry it out. One that is refused at once leaves nothing behind."""
    claims.refuse_held(made, Leases(means.store), limits(means), means.clock())
    means.refuse_moved(made)
    state = ride.keep(means, made)
    again = replace(rider(on_event), keeps=False)  # who runs it again has a rollout of another name
    return ride.start(again, means, Ready(state=state, down=frozenset(made.down)), observe)


def check(means: Means, made: Plan, *, on_event: OnEvent | None = None) -> PlaybookRun:
    """What provisioning would change on the plan's hosts; changes nothing."""
    hosts = [means.inventory.host(item.host) for item in made.hosts]
    if not hosts:
        raise Incomplete(f"no host can be provisioned; {why_missed(made)}", hint=mend_missed(made))
    return check_run(means, hosts, on_event)


def explain(means: Means, made: Plan, key: str) -> tuple[str, ...]:
    """Why a host stands where it stands in a plan that was made now, or why it was left out."""
    return explaining.explain(made, key, limits(means))


def not_in_time(means: Means, made: Plan) -> tuple[str, ...]:
    """The hosts of a plan that was made now which would not have their turn before their window ends."""
    return late(made, means.inventory, timing_of(means, made.start_at, emergency=bool(made.emergency)))
