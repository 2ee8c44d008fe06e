"""What somebody may have meant by a name that is not known. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the known words nearest to `word`, best first, or empty where none is near."""
    by_form = {name.casefold(): name for name in sorted(known, reverse=True)}
    found = [by_form[form] for form in get_close_matches(word.casefold(), sorted(by_form), 3)]
    return f"is it {' or '.join(found)}?" if found else ""
