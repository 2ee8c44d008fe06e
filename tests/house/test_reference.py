"""The generated pages of docs/reference are current, and links in the documentation lead somewhere."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests.house.repository import ROOT, files, short

LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def test_generated_pages_are_current() -> None:
    pages: dict[Path, str] = runpy.run_path(str(ROOT / "docs/generate.py"))["pages"]()
    for page, text in pages.items():
        assert page.read_text(encoding="utf-8") == text, f"{short(page)} is not current: make docs"


@pytest.mark.parametrize("page", [path for path in files() if path.suffix == ".md"], ids=short)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        target = link["target"].partition("#")[0]
        if target and "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{short(page)} links to {target}"
