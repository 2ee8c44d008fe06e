"""What a command printed then and now, line beside line: what is the same is told once and shortly. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import islice, zip_longest

SAME, OTHER = "", "≠"
# Lines of what is the same that are shown where a part of it begins and ends, and rows in all.
EDGE, MOST = 2, 60
Row = tuple[str, str, str]


def rows(old: str, new: str) -> tuple[Row, ...]:
    """Rows of mark, then, now: at most `MOST`, and one that tells how many are left."""
    found = list(_rows(old.splitlines(), new.splitlines()))
    left = len(found) - MOST
    return (*found[:MOST], *([_gap(left)] if left > 0 else []))


def _rows(old: list[str], new: list[str]) -> Iterator[Row]:
    matched = SequenceMatcher(None, old, new, autojunk=False)
    for kind, first, last, begin, end in matched.get_opcodes():
        if kind == "equal":
            yield from _equal(old[first:last])
        else:
            yield from ((OTHER, a, b) for a, b in zip_longest(old[first:last], new[begin:end], fillvalue=""))


def _equal(lines: list[str]) -> Iterator[Row]:
    if len(lines) <= 2 * EDGE + 1:
        yield from ((SAME, line, line) for line in lines)
        return
    yield from ((SAME, line, line) for line in islice(lines, EDGE))
    yield _gap(len(lines) - 2 * EDGE)
    yield from ((SAME, line, line) for line in lines[-EDGE:])


def _gap(count: int) -> Row:
    return (SAME, f"({count} more lines)", f"({count} more lines)")
