"""What opsctl's own questions to the services of a rollout's hosts saw while it ran."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Probed:
    """One service under questions: `target` is its web address, or `tcp ADDRESS:PORT`; `hosts` are those behind it.

    Questions count from the first answer on: what never answered from here (`answered` is 0) is not known to be lost,
    and `why` says what the last question met. An outage is from the first lost question to the next answer.
    """

    service: str
    target: str
    hosts: tuple[str, ...]
    answered: int = 0
    lost: int = 0
    longest_outage: float = 0.0
    why: str = ""

    @property
    def single(self) -> bool:
        """One host alone answers for it: while that one restarts, nobody does."""
        return len(self.hosts) == 1

    def __str__(self) -> str:
        name = f"{self.service} ({self.target})"
        if not self.answered:
            return f"{name}: never answered from here{f': {self.why}' if self.why else ''}"
        told = f"{name}: {self.answered} answered, {self.lost} lost"
        return f"{told}, longest outage {self.longest_outage:.1f} s" if self.lost else told


@dataclass(frozen=True, kw_only=True)
class Probing:
    """All services of a rollout's hosts, over all of its runs; `at` is when it was last kept."""

    at: datetime
    services: tuple[Probed, ...] = ()
    left_out: int = 0  # services beyond the most that are asked

    @property
    def answered(self) -> int:
        return sum(one.answered for one in self.services)

    @property
    def lost(self) -> int:
        return sum(one.lost for one in self.services)
