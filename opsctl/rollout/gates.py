"""The questions between batches: is the failure budget spent, and are the changed hosts as healthy as before? Pure.

Pass lets the next batch start, fail halts the rollout, inconclusive pauses it: what could not be seen is never a pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from opsctl.model.alert import Alert
from opsctl.model.finding import CheckResult, Finding
from opsctl.model.gate import Gate, GateKind
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
    """The verdict that decides: a failure before an inconclusive answer before a pass, which says what all say."""
    order = (Answer.FAIL, Answer.INCONCLUSIVE)
    decides = next((v for answer in order for v in verdicts if v.answer is answer), None)
    return decides or Verdict(answer=Answer.PASS, reason="; ".join(v.reason for v in verdicts if v.reason))


def wave_budget(ring: str, states: Iterable[HostState], allowed: int) -> Verdict:
    """Fail once `allowed` hosts of one wave have failed; 0 allows any number."""
    failed = [state.host for state in states if state.counts_against_budget]
    if allowed and len(failed) >= allowed:
        told = f"failure budget of wave {ring}: {len(failed)} failed, {allowed} halts ({', '.join(failed)})"
        return Verdict(answer=Answer.FAIL, reason=told)
    return PASSED


# --- what the tenants' own gates found ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which gates are asked, and about what: the hosts of a batch, or of a wave, that are done, as they are saved."""

    rollout: str
    gates: tuple[Gate, ...]
    wave: int
    ring: str
    hosts: Mapping[str, HostState]


def failed(gate: Gate, why: str) -> Verdict:
    return Verdict(answer=Answer.FAIL, reason=f"gate {gate.name} failed: {why}")


def unanswered(gate: Gate, why: str) -> Verdict:
    return Verdict(answer=Answer.INCONCLUSIVE, reason=f"gate {gate.name} gave no answer: {why}")


@dataclass(frozen=True, kw_only=True)
class CommandEnd:
    """How a command ended: its exit code (None: it did not end, or never began), and its last line."""

    code: int | None
    said: str = ""


def command(gate: Gate, end: CommandEnd) -> Verdict:
    """0 passes, 1 fails; everything else says nothing about the service."""
    said = f": {end.said}" if end.said else ""
    if end.code == 0:
        return PASSED
    if end.code == 1:
        return failed(gate, f"{gate.command[0]} ended with 1{said}")
    ended = "did not end" if end.code is None else f"ended with {end.code}"
    return unanswered(gate, f"{gate.command[0]} {ended}{said}")


@dataclass(frozen=True, kw_only=True)
class PageReading:
    """What an address answered: its status and whether the text was there; `error`: why there is no answer."""

    status: int = 0
    has_text: bool = False
    error: str = ""


def http(gate: Gate, reading: PageReading) -> Verdict:
    """An answer that is another one fails; no answer is none, for the way to it may be at fault."""
    if reading.error:
        return unanswered(gate, f"{gate.url}: {reading.error}")
    if reading.status != gate.status:
        return failed(gate, f"{gate.url} answers {reading.status}, not {gate.status}")
    return PASSED if reading.has_text or not gate.text else failed(gate, f"{gate.url} lacks the text {gate.text!r}")


# A clock that is ahead of Prometheus' by less than this does not hide an alert.
_SKEW = timedelta(minutes=1)


def alerts(gate: Gate, question: Question, beside: Mapping[str, str], firing: Iterable[Alert]) -> Verdict:
    """Fail for an alert that is younger than the change of its host. `beside`: other hosts to watch -> changed host."""
    new = []
    for alert in firing:
        changed = question.hosts.get(alert.host) or question.hosts.get(beside.get(alert.host, ""))
        if changed is not None and alert.since >= (changed.started_at or changed.at) - _SKEW:
            new.append(str(alert))
    return failed(gate, "; ".join(new)) if new else PASSED


def compliance(gate: Gate, results: Iterable[CheckResult], findings: Iterable[Finding] = ()) -> Verdict:
    """Fail for a failed control that no waiver covers; inconclusive for one that nobody could judge, or for none.

    `findings` are the failed results, judged; one that is missing among them counts as open. What a waiver covers is
    said, also where the gate passes.
    """
    found = tuple(results)
    judged = {(one.result.host, one.result.control): one for one in findings}
    failures = [judged.get((one.host, one.control), Finding(result=one)) for one in found if one.result == "fail"]
    if bad := [_failure(one) for one in failures if one.disposition != "waived"]:
        return failed(gate, "; ".join(bad))
    unsure = [f"{one.host}: {one.control}: {one.reason or one.result}" for one in found
              if one.result not in ("fail", "pass", "notapplicable")]  # fmt: skip
    if unsure or not found:
        return unanswered(gate, "; ".join(unsure) or "nothing was judged")
    if not failures:
        return PASSED
    return Verdict(answer=Answer.PASS, reason=f"gate {gate.name} passed: {'; '.join(map(_failure, failures))}")


def _failure(finding: Finding) -> str:
    """A failed control, and what its waiver says of it."""
    result, waiver = finding.result, finding.waiver
    told = f"{result.host}: {result.control}"
    if waiver is None:
        return told
    ends = f"{waiver.expires:%Y-%m-%d %H:%M} UTC"
    return (
        told
        + {
            "waived": f" fails, and is waived until {ends}",
            "expired": f" (its waiver ended {ends})",
            "open": f" (its waiver does not count: {waiver.flaw})",
        }[finding.disposition]
    )


def soaks_until(gates: Iterable[Gate], ring: str, done: Mapping[str, tuple[str, datetime]]) -> datetime | None:
    """When a wave has soaked, by when each of its hosts was done: `done` is host -> (tenant, time)."""
    ends = [
        at + timedelta(seconds=gate.seconds)
        for gate in gates
        if gate.kind is GateKind.SOAK
        for tenant, at in done.values()
        if gate.holds_for(tenant, ring)
    ]
    return max(ends, default=None)
