"""The generated pages of docs/reference are current."""

from __future__ import annotations

import runpy
from pathlib import Path

from tests.house.repository import ROOT, short


def test_generated_pages_are_current() -> None:
    pages: dict[Path, str] = runpy.run_path(str(ROOT / "docs/generate.py"))["pages"]()
    for page, text in pages.items():
        assert page.read_text(encoding="utf-8") == text, f"{short(page)} is not current: make docs"
