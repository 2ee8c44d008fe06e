"""Taking up a rollout that stopped: what becomes of each saved state before the driver goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from opsctl.errors import Refused
from opsctl.model.host import Inventory
from opsctl.model.rollout import HostState, Plan, RolloutState, Stage, Status
from opsctl.rollout import lines, machine
from opsctl.rollout.machine import Event, Kind

# Nothing of a host is changed any more from here on.
_AFTER_ITS_LAST_EFFECT = frozenset({Stage.VERIFIED, Stage.UNDRAINED, Stage.DONE})


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A rollout ready to go on; `left` are failed hosts that it will not touch again."""

    state: RolloutState
    left: tuple[str, ...]


def no_longer_ours(
    plan: Plan, inventory: Inventory, approved: Mapping[str, frozenset[str]], now: Callable[[str], frozenset[str]]
) -> dict[str, str]:
    """Which hosts and load balancers of a plan must not be touched any more, and why.

    `inventory` is the one that is written now, `approved` the fingerprints of each host's keys when the plan began, and
    `now` gives today's. Everything else of a resume is taken from the plan's own copy.
    """
    managed = {host.key: host for host in inventory}
    found = {}
    for key in dict.fromkeys(
        (*(i.host for i in plan.hosts), *(i.drain_through for i in plan.hosts if i.drain_through))
    ):
        host = managed.get(key)
        if host is None:
            found[key] = "it is no longer in the inventory"
        elif not host.managed:
            found[key] = f"it is no longer managed: {host.why_not_managed}"
        elif now(key) != approved.get(key, now(key)):
            found[key] = "its approved key has changed since the rollout began"
    return found


def take_up(state: RolloutState, *, now: datetime, retry: bool = False, gone: Mapping[str, str] | None = None) -> Taken:
    """The rollout as it goes on: failures are acknowledged by whoever resumes, or with `retry` tried again.

    `gone` are the hosts that are no longer ours, with the reason: they are skipped. Pure: the driver keeps it once
    nobody else can be at it. Raises Refused for one that has nothing left to do.
    """
    if state.status is Status.PLANNED:
        raise Refused(f"{state.plan.id} has not begun", hint=lines.begin(state.plan))
    failed = state.count(Stage.FAILED)
    if state.status is Status.ABORTED or (state.status is Status.DONE and not (retry and failed)):
        again = failed and state.status is Status.DONE
        hint = f"{lines.resume(state.plan)} --retry" if again else f"make a new plan: {lines.plan(state.plan.kind)}"
        raise Refused(f"{state.plan.id} is {state.status}: nothing is left to do", hint=hint)
    gone = gone or {}
    fronts = {item.host: item.drain_through for item in state.plan.hosts}
    hosts = []
    for host in state.hosts:
        front = gone.get(fronts[host.host], "")
        closed = front and f"its load balancer {fronts[host.host]}: {front}"
        hosts.append(_taken_up(host, now, retry=retry, gone=gone.get(host.host, ""), closed=closed))
    left = tuple(host.host for host in hosts if host.stage is Stage.FAILED and not _lacks_only_undrain(host))
    return Taken(state=replace(state, hosts=tuple(hosts)), left=left)


def _lacks_only_undrain(state: HostState) -> bool:
    return state.drained and state.last is Stage.VERIFIED


def how_to_go_on(state: RolloutState) -> str:
    """The command lines that go on with a rollout that has stopped, where hosts failed one for each decision."""
    if state.status is Status.ABORTED:
        return f"see to what is in the middle; for the rest: {lines.plan(state.plan.kind)}"
    line = lines.resume(state.plan)
    if state.status is Status.DONE and not state.count(Stage.FAILED):
        return f"for what was skipped, once it is ours again: {lines.plan(state.plan.kind)}"
    if not any(host.stage is Stage.FAILED and not _lacks_only_undrain(host) for host in state.hosts):
        return line
    retry = f"{line} --retry tries the failed hosts again"
    return retry if state.status is Status.DONE else f"{retry}; {line} leaves them as they are"


def _taken_up(state: HostState, now: datetime, *, retry: bool, gone: str, closed: str) -> HostState:
    """`gone`: why the host is not ours any more; `closed`: why the load balancer in front of it is not."""
    resting = state.stage in (Stage.FAILED, Stage.SKIPPED)
    still_owed = state.stage not in _AFTER_ITS_LAST_EFFECT or (state.drained and closed)
    if not resting and (gone or closed) and still_owed:
        state = machine.advance(state, Event(kind=Kind.SKIPPED, at=now, reason=gone or closed))
    elif state.stage is Stage.FAILED and retry and not state.drained and not (gone or closed):
        return machine.advance(state, Event(kind=Kind.RETRIED, at=now))
    elif resting:
        state = machine.advance(state, Event(kind=Kind.ACKNOWLEDGED, at=now))
    if state.drained and closed:
        return machine.advance(state, Event(kind=Kind.FAILED, at=now, reason=closed))
    return state
