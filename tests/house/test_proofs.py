"""Every test that the pages of proofs name is there, under that name; and controls are counted as they are proved."""

from __future__ import annotations

import re

from opsctl.compliance import catalogue
from tests.house.repository import ROOT
from tests.integration import test_controls, test_controls_vm, test_web_and_database_controls

PAGE = ROOT / "docs/explanation/proofs.md"
CONTROLS = ROOT / "docs/explanation/controls.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_each_row_names_a_test_that_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    told = text.partition("## Speed")[0].splitlines()
    rows = [line for line in told if line.startswith("| ") and not line.startswith(("| what", "| when"))]
    assert len(rows) > 30
    assert [row for row in rows if not NAMED.search(row)] == []
    assert _missing(text) == []


def _missing(text: str) -> list[str]:
    return [
        f"{file}::{name}"
        for file, name in NAMED.findall(text)
        if not (ROOT / file).exists() or f"\ndef {name}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]


def test_the_page_of_controls_counts_each_way_of_proving_them_as_the_tests_do() -> None:
    text = CONTROLS.read_text(encoding="utf-8")
    counted = {way: int(number) for way, number in re.findall(r"(?m)^\| ([a-z -]+) \| (\d+) \|", text)}
    assert counted == {
        "on a lab host": len(test_controls.CASES),
        "on a virtual machine": len(test_controls_vm.CASES),
        "on a seeded host": len(test_web_and_database_controls.CASES),
        "on what the control side knows": len(test_controls.RECORD_CASES),
        "on recorded output": len(test_controls.RECORDED),
    }
    assert sum(counted.values()) == len(catalogue.load().controls)
    for case in test_controls.RECORD_CASES:
        assert case.control in text
    assert _missing(text) == []
