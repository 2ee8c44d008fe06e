"""Following a rollout from outside: what changed between two looks, until it rests. Reads the store alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from opsctl.model.rollout import RolloutState, Stage, Status
from opsctl.rollout.parts import Progress
from opsctl.rollout.standing import Standing


def follow(look: Callable[[], Standing], pause: Callable[[], None]) -> Iterator[Standing]:
    """One standing after the other, the last one when nothing goes on any more; `pause` waits in between."""
    while True:
        now = look()
        yield now
        if now.resting:
            return
        pause()


def changes(before: RolloutState | None, after: RolloutState) -> Iterator[Progress]:
    """What happened between two looks, in the order of time; at the first look how far each host is that has begun."""
    known = {host.host: host for host in before.hosts} if before else {}
    found = []
    for host in after.hosts:
        was = known.get(host.host)
        begun = host.stage is not Stage.PLANNED
        if (was is None and begun) or (was is not None and (was.stage, was.drained) != (host.stage, host.drained)):
            more = f": {host.reason}" if host.reason else ""
            drained = ", drained" if host.drained else ""
            found.append(Progress(host=host.host, text=f"{host.stage}{drained}{more}", at=host.at))
    steps = sorted(found, key=lambda step: step.at)
    if before is not None and (before.status, before.reason) == (after.status, after.reason):
        yield from steps
        return
    more = f": {after.reason}" if after.reason else ""
    whole = Progress(host="", text=f"{after.plan.id}: {after.status}{more}", at=after.at)
    # A beginning is told before its steps, an end after them.
    yield from (whole, *steps) if after.status is Status.RUNNING else (*steps, whole)
