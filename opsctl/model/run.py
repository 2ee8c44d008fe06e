"""One run of one playbook: the events that came while it ran, and what is known of each host at its end.

A host whose run was cut off is `unknown`: neither failed nor done, until it has been asked itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

# What one task did on one host, in Ansible's words.
TaskOutcome = Literal["ok", "changed", "failed", "skipped", "unreachable"]
# What is known of a host when the run is over.
HostOutcome = Literal["ok", "changed", "failed", "unreachable", "unknown"]


@dataclass(frozen=True, kw_only=True)
class TaskStarted:
    """A task begins, on all hosts of the run that are still in it."""

    at: datetime
    task: str
    role: str = ""


@dataclass(frozen=True, kw_only=True)
class TaskEnded:
    """A task ended on one host. `message` is for people: what failed and why, or what a report task said."""

    at: datetime
    host: str
    task: str
    outcome: TaskOutcome
    role: str = ""
    message: str = ""
    ignored: bool = False
    diff: str = ""


@dataclass(frozen=True, kw_only=True)
class HostRecap:
    """Ansible's own count of one host, written when a run comes to its end.

    `cut_short`: a play ended on the way because of other hosts, and this one never came to its end.
    """

    at: datetime
    host: str
    ok: int = 0
    changed: int = 0
    failed: int = 0
    skipped: int = 0
    unreachable: int = 0
    rescued: int = 0
    ignored: int = 0
    cut_short: bool = False


RunEvent = TaskStarted | TaskEnded | HostRecap


# ansible-playbook's exit codes that its recap explains: hosts failed (2), hosts unreachable (4). With any other the run
# itself came to grief, and a host's good recap is only what it had reached by then.
_TOLD = 2 | 4


@dataclass(frozen=True, kw_only=True)
class PlaybookRun:
    """A run that is over. `hosts` are the keys (`tenant.host`) it was for; `output` is what Ansible wrote besides."""

    playbook: str
    hosts: tuple[str, ...]
    check: bool
    started: datetime
    ended: datetime
    exit_code: int
    events: tuple[RunEvent, ...] = ()
    output: str = ""
    interrupted: bool = False
    recaps: dict[str, HostRecap] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return (self.ended - self.started).total_seconds()

    def outcome(self, host: str) -> HostOutcome:
        """What is known of a host; trouble that a task met counts even if the recap is missing."""
        met = {event.outcome for event in self.results(host) if not event.ignored}
        recap = self.recaps.get(host)
        if "unreachable" in met or (recap and recap.unreachable):
            return "unreachable"
        if (recap and recap.failed) or (recap is None and "failed" in met):
            return "failed"
        if recap is None or recap.cut_short or (self.exit_code & ~_TOLD):
            return "unknown"
        return "changed" if recap.changed else "ok"

    def results(self, host: str) -> tuple[TaskEnded, ...]:
        """What the tasks did on one host, in order."""
        return tuple(event for event in self.events if isinstance(event, TaskEnded) and event.host == host)

    def with_outcome(self, *outcomes: HostOutcome) -> tuple[str, ...]:
        """The hosts that ended so, in the order of the run."""
        return tuple(host for host in self.hosts if self.outcome(host) in outcomes)

    @property
    def unreachable(self) -> tuple[str, ...]:
        return self.with_outcome("unreachable")

    @property
    def failed(self) -> tuple[str, ...]:
        return self.with_outcome("failed")

    @property
    def unknown(self) -> tuple[str, ...]:
        return self.with_outcome("unknown")

    @property
    def changed(self) -> tuple[str, ...]:
        return self.with_outcome("changed")

    @property
    def good(self) -> bool:
        """Whether every host came to the end without trouble; a run without hosts is never good."""
        return bool(self.hosts) and self.exit_code == 0 and set(self.with_outcome("ok", "changed")) == set(self.hosts)

    def reason(self, host: str) -> str:
        """Why a host did not come to a good end: its last trouble, with the task that met it."""
        for event in reversed(self.results(host)):
            if event.outcome in ("failed", "unreachable") and not event.ignored:
                return f"{event.task}: {event.message}" if event.message else event.task
        recap = self.recaps.get(host)
        if recap is not None and recap.cut_short:
            return "the play was ended because of other hosts before it came to its end here"
        if self.outcome(host) == "unknown":
            why = next((line for line in self.output.splitlines() if "ERROR" in line), "")
            return "the run ended before the host's own end was known" + (f": {why}" if why else "")
        return ""


def recaps(events: Iterable[RunEvent]) -> dict[str, HostRecap]:
    """The recap of each host that has one."""
    return {event.host: event for event in events if isinstance(event, HostRecap)}
