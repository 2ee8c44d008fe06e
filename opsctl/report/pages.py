"""A report as HTML: one page, or for a fleet many that link to each other. Nothing is fetched, nothing runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from gettext import NullTranslations
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from opsctl import content
from opsctl.model.finding import RESULTS, SEVERITIES, CheckResult, Control, Evidence, ScopedHost
from opsctl.report import language as languages
from opsctl.report import plot, spoken
from opsctl.report.build import Report
from opsctl.report.layout import MAP_ROWS, MOST_IN_ONE_PAGE, Layout, anchor
from opsctl.report.pieces import Pieces, minute, moment

# So many hosts of the map stand on the front page of a fleet, the worst ones.
MAP_FRONT = 25
# So many controls fit beside each other on a sheet of paper.
PAPER_COLUMNS = 26
Shown = tuple[ScopedHost, tuple[CheckResult, ...], dict[Evidence, int]]


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page: its file, its place among the contents, and the parts of templates that it is made of."""

    file: str
    key: str
    parts: tuple[str, ...]
    title: str = ""
    front: bool = False
    hosts: Sequence[Shown] = ()
    controls: Sequence[Control] = ()
    number: int = 0
    rows: Sequence[str] = ()


def files(report: Report, language: str, own: Path | None = None) -> Iterator[tuple[str, str]]:
    """Every page of a report in one language: its name below the report's folder, and its text, one at a time."""
    layout = Layout(split=len(report.assessment.results) > MOST_IN_ONE_PAGE)
    name = f"compliance-{report.run}.{language}"
    template, values = _template(report, language, layout, own)
    for page in _many(report, values) if layout.split else _one(report):
        yield f"{name}/{page.file}" if layout.split else f"{name}.html", template.render(values, page=page)


def for_paper(report: Report, language: str, own: Path | None = None) -> str:
    """The HTML that a PDF is set from: overview and findings, bounded, with nothing to click."""
    layout = Layout(linked=False)
    template, values = _template(report, language, layout, own, "comply.paper.html.j2")
    mapped = [key for key, _ in report.hosts[:MAP_FRONT]]
    failing = {finding.result.control for finding in report.findings if finding.result.host in set(mapped)}
    columns = [name for name in values["columns"] if name in failing][:PAPER_COLUMNS]
    parts = _part("overview", "findings", "waivers", "scope", "method", "reading")
    page = Page(file="", key="overview", front=True, parts=parts)
    bounds = {"most_named": 6, "most_groups": 4, "most_controls": 20, "most_undecided": 30, "most_absent": 50}
    return template.render(values, page=page, mapped=mapped if columns else [], columns=columns, **bounds)


def _template(
    report: Report, language: str, layout: Layout, own: Path | None, name: str = "comply.page.html.j2"
) -> tuple[jinja2.Template, dict[str, Any]]:
    """The frame of every page, and what all pages of a report share."""
    translations = languages.translations(language, own)
    made = environment(own)
    made.add_extension("jinja2.ext.i18n")
    made.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]  # the extension's own
    words, letters = spoken.words(translations), spoken.letters(translations)
    en = Markup("") if language == languages.SOURCE else Markup(' lang="en"')
    pieces = Pieces(report, layout, words, letters, en)
    made.filters |= {
        "number": lambda count: f"{count:,}".replace(",", "," if language == "en" else "\u00a0"),
        "sentence": lambda text: text[:1].upper() + text[1:],
        "bounded": pieces.bounded,
        "minute": minute,
    }
    return made.get_template(name), _values(report, language, layout, pieces, translations)


def _values(
    report: Report, language: str, layout: Layout, pieces: Pieces, translations: NullTranslations
) -> dict[str, Any]:
    _, pgettext = translations.gettext, translations.pgettext
    run, scope, coverage = report.assessment, report.assessment.scope, report.assessment.coverage
    say = _Catalogue(language, pieces.en)
    assessed = frozenset(coverage.assessed)
    front = [key for key, _ in report.hosts[: MAP_FRONT if layout.split else None]]
    return {
        "lang": language, "report": report, "run": run, "scope": scope, "coverage": coverage, "layout": layout,
        "results": RESULTS, "severities": SEVERITIES, "totals": report.counts["total"],
        "words": pieces.words, "letters": pieces.letters, "marks": pieces.marks, "en": pieces.en,
        "cells": pieces.cells, "state": pieces.state, "asked": pieces.asked, "links": pieces.links, "go": pieces.go,
        "rows": pieces.rows, "details": pieces.details, "short_host": pieces.short_host,
        "title_of": say.title, "check_of": say.check, "plain_of": say.plain,
        "titles": {control.id: say.title(control) for control in scope.controls},
        "profile_title": scope.profile_title_sv if language == "sv" and scope.profile_title_sv else scope.profile_title,
        "contents": _contents(_), "base": 1 if layout.split else 2,
        "host_base": 1 if layout.split else 3,
        "parts": [(kind, getattr(coverage, kind)) for kind in ("assessed", "unreachable", "excluded", "quarantined")],
        "reached": [host for host in scope.hosts if host.key in assessed],
        "standing": spoken.standing(pgettext), "repeated": spoken.repeated(pgettext),
        "selection": [(name, chosen) for name, chosen in scope.selection.items() if chosen],
        "mapped": front, "columns": [control.id for control in scope.controls],
        "map_pages": -(-len(report.hosts) // MAP_ROWS),
        "plot": plot.trend(report.trend, _plot_words(_)) if report.earlier else "",
        **spoken.confirmation(report, _),
        "most_named": 20, "most_groups": 50, "most_controls": 1_000,
        "most_undecided": 200, "most_absent": 2_000, "families": _families,
    }  # fmt: skip


def _contents(_: Callable[[str], str]) -> list[tuple[str, str]]:
    return [
        ("overview", _("Overview")),
        ("findings", _("Findings")),
        ("waivers", _("Waivers")),
        ("hosts", _("Hosts")),
        ("controls", _("Controls")),
        ("scope", _("Scope")),
        ("method", _("Method and proof")),
        ("reading", _("How to read this report")),
    ]


def _plot_words(_: Callable[[str], str]) -> Mapping[str, str]:
    return {
        "title": _("Open findings over time"),
        "description": _("The numbers stand in the table below."),
        "open": _("Open findings"),
        "undecided": _("Not decided"),
    }


def _families(columns: Sequence[str]) -> list[tuple[str, int]]:
    """The beginnings of the controls' ids, each with how many columns it spans."""
    return [(family, len(list(same))) for family, same in groupby(columns, lambda name: name.partition("-")[0])]


def _shown(report: Report, hosts: Sequence[ScopedHost]) -> list[Shown]:
    found = ((host, report.assessment.of(host.key), report.evidence_of(host.key)) for host in hosts)
    return [(host, _worst_first(results), pieces) for host, results, pieces in found if results]


def _worst_first(results: Sequence[CheckResult]) -> tuple[CheckResult, ...]:
    return tuple(sorted(results, key=lambda result: RESULTS.index(result.result)))


def _part(*keys: str) -> tuple[str, ...]:
    return tuple(f"comply.{key}.html.j2" for key in keys)


def _one(report: Report) -> Iterator[Page]:
    """Everything in one page, for a fleet that fits into one."""
    scope = report.assessment.scope
    yield Page(
        file="",
        key="overview",
        front=True,
        parts=_part(
            "overview", "findings", "waivers", "hosts", "host", "controls", "control", "scope", "method", "reading"
        ),
        hosts=_shown(report, scope.hosts),
        controls=scope.controls,
    )


def _many(report: Report, values: Mapping[str, Any]) -> Iterator[Page]:
    """A front page, one for each chapter, and one for each host, control and piece of the map."""
    scope, layout = report.assessment.scope, Layout(split=True)
    yield Page(file="index.html", key="overview", front=True, parts=_part("overview"))
    for key, _ in values["contents"][1:]:
        yield Page(file=layout.section(key), key=key, parts=_part(key))
    for start in range(0, len(report.hosts), MAP_ROWS):
        rows, number = [key for key, _ in report.hosts[start : start + MAP_ROWS]], start // MAP_ROWS + 1
        yield Page(file=layout.map(number), key="map", parts=_part("map"), number=number, rows=rows)
    for control in scope.controls:
        title = Markup("{}: {}").format(control.id, values["titles"][control.id])
        yield Page(
            file=layout.control(control.id), key="control", title=title, parts=_part("control"), controls=(control,)
        )
    for host in scope.hosts:
        if shown := _shown(report, (host,)):
            title = values["short_host"](host.key)
            yield Page(file=layout.host(host.key), key="host", title=title, parts=_part("host"), hosts=shown)


@dataclass(frozen=True)
class _Catalogue:
    """What the catalogue says of a control, in the reader's language where it says it, else marked as English."""

    language: str
    en: Markup

    def title(self, control: Control) -> Markup:
        return self._said(control.title, control.title_sv)

    def check(self, control: Control) -> Markup:
        return self._said(control.check, control.check_sv)

    def plain(self, control: Control) -> Markup:
        return self._said(getattr(control, "plain", ""), getattr(control, "plain_sv", ""))

    def _said(self, english: str, swedish: str) -> Markup:
        if self.language == "sv" and swedish:
            return code(swedish)
        return Markup("<span{}>{}</span>").format(self.en, code(english)) if english and self.en else code(english)


def environment(own: Path | None = None) -> jinja2.Environment:
    """What every page is made with. Text from hosts is escaped by the template engine, wherever it stands."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(content.folder("templates", own)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["moment"] = moment
    made.filters["code"] = code
    return made


def code(text: str) -> Markup:
    """Catalogue text with its `commands` set as code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


__all__ = ["anchor", "code", "environment", "files", "moment"]
