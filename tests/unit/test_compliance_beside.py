"""What a command printed then and now, line beside line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from opsctl.compliance import beside

LINES = "".join(f"line {number}\n" for number in range(30))


def test_of_what_is_the_same_only_the_ends_are_shown_and_what_differs_stands_side_by_side() -> None:
    assert beside.rows(LINES, LINES.replace("line 20\n", "other\nmore\n")) == (
        ("", "line 0", "line 0"),
        ("", "line 1", "line 1"),
        ("", "(16 more lines)", "(16 more lines)"),
        ("", "line 18", "line 18"),
        ("", "line 19", "line 19"),
        ("≠", "line 20", "other"),
        ("≠", "", "more"),
        ("", "line 21", "line 21"),
        ("", "line 22", "line 22"),
        ("", "(5 more lines)", "(5 more lines)"),
        ("", "line 28", "line 28"),
        ("", "line 29", "line 29"),
    )


def test_what_is_on_one_side_alone_is_shown_there_and_a_flood_is_bounded() -> None:
    assert beside.rows("", "one") == (("≠", "", "one"),)
    found = beside.rows("", LINES * 10)
    assert len(found) == beside.MOST + 1
    assert found[-1] == ("", "(240 more lines)", "(240 more lines)")


@given(st.lists(st.sampled_from("abc"), max_size=20), st.lists(st.sampled_from("abc"), max_size=20))
def test_a_row_is_marked_exactly_where_something_differs(old: list[str], new: list[str]) -> None:
    found = beside.rows("\n".join(old), "\n".join(new))
    assert any(mark for mark, _, _ in found) == (old != new)
    assert all(a == b for mark, a, b in found if not mark)
