"""Was each security update installed in time: a host's rows against the tenant's policy. Pure.

The time runs from when any host of the same platform first knew of the version, for a host that opsctl did not read yet
from its first reading, until a rollout had installed it or a reading no longer found it wanted. That last one may be
later than the truth, never earlier.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import quantiles

from opsctl.model.host import PatchPolicy
from opsctl.state.updates import Update

IN_TIME, LATE, OVERDUE, WITHIN, NO_RULE = "in_time", "late", "overdue", "within", "no_rule"
VERDICTS = (IN_TIME, WITHIN, LATE, OVERDUE)
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One update of one host, judged at the end of a period. `ended`: when it was done (None: it is wanted still).

    `by`: `rollout`, or `reading` where a reading found it done. `due`: the last moment that the policy allows.
    """

    host: str
    package: str
    version: str
    since: datetime
    ended: datetime | None
    by: str
    rollout: str
    due: datetime | None
    verdict: str
    days: float

    @property
    def over(self) -> float:
        """Days beyond the policy; nothing where there is no rule, or it was kept."""
        if self.due is None or self.verdict not in (LATE, OVERDUE):
            return 0.0
        return max(0.0, self.days - (self.due - self.since) / _DAY)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How many days it took, of the updates that were done: half of them took at most `median`."""

    count: int
    median: float
    ninety: float
    longest: float


def judge(
    rows: Iterable[Update],
    earliest: Mapping[tuple[str, str, str], datetime],
    first_read: Mapping[str, datetime],
    policy: PatchPolicy | None,
    critical: frozenset[str],
    start: datetime,
    end: datetime,
) -> tuple[Judged, ...]:
    """Every update that was wanted at some time of a period; `critical` are the hosts with the shorter time."""
    found = []
    for row in rows:
        known = min(row.known, earliest.get((row.platform, row.package, row.version), row.known))
        since = max(known, first_read.get(row.host, known)) if known < row.known else row.known
        ended, by = _ended(row, end)
        if since <= end and not (ended is not None and ended < start):
            days = policy.days(critical=row.host in critical) if policy else None
            found.append(_judged(row, since, ended, by, days, end))
    return tuple(found)


def _ended(row: Update, end: datetime) -> tuple[datetime | None, str]:
    if row.installed is not None and row.installed <= end:
        return row.installed, "rollout"
    if row.gone is not None and row.gone <= end:
        return row.gone, "reading"
    return None, ""


def _judged(row: Update, since: datetime, ended: datetime | None, by: str, days: int | None, end: datetime) -> Judged:
    due = since + timedelta(days=days) if days is not None else None
    last = ended or end
    if due is None:
        verdict = NO_RULE
    elif last <= due:
        verdict = IN_TIME if ended else WITHIN
    else:
        verdict = LATE if ended else OVERDUE
    return Judged(
        host=row.host, package=row.package, version=row.version, since=since, ended=ended, by=by,
        rollout=row.rollout if by == "rollout" else "", due=due, verdict=verdict,
        days=max(0.0, (last - since) / _DAY),
    )  # fmt: skip


def spread(updates: Iterable[Judged]) -> Spread | None:
    """None where none was done."""
    days = sorted(one.days for one in updates if one.ended is not None)
    if not days:
        return None
    cuts = quantiles(days, n=10, method="inclusive") if len(days) > 1 else [days[0]] * 9
    return Spread(count=len(days), median=cuts[4], ninety=cuts[8], longest=days[-1])
