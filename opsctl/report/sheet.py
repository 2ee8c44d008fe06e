"""A report as CSV that a person may open in a spreadsheet: no cell is ever a formula.

Semicolons and a byte order mark, because that is what a spreadsheet in Swedish opens with a double click; programs
should read the JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from opsctl.report.build import Report
from opsctl.state.store import stamp

COLUMNS = (
    "tenant", "host", "control", "severity", "title", "result", "disposition", "waiver until", "observed", "expected",
    "reason", "asked", "time", "evidence sha256", "check version", "host key",
)  # fmt: skip
# A spreadsheet refuses or cuts longer cells (32,767 characters); a person reads less.
LONGEST = 2_000
# What begins a formula in one program or another, after blanks too: OWASP, "CSV Injection"; full-width forms as well.
_BREAKS = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")
_FORMULA = re.compile(r"[\s\u00a0\ufeff]*[=+\-@|%＝＋－＠]")


def as_csv(report: Report) -> str:
    """The whole sheet as one text."""
    return "".join(lines(report))


def lines(report: Report) -> Iterator[str]:
    """One row for each host and control, and one for each host that was not to be assessed."""
    yield "\ufeff" + _line(COLUMNS)
    yield from map(_line, _rows(report))


def _line(row: Iterable[str]) -> str:
    return ";".join(map(_cell, row)) + "\r\n"


@lru_cache(maxsize=1_000)
def _cell(text: str) -> str:
    # Every cell in quotes, a quote in it twice: RFC 4180. The cells of a fleet repeat themselves.
    return '"' + safe(text).replace('"', '""') + '"'


def _rows(report: Report) -> Iterator[tuple[str, ...]]:
    judged = {(f.result.host, f.result.control): f for f in report.findings}
    keys = {host.key: " ".join(host.host_keys) for host in report.assessment.scope.hosts}
    for result in report.assessment.results:
        control, finding = report.controls[result.control], judged.get((result.host, result.control))
        waiver = finding.waiver if finding else None
        yield (
            report.title, result.host, result.control, control.severity, control.title, result.result,
            finding.disposition if finding else "", str(waiver.expires) if waiver else "", result.observed,
            result.expected, result.reason, " ".join(sorted({piece.how for piece in result.evidence})),
            stamp(result.at), " ".join(dict.fromkeys(piece.sha256 for piece in result.evidence)),
            control.check_version, keys.get(result.host, ""),
        )  # fmt: skip
    coverage = report.assessment.coverage
    for kind, hosts in (("excluded", coverage.excluded), ("quarantined", coverage.quarantined)):
        for absent in hosts:
            yield (report.title, absent.host, "", "", "", kind, "", "", "", "", absent.reason, "", "", "", "", "")


def safe(cell: str) -> str:
    """A cell that a spreadsheet shows and never works out: on one line, bounded, text where it looks like a formula."""
    line = _BREAKS.sub(" ", cell)
    line = line if len(line) <= LONGEST else f"{line[:LONGEST]} … (shortened)"
    return f"'{line}" if _FORMULA.match(line) else line
