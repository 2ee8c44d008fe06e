"""What happened in each rollout, in its order: stages, gates, notifications. Written once, never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from opsctl.state.redaction import canonical
from opsctl.state.store import Store, moment, stamp


@dataclass(frozen=True, kw_only=True)
class Happened:
    """One thing that happened: `host` is empty for the rollout as a whole."""

    seq: int
    host: str
    kind: str
    detail: Mapping[str, object]
    at: datetime


class RolloutLog:
    """The log of the rollouts of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, rollout: str, kind: str, detail: Mapping[str, object], at: datetime, *, host: str = "") -> None:
        """Write one line, known secrets replaced; part of the transaction that is open."""
        text = canonical(self._store.redactor.value(dict(detail), judge_names=False))
        self._store.write(
            """INSERT INTO rollout_log (rollout, seq, host, kind, detail, at)
               SELECT ?, COALESCE(MAX(seq), 0) + 1, ?, ?, ?, ? FROM rollout_log WHERE rollout = ?""",
            (rollout, host, kind, text, stamp(at), rollout),
        )

    def of(self, rollout: str, *, kind: str = "", host: str = "") -> tuple[Happened, ...]:
        """What happened in a rollout, in order; only of one kind or host where it is given."""
        rows = self._store.read(
            """SELECT * FROM rollout_log WHERE rollout = ? AND (? = '' OR kind = ?) AND (? = '' OR host = ?)
               ORDER BY seq""",
            (rollout, kind, kind, host, host),
        )
        return tuple(
            Happened(
                seq=row["seq"],
                host=row["host"],
                kind=row["kind"],
                detail=json.loads(row["detail"]),
                at=moment(row["at"]),
            )
            for row in rows
        )
