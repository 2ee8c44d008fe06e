"""Judging failed results against waivers: pure, the same input gives the same findings."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase

from opsctl.model.finding import CheckResult, Finding, Waiver


def judge(results: Iterable[CheckResult], waivers: Iterable[Waiver], now: datetime) -> tuple[Finding, ...]:
    """A finding for each failed result; a waiver that has run out leaves it counted as a failure."""
    known = tuple(waivers)
    return tuple(_judged(result, known, now) for result in results if result.result == "fail")


def unused(results: Iterable[CheckResult], waivers: Iterable[Waiver]) -> tuple[Waiver, ...]:
    """Waivers that fit no failed result: each one hides nothing now and should go."""
    failed = [result for result in results if result.result == "fail"]
    return tuple(waiver for waiver in waivers if not any(_fits(waiver, result) for result in failed))


def _judged(result: CheckResult, waivers: tuple[Waiver, ...], now: datetime) -> Finding:
    fitting = [waiver for waiver in waivers if _fits(waiver, result)]
    if not fitting:
        return Finding(result=result)
    latest = max(fitting, key=lambda waiver: waiver.expires)
    return Finding(result=result, disposition="waived" if now < latest.expires else "expired", waiver=latest)


def _fits(waiver: Waiver, result: CheckResult) -> bool:
    return (
        waiver.control == result.control
        and result.host.startswith(waiver.tenant + ".")
        and any(fnmatchcase(result.host, f"{waiver.tenant}.{pattern}") for pattern in waiver.hosts)
    )
