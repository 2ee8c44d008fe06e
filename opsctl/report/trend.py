"""Earlier runs, from the ledger: what each one counted, as it was entered when the run ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from opsctl.state.ledger import Entry, Ledger

# So many points fit into a drawing; the table has the same.
MOST_POINTS = 12


@dataclass(frozen=True, kw_only=True)
class Point:
    """One whole run over one municipality, in numbers."""

    run: str
    ended: datetime
    catalogue_sha256: str
    total: int
    assessed: int
    open: int
    waived: int
    undecided: int
    passed: int


def point(run: str, ended: datetime, catalogue: str, hosts: Mapping[str, int], results: Mapping[str, int]) -> Point:
    """The numbers of a run: `hosts` as the coverage counts them, `results` over all severities."""
    return Point(
        run=run,
        ended=ended,
        catalogue_sha256=catalogue,
        total=hosts["total"],
        assessed=hosts["assessed"],
        open=results["fail"] - results["waived"],
        waived=results["waived"],
        undecided=results["error"] + results["notchecked"],
        passed=results["pass"],
    )


def earlier(ledger: Ledger, tenant: str, profile: str, run: str, ended: datetime) -> tuple[Point, ...]:
    """The whole runs of a profile before this one, oldest first, as many as a drawing can hold."""
    found: list[Point] = []
    for entry in ledger.entries(verb="comply", newest_first=True):
        if len(found) == MOST_POINTS - 1:
            break
        detail: Any = entry.detail
        if entry.phase != "finished" or entry.at > ended or detail.get("run") == run:
            continue
        found += _point(entry, tenant, profile)
    return tuple(reversed(found))


def _point(entry: Entry, tenant: str, profile: str) -> Iterator[Point]:
    """None for a run that was not whole, was of another profile, or not about this municipality."""
    detail: Any = entry.detail
    part = detail.get("parts", {}).get(tenant)
    if part and detail.get("profile") == profile and detail.get("whole") and entry.outcome != "interrupted":
        yield point(
            str(detail["run"]), entry.at, str(detail["catalogue_sha256"]), part["hosts"], part["results"]["total"]
        )
