"""The questions between batches: is the failure budget spent, and are the changed hosts as healthy as before? Pure.

Pass lets the next batch start, fail halts the rollout, inconclusive pauses it: what could not be seen is never a pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from opsctl.model.rollout import HostState, Reference, Stage


class Answer(StrEnum):
    PASS = "pass"  # noqa: S105 - a gate's answer, no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A gate's answer and what it rests on."""

    answer: Answer
    reason: str = ""

    @property
    def passed(self) -> bool:
        return self.answer is Answer.PASS


PASSED = Verdict(answer=Answer.PASS)


def budget(states: Iterable[HostState], allowed: int) -> Verdict:
    """Fail once `allowed` hosts have failed over the whole rollout, acknowledged ones apart; unknown hosts pause it."""
    states = tuple(states)
    failed = [state.host for state in states if state.counts_against_budget]
    if len(failed) >= allowed:
        return Verdict(
            answer=Answer.FAIL, reason=f"failure budget: {len(failed)} failed, {allowed} halts ({', '.join(failed)})"
        )
    unknown = [state.host for state in states if state.stage is Stage.UNKNOWN]
    if unknown:
        return Verdict(answer=Answer.INCONCLUSIVE, reason=f"contact lost, state unknown: {', '.join(unknown)}")
    return PASSED


def what_got_worse(before: Reference, after: Reference) -> tuple[str, ...]:
    """Each way in which a host is less healthy than its reference says."""
    failed = sorted(set(after.failed_units) - set(before.failed_units))
    closed = sorted(set(before.listening) - set(after.listening))
    silent = sorted(set(before.answering) - set(after.answering) - set(closed))
    stopped = sorted(set(before.running) - set(after.running) - set(after.failed_units))
    mute = sorted(set(before.http) - set(after.http) - set(closed) - set(silent))
    return (
        *(f"unit {unit} has failed" for unit in failed),
        *(f"unit {unit} no longer runs" for unit in stopped),
        *(f"nothing listens on tcp {port} any more" for port in closed),
        *(f"tcp {port} no longer answers" for port in silent),
        *(f"tcp {port} no longer answers over HTTP" for port in mute),
    )


def health(references: Mapping[str, Reference], readings: Mapping[str, Reference | str]) -> Verdict:
    """Compare every host with its reference; a reading that is text says why the host could not be read."""
    worse: list[str] = []
    unread: list[str] = []
    for host, before in references.items():
        reading = readings.get(host, "no reading")
        if isinstance(reading, str):
            unread.append(f"{host}: {reading}")
        else:
            worse.extend(f"{host}: {line}" for line in what_got_worse(before, reading))
    if worse:
        return Verdict(answer=Answer.FAIL, reason="health: " + "; ".join(worse))
    if unread:
        return Verdict(answer=Answer.INCONCLUSIVE, reason="health could not be read: " + "; ".join(unread))
    return PASSED


def first_not_passed(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict that decides: a failure before an inconclusive answer before a pass."""
    order = (Answer.FAIL, Answer.INCONCLUSIVE)
    return next((v for answer in order for v in verdicts if v.answer is answer), PASSED)
