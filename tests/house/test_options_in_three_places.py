"""Every option stands in three places: the code's list, the example configuration, the reference page."""

from __future__ import annotations

import re

import yaml

from opsctl.config import OPTIONS, example
from tests.house.repository import ROOT


def _flat(text: str) -> dict[str, object]:
    """Every option of an opsctl.yml, those behind a # included."""
    document = yaml.safe_load(re.sub(r"(?m)^# ?(?=\s*[a-z_]+:)", "", text))
    assert document.pop("version") == 1
    return {f"{section}.{key}": value for section, keys in document.items() for key, value in keys.items()}


def _defaults() -> dict[str, object]:
    return {
        option.name: list(option.default) if isinstance(option.default, tuple) else option.default for option in OPTIONS
    }


def test_the_example_lists_every_option_with_its_default() -> None:
    assert _flat(example()) == _defaults()


def test_the_workspace_of_the_repository_lists_every_option() -> None:
    assert list(_flat((ROOT / "opsctl.yml").read_text(encoding="utf-8"))) == list(_defaults())


def test_the_reference_page_lists_every_option_with_default_and_meaning() -> None:
    page = (ROOT / "docs/reference/configuration.md").read_text(encoding="utf-8")
    rows = {
        cells[0].strip("`"): cells
        for line in page.splitlines()
        if line.startswith("| `") and len(cells := [cell.strip() for cell in line.strip("|").split(" | ")]) == 5
    }
    assert list(rows) == [option.name for option in OPTIONS]
    for option in OPTIONS:
        default = " ".join(option.default) if isinstance(option.default, tuple) else str(option.default)
        assert rows[option.name][1].strip("`") == (default or "(empty)")
        assert rows[option.name][4] == option.meaning
