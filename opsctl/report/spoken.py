"""The words of results, severities and dispositions in the language of a reader, each in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from gettext import NullTranslations

from opsctl.report.build import Report


def words(translations: NullTranslations) -> Mapping[str, str]:
    """What every word of a run is called for readers, by the word that the run uses."""
    _, p = translations.gettext, translations.pgettext
    return {
        "fail": p("result", "failed"),
        "error": p("result", "error"),
        "notchecked": p("result", "not checked"),
        "pass": p("result", "passed"),
        "notapplicable": p("result", "not applicable"),
        "waived": p("disposition", "with a waiver"),
        "open": p("disposition", "open"),
        "expired": p("disposition", "waiver has run out"),
        "high": p("severity", "high"),
        "medium": p("severity", "medium"),
        "low": p("severity", "low"),
        "total": p("severity", "total"),
        "assessed": p("coverage", "assessed"),
        "unreachable": p("coverage", "unreachable"),
        "excluded": p("coverage", "excluded (not managed)"),
        "quarantined": p("coverage", "in quarantine (the record cannot be used)"),
        "batch": p("how", "batch"),
        "live": p("how", "live"),
        "record": p("how", "record"),
        "both": p("how", "in several ways"),
        "limit": p("selection", "hosts"),
        "tenants": p("selection", "municipalities"),
        "roles": p("selection", "roles"),
        "rings": p("selection", "rings"),
        "controls": p("selection", "controls"),
        "severities": p("selection", "severities"),
        "command": _("Command"),
        "exit_code": _("exit code"),
        "sha256": _("SHA-256 of the whole output"),
        "nothing": _("(printed nothing)"),
        "evidence": _("Evidence"),
        "shortened": _("shortened"),
    }


def standing(p: Callable[[str, str], str]) -> Mapping[str, str]:
    """How a waiver stands."""
    return {
        "valid": p("waiver", "holds"),
        "expiring": p("waiver", "holds, and ends within 30 days"),
        "expired": p("waiver", "has run out: its failures count as open"),
        "unsigned": p("waiver", "not approved: counts for nothing"),
    }


def repeated(p: Callable[[str, str], str]) -> Mapping[str, str]:
    """What came of an answer that was asked for again."""
    return {
        "same": p("repeat", "the same"),
        "different": p("repeat", "different: the report is incomplete"),
        "moving": p("repeat", "changes by itself, which proves nothing"),
        "lost": p("repeat", "contact was lost: the report is incomplete"),
    }


def letters(translations: NullTranslations) -> Mapping[str, str]:
    """One letter for each result, for the map of hosts by controls."""
    p = translations.pgettext
    return {
        "fail": p("letter for failed", "F"),
        "error": p("letter for error", "E"),
        "notchecked": p("letter for not checked", "N"),
        "pass": p("letter for passed", "P"),
        "notapplicable": p("letter for not applicable", "–"),
        "waived": p("letter for failed with a waiver", "W"),
    }


def confirmation(report: Report, _: Callable[[str], str]) -> Mapping[str, str]:
    """Whose judgement the mappings to benchmarks are: `confirmed` in a sentence, `confirmed_short` beside a mapping."""
    scope = report.assessment.scope
    said = scope.confirmed.get(report.tenant)
    nobody = _("opsctl's judgement, not confirmed")
    if said is None:
        whole = _(
            "Which requirement a control supports is opsctl's judgement until the municipality's information security "
            "officer has confirmed it."
        )
        return {"confirmed": whole, "confirmed_short": nobody}
    if said["catalogue_sha256"] != scope.catalogue_sha256:
        whole = _(
            "%(by)s confirmed on %(on)s which requirement a control supports, but for another catalogue of controls: "
            "for this one it is opsctl's judgement."
        )
        return {"confirmed": whole % said, "confirmed_short": nobody}
    whole = _("Which requirement a control supports was confirmed by %(by)s on %(on)s.")
    return {"confirmed": whole % said, "confirmed_short": _("confirmed by %(by)s on %(on)s") % said}
