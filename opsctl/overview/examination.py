"""What one look of the doctor says: verdict, what was seen, and the exact mend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warn", "bad"]
AREAS = ("machine", "workspace", "inventory", "keys", "state", "content", "hosts")


@dataclass(frozen=True, kw_only=True)
class Look:
    """One thing that was looked at. `bad`: a verb will fail or do harm; `warn`: it works, and should be better."""

    area: str
    name: str
    verdict: Verdict
    seen: str
    mend: str = ""


def listed(names: list[str] | tuple[str, ...], most: int = 5) -> str:
    """Names for a message, cut where they are many."""
    shown = ", ".join(names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def some(count: int, noun: str) -> str:
    """1 host, 2 hosts."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
