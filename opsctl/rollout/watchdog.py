"""Has a rollout's process died, frozen, or failed to come to its time? Pure deciders over what everybody can see.

Asked by a timer that has nothing to do with the rollout's own process (templates/systemd/patch-watchdog.*).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from opsctl.model.rollout import Stage
from opsctl.rollout import lines, runbook
from opsctl.rollout.limits import listed
from opsctl.rollout.standing import Standing, age
from opsctl.rollout.waiting import Scheduled

# A waiter that is started again by hand has so long before its absence is told.
GRACE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """Something that a person must see to now; `drained` are host keys.

    `kind`: stalled, frozen, interrupted (by a shutdown of its machine) or missed.
    """

    rollout: str
    kind: str
    told: str
    next: str
    read: str
    drained: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.rollout}: {self.told}; run {self.next} ({self.read})"


def alarms(looks: Iterable[Standing], appointments: Iterable[Scheduled], now: datetime) -> tuple[Alarm, ...]:
    """Every alarm there is, the rollouts first."""
    return (*_of_rollouts(looks), *_of_appointments(appointments, now))


def _of_rollouts(looks: Iterable[Standing]) -> Iterator[Alarm]:
    for look in looks:
        if not (look.stalled or look.frozen or look.cut_off):
            continue
        state = look.state
        kind = "frozen" if look.frozen else "stalled" if look.stalled else "interrupted"
        why = f": {state.reason}" if look.cut_off else ""
        seen = f", last seen alive {age(look.now - look.beat)} ago" if look.beat else ""
        lost = [host.host for host in state.hosts if host.stage is Stage.UNKNOWN]
        unknown = f", {len(lost)} unknown ({listed(lost)})" if lost else ""
        drained = f"{len(look.drained)} drained{f' ({listed(look.drained)})' if look.drained else ''}"
        # A frozen process still holds the lock: it must end before anybody can go on.
        first = f"end the process that holds it ({look.busy}), then " if look.frozen else ""
        yield Alarm(
            rollout=state.plan.id,
            kind=kind,
            told=f"{kind}{why}{seen}, {drained}{unknown}",
            next=f"{first}{lines.resume(state.plan)}",
            read=runbook.page(runbook.GO_ON),
            drained=look.drained,
        )


def _of_appointments(appointments: Iterable[Scheduled], now: datetime) -> Iterator[Alarm]:
    for one in appointments:
        booked = one.appointment
        if one.kept or (booked.settled is None and now - booked.made < GRACE):
            continue
        yield Alarm(
            rollout=booked.rollout,
            kind="missed",
            told=f"to start at {booked.starts:%Y-%m-%d %H:%MZ} by {booked.who}: {one.told}",
            next=one.next,
            read=runbook.page(runbook.START),
        )
