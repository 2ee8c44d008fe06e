"""How a plan stands that asks for a second person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from opsctl.model.approval import FOLLOWS_WITHIN, Approval, Word, standing

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
GIVEN = Approval(plan="p", plan_hash="h", person="bo", key="SHA256:x", at=NOW, handed_in_by="bo", signature="s")


def test_a_ring_that_asks_for_one_lacks_it_until_it_is_given() -> None:
    found = standing(rings=("broad",), may_follow=False, given=(), begun=None, now=NOW)
    assert (found.word, found.wanted, str(found)) == (Word.MISSING, True, "a second person must approve it: ring broad")
    found = standing(rings=("broad",), may_follow=False, given=(GIVEN,), begun=None, now=NOW)
    assert (found.word, found.wanted, str(found)) == (
        Word.GIVEN, False, "approved by bo (SHA256:x), 2026-11-22 03:00:00Z",
    )  # fmt: skip


def test_that_of_an_emergency_is_open_for_a_day_and_then_overdue() -> None:
    begun = NOW - timedelta(hours=24)
    found = standing(rings=(), may_follow=True, given=(), begun=begun, now=NOW)
    assert (found.word, found.due) == (Word.OPEN, NOW)
    late = standing(rings=(), may_follow=True, given=(), begun=begun, now=NOW + timedelta(seconds=1))
    assert str(late) == "APPROVAL OVERDUE since 2026-11-22 03:00:00Z"


@given(
    rings=st.booleans(),
    may_follow=st.booleans(),
    approved=st.booleans(),
    begun=st.none() | st.timedeltas(timedelta(0), timedelta(days=3)),
)
def test_nothing_is_ever_called_given_without_an_approval(
    *, rings: bool, may_follow: bool, approved: bool, begun: timedelta | None
) -> None:
    found = standing(
        rings=("broad",) if rings else (), may_follow=may_follow, given=(GIVEN,) if approved else (),
        begun=None if begun is None else NOW - begun, now=NOW,
    )  # fmt: skip
    assert (found.word is Word.GIVEN) == approved
    assert found.wanted == (not approved and (rings or may_follow))
    assert (found.word is Word.OVERDUE) == (
        may_follow and not approved and begun is not None and begun > FOLLOWS_WITHIN
    )
