"""A report as JSON for programs and verification; its form is templates/compliance-report.schema.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from opsctl.compliance import waivers
from opsctl.report.build import Report
from opsctl.state.store import stamp

FORMAT = "opsctl-compliance-report"
# 3: how each waiver stands, and what came of the answers that were asked for again.
VERSION = 3
SCHEMA = "compliance-report.schema.json"


def as_json(report: Report) -> str:
    """The report as one text; `texts` in full."""
    return "".join(texts(report))


def texts(report: Report) -> Iterator[str]:
    """The report as JSON: the same run gives the same bytes.

    `assessment` is the kept document, or this municipality's part; `assessment_sha256` is the hash of its canonical
    form (sorted keys, no spaces, UTF-8), `run_sha256` that of the whole run's. The ledger's entry `ledger_entry` holds
    both; `ledger_head` is the ledger's head before the run.
    """
    coverage = report.assessment.coverage
    rest = {
        "format": FORMAT,
        "version": VERSION,
        "run": report.run,
        "tenant": report.tenant,
        "title": report.title,
        "confidential": True,
        "outcome": report.outcome,
        "assessment_sha256": report.sha256,
        "run_sha256": report.run_sha256,
        "ledger_head": report.ledger_head,
        "ledger_entry": report.ledger_entry,
        "summary": {
            "hosts": {
                "total": coverage.total,
                "assessed": len(coverage.assessed),
                "unreachable": len(coverage.unreachable),
                "excluded": len(coverage.excluded),
                "quarantined": len(coverage.quarantined),
            },
            "results": report.counts,
            "repeats": report.repeats,
        },
        "waivers": [
            {
                "waiver": waivers.name(one.waiver),
                "control": one.waiver.control,
                "state": one.state.value,
                "expires": stamp(one.waiver.expires),
                "covers": one.fits,
                "covers_nothing": one.idle,
                "flaw": one.waiver.flaw,
            }
            for one, _ in report.waivers
        ],
        "trend": [{**asdict(one), "ended": stamp(one.ended)} for one in report.trend],
        "findings": [
            {
                "host": finding.result.host,
                "control": finding.result.control,
                "severity": report.controls[finding.result.control].severity,
                "disposition": finding.disposition,
                "observed": finding.result.observed,
                "expected": finding.result.expected,
                "at": stamp(finding.result.at),
                "waiver": _plain(asdict(finding.waiver)) if finding.waiver else None,
            }
            for finding in report.findings
        ],
    }
    # The document is set in as the text that was hashed; "assessment" is the first key in order.
    text = json.dumps(rest, ensure_ascii=False, sort_keys=True, indent=1)
    yield '{\n "assessment": '
    yield from report.text()
    yield "," + text[1:] + "\n"


def _plain(waiver: dict[str, object]) -> dict[str, object]:
    return {**waiver, "expires": str(waiver["expires"])}
