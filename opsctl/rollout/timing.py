"""When each host of a plan may start: at the time that was named, or else within the coming day. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from opsctl.model.calendar import NO_TIME, Hours
from opsctl.model.host import Host, Inventory
from opsctl.model.rollout import Plan

# Words by which the reason is known again.
NEXT = "; next "
NEVER = "at no time within a year"
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Slot:
    """When a host may start, in words and as the first moment of it (None: at once); `reason` why it is left out."""

    takes: timedelta
    window: str = ""
    opens_at: datetime | None = None
    reason: str = ""

    @property
    def missed(self) -> bool:
        """It never has time: somebody must mend its windows."""
        return NEVER in self.reason


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The time of a plan: `at`, or from `now` on for a day. An emergency goes over windows and freezes.

    `expected`: how long each host's change takes, by its key; `usual` for the others.
    """

    hours: Hours
    now: datetime
    at: datetime | None = None
    emergency: bool = False
    expected: Mapping[str, timedelta] = field(default_factory=dict)
    usual: timedelta = NO_TIME

    def slot(self, host: Host) -> Slot:
        """The time of one host."""
        begin, expected = self.at or self.now, self.expected.get(host.key, self.usual)
        verdict = self.hours.may_start(host, begin, expected, emergency=self.emergency)
        if verdict.override:
            return Slot(takes=expected, window=f"emergency, over: {verdict.reason}", opens_at=self.at)
        if verdict.allowed:
            return Slot(takes=expected, window=self._words(host, self.at, verdict.until), opens_at=self.at)
        first = verdict.next_at
        if first is None or self.at is not None or first > begin + _DAY:
            return Slot(takes=expected, reason=f"{verdict.reason}; {self.hours.next_words(host.tenant, verdict)}")
        until = self.hours.may_start(host, first, expected).until
        return Slot(takes=expected, window=self._words(host, first, until), opens_at=first)

    def _words(self, host: Host, first: datetime | None, until: datetime | None) -> str:
        begins = f"from {self.hours.local(host.tenant, first)}" if first else ""
        ends = f"until {self.hours.local(host.tenant, until)}" if until else ""
        return " ".join(part for part in (begins, ends) if part) or "any time"


def not_in_time(plan: Plan, inventory: Inventory, timing: Timing) -> tuple[str, ...]:
    """The hosts that would not have their turn in time, were the plan begun when its first ring may and all go well."""
    opens = [item.opens_at for wave in plan.waves[:1] for item in wave.hosts if item.opens_at]
    at, late = max(opens, default=plan.start_at or timing.now), []
    for _, _, _, batch in plan.batches():
        for item in batch.hosts:
            takes = timedelta(seconds=item.expected_seconds)
            if not timing.hours.may_start(inventory.host(item.host), at, takes, emergency=timing.emergency).allowed:
                late.append(item.host)
        at += timedelta(seconds=max(item.expected_seconds for item in batch.hosts))
    return tuple(late)
