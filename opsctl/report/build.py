"""From a kept run to a `Report`: what it says, counted and put in order. Reads the store, writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from opsctl.compliance import record, waivers
from opsctl.errors import UnknownName
from opsctl.model.finding import RESULTS, SEVERITIES, Assessment, CheckResult, Control, Evidence, Finding, count
from opsctl.state.store import Store


@dataclass(frozen=True, kw_only=True)
class Report:
    """One kept run with its findings; the same run gives the same report, byte for byte."""

    run: str
    document: Mapping[str, Any]
    assessment: Assessment
    findings: tuple[Finding, ...]
    ledger_head: str
    sha256: str

    @property
    def outcome(self) -> str:
        return record.outcome(self.assessment, self.findings)

    @cached_property
    def controls(self) -> dict[str, Control]:
        return {control.id: control for control in self.assessment.scope.controls}

    @cached_property
    def tenants(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(host.tenant for host in self.assessment.scope.hosts))

    @cached_property
    def undecided(self) -> tuple[CheckResult, ...]:
        """Errors on assessed hosts; what an unreachable host leaves open is told once, by its coverage."""
        away = {absent.host for absent in self.assessment.coverage.unreachable}
        return tuple(r for r in self.assessment.results if r.result in ("error", "notchecked") and r.host not in away)

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """Results by severity, and over all as `total`; `waived` are those failures that a waiver covers."""
        waived = [self.controls[f.result.control].severity for f in self.findings if f.disposition == "waived"]
        rows = {}
        for severity in (*SEVERITIES, "total"):
            chosen = [r for r in self.assessment.results if severity in ("total", self.controls[r.control].severity)]
            rows[severity] = {**count(chosen), "waived": sum(severity in ("total", found) for found in waived)}
        return rows

    @cached_property
    def hosts(self) -> tuple[tuple[str, dict[str, int]], ...]:
        """Counts of each host in scope that was to be assessed, the worst first."""
        keys = (*self.assessment.coverage.assessed, *(absent.host for absent in self.assessment.coverage.unreachable))
        rows = [(key, count(self.assessment.of(key))) for key in keys]
        return tuple(sorted(rows, key=lambda row: ([-row[1][kind] for kind in RESULTS[:3]], row[0])))

    def evidence_of(self, host: str) -> dict[Evidence, int]:
        """The pieces of evidence of one host, each once, numbered from 1 in the order of its results."""
        pieces = dict.fromkeys(piece for result in self.assessment.of(host) for piece in result.evidence)
        return {piece: number for number, piece in enumerate(pieces, 1)}

    @cached_property
    def failed_controls(self) -> tuple[tuple[Control, tuple[Finding, ...]], ...]:
        """Each failed control with its findings, the most severe first."""
        found: dict[str, list[Finding]] = {}
        for finding in self.findings:
            found.setdefault(finding.result.control, []).append(finding)
        ordered = sorted((self.controls[name] for name in found), key=lambda control: control.order)
        return tuple((control, tuple(found[control.id])) for control in ordered)


def latest(store: Store) -> str:
    """The id of the newest kept run. Raises UnknownName when there is none."""
    kept = store.reports(record.KIND)
    if not kept:
        raise UnknownName("no compliance run is kept yet", hint="opsctl comply run")
    return kept[0].id


def report(store: Store, run_id: str) -> Report:
    """The report of a kept run. Raises UnknownName, or StoreError for a document that cannot be read."""
    if store.report(run_id) is None:
        raise UnknownName(f"no compliance run is called {run_id!r}", hint="opsctl comply list shows the runs")
    document = record.stored(store, run_id)
    assessment = record.from_document(document)
    return Report(
        run=run_id,
        document=document,
        assessment=assessment,
        findings=waivers.judge(assessment.results, (), assessment.ended),
        ledger_head=str(document["ledger_head"]),
        sha256=record.sha256(document),
    )
