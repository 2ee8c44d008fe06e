"""From a kept run to a `Report`: what it says, counted and put in order. Reads the store, writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from opsctl.compliance import record, waivers
from opsctl.errors import StoreError, UnknownName
from opsctl.model.finding import RESULTS, SEVERITIES, Assessment, CheckResult, Control, Evidence, Finding, alike, count
from opsctl.state.ledger import Entry, Head, Ledger
from opsctl.state.store import Store


@dataclass(frozen=True, kw_only=True)
class Report:
    """One kept run with its findings; the same run gives the same report, byte for byte.

    `ledger_head` is the ledger's head before the run, `ledger_entry` the finished entry that holds the document's hash
    (as SEQ:HASH, or empty where a kill kept it from being written).
    """

    run: str
    document: Mapping[str, Any]
    assessment: Assessment
    findings: tuple[Finding, ...]
    ledger_head: str
    ledger_entry: str
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
    def undecided_alike(self) -> tuple[tuple[CheckResult, ...], ...]:
        """What is undecided, the results of several hosts together where they say the same."""
        return alike(self.undecided, lambda result: (result.control, result.result, result.reason))

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
    def failed_controls(self) -> tuple[tuple[Control, tuple[tuple[Finding, ...], ...]], ...]:
        """Each failed control, the most severe first; its findings together where they say the same."""
        found: dict[str, list[Finding]] = {}
        for finding in self.findings:
            found.setdefault(finding.result.control, []).append(finding)
        ordered = sorted((self.controls[name] for name in found), key=lambda control: control.order)
        return tuple((control, alike(found[control.id], _said)) for control in ordered)


def _said(finding: Finding) -> tuple[str, str, str]:
    return finding.result.observed, finding.result.expected, finding.disposition


def latest(store: Store, profile: str) -> tuple[str, tuple[str, ...]]:
    """The newest whole run of a profile, and which newer runs are no such thing, each with the reason.

    A run that was interrupted, or narrowed to some hosts or controls, is not what an auditor asked for. Raises
    UnknownName where there is none.
    """
    passed_over = []
    for run_id in store.report_ids(record.KIND):
        try:
            _, assessment = record.read(store, run_id)
        except StoreError as error:
            passed_over.append(error.message)
            continue
        why = _why_not(assessment, profile)
        if not why:
            return run_id, tuple(passed_over)
        passed_over.append(f"run {run_id} {why}")
    if not passed_over:
        raise UnknownName("no compliance run is kept yet", hint="opsctl comply run")
    raise UnknownName(
        f"no whole run of profile {profile} is kept; the newest: {passed_over[0]}",
        hint="name a run (opsctl comply list), or make a whole one: opsctl comply run",
    )


def _why_not(assessment: Assessment, profile: str) -> str:
    if assessment.scope.profile != profile:
        return f"is of profile {assessment.scope.profile}"
    if assessment.interrupted:
        return "was interrupted"
    return "" if assessment.scope.whole else "looked at a selection only"


def report(store: Store, ledger: Ledger, run_id: str) -> Report:
    """The report of a kept run.

    Raises UnknownName, or StoreError for a document that cannot be read or is not the one that the ledger entered.
    """
    document, assessment = record.read(store, run_id)
    digest = record.sha256(document)
    entry = _entered(ledger, run_id)
    if entry is not None and entry.detail.get("report_sha256") != digest:
        raise StoreError(
            f"run {run_id} was changed after it was kept: its SHA-256 is {digest}, entry {entry.seq} of the ledger "
            f"holds {entry.detail.get('report_sha256')}",
            hint="opsctl ledger verify tells whether the ledger is whole; take the run from a backup",
        )
    return Report(
        run=run_id,
        document=document,
        assessment=assessment,
        findings=waivers.judge(assessment.results, assessment.waivers, assessment.ended),
        ledger_head=str(document["ledger_head"]),
        ledger_entry=str(Head(seq=entry.seq, hash=entry.hash)) if entry else "",
        sha256=digest,
    )


def _entered(ledger: Ledger, run_id: str) -> Entry | None:
    """The finished entry of the act that made this run."""
    entries = ledger.entries(verb="comply", newest_first=True)
    return next((one for one in entries if one.phase == "finished" and one.detail.get("run") == run_id), None)
