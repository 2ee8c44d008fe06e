"""The languages of the reports: every message is translated, and nothing else stands in the catalogues."""

from __future__ import annotations

from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

from opsctl.errors import ConfigError
from opsctl.report import language
from opsctl.report.words import LANGUAGES

ROOT = Path(__file__).parents[2]
# `p` is what opsctl/report/spoken.py calls pgettext.
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2), "p": ((1, "c"), 2)}
TRANSLATED = tuple(name for name in LANGUAGES if name != language.SOURCE)
Key = tuple[object, str | None]


def messages() -> set[Key]:
    """Every message of the templates and of the package, with its context."""
    with (ROOT / "templates/locale/babel.cfg").open(encoding="utf-8") as mapping:
        methods, options = parse_mapping_cfg(mapping)  # type: ignore[no-untyped-call]  # Babel's own
    found = Catalog()
    for folder in ("templates", "opsctl/report"):
        inside = [
            (pattern.removeprefix(f"{folder}/"), method) for pattern, method in methods if pattern.startswith(folder)
        ]
        chosen = {pattern.removeprefix(f"{folder}/"): value for pattern, value in options.items()}
        for _, _, message, _, context in extract_from_dir(ROOT / folder, inside, chosen, KEYWORDS):
            found.add(message, context=context)
    return {(message.id, message.context) for message in found if message.id}


@pytest.mark.parametrize("name", TRANSLATED)
def test_every_message_is_translated_and_no_other_is_there(name: str) -> None:
    wanted = messages()
    assert len(wanted) > 150
    with language.catalogue(name).open("rb") as file:
        catalogue = read_po(file, locale=name, abort_invalid=True)
    there = {(message.id, message.context) for message in catalogue if message.id}
    assert there == wanted, "pybabel extract and update: docs/decisions/0048-languages-of-reports.md"
    for message in catalogue:
        texts = message.string if isinstance(message.string, (tuple, list)) else (message.string,)
        assert all(texts), message.id
        assert not message.fuzzy, message.id
        assert not list(message.check(catalogue)), message.id


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_catalogue_is_read_as_it_lies_there(name: str) -> None:
    assert language.translations(name).gettext("Compliance report") == "Efterlevnadsrapport"
    assert language.translations(name).pgettext("letter for failed", "F") == "U"


def test_english_needs_no_catalogue() -> None:
    assert language.translations("en").gettext("Compliance report") == "Compliance report"


def test_a_catalogue_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "templates/locale/sv/LC_MESSAGES").mkdir(parents=True)
    (tmp_path / "templates/locale/sv/LC_MESSAGES/reports.po").write_text('msgid "open\n')
    with pytest.raises(ConfigError, match="translations of the reports cannot be read"):
        language.translations("sv", tmp_path)
