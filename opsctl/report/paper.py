"""A report on paper: a tagged PDF (PDF/UA-1) of the overview and the findings, with title and language.

It stays short however large the fleet is: what each server said stands in the HTML pages and in the JSON, and the PDF
says so. WeasyPrint is imported here alone, and only when a PDF is written: it takes 0.4 s and Debian's Pango.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from opsctl.errors import ConfigError
from opsctl.report import pages
from opsctl.report.build import Report

PACKAGES = "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core"
VARIANT = "pdf/ua-1"


def pdf(report: Report, language: str, own: Path | None = None) -> bytes:
    """The PDF in `sv` or `en`; the same run gives the same bytes. Raises ConfigError where it cannot be set."""
    html = pages.for_paper(report, language, own)
    try:
        from weasyprint import HTML
        from weasyprint.urls import URLFetcher
    except OSError as error:
        raise ConfigError(
            f"no PDF can be written here: {error}".splitlines()[0],
            hint=f"apt-get install {PACKAGES}; or leave pdf out of --format",
        ) from error
    identifier = hashlib.sha256(f"{report.sha256} {language}".encode()).digest()[:16]
    nothing = URLFetcher(allowed_protocols=[])  # a report asks for nothing, and what a host said can ask for nothing
    document = HTML(string=html, url_fetcher=nothing)
    written = document.write_pdf(pdf_variant=VARIANT, pdf_identifier=identifier)
    assert isinstance(written, bytes)
    return written
