"""The words of the reports on patching, from templates/*.words.yml: each one in every language, or an error."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from opsctl import content
from opsctl.documents import Problems, read
from opsctl.errors import ConfigError

LANGUAGES = ("sv", "en")


def words(language: str, own: Path | None, file: str) -> SimpleNamespace:
    """Every word of a file in one language, as attributes for the template. Raises ConfigError with what is missing."""
    problems = Problems()
    document = read(content.folder("templates", own) / file, problems)
    found: dict[str, str] = {}
    for key in document.keys():  # noqa: SIM118 - a Section is no dict
        entry = document.section(key)
        found[key] = {lang: entry.text(lang, required=True) for lang in LANGUAGES}[language]
        entry.done()
    problems.finish(ConfigError, "the words of the reports are not complete")
    return SimpleNamespace(**found)
