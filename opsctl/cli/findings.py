"""What a compliance run found, on a terminal: the hosts, the findings by control, and who is missing.

Seven hosts with the same fault are one line. Everything by host is in the report and in the JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill, shorten
from typing import TYPE_CHECKING

from opsctl.cli.output import console, line, table
from opsctl.model.finding import RESULTS, alike, count

if TYPE_CHECKING:
    from opsctl.compliance.record import Audit
    from opsctl.model.finding import CheckResult, Control, Finding, Scope

LONGEST = 160
# So many hosts are named in a line; of more, the number is told.
NAMED = 4
# Room for four controls; with less, a table would fold into letters.
LEAST_ROOM = 28
ALWAYS = ("fail", "error", "pass")


def show(found: Audit) -> None:
    """A finished run, as `comply run` prints it."""
    _show_hosts(found)
    failed: dict[str, list[CheckResult]] = {}
    for finding in _open(found):
        failed.setdefault(finding.result.control, []).append(finding.result)
    errors: dict[str, list[CheckResult]] = {}
    for result in found.assessment.results:
        if result.result == "error":
            errors.setdefault(result.control, []).append(result)
    for control in sorted(found.assessment.scope.controls, key=lambda control: control.order):
        _show_control(control, failed.get(control.id, ()), errors.get(control.id, ()))
    _show_coverage(found)


def scope_words(scope: Scope) -> str:
    """What a run looked at: whole, or how it was narrowed."""
    if scope.whole:
        return "whole"
    words = [f"{name} {','.join(chosen)}" for name, chosen in scope.selection.items() if chosen]
    return "; ".join([*words, f"controls: {len(scope.controls)}"])


def _open(found: Audit) -> list[Finding]:
    return [finding for finding in found.findings if finding.disposition != "waived"]


def _show_hosts(found: Audit) -> None:
    """A table; where the terminal has no room for its last column, a paragraph for each host."""
    coverage = found.assessment.coverage
    keys = (*coverage.assessed, *(absent.host for absent in coverage.unreachable))
    counts = {key: count(found.assessment.of(key)) for key in keys}
    kinds = [kind for kind in RESULTS if kind in ALWAYS or any(one[kind] for one in counts.values())]
    open_findings: dict[str, list[str]] = {}
    for finding in _open(found):
        open_findings.setdefault(finding.result.host, []).append(finding.result.control)
    ids = {key: " ".join(open_findings.get(key, ())) for key in keys}
    taken = max(map(len, keys), default=0) + sum(len(kind) + 3 for kind in kinds) + 4
    width = console().width
    if width >= taken + LEAST_ROOM or not any(ids.values()):
        rows = [[key, *(counts[key][kind] or "" for kind in kinds), ids[key]] for key in keys]
        table(["host", *kinds, "open findings"], rows)
        return
    for key in keys:
        line(f"{key}: " + ", ".join(f"{counts[key][kind]} {kind}" for kind in kinds if counts[key][kind]))
        if ids[key]:
            line(
                fill(
                    ids[key],
                    max(width, LEAST_ROOM),
                    break_on_hyphens=False,
                    initial_indent="    ",
                    subsequent_indent="    ",
                )
            )


def _show_control(control: Control, failed: Sequence[CheckResult], errors: Sequence[CheckResult]) -> None:
    """Its findings and what could not be judged: one line for each thing that was seen."""
    if not failed and not errors:
        return
    variable = f", variable {control.remediation_variable}" if control.remediation_variable else ""
    line(f"{control.id} {control.severity}: {control.title} (role {control.remediation_role}{variable})")
    for same in alike(failed, lambda result: _short(result.observed)):
        line(f"    {_hosts(same)}: {_short(same[0].observed)}")
    for same in alike(errors, lambda result: _short(result.reason)):
        line(f"    error on {_hosts(same)}: {_short(same[0].reason)}")


def _short(text: str) -> str:
    return shorten(text, LONGEST, placeholder=" ...")


def _hosts(results: Sequence[CheckResult]) -> str:
    return ", ".join(r.host for r in results) if len(results) <= NAMED else f"{len(results)} hosts"


def _show_coverage(found: Audit) -> None:
    coverage = found.assessment.coverage
    line(
        f"{coverage.total} in scope: {len(coverage.assessed)} assessed, {len(coverage.unreachable)} unreachable, "
        f"{len(coverage.excluded)} excluded, {len(coverage.quarantined)} quarantined"
    )
    for absent in (*coverage.unreachable, *coverage.excluded, *coverage.quarantined):
        line(f"  not assessed: {absent.host}: {absent.reason}")
    for fault in found.assessment.faults:
        line(f"  incomplete: {fault}")
