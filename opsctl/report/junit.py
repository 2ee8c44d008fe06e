"""A report as JUnit XML, for build servers and dashboards: a suite for each host, a case for each control of it.

What nobody could see is an error, so that no green bar hides a host that did not answer (Ansible's own JUnit leaves
such hosts out). A failure that a waiver covers is a skipped case with its message: not a pass, and not red either.
Properties say by which key a host was known, and by which version of its check each case was judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from xml.sax.saxutils import escape, quoteattr

from opsctl.model.finding import Absent, CheckResult
from opsctl.report.build import Report
from opsctl.state.store import stamp

# What XML 1.0 cannot hold (2.2 of its recommendation), whatever a host said.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_xml(report: Report) -> str:
    """The report as one XML document; the same run gives the same bytes."""
    keys = {host.key: host.host_keys for host in report.assessment.scope.hosts}
    suites = [
        _suite(key, [_case(report, one) for one in report.assessment.of(key)], keys.get(key, ()))
        for key, _ in sorted(report.hosts)
    ]
    coverage = report.assessment.coverage
    suites += [
        _suite(absent.host, [_absent(absent, kind)])
        for kind, hosts in (("excluded", coverage.excluded), ("quarantined", coverage.quarantined))
        for absent in hosts
    ]
    totals = [sum(counts) for counts in zip(*(counts for _, counts in suites), strict=True)] or [0, 0, 0, 0]
    head = f"<testsuites name={_quoted(f'compliance {report.title} {report.run}')}{_counted(totals)}>"
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *(text for text, _ in suites), "</testsuites>\n"])


def _suite(name: str, cases: list[tuple[str, str]], host_keys: Iterable[str] = ()) -> tuple[str, list[int]]:
    kinds = [kind for kind, _ in cases]
    counts = [len(cases), kinds.count("failure"), kinds.count("error"), kinds.count("skipped")]
    properties = "".join(_property("host key", key) for key in host_keys)
    head = [f"<testsuite name={_quoted(name)}{_counted(counts)}>"]
    head += [f"<properties>{properties}</properties>"] if properties else []
    lines = [*head, *(text for _, text in cases), "</testsuite>"]
    return "\n".join(lines), counts


def _counted(counts: Iterable[int]) -> str:
    names = ("tests", "failures", "errors", "skipped")
    return "".join(f' {name}="{count}"' for name, count in zip(names, counts, strict=True))


def _case(report: Report, result: CheckResult) -> tuple[str, str]:
    kind, message = _verdict(report, result)
    control = report.controls[result.control]
    version = f"<properties>{_property('check version', control.check_version)}</properties>"
    name = _quoted(f"{result.control} {control.title}")
    opened = f'<testcase classname={_quoted(result.host)} name={name} time="0">{version}'
    if not kind:
        return "", f"{opened}</testcase>"
    said = "\n".join(_said(result))
    return (
        kind,
        f"{opened}<{kind} type={_quoted(result.result)} message={_quoted(message)}>{_text(said)}</{kind}></testcase>",
    )


def _property(name: str, value: str) -> str:
    return f"<property name={_quoted(name)} value={_quoted(value)}/>"


def _verdict(report: Report, result: CheckResult) -> tuple[str, str]:
    if result.result == "pass":
        return "", ""
    if result.result == "notapplicable":
        return "skipped", f"not applicable: {result.reason}"
    if result.result in ("error", "notchecked"):
        return "error", result.reason
    if report.dispositions.get((result.host, result.control)) == "waived":
        return "skipped", f"failed, with a waiver: {result.observed}"
    return "failure", f"{result.observed}; expected: {result.expected}"


def _said(result: CheckResult) -> Iterator[str]:
    yield f"observed: {result.observed}"
    yield f"expected: {result.expected}"
    yield f"at: {stamp(result.at)}"
    for piece in result.evidence:
        yield f"evidence ({piece.how}): {piece.command} (exit code {piece.exit_code}, SHA-256 {piece.sha256})"


def _absent(absent: Absent, kind: str) -> tuple[str, str]:
    """A host that was not to be assessed, or a record that is none: seen in the count, and never green."""
    message = _quoted(f"{kind}: {absent.reason}")
    return (
        "skipped",
        f'<testcase classname={_quoted(absent.host)} name="coverage" time="0"><skipped message={message}/></testcase>',
    )


def _sound(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)


def _text(text: str) -> str:
    return escape(_sound(text))


# Host names and titles occur in hundreds of cases.
@lru_cache(maxsize=1_000)
def _quoted(text: str) -> str:
    return quoteattr(_sound(text[:1_000]))
