"""What the next on-call person must know: done, open, unknown, and which decisions are wanted. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from opsctl.model.rollout import Stage, Status
from opsctl.rollout import lines, runbook
from opsctl.rollout.limits import listed
from opsctl.rollout.past import outcome, runner
from opsctl.rollout.standing import Standing, place

SHIFT = timedelta(hours=12)
PARTS = ("decisions", "unknown", "open", "done")
_STOPPED = (Status.PAUSED, Status.HALTED, Status.INTERRUPTED)
# A plan that nobody started within a week is no longer anybody's business of tonight.
_FRESH = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Matter:
    """One thing to know. `next` is the command that goes on with it, `read` the section that tells how."""

    rollout: str
    told: str
    next: str = ""
    read: str = ""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """The report; `since` is where the shift began."""

    since: datetime
    until: datetime
    done: tuple[Matter, ...]
    open: tuple[Matter, ...]
    unknown: tuple[Matter, ...]
    decisions: tuple[Matter, ...]


def report(looks: Sequence[Standing], since: datetime, now: datetime) -> Shift:
    """Of all rollouts (newest first). What a newer one has taken up again is no longer told of an older one."""
    newer: set[str] = set()
    found: dict[str, list[Matter]] = {part: [] for part in PARTS}
    for look in looks:
        state = look.state
        mine = {host.host for host in state.hosts} - newer
        newer |= {host.host for host in state.hosts if host.stage is not Stage.PLANNED}
        for part, matter in _of(look, mine, since, now):
            found[part].append(matter)
    return Shift(since=since, until=now, **{part: tuple(matters) for part, matters in found.items()})


def _of(look: Standing, mine: set[str], since: datetime, now: datetime) -> Iterator[tuple[str, Matter]]:
    state, plan = look.state, look.state.plan
    if state.status in (Status.DONE, Status.ABORTED) and (state.ended_at or state.at) >= since:
        yield "done", Matter(rollout=plan.id, told=f"{outcome(state, '')}: {place(state)}; by {runner(state)}")
    going = state.status in (Status.RUNNING, *_STOPPED)
    if look.busy or going or look.starts:
        yield "open", Matter(rollout=plan.id, told=f"{look.words}; {place(state)}", next=_follow(look))
    elif state.status is Status.PLANNED and plan.hosts and now - plan.made_at < _FRESH:
        told = f"plan for {len(plan.hosts)} hosts by {plan.made_by}, not started"
        yield "open", Matter(rollout=plan.id, told=told, next=lines.begin(plan))
    lost = [host.host for host in state.hosts if host.host in mine and (host.stage is Stage.UNKNOWN or host.stuck)]
    if lost and not look.busy:
        section = runbook.page(runbook.UNKNOWN)
        yield "unknown", Matter(rollout=plan.id, told=listed(lost), next=lines.resume(plan), read=section)
    if not look.busy or look.frozen:
        yield from (("decisions", matter) for matter in _decisions(look, mine))


def _decisions(look: Standing, mine: set[str]) -> Iterator[Matter]:
    state, plan = look.state, look.state.plan
    section = runbook.of_rollout(state, stalled=look.stalled)
    if look.frozen or look.stalled or state.status in _STOPPED:
        kept = f"; kept from others until {look.kept:%Y-%m-%d %H:%MZ}" if look.kept else ""
        drained = f"; drained: {listed(look.drained)}" if look.drained else ""
        told = f"{look.words}{drained}{kept}"
        yield Matter(rollout=plan.id, told=told, next=look.go_on or lines.resume(plan), read=runbook.page(section))
    elif state.status is Status.DONE:
        failed = [h.host for h in state.hosts if h.host in mine and h.stage is Stage.FAILED and not h.acknowledged]
        if failed:
            told = f"failed: {listed(failed)}"
            yield Matter(rollout=plan.id, told=told, next=look.go_on, read=runbook.page(runbook.FAILED))


def _follow(look: Standing) -> str:
    plan = look.state.plan
    return lines.attach(plan.id) if look.busy else f"{lines.status(plan.kind)} {plan.id}"


def parts(found: Shift) -> Iterator[tuple[str, tuple[Matter, ...]]]:
    """The parts that hold something, each with its heading, what is most pressing first."""
    named = (("Decide", found.decisions), ("Nobody knows", found.unknown), ("Open", found.open), ("Done", found.done))
    yield from ((heading, matters) for heading, matters in named if matters)
