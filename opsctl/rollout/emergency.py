"""What a person says of an emergency: it goes over windows and freezes, and stands in plan and ledger."""

from __future__ import annotations

from opsctl.errors import UsageError

_LONGEST = 100


def ticket_of(text: str, option: str = "--ticket") -> str:
    """A ticket or reason as the plan and the ledger keep it. Raises UsageError for what is none."""
    if len(text) > _LONGEST or not text.isprintable():
        raise UsageError(f"{option} takes one line of at most {_LONGEST} characters")
    return text.strip()


def emergency_of(reason: str, ticket: str, *, declared: bool) -> str:
    """Why a plan goes over windows and freezes; empty where it does not. Raises UsageError."""
    why = ticket_of(reason, "--reason")
    if declared and not (why and ticket_of(ticket)):
        raise UsageError("--emergency takes --reason and --ticket: both stand in the plan and in the ledger")
    if why and not declared:
        raise UsageError("--reason goes with --emergency")
    return why
