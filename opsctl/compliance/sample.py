"""Looking again at what a kept run says: which results are drawn, and whether the hosts still say the same. Pure.

The draw needs no random numbers: of every result that was judged, SHA-256 over the seed, the run, the host and the
control is taken, and the smallest are drawn. Whoever has the report can draw the same sample with sha256sum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from opsctl.model.finding import Assessment, CheckResult

# What was seen on a host can be looked at again; what was not, cannot be compared.
JUDGED = ("pass", "fail", "notapplicable", "error")
UNDECIDED = ("error", "notchecked")


@dataclass(frozen=True, kw_only=True)
class Again:
    """One result as the run has it, and as it was found when it was looked at again."""

    old: CheckResult
    new: CheckResult

    @property
    def word(self) -> str:
        """same, differs, or unknown: nothing can be said where either look could not judge."""
        if self.new.result in UNDECIDED or self.old.result in UNDECIDED:
            return "same" if self.old.result == self.new.result == "error" else "unknown"
        return "same" if self.old.result == self.new.result else "differs"


def outcome(looks: Iterable[Again]) -> str:
    """incomplete before findings before ok: what could not be looked at proves nothing."""
    words = {look.word for look in looks}
    if "unknown" in words or not words:
        return "incomplete"
    return "findings" if "differs" in words else "ok"


def draw(
    assessment: Assessment, run: str, *, count: int, seed: str, tenant: str | None = None
) -> tuple[CheckResult, ...]:
    """`count` results of the run (or of one tenant's hosts), the same ones for the same seed, in the run's order."""
    judged = [
        result
        for result in assessment.results
        if result.result in JUDGED and (tenant is None or result.host.partition(".")[0] == tenant)
    ]
    drawn = sorted(judged, key=lambda result: lot(seed, run, result.host, result.control))[:count]
    chosen = {(result.host, result.control) for result in drawn}
    return tuple(result for result in judged if (result.host, result.control) in chosen)


def lot(seed: str, run: str, host: str, control: str) -> str:
    """What decides whether a result is drawn: `printf '%s' "SEED RUN HOST CONTROL" | sha256sum`."""
    return hashlib.sha256(f"{seed} {run} {host} {control}".encode()).hexdigest()
