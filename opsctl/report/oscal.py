"""A report as OSCAL assessment results (NIST, version 1.2.3), for tools that collect them.

One finding a control; its observations are what the hosts said, those together that said the same, with the
hosts as subjects. A control is satisfied only where every host in scope was seen, and satisfies it or is not
concerned. Every UUID is made from the run and what it stands for, so the same run gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from uuid import NAMESPACE_URL, UUID, uuid5

from opsctl.model.finding import Absent, CheckResult, Control
from opsctl.report.build import Report
from opsctl.state.store import stamp

VERSION = "1.2.3"
# What opsctl's own properties are called by; a name, and no address that answers.
NAMESPACE = "urn:opsctl:compliance"
Json = dict[str, object]


def as_json(report: Report) -> str:
    """The report as one OSCAL document."""
    return json.dumps(_Results(report).document(), ensure_ascii=False, sort_keys=True) + "\n"


@dataclass(frozen=True, eq=False)
class _Results:
    report: Report

    @cached_property
    def _space(self) -> UUID:
        return uuid5(NAMESPACE_URL, f"{NAMESPACE}:{self.report.tenant}:{self.report.run}:{self.report.run_sha256}")

    def _id(self, *parts: str) -> str:
        return _named(self._space, "\0".join(parts))

    def document(self) -> Json:
        report, scope = self.report, self.report.assessment.scope
        return {
            "assessment-results": {
                "uuid": self._id("results"),
                "metadata": {
                    "title": _line(f"Compliance of {report.title}"),
                    "last-modified": stamp(report.assessment.ended),
                    "version": _line(report.run),
                    "oscal-version": VERSION,
                    "remarks": "Confidential: describes weaknesses in security.",
                },
                # The plan is the profile within the run; no file of its own is published.
                "import-ap": {"href": f"#{self._id('profile')}", "remarks": f"opsctl profile {scope.profile}"},
                "results": [self._result()],
                "back-matter": {
                    "resources": [
                        {
                            "uuid": self._id("profile"),
                            "title": _line(scope.profile_title or scope.profile),
                            "props": [_prop("catalogue-sha256", scope.catalogue_sha256)],
                        }
                    ]
                },
            }
        }

    def _result(self) -> Json:
        run, scope = self.report.assessment, self.report.assessment.scope
        found = {control.id: self.report.said_of(control.id) for control in scope.controls}
        return {
            "uuid": self._id("result"),
            "title": _line(f"Run {self.report.run}"),
            "description": self._coverage(),
            "start": stamp(run.started),
            "end": stamp(run.ended),
            "props": [
                _prop("outcome", self.report.outcome),
                _prop("document-sha256", self.report.sha256),
                _prop("run-sha256", self.report.run_sha256),
                _prop("ledger-head", self.report.ledger_head),
                _prop("tool", f"opsctl {scope.tool_version}"),
            ],
            "local-definitions": {"inventory-items": list(self._items())},
            "reviewed-controls": {
                "control-selections": [{"include-controls": [{"control-id": control.id} for control in scope.controls]}]
            },
            "observations": [self._observation(said) for groups in found.values() for said in groups]
            + [self._missing(absent, kind) for kind, absent in self._absent()],
            "findings": [self._finding(control, found[control.id]) for control in scope.controls],
        }

    def _coverage(self) -> str:
        coverage = self.report.assessment.coverage
        return (
            f"{coverage.total} hosts in scope: {len(coverage.assessed)} assessed, {len(coverage.unreachable)} "
            f"unreachable, {len(coverage.excluded)} excluded, {len(coverage.quarantined)} quarantined"
        )

    def _absent(self) -> Iterable[tuple[str, Absent]]:
        coverage = self.report.assessment.coverage
        for kind in ("excluded", "quarantined"):
            yield from ((kind, absent) for absent in getattr(coverage, kind))

    def _items(self) -> Iterable[Json]:
        for host in self.report.assessment.scope.hosts:
            props = [_prop("role", host.role), _prop("platform", host.platform)]
            props += [_prop("host-key", key) for key in host.host_keys]
            yield {"uuid": self._id("host", host.key), "description": _line(host.key), "props": props}
        known = {host.key for host in self.report.assessment.scope.hosts}
        for _, absent in self._absent():
            if absent.host not in known:
                yield {"uuid": self._id("host", absent.host), "description": _line(absent.host)}

    def _observation(self, same: tuple[CheckResult, ...]) -> Json:
        first = same[0]
        disposition = self.report.dispositions.get((first.host, first.control), "")
        props = [_prop("result", first.result), _prop("control", first.control)]
        said = f"{first.control}: {first.result}. " + (
            f"Observed: {first.observed}. Expected: {first.expected}." if first.observed else first.reason
        )
        return {
            "uuid": self._observed(same),
            "title": _line(f"{first.control} {first.result}"),
            "description": _line(said),
            "props": [*props, _prop("disposition", disposition)] if disposition else props,
            "methods": ["TEST"],
            "collected": stamp(min(one.at for one in same)),
            "subjects": [self._subject(one) for one in same],
        }

    def _subject(self, result: CheckResult) -> Json:
        props = [_prop("collected", stamp(result.at))]
        props += [_prop("evidence-sha256", digest) for digest in dict.fromkeys(p.sha256 for p in result.evidence)]
        return {"subject-uuid": self._id("host", result.host), "type": "inventory-item", "props": props}

    def _missing(self, absent: Absent, kind: str) -> Json:
        return {
            "uuid": self._id("absent", absent.host),
            "title": _line(f"{absent.host} {kind}"),
            "description": _line(f"{kind}: {absent.reason}"),
            "methods": ["EXAMINE"],
            "collected": stamp(self.report.assessment.started),
            "subjects": [{"subject-uuid": self._id("host", absent.host), "type": "inventory-item"}],
        }

    def _observed(self, same: tuple[CheckResult, ...]) -> str:
        return self._id("observation", same[0].control, same[0].host)

    def _finding(self, control: Control, groups: tuple[tuple[CheckResult, ...], ...]) -> Json:
        counts = self.report.by_control[control.id]
        state, reason = _state(counts)
        props = [_prop("severity", control.severity)]
        props += [_prop("check-version", control.check_version)] if control.check_version else []
        finding: Json = {
            "uuid": self._id("finding", control.id),
            "title": _line(f"{control.id} {control.title}"),
            "description": _line(", ".join(f"{count} {kind}" for kind, count in counts.items())),
            "props": props,
            "target": {"type": "objective-id", "target-id": control.id, "status": {"state": state, "reason": reason}},
        }
        related = [{"observation-uuid": self._observed(same)} for same in groups]
        return finding | ({"related-observations": related} if related else {})


def _state(counts: Mapping[str, int]) -> tuple[str, str]:
    """Satisfied only where something passed, nothing failed and nothing is unknown."""
    if counts["fail"]:
        return "not-satisfied", "fail"
    if counts["error"] or counts["notchecked"] or not counts["pass"]:
        return "not-satisfied", "other"
    return "satisfied", "pass"


def _prop(name: str, value: str) -> Json:
    return {"name": name, "ns": NAMESPACE, "value": _line(value)}


# Each host and most words occur in hundreds of results.
@lru_cache(maxsize=10_000)
def _named(space: UUID, name: str) -> str:
    return str(uuid5(space, name))


@lru_cache(maxsize=1_000)
def _line(text: str) -> str:
    """OSCAL's strings are one line that begins and ends with no blank, and are never empty."""
    return " ".join(text.split())[:4_000].rstrip() or "-"
