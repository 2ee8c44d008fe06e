"""Judging failed results against waivers: pure, the same input gives the same findings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from opsctl.model.finding import Assessment, CheckResult, Finding, Waiver

# So long before its end a waiver is warned of.
WARNED = timedelta(days=30)


class State(StrEnum):
    """How a waiver stands at one moment. Only a valid one counts, and one that is about to expire still is."""

    VALID = "valid"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    UNSIGNED = "unsigned"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A waiver at one moment; `fits` are the hosts whose failure it covers, `idle`: it was looked for and fits none."""

    waiver: Waiver
    state: State
    fits: tuple[str, ...] = ()
    idle: bool = False


def digest(waiver: Waiver) -> str:
    """SHA-256 over everything that is agreed to: what the approver signs. Another word makes another waiver."""
    agreed = {
        "control": waiver.control,
        "tenant": waiver.tenant,
        "hosts": sorted(waiver.hosts),
        "reason": waiver.reason,
        "owner": waiver.owner,
        "approver": waiver.approver,
        "expires": f"{waiver.expires:%Y-%m-%dT%H:%M:%SZ}",
    }
    text = json.dumps(agreed, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def name(waiver: Waiver) -> str:
    """By which people name it: the beginning of its hash."""
    return digest(waiver)[:12]


def message(waiver: Waiver) -> str:
    """What the approver signs: the waiver's hash, with what it is about."""
    return (
        f"opsctl: waive {waiver.control} in {waiver.tenant}, owned by {waiver.owner}, approved by {waiver.approver}, "
        f"until {waiver.expires:%Y-%m-%dT%H:%M:%SZ}, sha256 {digest(waiver)}\n"
    )


def state(waiver: Waiver, now: datetime) -> State:
    if now >= waiver.expires:
        return State.EXPIRED
    if waiver.flaw:
        return State.UNSIGNED
    return State.EXPIRING if waiver.expires - now <= WARNED else State.VALID


def judge(results: Iterable[CheckResult], waivers: Iterable[Waiver], now: datetime) -> tuple[Finding, ...]:
    """A finding for each failed result. One that has run out, or that nobody signed, leaves it counted as a failure."""
    known = tuple(waivers)
    return tuple(_judged(result, known, now) for result in results if result.result == "fail")


def unused(results: Iterable[CheckResult], waivers: Iterable[Waiver]) -> tuple[Waiver, ...]:
    """Waivers that fit no failed result: each one hides nothing now and should go."""
    failed = [result for result in results if result.result == "fail"]
    return tuple(waiver for waiver in waivers if not any(_fits(waiver, result) for result in failed))


def standings(assessment: Assessment, waivers: Iterable[Waiver], now: datetime) -> tuple[Standing, ...]:
    """How each waiver stands against one run. Of what the run did not look at, or could not judge, nothing is said."""
    by_control: dict[str, list[CheckResult]] = {}
    for result in assessment.results:
        by_control.setdefault(result.control, []).append(result)
    whole = assessment.scope.whole
    return tuple(_standing(waiver, by_control.get(waiver.control, ()), now, whole=whole) for waiver in waivers)


def _standing(waiver: Waiver, results: Iterable[CheckResult], now: datetime, *, whole: bool) -> Standing:
    met = [result for result in results if _fits(waiver, result)]
    fits = tuple(result.host for result in met if result.result == "fail")
    undecided = any(result.result in ("error", "notchecked") for result in met)
    looked = bool(met) or whole
    return Standing(waiver=waiver, state=state(waiver, now), fits=fits, idle=looked and not undecided and not fits)


def _judged(result: CheckResult, waivers: tuple[Waiver, ...], now: datetime) -> Finding:
    fitting = [waiver for waiver in waivers if _fits(waiver, result)]
    if not fitting:
        return Finding(result=result)
    # One that counts before one that nobody signed; of several the one that holds longest.
    best = max(fitting, key=lambda waiver: (not waiver.flaw, waiver.expires))
    if now >= best.expires:
        return Finding(result=result, disposition="expired", waiver=best)
    return Finding(result=result, disposition="open" if best.flaw else "waived", waiver=best)


def covers(waiver: Waiver, host: str) -> bool:
    """Whether a host (`tenant.host`) is among those that it names; never one of another municipality."""
    return host.startswith(waiver.tenant + ".") and any(
        fnmatchcase(host, f"{waiver.tenant}.{pattern}") for pattern in waiver.hosts
    )


def _fits(waiver: Waiver, result: CheckResult) -> bool:
    return waiver.control == result.control and covers(waiver, result.host)
