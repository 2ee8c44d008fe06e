"""Every test that docs/explanation/proofs.md names is there, under that name."""

from __future__ import annotations

import re

from tests.house.repository import ROOT

PAGE = ROOT / "docs/explanation/proofs.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_each_row_names_a_test_that_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    told = text.partition("## Speed")[0].splitlines()
    rows = [line for line in told if line.startswith("| ") and not line.startswith(("| what", "| when"))]
    assert len(rows) > 30
    assert [row for row in rows if not NAMED.search(row)] == []
    missing = [
        f"{file}::{name}"
        for file, name in NAMED.findall(text)
        if not (ROOT / file).exists() or f"\ndef {name}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
    assert missing == []
