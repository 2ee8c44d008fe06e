"""Foreign lines into typed events: what our callback plugin writes is parsed here, once, at the border."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, get_args

from opsctl.model.run import HostRecap, RunEvent, TaskEnded, TaskOutcome, TaskStarted

_OUTCOMES = frozenset(get_args(TaskOutcome))
_COUNTS = ("ok", "changed", "failed", "skipped", "unreachable", "rescued", "ignored")


def parse(line: str) -> RunEvent | None:
    """One line as an event; None for a line that is none (cut off when a run was killed)."""
    try:
        found = json.loads(line)
        at = datetime.fromtimestamp(float(found["at"]), UTC)
        return _event(found, at)
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return None


def _event(found: dict[str, Any], at: datetime) -> RunEvent | None:
    if found["kind"] == "task":
        return TaskStarted(at=at, task=str(found["task"]), role=str(found.get("role", "")))
    if found["kind"] == "recap":
        counts = {name: int(found.get(name, 0)) for name in _COUNTS}
        return HostRecap(at=at, host=str(found["host"]), cut_short=bool(found.get("cut_short", True)), **counts)
    if found["kind"] == "result" and found["outcome"] in _OUTCOMES:
        return TaskEnded(
            at=at,
            host=str(found["host"]),
            task=str(found["task"]),
            role=str(found.get("role", "")),
            outcome=found["outcome"],
            message=str(found.get("message", "")),
            ignored=bool(found.get("ignored", False)),
            diff=str(found.get("diff", "")),
        )
    return None
