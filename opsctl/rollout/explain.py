"""Why a host stands where it stands in a plan: which ring, limit or pace put it into its wave and batch. Pure.

A host takes the first batch of its wave that has room and that no limit forbids, and what forbids a batch to it forbids
it for good. So the finished plan still tells why each earlier batch was none.
"""

from __future__ import annotations

from itertools import groupby

from opsctl.errors import UnknownName
from opsctl.model.rollout import Batch, HostPlan, Plan, Wave
from opsctl.rollout.limits import Limits, listed

_LINES = 8


def explain(plan: Plan, key: str, limits: Limits) -> tuple[str, ...]:
    """Why this host, this wave, this batch; for a host that was left out its reason. Raises UnknownName.

    `limits` must be those of the inventory that the plan was made from.
    """
    for left in plan.left_out:
        if left.host == key:
            return (f"left out: {left.reason}",)
    for number, batch_number, wave, batch in plan.batches():
        for item in batch.hosts:
            if item.host == key:
                return (
                    _why_at_all(item),
                    *([f"time: {item.window}"] if item.window else []),
                    f"wave {number}: its ring is {wave.ring}{_rings_before(plan, number)}",
                    *_why_not_before(plan, wave, batch_number, key, limits),
                    _why_here(batch_number, batch, key),
                )
    raise UnknownName(f"{key} was not among the hosts that {plan.id} was made for")


def _why_at_all(item: HostPlan) -> str:
    if item.changes:
        return f"in the plan: {item.changes} tasks would change something (opsctl provision diff shows what)"
    if not item.packages:
        return "in the plan: it was selected and answers"
    named = listed(str(package) for package in item.packages)
    return f"in the plan: {len(item.packages)} to install: {named}"


def _rings_before(plan: Plan, number: int) -> str:
    before = [wave.ring for wave in plan.waves[: number - 1]]
    return f", which comes after {', '.join(before)}" if before else ", the first of this plan"


def _why_here(number: int, batch: Batch, key: str) -> str:
    others = listed(one.host for one in batch.hosts if one.host != key)
    placed = f"batch {number}: the first of its wave that has room and that no limit forbids"
    return f"{placed}; together with {others}" if others else f"{placed}; alone"


def _why_not_before(plan: Plan, wave: Wave, number: int, key: str, limits: Limits) -> list[str]:
    """One line for each run of earlier batches that one reason forbids; the first few of many."""
    whys = [(n, _why_not(plan, wave, n, key, limits)) for n in range(1, number)]
    lines = []
    for why, group in groupby(whys, key=lambda pair: pair[1]):
        numbers = [n for n, _ in group]
        which = f"batch {numbers[0]}" if len(numbers) == 1 else f"batches {numbers[0]} to {numbers[-1]}"
        lines.append(f"not in {which}: {why}")
    return lines if len(lines) <= _LINES else [*lines[:_LINES], f"and {len(lines) - _LINES} reasons of the like"]


def _why_not(plan: Plan, wave: Wave, number: int, key: str, limits: Limits) -> str:
    """Why this batch of the wave could not take the host."""
    keys = {item.host for item in wave.batches[number - 1].hosts}
    from_here = {item.host for batch in wave.batches[number - 1 :] for item in batch.hosts}
    if why := limits.why_not(key, keys | set(plan.down), from_here):
        return why
    if apart := limits.apart.get(key, frozenset()) & keys:
        return f"one of it and {listed(apart)} is reached through the other"
    return f"it is full, with {len(keys)} of at most {plan.max_parallel} at once (--max-parallel)"
