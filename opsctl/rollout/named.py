"""Which rollout and which host of it a person means. Raises UnknownName with the nearest name there is."""

from __future__ import annotations

from collections.abc import Sequence

from opsctl.errors import UnknownName
from opsctl.model.nearest import nearest
from opsctl.model.rollout import Plan, RolloutState, Status

OVER = (Status.DONE, Status.ABORTED)


def host_of(plan: Plan, name: str) -> str:
    """The key of a host of a plan, or of one that it leaves out, by its key or its name alone."""
    known = [*(item.host for item in plan.hosts), *(one.host for one in plan.left_out)]
    found = [key for key in known if name in (key, key.partition(".")[2])]
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownName(f"several hosts are called {name!r}", hint=f"{' or '.join(found)}?")
    near = nearest(name, [*known, *(key.partition(".")[2] for key in known)])
    raise UnknownName(f"{plan.id} has no host {name!r}", hint=near or f"opsctl patch status {plan.id} lists its hosts")


def newest_with(states: Sequence[RolloutState], name: str, *, going: bool = False) -> RolloutState:
    """The newest rollout that has this host; `going`: the newest that is not over, where there is one.

    `states` are newest first. One that has it in its plan goes before one that only leaves it out.
    """
    of_plan = [one for one in states if _has([item.host for item in one.plan.hosts], name)]
    found = of_plan or [one for one in states if _has([left.host for left in one.plan.left_out], name)]
    if going:
        found = [one for one in found if one.status not in OVER] or found
    if found:
        return found[0]
    known = {item.host for one in states for item in one.plan.hosts}
    near = nearest(name, [*known, *(key.partition(".")[2] for key in known)])
    raise UnknownName(f"no rollout has a host {name!r}", hint=near or "opsctl patch history lists every rollout")


def newest_going(states: Sequence[RolloutState], at_work: Sequence[str] = ()) -> RolloutState:
    """The rollout that somebody works on, else the newest that is not over, else the newest."""
    if not states:
        raise UnknownName("there is no rollout yet", hint="make a plan: opsctl patch plan")
    busy = [one for one in states if one.plan.id in at_work]
    going = [one for one in states if one.status not in (*OVER, Status.PLANNED)]
    return (busy or going or list(states))[0]


def _has(keys: Sequence[str], name: str) -> bool:
    return any(name in (key, key.partition(".")[2]) for key in keys)
