"""How a listing fits a terminal: no word is cut, for half a host's name or fingerprint cannot be read or copied."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

GAP = 3
_SHORT = 32
# Stands for a space at which no line ends; what is shown holds no control character of its own.
_GLUE = "\0"


def widths(columns: Sequence[str], cells: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """How wide each column becomes, the widest ones folded first; None where even the longest words do not fit."""
    texts = [[name, *column] for name, column in zip(columns, zip(*cells, strict=True), strict=True)]
    least = [max((_wide(word) for text in column for word in text.split()), default=1) for column in texts]
    found = [max((_wide(line) for text in column for line in text.splitlines()), default=1) for column in texts]
    room -= GAP * len(texts) - 1
    if sum(least) > room:
        return None
    while sum(found) > room:
        foldable = (index for index, width in enumerate(found) if width > least[index])
        found[max(foldable, key=found.__getitem__)] -= 1
    return found


def rows(columns: Sequence[str], cells: Sequence[Sequence[str]], room: int) -> list[str]:
    """Each row as a paragraph of its values with their names. No value can hold the mark between two of them."""
    found = []
    for row in cells:
        named = [_together(f"{name} {value}") for name, value in zip(columns, row, strict=True) if value]
        found += textwrap.wrap(
            f"{_GLUE}│ ".join(named),
            width=max(room - 1, 1),  # a serial console may say that it has none
            initial_indent=" ",
            subsequent_indent="     ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return [line.replace(_GLUE, " ") for line in found]


def _together(field: str) -> str:
    """Short fields stay on one line, long ones are folded between words."""
    field = " ".join(field.replace("│", "|").split())
    return field.replace(" ", _GLUE) if len(field) <= _SHORT else field


def _wide(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else not unicodedata.combining(char) for char in text)
