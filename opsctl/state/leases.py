"""Leases: time-bound claims on hosts, clusters and rollouts, so that two runs never work on the same thing.

All names of one call are taken or none. Every taking gets a fencing token that is higher than any before it for that
name; hosts refuse a lower one, so a run that lost its lease while it slept can do no harm.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from opsctl.errors import Locked
from opsctl.state import fencing
from opsctl.state.store import Store, moment, stamp


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A claim of `holder` on `name` until `expires`; `token` is its fencing token."""

    name: str
    holder: str
    token: int
    taken: datetime
    expires: datetime

    def live(self, now: datetime) -> bool:
        return self.expires > now


class Leases:
    """The leases of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def acquire(self, names: Sequence[str], holder: str, now: datetime, ttl: timedelta) -> tuple[Lease, ...]:
        """Take every name or none; raises Locked with who holds what, and until when.

        A live lease of the same holder is taken over with a new token: a run that was killed picks up its own.
        Put what must not run twice (node and process) into the holder's name.
        """
        with self._store.transaction():
            taken = [lease for lease in self._rows(names) if lease.live(now) and lease.holder != holder]
            if taken:
                raise Locked(
                    "; ".join(f"{one.name} is held by {one.holder} until {stamp(one.expires)[:19]}Z" for one in taken),
                    hint="wait for it, or end it there",
                )
            return tuple(self._take(name, holder, now, now + ttl) for name in dict.fromkeys(names))

    def renew(self, leases: Iterable[Lease], now: datetime, ttl: timedelta) -> tuple[Lease, ...]:
        """The same leases with a later end; raises Locked where one was lost to somebody else, and changes none."""
        renewed = []
        with self._store.transaction():
            for lease in leases:
                changed = self._store.write(
                    "UPDATE leases SET expires = ? WHERE name = ? AND fence = ? AND holder = ?",
                    (stamp(now + ttl), lease.name, lease.token, lease.holder),
                )
                if not changed:
                    now_held = self._rows([lease.name])
                    by = now_held[0].holder if now_held else "nobody: it was released"
                    raise Locked(f"the lease on {lease.name} was lost; it is held by {by}")
                renewed.append(
                    Lease(
                        name=lease.name,
                        holder=lease.holder,
                        token=lease.token,
                        taken=lease.taken,
                        expires=moment(stamp(now + ttl)),
                    )
                )
        return tuple(renewed)

    def release(self, leases: Iterable[Lease]) -> None:
        """Give leases back; one that somebody else holds by now is left alone."""
        with self._store.transaction():
            for lease in leases:
                self._store.write("DELETE FROM leases WHERE name = ? AND fence = ?", (lease.name, lease.token))

    def held(self, now: datetime | None = None) -> tuple[Lease, ...]:
        """Every lease; with `now` only those that have not expired."""
        found = (_lease(row) for row in self._store.read("SELECT * FROM leases ORDER BY name"))
        return tuple(lease for lease in found if now is None or lease.live(now))

    def origin(self) -> int:
        """The number at which this store began to count: no other store, nor this one before a restore, has it."""
        found = self._store.read("SELECT last FROM fences WHERE name = ?", (fencing.FLOOR,))
        return int(found[0]["last"]) if found else 0

    def _rows(self, names: Iterable[str]) -> list[Lease]:
        found = []
        for name in dict.fromkeys(names):
            found += [_lease(row) for row in self._store.read("SELECT * FROM leases WHERE name = ?", (name,))]
        return found

    def _take(self, name: str, holder: str, now: datetime, expires: datetime) -> Lease:
        # The counter outlives the lease, so a token never comes twice.
        given = self._store.read("SELECT MAX(last) AS last FROM fences WHERE name IN (?, ?)", (name, fencing.FLOOR))
        token = int(given[0]["last"] or 0) + 1
        self._store.write(
            "INSERT INTO fences (name, last) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET last = excluded.last",
            (name, token),
        )
        self._store.write(
            """INSERT INTO leases (name, holder, fence, taken, expires) VALUES (?, ?, ?, ?, ?)
               ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, fence = excluded.fence,
                 taken = excluded.taken, expires = excluded.expires""",
            (name, holder, token, stamp(now), stamp(expires)),
        )
        return Lease(name=name, holder=holder, token=token, taken=now, expires=expires)


def _lease(row: sqlite3.Row) -> Lease:
    return Lease(
        name=row["name"],
        holder=row["holder"],
        token=row["fence"],
        taken=moment(row["taken"]),
        expires=moment(row["expires"]),
    )
