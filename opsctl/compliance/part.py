"""One municipality's part of a run: its hosts and results, and nothing that names another's.

A report goes to one municipality. So a run over several is taken apart before anything is written: what is left holds
neither a host nor a word of the others. Each part's hash enters the ledger with the run's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from opsctl.model.finding import SEVERITIES, Absent, Assessment, Coverage, Finding, Scope, count

ELSEWHERE = "(another municipality's host)"
_LOST = "contact was lost: "


def tenants(assessment: Assessment) -> dict[str, str]:
    """The municipalities of a run: each one's name, and its title for readers."""
    found = {host.key.partition(".")[0]: host.tenant for host in assessment.scope.hosts}
    for absent in assessment.coverage.quarantined:
        found.setdefault(_tenant(absent.host), _tenant(absent.host))
    return found


def part(assessment: Assessment, tenant: str) -> Assessment:
    """What a run says of one municipality. The whole run, unchanged, where it is about no other."""
    if set(tenants(assessment)) <= {tenant}:
        return assessment
    own = {host.key for host in assessment.scope.hosts if _tenant(host.key) == tenant}
    foreign = [host.key for host in assessment.scope.hosts if host.key not in own]
    foreign += [absent.host for absent in assessment.coverage.quarantined if _tenant(absent.host) != tenant]
    coverage = assessment.coverage
    return replace(
        assessment,
        scope=_scope(assessment.scope, tenant),
        coverage=Coverage(
            assessed=tuple(key for key in coverage.assessed if key in own),
            unreachable=_absent(coverage.unreachable, tenant),
            excluded=_absent(coverage.excluded, tenant),
            quarantined=_absent(coverage.quarantined, tenant),
        ),
        results=tuple(result for result in assessment.results if result.host in own),
        repeats=tuple(repeat for repeat in assessment.repeats if repeat.host in own),
        waivers=tuple(waiver for waiver in assessment.waivers if waiver.tenant == tenant),
        faults=tuple(_fault(text, foreign) for text in assessment.faults if not _about(text, foreign)),
    )


def _tenant(key: str) -> str:
    """The municipality of a host (`ange.web1`), or of a record that is none (`ange: vm 7`)."""
    return re.split(r"[.:]", key, maxsplit=1)[0]


def _absent(hosts: Sequence[Absent], tenant: str) -> tuple[Absent, ...]:
    return tuple(absent for absent in hosts if _tenant(absent.host) == tenant)


def _scope(scope: Scope, tenant: str) -> Scope:
    hosts = tuple(host for host in scope.hosts if _tenant(host.key) == tenant)
    names = {name for host in hosts for name in (host.key, host.key.partition(".")[2])}
    chosen = dict(scope.selection)
    if "limit" in chosen:
        chosen["limit"] = tuple(word for word in chosen["limit"] if any(_fits(word, name) for name in names))
    if chosen.get("tenants"):
        chosen["tenants"] = (tenant,)
    confirmed = {name: said for name, said in scope.confirmed.items() if name == tenant}
    return replace(scope, hosts=hosts, selection=chosen, confirmed=confirmed)


def _fits(words: str, name: str) -> bool:
    return any(fnmatchcase(name, word.strip()) for word in words.split(","))


def _about(text: str, foreign: Sequence[str]) -> bool:
    """A host that was lost is missing from its own municipality's part alone."""
    return any(text.startswith(f"{_LOST}{key}:") for key in foreign)


def _fault(text: str, foreign: Sequence[str]) -> str:
    for key in sorted(foreign, key=len, reverse=True):
        text = text.replace(key, ELSEWHERE)
    return text


def tally(assessment: Assessment, findings: Sequence[Finding]) -> dict[str, dict[str, int]]:
    """Results by severity, and over all as `total`; `waived` are those failures that a waiver covers."""
    severity = {control.id: control.severity for control in assessment.scope.controls}
    waived = [severity[finding.result.control] for finding in findings if finding.disposition == "waived"]
    sorted_out: dict[str, list[Any]] = {name: [] for name in SEVERITIES}
    for result in assessment.results:
        sorted_out[severity[result.control]].append(result)
    rows = {name: {**count(chosen), "waived": waived.count(name)} for name, chosen in sorted_out.items()}
    rows["total"] = {kind: sum(row[kind] for row in rows.values()) for kind in rows[SEVERITIES[0]]}
    return rows


def told(assessment: Assessment, findings: Sequence[Finding], digest: str) -> Mapping[str, object]:
    """What the ledger keeps of a part: enough for a trend, and the hash that a report of it is held against."""
    coverage = assessment.coverage
    return {
        "report_sha256": digest,
        "hosts": {
            "total": coverage.total,
            "assessed": len(coverage.assessed),
            "unreachable": len(coverage.unreachable),
            "excluded": len(coverage.excluded),
            "quarantined": len(coverage.quarantined),
        },
        "results": tally(assessment, findings),
    }
