"""The report as one HTML page: everything in one file, nothing fetched, nothing that runs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from opsctl import content
from opsctl.model.finding import RESULTS, SEVERITIES, Control
from opsctl.report.build import Report
from opsctl.report.words import words

# A sign beside each word: colour alone never carries the meaning (WCAG 2.1, 1.4.1).
SIGNS = {"fail": "✗", "error": "!", "notchecked": "?", "pass": "✓", "notapplicable": "–"}


def page(report: Report, language: str, own: Path | None = None) -> str:
    """The page in `sv` or `en`."""
    spoken = words(language, own)
    return (
        environment(own)
        .get_template("report.html.j2")
        .render(
            t=spoken,
            word=lambda key: getattr(spoken, key),
            lang=language,
            report=report,
            run=report.assessment,
            scope=report.assessment.scope,
            coverage=report.assessment.coverage,
            title_of=lambda control: _title(control, language),
            check_of=lambda control: _check(control, language),
            results=RESULTS,
            severities=SEVERITIES,
            signs=SIGNS,
            anchor=anchor,
        )
    )


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


def moment(at: datetime | None) -> str:
    """A time for people, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if at else ""


def code(text: str) -> Markup:
    """Catalogue text with its `commands` set as code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def anchor(*parts: str) -> str:
    """A name for a place in the page, whatever the parts hold."""
    return "-".join(re.sub(r"[^A-Za-z0-9]+", "-", part) for part in parts)


def _title(control: Control, language: str) -> str:
    return control.title_sv if language == "sv" and control.title_sv else control.title


def _check(control: Control, language: str) -> str:
    return control.check_sv if language == "sv" and control.check_sv else control.check
