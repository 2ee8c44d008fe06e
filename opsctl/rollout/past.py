"""What rollouts have been: when, by whom, with which outcome, how long; of all hosts or of one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from opsctl.model.rollout import RolloutState, Stage, Status
from opsctl.rollout.execute import outcome_of
from opsctl.rollout.shown import Row, stalled
from opsctl.rollout.standing import age

COLUMNS = ("rollout", "began", "by", "outcome", "hosts done", "took", "remarks")
HOST_COLUMNS = ("rollout", "began", "by", "stage", "packages", "took", "remarks")


def runner(state: RolloutState) -> str:
    """Who ran it last, or who planned what nobody has run."""
    return state.runner.partition(",")[0] or state.plan.made_by


def outcome(state: RolloutState, at_work: str) -> str:
    """One word: how it ended, or how it stands."""
    if stalled(state, at_work):
        return "stalled"
    return outcome_of(state) if state.status is Status.DONE else str(state.status)


def of_rollout(state: RolloutState, at_work: str, now: datetime) -> dict[str, object]:
    """A rollout as history tells it."""
    ended = state.ended_at or (now if at_work else state.at)
    seconds = int((ended - state.started_at).total_seconds()) if state.started_at else None
    return {
        "rollout": state.plan.id,
        "planned_at": state.plan.made_at,
        "planned_by": state.plan.made_by,
        "began": state.started_at,
        "ended": state.ended_at,
        "by": runner(state),
        "outcome": outcome(state, at_work),
        "hosts": len(state.hosts),
        "done": state.count(Stage.DONE),
        "seconds": seconds,
        "ticket": state.plan.ticket,
        "emergency": state.plan.emergency,
        "reason": state.reason,
    }


def row(found: dict[str, object], length: Callable[[object], str]) -> Row:
    said = (found["reason"], f"ticket {found['ticket']}" if found["ticket"] else "")
    emergency = "EMERGENCY" if found["emergency"] else ""
    return (
        found["rollout"], moment(found["began"]), found["by"], found["outcome"], f"{found['done']} of {found['hosts']}",
        length(found["seconds"]), "; ".join(str(text) for text in (emergency, *said) if text),
    )  # fmt: skip


def of_host(states: Iterable[RolloutState], key: str) -> list[dict[str, object]]:
    """Every rollout that has this host in its plan or leaves it out, newest first."""
    found: list[dict[str, object]] = []
    for state in states:
        if left := next((one for one in state.plan.left_out if one.host == key), None):
            found.append(_host(state, "left out", left.reason))
        for host, item in zip(state.hosts, state.plan.hosts, strict=True):
            if host.host == key:
                begun = host.started_at
                found.append(
                    {
                        **_host(state, str(host.stage), "; ".join(text for text in (host.reason, *host.notes) if text)),
                        "began": begun,
                        "at": host.at,
                        "packages": len(item.packages),
                        "seconds": int((host.at - begun).total_seconds()) if begun else None,
                        "attempt": host.attempt,
                    }
                )
    return found


def _host(state: RolloutState, stage: str, reason: str) -> dict[str, object]:
    return {
        "rollout": state.plan.id, "began": None, "at": state.plan.made_at, "by": runner(state), "stage": stage,
        "packages": 0, "seconds": None, "attempt": 1, "reason": reason,
    }  # fmt: skip


def host_row(found: dict[str, object], length: Callable[[object], str]) -> Row:
    return (
        found["rollout"], moment(found["began"]), found["by"], found["stage"], found["packages"] or "",
        length(found["seconds"]), found["reason"],
    )  # fmt: skip


def moment(at: object) -> str:
    return f"{at:%Y-%m-%d %H:%MZ}" if isinstance(at, datetime) else ""


def took(seconds: object) -> str:
    """A length of time in words; empty where it is not known."""
    from datetime import timedelta

    return age(timedelta(seconds=seconds)) if isinstance(seconds, int) else ""
