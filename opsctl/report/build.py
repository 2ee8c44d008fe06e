"""From a kept run to a `Report`: what it says, counted and put in order. Reads the store, writes nothing.

A report is about one municipality: of a run over several, each gets its own part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from opsctl.compliance import part, record, waivers
from opsctl.compliance.waivers import Standing, State
from opsctl.errors import StoreError, UnknownName
from opsctl.model.finding import (
    REPEATED,
    RESULTS,
    SEVERITIES,
    Assessment,
    CheckResult,
    Control,
    Evidence,
    Finding,
    alike,
    count,
)
from opsctl.report import trend
from opsctl.report.trend import Point, point
from opsctl.state.ledger import Entry, Head, Ledger
from opsctl.state.store import Store

MOST_WORST = 10


@dataclass(frozen=True, kw_only=True)
class Report:
    """A kept run, or one municipality's part of it, with its findings; the same run gives the same bytes each time.

    `text` gives the canonical document that it was made from, `sha256` its hash, `run_sha256` that of the whole run.
    `ledger_head` is the ledger's head before the run, `ledger_entry` the finished entry that holds the hashes (as
    SEQ:HASH, or empty where a kill kept it from being written). `tenant` is empty for a whole run.
    """

    run: str
    tenant: str
    title: str
    text: Callable[[], Iterable[str]]
    assessment: Assessment
    findings: tuple[Finding, ...]
    earlier: tuple[Point, ...]
    ledger_head: str
    ledger_entry: str
    sha256: str
    run_sha256: str

    @property
    def outcome(self) -> str:
        return record.outcome(self.assessment, self.findings)

    @cached_property
    def controls(self) -> dict[str, Control]:
        return {control.id: control for control in self.assessment.scope.controls}

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
        return part.tally(self.assessment, self.findings)

    @cached_property
    def by_control(self) -> dict[str, dict[str, int]]:
        """Results of each control over all hosts."""
        return {name: count(found) for name, found in self._by_control.items()}

    @cached_property
    def _by_control(self) -> dict[str, list[CheckResult]]:
        found: dict[str, list[CheckResult]] = {control.id: [] for control in self.assessment.scope.controls}
        for result in self.assessment.results:
            found[result.control].append(result)
        return found

    def said_of(self, control: str) -> tuple[tuple[CheckResult, ...], ...]:
        """What the hosts said of one control, those that said the same together, failures first."""
        found = sorted(self._by_control[control], key=lambda result: RESULTS.index(result.result))
        waived = self.dispositions
        return alike(
            found,
            lambda r: (r.result, r.observed, r.reason if r.result != "pass" else "", waived.get((r.host, r.control))),
        )

    @cached_property
    def dispositions(self) -> dict[tuple[str, str], str]:
        """How each failed result is judged, by host and control."""
        return {(finding.result.host, finding.result.control): finding.disposition for finding in self.findings}

    @cached_property
    def waivers(self) -> tuple[tuple[Standing, tuple[CheckResult, ...]], ...]:
        """Each waiver as it stood when the run ended, with the failed results that it names; also what covers none."""
        failed = {(finding.result.host, finding.result.control): finding.result for finding in self.findings}
        found = waivers.standings(self.assessment, self.assessment.waivers, self.assessment.ended)
        return tuple((one, tuple(failed[host, one.waiver.control] for host in one.fits)) for one in found)

    @cached_property
    def standings(self) -> dict[str, int]:
        """How many waivers stand how; `idle` are those that cover no failure, whatever their state."""
        found = {state.value: 0 for state in State} | {"idle": 0}
        for one, _ in self.waivers:
            found[one.state] += 1
            found["idle"] += one.idle
        return found

    @cached_property
    def repeats(self) -> dict[str, int]:
        """How the answers of the batch that were asked for again came out; outcomes without any are named with 0."""
        outcomes = [one.outcome for one in self.assessment.repeats]
        return {name: outcomes.count(name) for name in REPEATED}

    @cached_property
    def trend(self) -> tuple[Point, ...]:
        """The earlier runs and this one."""
        hosts = {"total": self.assessment.coverage.total, "assessed": len(self.assessment.coverage.assessed)}
        digest = self.assessment.scope.catalogue_sha256
        return (*self.earlier, point(self.run, self.assessment.ended, digest, hosts, self.counts["total"]))

    @property
    def other_catalogue(self) -> bool:
        """Whether an earlier run of the trend was held against another catalogue."""
        return len({one.catalogue_sha256 for one in self.trend}) > 1

    @cached_property
    def worst(self) -> tuple[tuple[str, dict[str, int]], ...]:
        """The ten hosts with the most severe open findings."""
        rows = {key: dict.fromkeys((*SEVERITIES, "undecided"), 0) for key, _ in self.hosts}
        for finding in self.findings:
            if finding.disposition != "waived":
                rows[finding.result.host][self.controls[finding.result.control].severity] += 1
        for result in self.undecided:
            rows[result.host]["undecided"] += 1
        bad = [(key, row) for key, row in rows.items() if any(row[severity] for severity in SEVERITIES)]
        return tuple(sorted(bad, key=lambda one: ([-count for count in one[1].values()], one[0]))[:MOST_WORST])

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


def latest(store: Store, *profiles: str) -> tuple[str, tuple[str, ...]]:
    """The newest whole run of one of these profiles, and which newer runs are no such thing, each with the reason.

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
        why = _why_not(assessment, profiles)
        if not why:
            return run_id, tuple(passed_over)
        passed_over.append(f"run {run_id} {why}")
    if not passed_over:
        raise UnknownName("no compliance run is kept yet", hint="opsctl comply run")
    raise UnknownName(
        f"no whole run of profile {' or '.join(profiles)} is kept; the newest: {passed_over[0]}",
        hint="name a run (opsctl comply list), or make a whole one: opsctl comply run",
    )


def latest_of(store: Store, profiles: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The newest whole run of each of these profiles, and the newer runs that are none of them; raises UnknownName."""
    found = [latest(store, profile) for profile in profiles]
    runs = tuple(run for run, _ in found)
    told = dict.fromkeys(reason for _, reasons in found for reason in reasons)
    return runs, tuple(reason for reason in told if not any(reason.startswith(f"run {run} ") for run in runs))


def _why_not(assessment: Assessment, profiles: Sequence[str]) -> str:
    if assessment.scope.profile not in profiles:
        return f"is of profile {assessment.scope.profile}"
    if assessment.interrupted:
        return "was interrupted"
    return "" if assessment.scope.whole else "looked at a selection only"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A run as the store keeps it, held against the ledger's entry of it."""

    run: str
    store: Store
    ledger: Ledger
    assessment: Assessment
    head: str
    entry: Entry | None
    sha256: str

    @property
    def tenants(self) -> Mapping[str, str]:
        """The municipalities of the run: name, and title for readers."""
        return part.tenants(self.assessment)

    def text(self) -> Iterator[str]:
        return self.store.report_text(self.run)


def kept(store: Store, ledger: Ledger, run_id: str) -> Kept:
    """A kept run. Raises UnknownName, or StoreError for one that cannot be read or is not what the ledger entered."""
    assessment, head, digest = record.loaded(store, run_id)
    entry = _entered(ledger, run_id)
    if entry is not None:
        _hold(run_id, entry, entry.detail.get("report_sha256"), digest)
    return Kept(run=run_id, store=store, ledger=ledger, assessment=assessment, head=head, entry=entry, sha256=digest)


def _hold(run_id: str, entry: Entry, entered: object, digest: str) -> None:
    if entered != digest:
        raise StoreError(
            f"run {run_id} was changed after it was kept: its SHA-256 is {digest}, entry {entry.seq} of the ledger "
            f"holds {entered}",
            hint="opsctl ledger verify tells whether the ledger is whole; take the run from a backup",
        )


def report(run: Kept, tenant: str = "") -> Report:
    """The report of a run: of one municipality, or without a name of the whole run. Raises UnknownName, StoreError."""
    titles = run.tenants
    if tenant and tenant not in titles:
        raise UnknownName(
            f"run {run.run} is not about a tenant called {tenant!r}", hint=f"it is about: {', '.join(sorted(titles))}"
        )
    assessment = part.part(run.assessment, tenant) if tenant else run.assessment
    text: Callable[[], Iterable[str]] = run.text
    digest = run.sha256
    if assessment is not run.assessment:
        # Made anew where it is asked for again: a fleet's document is large.
        text = partial(_text_of_part, run.run, assessment, run.head)
        digest = record.sha256_of("".join(text()))
        parts: Any = run.entry.detail.get("parts", {}) if run.entry else {}
        if run.entry and tenant in parts:
            _hold(run.run, run.entry, parts[tenant]["report_sha256"], digest)
    profile, entry = assessment.scope.profile, run.entry
    return Report(
        run=run.run,
        tenant=tenant,
        title=titles[tenant] if tenant else ", ".join(dict.fromkeys(titles.values())),
        text=text,
        assessment=assessment,
        findings=waivers.judge(assessment.results, assessment.waivers, assessment.ended),
        earlier=trend.earlier(run.ledger, tenant, profile, run.run, assessment.ended) if tenant else (),
        ledger_head=run.head,
        ledger_entry=str(Head(seq=entry.seq, hash=entry.hash)) if entry else "",
        sha256=digest,
        run_sha256=run.sha256,
    )


def _text_of_part(run_id: str, assessment: Assessment, head: str) -> tuple[str]:
    return (record.canonical(record.to_document(run_id, assessment, head)),)


def _entered(ledger: Ledger, run_id: str) -> Entry | None:
    """The finished entry of the act that made this run."""
    entries = ledger.entries(verb="comply", newest_first=True)
    return next((one for one in entries if one.phase == "finished" and one.detail.get("run") == run_id), None)
