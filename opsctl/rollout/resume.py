"""Taking up a rollout that stopped: what becomes of each saved state before the driver goes on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from opsctl.errors import Refused
from opsctl.model.rollout import HostState, RolloutState, Stage, Status
from opsctl.rollout import machine
from opsctl.rollout.machine import Event, Kind


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A rollout ready to go on; `left` are failed hosts that it will not touch again."""

    state: RolloutState
    left: tuple[str, ...]


def take_up(state: RolloutState, *, now: datetime, retry: bool = False) -> Taken:
    """The rollout as it goes on: failures are acknowledged by whoever resumes, or with `retry` tried again.

    Pure: the driver keeps it once nobody else can be at it. Raises Refused for one that has nothing left to do.
    """
    if state.status is Status.PLANNED:
        raise Refused(f"{state.plan.id} has not begun", hint=f"opsctl patch start {state.plan.id}")
    failed = state.count(Stage.FAILED)
    if state.status is Status.ABORTED or (state.status is Status.DONE and not (retry and failed)):
        hint = f"opsctl patch resume {state.plan.id} --retry" if failed else "make a new plan"
        raise Refused(f"{state.plan.id} is {state.status}: nothing is left to do", hint=hint)
    hosts = tuple(_taken_up(host, now, retry=retry) for host in state.hosts)
    left = tuple(host.host for host in hosts if host.stage is Stage.FAILED and not _lacks_only_undrain(host))
    return Taken(state=replace(state, hosts=hosts), left=left)


def _lacks_only_undrain(state: HostState) -> bool:
    return state.drained and state.last is Stage.VERIFIED


def how_to_go_on(state: RolloutState) -> str:
    """The command lines that go on with a rollout that has stopped, where hosts failed one for each decision."""
    if state.plan.kind != "patch":
        return "mend the host, then run the same command again: what is done stays done"
    line = f"opsctl patch resume {state.plan.id}"
    if not any(host.stage is Stage.FAILED and not _lacks_only_undrain(host) for host in state.hosts):
        return line
    retry = f"{line} --retry tries the failed hosts again"
    return retry if state.status is Status.DONE else f"{retry}; {line} leaves them as they are"


def _taken_up(state: HostState, now: datetime, *, retry: bool) -> HostState:
    if state.stage is not Stage.FAILED:
        return state
    if retry and not state.drained:
        return machine.advance(state, Event(kind=Kind.RETRIED, at=now))
    return machine.advance(state, Event(kind=Kind.ACKNOWLEDGED, at=now))
