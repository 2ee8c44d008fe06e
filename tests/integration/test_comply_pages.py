"""Compliance reports as people meet them: in a real Chromium, wide and narrow, light and dark, judged by axe-core."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pypdf
import pytest

from opsctl.compliance import record
from opsctl.report import build, exports, pages
from opsctl.report.words import LANGUAGES
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests import runs
from tests.pages import NARROW, WIDE, Browser, browser, read_by_everybody
from tests.unit.test_report_exports import waived
from tests.unit.test_report_part import kept


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small report with waivers and a trend in one page, and a large one in many; each in both languages."""
    folder = tmp_path_factory.mktemp("reports")
    with Store.open(folder / "state") as store:
        small = replace(waived(), scope=replace(waived().scope, selection={}, deselected=()))
        for days in (14, 7):
            earlier = small.started - timedelta(days=days)
            kept(store, f"before-{days}", replace(small, started=earlier, ended=earlier))
        kept(store, "small", small)
        # Few controls for the split layout: a fleet's pages differ in length only, and axe takes its time over each.
        kept(store, "large", runs.fleet(41, controls=15))
        for name in ("small", "large"):
            report = build.report(build.kept(store, Ledger(store), name), "ange")
            exports.write(report, folder / name, ("html", "pdf"), LANGUAGES)
    return folder


@pytest.mark.parametrize("language", LANGUAGES)
def test_everybody_can_read_a_report_in_one_page(chromium: Browser, written: Path, language: str) -> None:
    assert read_by_everybody(chromium, written / f"small/compliance-small.{language}.html") == []


@pytest.mark.parametrize(
    "page",
    ["index", "findings", "map-1", "host-ange-ange-web000", "control-SSH-01"],
)
def test_everybody_can_read_each_page_of_a_large_report(chromium: Browser, written: Path, page: str) -> None:
    # Style and parts are those of the one page: there each width is seen in each light.
    file = written / f"large/compliance-large.sv/{page}.html"
    assert read_by_everybody(chromium, file, widths=(NARROW,), schemes=("dark",)) == []
    assert read_by_everybody(chromium, file, widths=(WIDE,), schemes=("light",)) == []


def test_a_keyboard_reaches_the_content_the_links_and_what_scrolls(chromium: Browser, written: Path) -> None:
    chromium.open(written / "large/compliance-large.sv/index.html", width=320)
    focused = "document.activeElement.className || document.activeElement.tagName"
    chromium.press("Tab")
    assert chromium.run(focused) == "skip"
    assert chromium.run("getComputedStyle(document.activeElement).position") == "static", "it is seen when it has focus"
    chromium.press("Enter")
    assert chromium.run("location.hash") == "#content"
    reached = set()
    for _ in range(40):
        chromium.press("Tab")
        reached.add(chromium.run(focused))
        if chromium.run(focused) == "scroll":
            break
    assert {"A", "scroll"} <= reached
    assert chromium.run("getComputedStyle(document.activeElement).outlineStyle") == "solid", "one sees where one is"


def test_evidence_is_opened_with_the_keyboard(chromium: Browser, written: Path) -> None:
    chromium.open(written / "large/compliance-large.sv/host-ange-ange-web000.html")
    chromium.run("document.querySelector('summary').focus()")
    chromium.press("Enter")
    assert chromium.run("document.querySelector('details').open") is True


@pytest.mark.parametrize(("run", "language"), [("small", "sv"), ("small", "en"), ("large", "sv")])
def test_the_pdf_is_tagged_and_says_its_title_and_language(written: Path, run: str, language: str) -> None:
    reader = pypdf.PdfReader(written / run / f"compliance-{run}.{language}.pdf")
    root: Any = reader.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"] is not None
    assert bool(root["/MarkInfo"]["/Marked"])
    assert root["/Lang"] == language
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]
    metadata = reader.metadata
    assert metadata is not None
    assert metadata.title == {
        "sv": "Efterlevnadsrapport, Ånge kommun, 2026-11-22", "en": "Compliance report, Ånge kommun, 2026-11-22"
    }[language]  # fmt: skip
    xmp = root["/Metadata"].get_object().get_data().decode()
    assert "pdfuaid:part" in xmp
    kinds = tags(root["/StructTreeRoot"])
    assert {"/H1", "/H2", "/Table", "/TH", "/TD", "/Caption", "/L", "/LI", "/P"} <= kinds
    text = "".join(page.extract_text() for page in reader.pages)
    assert ("HTML-sidorna" if language == "sv" else "HTML pages") in text, "it says where the details are"
    assert len(reader.pages) < 40


def tags(element: Any) -> set[str]:
    """Every kind of structure element below one."""
    found: set[str] = set()
    todo = [element.get_object()]
    while todo:
        one = todo.pop()
        if "/S" in one:
            found.add(str(one["/S"]))
        children = one.get("/K", [])
        for child in children if isinstance(children, list) else [children]:
            inner = child.get_object()
            if isinstance(inner, dict):
                todo.append(inner)
    return found


def test_the_same_run_gives_the_same_pdf(tmp_path: Path) -> None:
    with Store.open(tmp_path / "state") as store:
        kept(store, "run-1", waived())
        written = []
        for name in ("one", "two"):
            report = build.report(build.kept(store, Ledger(store), "run-1"), "ange")
            written.append(exports.write(report, tmp_path / name, ("pdf",), ("sv",)))
    assert written[0][0][1] == written[1][0][1]


def test_a_pdf_asks_for_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path / "state") as store:
        record.keep(store, "run-1", record.to_document("run-1", waived(), "7:ab"), waived())
        report = build.report(build.kept(store, Ledger(store), "run-1"), "ange")
        html = pages.for_paper(report, "sv")
    assert "<img" not in html
    assert "<link" not in html
    assert "url(" not in html
