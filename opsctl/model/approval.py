"""A second person's word on a plan: what was given, and how a plan stands that asks for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

# Words by which the reason is known again.
SECOND_PERSON = "needs a second person"
# An emergency may begin without one, and so may a rollback: it follows within this time.
FOLLOWS_WITHIN = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class Approval:
    """One signature over a plan. `person` is the name in inventories/operators, `key` its fingerprint, `handed_in_by`
    the login user at whose command it was kept."""

    plan: str
    plan_hash: str
    person: str
    key: str
    at: datetime
    handed_in_by: str
    signature: str

    def __str__(self) -> str:
        return f"{self.person} ({self.key}), {self.at:%Y-%m-%d %H:%M:%SZ}"


class Word(StrEnum):
    """How a plan stands: nobody need approve it; somebody has; nobody has and it must not begin; nobody has, and it may
    follow; it should have followed."""

    NOT_NEEDED = "not needed"
    GIVEN = "given"
    MISSING = "missing"
    OPEN = "open"
    OVERDUE = "overdue"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A plan's approval at one moment; `due` is when one that may follow must be there, once the plan has begun."""

    word: Word
    rings: tuple[str, ...] = ()
    given: tuple[Approval, ...] = ()
    due: datetime | None = None

    @property
    def wanted(self) -> bool:
        """Somebody has yet to give it."""
        return self.word in (Word.MISSING, Word.OPEN, Word.OVERDUE)

    def __str__(self) -> str:
        """In words, for status and report; empty where there is nothing to say."""
        match self.word:
            case Word.GIVEN:
                return f"approved by {'; '.join(map(str, self.given))}"
            case Word.MISSING:
                return f"a second person must approve it: ring {', '.join(self.rings)}"
            case Word.OPEN:
                until = f" until {self.due:%Y-%m-%d %H:%M:%SZ}" if self.due else " within 24 h of its beginning"
                return f"APPROVAL OPEN: it may follow{until}"
            case Word.OVERDUE:
                return f"APPROVAL OVERDUE since {self.due:%Y-%m-%d %H:%M:%SZ}"
        return ""


def standing(
    *, rings: tuple[str, ...], may_follow: bool, given: Iterable[Approval], begun: datetime | None, now: datetime
) -> Standing:
    """`rings` of the plan ask for a second person; `may_follow`: it may begin without, and owes it afterwards."""
    approvals = tuple(given)
    due = begun + FOLLOWS_WITHIN if begun and may_follow else None
    if approvals:
        return Standing(word=Word.GIVEN, rings=rings, given=approvals, due=due)
    if may_follow:
        return Standing(word=Word.OVERDUE if due is not None and now > due else Word.OPEN, rings=rings, due=due)
    return Standing(word=Word.MISSING if rings else Word.NOT_NEEDED, rings=rings)
