"""When a plan is to be started by a process that waits for it: kept in the store, so that a lost waiter is missed.

An appointment is open until its rollout has begun, or was refused at its time with the reason.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime

from opsctl.state.store import Store, moment, stamp


@dataclass(frozen=True, kw_only=True)
class Appointment:
    """Who wants a rollout to begin when; `outcome` tells what became of it once it is settled."""

    rollout: str
    starts: datetime
    who: str
    made: datetime
    outcome: str = ""
    settled: datetime | None = None


class Appointments:
    """The appointments of one store, one for each plan."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def make(self, rollout: str, starts: datetime, *, who: str, now: datetime) -> Appointment:
        """Keep one; an earlier one of the same plan is replaced."""
        self._store.write(
            """INSERT INTO appointments (rollout, starts, who, made) VALUES (?, ?, ?, ?)
               ON CONFLICT (rollout) DO UPDATE SET starts = excluded.starts, who = excluded.who, made = excluded.made,
                 outcome = '', settled = ''""",
            (rollout, stamp(starts), who, stamp(now)),
        )
        return Appointment(rollout=rollout, starts=starts, who=who, made=now)

    def of(self, rollout: str) -> Appointment | None:
        rows = self._store.read("SELECT * FROM appointments WHERE rollout = ?", (rollout,))
        return _appointment(rows[0]) if rows else None

    def all(self) -> tuple[Appointment, ...]:
        """Every appointment, the next one first."""
        return tuple(map(_appointment, self._store.read("SELECT * FROM appointments ORDER BY starts, rollout")))

    def open(self) -> tuple[Appointment, ...]:
        """Those of which nothing has become yet."""
        return tuple(one for one in self.all() if one.settled is None)

    def settle(self, rollout: str, outcome: str, now: datetime) -> None:
        """Its time has come, or it was called off."""
        self._store.write(
            "UPDATE appointments SET outcome = ?, settled = ? WHERE rollout = ? AND settled = ''",
            (self._store.redactor.text(outcome), stamp(now), rollout),
        )


def _appointment(row: sqlite3.Row) -> Appointment:
    return Appointment(
        rollout=row["rollout"],
        starts=moment(row["starts"]),
        who=row["who"],
        made=moment(row["made"]),
        outcome=row["outcome"],
        settled=moment(row["settled"]) if row["settled"] else None,
    )
