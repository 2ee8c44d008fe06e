"""Why a host of a rollout is where it is, and what a person can do about it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from opsctl.model.rollout import HostPlan, HostState, LeftOut, Stage, Status
from opsctl.rollout import lines, runbook
from opsctl.rollout.limits import Limits
from opsctl.rollout.standing import Standing, age, is_open
from opsctl.state.rolloutlog import Happened

_MOST = 15


@dataclass(frozen=True, kw_only=True)
class Why:
    """The answer: where the host is, `because` of what, where to read, and the next command (both may be empty)."""

    host: str
    rollout: str
    place: str
    stage: str
    because: tuple[str, ...]
    read: str = ""
    next: str = ""


def why(look: Standing, key: str, limits: Limits) -> Why:
    """Why `key` stands where it stands. The host is one of the plan's, or one that it leaves out."""
    state, plan = look.state, look.state.plan
    if left := next((one for one in plan.left_out if one.host == key), None):
        return _left_out(look, left)
    host = next(one for one in state.hosts if one.host == key)
    w, b, ring, item = next(
        (w, b, wave.ring, item) for w, b, wave, batch in plan.batches() for item in batch.hosts if item.host == key
    )
    section = runbook.of_host(host) or runbook.of_rollout(state, stalled=look.stalled)
    over = host.stage is Stage.DONE or (host.untouched and look.busy)
    return Why(
        host=key,
        rollout=plan.id,
        place=f"wave {w} ({ring}), batch {b}",
        stage=f"{host.stage}{', drained' if host.drained else ''}, since {host.at:%Y-%m-%d %H:%M:%SZ}",
        because=tuple(_because(look, host, item, limits)),
        read=runbook.page(section) if section and not over else "",
        next=_next(look, host),
    )


def _left_out(look: Standing, left: LeftOut) -> Why:
    plan = look.state.plan
    again = f"{lines.plan(plan.kind)} --explain {left.host}"
    return Why(
        host=left.host, rollout=plan.id, place="not in the plan", stage="left out", because=(left.reason,), next=again
    )


def _because(look: Standing, host: HostState, item: HostPlan, limits: Limits) -> Iterator[str]:
    wishes = [str(wish) for wish in look.wishes if wish.host in ("", host.host)]
    match host.stage:
        case Stage.DONE:
            yield "it is done" + (f"; {'; '.join(host.notes)}" if host.notes else "")
        case Stage.SKIPPED:
            yield f"it was skipped: {host.reason}"
        case Stage.FAILED:
            yield f"it failed when it was {host.last or 'begun'}: {host.reason}"
        case Stage.UNKNOWN:
            yield f"contact was lost when it was {host.last}: {host.reason}"
            yield "neither failed nor done: a resume asks the host itself"
        case _ if host.untouched:
            yield from _waits(look, host, item, limits)
        case _:
            yield from _under_way(look, host, item)
    if host.stage is not Stage.DONE:
        yield from host.notes
    if host.attempt > 1:
        yield f"attempt {host.attempt}"
    yield from wishes


def _under_way(look: Standing, host: HostState, item: HostPlan) -> Iterator[str]:
    since = host.started_at or host.at
    yield f"it is under way for {age(look.now - since)}, of about {-(-item.expected_seconds // 60)} min"
    if look.frozen or not look.busy:
        yield f"nothing goes on with it: the rollout is {look.words}"
        if host.stage is Stage.INSTALLING:
            yield "an installation that had begun goes on by itself on the host"


def _waits(look: Standing, host: HostState, item: HostPlan, limits: Limits) -> Iterator[str]:
    """Each thing that it waits for, the nearest one last."""
    state = look.state
    if state.status is Status.PLANNED:
        yield f"the rollout {look.words}" if look.starts else "the rollout has not begun"
    elif look.frozen or not look.busy:
        yield f"the rollout is {look.words}"
    states = {one.host: one for one in state.hosts}
    if state.status is not Status.PLANNED:
        for w, b, wave, batch in state.plan.batches():
            if any(one.host == host.host for one in batch.hosts):
                break
            if first := [one.host for one in batch.hosts if is_open(states[one.host])]:
                told = ", ".join(f"{key} ({states[key].stage})" for key in first[:3])
                more = f" and {len(first) - 3} more" if len(first) > 3 else ""
                yield f"wave {w} ({wave.ring}), batch {b} comes before: {told}{more}"
                break
    if closed := look.closed(item):
        yield f"it may not start now: {closed}"
    out = {one.host for one in state.hosts if one.drained or (one.stage is not Stage.DONE and not one.untouched)}
    undone = {key for key in limits.after.get(host.host, ()) if key in states and states[key].stage is not Stage.DONE}
    if limit := limits.why_not(host.host, out | set(state.plan.down), undone):
        yield f"{limit}"
    if item.window:
        yield f"its window, as the plan saw it: {item.window}"


def _next(look: Standing, host: HostState) -> str:
    state = look.state
    if host.stage is Stage.DONE:
        return ""
    if look.busy and not look.frozen:
        return lines.attach(state.plan.id)
    if state.status is Status.PLANNED:
        return lines.begin(state.plan) if look.starts is None else ""
    if host.stage is Stage.FAILED and state.status is not Status.ABORTED and not host.drained:
        return f"mend it, then: {lines.resume(state.plan)} --retry"
    return look.go_on or f"what is left of it: {lines.plan(state.plan.kind)} --limit {host.host}"


def told(found: Why) -> dict[str, str]:
    """Name and value of each part, for people."""
    parts = {
        "rollout": found.rollout,
        "place": found.place,
        "stage": found.stage,
        "because": "\n".join(found.because) or "it is its turn",
        "read": found.read,
        "next": found.next,
    }
    return {name: value for name, value in parts.items() if value}


def story(happened: Iterable[Happened]) -> list[str]:
    """What the log keeps of a host in a rollout, a line for each stage; the last ones of many."""
    return [_line(one) for one in happened][-_MOST:]


def _line(one: Happened) -> str:
    drained = one.detail.get("drained") and one.detail.get("stage") != Stage.DRAINED
    reason = f": {one.detail['reason']}" if one.detail.get("reason") else ""
    return f"{one.at:%Y-%m-%d %H:%M:%SZ} {one.detail.get('stage')}{', drained' if drained else ''}{reason}"
