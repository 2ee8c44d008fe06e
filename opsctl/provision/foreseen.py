"""What a check run foresees on one host: the tasks that would change something, with their differences.

A plan keeps its digest, the store the differences beside the plan: bounded, and without what tasks hide (`no_log`) or
the vault holds, for both are gone before an event leaves Ansible (ansible/callback).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from opsctl.model import wire
from opsctl.model.rollout import Plan
from opsctl.model.run import PlaybookRun
from opsctl.state.store import Store

FACT = "foreseen"
# Characters: of one difference, and of all that are kept of one host.
ONE, ALL = 4_000, 60_000
_CUT = "\n... the rest is not kept\n"


@dataclass(frozen=True, kw_only=True)
class TaskChange:
    """A task that would change something; `diff` is empty where its module tells no difference."""

    task: str
    role: str = ""
    diff: str = ""


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """What would change on one host. `digest` is over all of it, before it was cut to what is kept."""

    host: str
    digest: str
    tasks: tuple[TaskChange, ...] = ()


def of(run: PlaybookRun, host: str) -> Foreseen:
    """What a check run foresaw on a host."""
    tasks = tuple(
        TaskChange(task=event.task, role=event.role, diff=event.diff)
        for event in run.results(host)
        if event.outcome == "changed"
    )
    told = json.dumps([(one.role, one.task, one.diff) for one in tasks])
    return Foreseen(host=host, digest=hashlib.sha256(told.encode()).hexdigest() if tasks else "", tasks=tasks)


def bounded(found: Foreseen) -> Foreseen:
    """The same with no more of its differences than is kept."""
    return Foreseen(host=found.host, digest=found.digest, tasks=tuple(_cut(found.tasks)))


def _cut(tasks: Iterable[TaskChange]) -> Iterator[TaskChange]:
    left = ALL
    for one in tasks:
        room = min(ONE, left)
        diff = one.diff if len(one.diff) <= room else one.diff[:room] + _CUT
        left = max(0, left - len(diff))
        yield TaskChange(task=one.task, role=one.role, diff=diff)


def keep(store: Store, plan: Plan, found: Iterable[Foreseen], at: datetime) -> None:
    """Keep the differences of the plan's hosts beside it."""
    planned = {item.host for item in plan.hosts}
    for one in found:
        if one.host in planned:
            store.put_fact(f"rollout:{plan.id}", f"{FACT} {one.host}", wire.dumps(bounded(one)), at)


def load(store: Store, plan: Plan) -> tuple[Foreseen, ...]:
    """What was kept of the plan's hosts, in their order; nothing of a host that nobody looked at."""
    facts = store.facts_of(f"rollout:{plan.id}")
    kept = (facts.get(f"{FACT} {item.host}") for item in plan.hosts)
    return tuple(wire.loads(Foreseen, fact.value_json) for fact in kept if fact is not None)


def what_moved(before: str, found: Foreseen | None, kept: Foreseen | None) -> str:
    """What a fresh check foresees otherwise than the plan does; empty where it is the same."""
    if found is None or found.digest == before:
        return ""
    if not found.tasks:
        return f"{found.host}: nothing would change any more"
    old = {(one.role, one.task): one.diff for one in kept.tasks} if kept else {}
    new = {(one.role, one.task): one.diff for one in bounded(found).tasks}
    differs = [task for (role, task), diff in new.items() if old.get((role, task)) != diff]
    gone = [f"no longer {task!r}" for (role, task) in old if (role, task) not in new]
    told = [*(repr(task) for task in differs), *gone] or ["its order or what was cut off"]
    more = f" and {len(told) - 3} more" if len(told) > 3 else ""
    return f"{found.host} has moved: what would change is another in {', '.join(told[:3])}{more}"
