"""What persons wish of a rollout from another terminal: kept in the store, where its process looks for them.

A wish is asked once and then seen and settled by the process that works on the rollout. Neither side's death loses it:
what was not settled is still there for whoever takes the rollout up again.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from opsctl.state.store import Store, moment, stamp


class Kind(StrEnum):
    """What can be wished of a rollout, or of one of its hosts (skip)."""

    PAUSE = "pause"
    ABORT = "abort"
    SKIP = "skip"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One wish. `seen`: the process knows of it; `settled`: what was wished has come to its end, told in `answer`."""

    rollout: str
    seq: int
    kind: Kind
    who: str
    at: datetime
    host: str = ""
    reason: str = ""
    seen: datetime | None = None
    settled: datetime | None = None
    answer: str = ""

    def __str__(self) -> str:
        """Who wished what and why, as reasons and progress tell it."""
        why = f": {self.reason}" if self.reason else ""
        return f"{self.kind} asked by {self.who}{f' for {self.host}' if self.host else ''}{why}"


class Wishes:
    """The wishes of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ask(self, rollout: str, kind: Kind, *, who: str, at: datetime, host: str = "", reason: str = "") -> Wish:
        """Keep a new wish; when this returns, it is on the disk."""
        with self._store.transaction():
            last = self._store.read("SELECT COALESCE(MAX(seq), 0) AS last FROM wishes WHERE rollout = ?", (rollout,))
            wish = Wish(
                rollout=rollout, seq=last[0]["last"] + 1, kind=kind, who=who, at=at, host=host,
                reason=self._store.redactor.text(reason),
            )  # fmt: skip
            self._store.write(
                "INSERT INTO wishes (rollout, seq, kind, host, reason, who, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (rollout, wish.seq, str(kind), host, wish.reason, who, stamp(at)),
            )
        return wish

    def of(self, rollout: str) -> tuple[Wish, ...]:
        """Every wish of a rollout, in the order in which they were asked."""
        rows = self._store.read("SELECT * FROM wishes WHERE rollout = ? ORDER BY seq", (rollout,))
        return tuple(map(_wish, rows))

    def open(self, rollout: str) -> tuple[Wish, ...]:
        """Those that are not settled."""
        rows = self._store.read("SELECT * FROM wishes WHERE rollout = ? AND settled = '' ORDER BY seq", (rollout,))
        return tuple(map(_wish, rows))

    def again(self, wish: Wish) -> Wish:
        """The same wish as it is now."""
        return next(one for one in self.of(wish.rollout) if one.seq == wish.seq)

    def saw(self, wish: Wish, at: datetime) -> None:
        """The process that works on the rollout knows of it."""
        self._store.write(
            "UPDATE wishes SET seen = ? WHERE rollout = ? AND seq = ? AND seen = ''",
            (stamp(at), wish.rollout, wish.seq),
        )

    def settle(self, wish: Wish, at: datetime, answer: str) -> None:
        """It has come to its end; the first answer stands."""
        self._store.write(
            "UPDATE wishes SET settled = ?, answer = ? WHERE rollout = ? AND seq = ? AND settled = ''",
            (stamp(at), answer, wish.rollout, wish.seq),
        )


def _wish(row: sqlite3.Row) -> Wish:
    return Wish(
        rollout=row["rollout"],
        seq=row["seq"],
        kind=Kind(row["kind"]),
        who=row["who"],
        at=moment(row["at"]),
        host=row["host"],
        reason=row["reason"],
        seen=moment(row["seen"]) if row["seen"] else None,
        settled=moment(row["settled"]) if row["settled"] else None,
        answer=row["answer"],
    )
