"""What the hosts had pending, for a year's account: each security update of each host, from when to when.

A row is one version of one package on one host. It is open until the host shows that the package was changed, or that
it wants no such update any more. Rows are kept; the reading of a host decides, never what a rollout believes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from opsctl.state.store import Store, moment, stamp

# A host that was not read for longer has a gap, which the account names.
GAP = timedelta(days=3)
_FEW = 200


@dataclass(frozen=True, kw_only=True)
class Update:
    """One version of a package that a host wanted.

    `known`: when its own package lists with it were fetched; `first_seen`: the reading that showed it, `not_before` the
    reading before that, which did not (None: there was none). `before` is what was installed then. `installed` with
    `rollout`: opsctl installed it. `gone`: the reading that no longer wanted it, `became` what was installed then.
    """

    host: str
    package: str
    version: str
    before: str
    platform: str
    known: datetime
    first_seen: datetime
    not_before: datetime | None = None
    installed: datetime | None = None
    rollout: str = ""
    gone: datetime | None = None
    became: str = ""


@dataclass(frozen=True, kw_only=True)
class Readings:
    """When a host was first and last read, since when it failed to be, and what it holds back by hand."""

    host: str
    first: datetime | None
    last: datetime | None
    failed: datetime | None = None
    why: str = ""
    held: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Why a host was not changed on a day: `kind` is a word of patch/waits.py, `said` the reason as it was told."""

    host: str
    day: str
    kind: str
    said: str


class Updates:
    """The account's tables of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def open_rows(self, hosts: Iterable[str]) -> dict[str, list[Update]]:
        """What each of these hosts wants still, by host."""
        wanted = set(hosts)
        if len(wanted) <= _FEW:
            rows = [r for host in sorted(wanted) for r in self._read("WHERE host = ? AND gone = ''", (host,))]
        else:
            rows = self._read("WHERE gone = ''")
        found: dict[str, list[Update]] = {}
        for row in rows:
            if row["host"] in wanted:
                found.setdefault(row["host"], []).append(_update(row))
        return found

    def between(self, tenant: str, start: datetime, end: datetime) -> list[Update]:
        """What hosts of a tenant wanted at any time between two moments, by host, package and time."""
        after, before = (
            f"{tenant}.",
            f"{tenant}/",
        )  # "/" follows "." in ASCII: the prefix without LIKE and its wildcards
        rows = self._read(
            "WHERE host > ? AND host < ? AND known <= ? AND (gone = '' OR gone >= ? OR installed >= ?)",
            (after, before, stamp(end), stamp(start), stamp(start)),
        )
        return [_update(row) for row in rows]

    def earliest(self, until: datetime) -> dict[tuple[str, str, str], datetime]:
        """When any host of the installation first knew of (platform, package, version), up to a moment."""
        rows = self._store.read(
            "SELECT platform, package, version, MIN(known) AS known FROM updates WHERE known <= ?"
            " GROUP BY platform, package, version",
            (stamp(until),),
        )
        return {(row["platform"], row["package"], row["version"]): moment(row["known"]) for row in rows}

    def add(self, update: Update) -> None:
        """A row for an update that a host wants; one that was gone and is wanted again is open again."""
        self._store.write(
            """INSERT INTO updates (host, package, version, before, platform, known, first_seen, not_before)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)
               ON CONFLICT (host, package, version) DO UPDATE
               SET gone = '', became = '', installed = '', rollout = ''""",
            (
                update.host, update.package, update.version, update.before, update.platform, stamp(update.known),
                stamp(update.first_seen), stamp(update.not_before) if update.not_before else "",
            ),
        )  # fmt: skip

    def close(self, update: Update, at: datetime, became: str) -> None:
        self._store.write(
            "UPDATE updates SET gone = ?, became = ? WHERE host = ? AND package = ? AND version = ?",
            (stamp(at), became, update.host, update.package, update.version),
        )

    def rebase(self, update: Update, before: str) -> None:
        """The package changed, and the update is wanted still."""
        self._store.write(
            "UPDATE updates SET before = ? WHERE host = ? AND package = ? AND version = ?",
            (before, update.host, update.package, update.version),
        )

    def not_installed(self, update: Update) -> None:
        """The host still wants it, whatever a rollout believed."""
        self._store.write(
            "UPDATE updates SET installed = '', rollout = '' WHERE host = ? AND package = ? AND version = ?",
            (update.host, update.package, update.version),
        )

    def installed(self, host: str, packages: Mapping[str, str], at: datetime, rollout: str) -> None:
        """A rollout installed these versions: they and what was wanted before them are done."""
        with self._store.transaction():
            for package, version in packages.items():
                self._store.write(
                    """UPDATE updates SET installed = ?, rollout = ?
                       WHERE host = ? AND package = ? AND installed = '' AND gone = '' AND first_seen <= (
                         SELECT MAX(one.first_seen) FROM updates AS one
                         WHERE one.host = ? AND one.package = ? AND one.version = ?)""",
                    (stamp(at), rollout, host, package, host, package, version),
                )

    def readings(self, tenant: str) -> dict[str, Readings]:
        rows = self._store.read(
            "SELECT * FROM patch_reads WHERE host > ? AND host < ? ORDER BY host", (f"{tenant}.", f"{tenant}/")
        )
        return {row["host"]: _readings(row) for row in rows}

    def last_reads(self, hosts: Iterable[str]) -> dict[str, datetime]:
        """When each of these hosts was last read, by host."""
        wanted = set(hosts)
        rows = self._store.read("SELECT host, last_read FROM patch_reads WHERE last_read <> ''")
        return {row["host"]: moment(row["last_read"]) for row in rows if row["host"] in wanted}

    def was_read(self, host: str, at: datetime, held: Iterable[str], last: datetime | None) -> None:
        """A reading that succeeded; `last` is the one before it."""
        if last is not None and at - last > GAP:
            self._store.write(
                "INSERT INTO patch_gaps (host, began, ended) VALUES (?, ?, ?) ON CONFLICT (host, began) DO NOTHING",
                (host, stamp(last), stamp(at)),
            )
        self._store.write(
            """INSERT INTO patch_reads (host, first_read, last_read, held) VALUES (?, ?, ?, ?)
               ON CONFLICT (host) DO UPDATE SET last_read = excluded.last_read, held = excluded.held, failed = '',
                 why = '', first_read = CASE patch_reads.first_read WHEN '' THEN excluded.first_read
                                        ELSE patch_reads.first_read END""",
            (host, stamp(at), stamp(at), " ".join(sorted(held))),
        )

    def was_not_read(self, host: str, at: datetime, why: str) -> None:
        """A reading that failed; the first failure since the last good one is what counts."""
        self._store.write(
            """INSERT INTO patch_reads (host, failed, why) VALUES (?, ?, ?)
               ON CONFLICT (host) DO UPDATE SET why = excluded.why,
                 failed = CASE patch_reads.failed WHEN '' THEN excluded.failed ELSE patch_reads.failed END""",
            (host, stamp(at), self._store.redactor.text(why)),
        )

    def gaps(self, tenant: str, start: datetime, end: datetime) -> dict[str, list[tuple[datetime, datetime]]]:
        """The times in which hosts of a tenant were not read, as far as they touch the time between two moments."""
        rows = self._store.read(
            "SELECT * FROM patch_gaps WHERE host > ? AND host < ? AND ended > ? AND began < ? ORDER BY host, began",
            (f"{tenant}.", f"{tenant}/", stamp(start), stamp(end)),
        )
        found: dict[str, list[tuple[datetime, datetime]]] = {}
        for row in rows:
            found.setdefault(row["host"], []).append((moment(row["began"]), moment(row["ended"])))
        return found

    def keep_waits(self, waits: Iterable[Kept]) -> None:
        """Remember why hosts were not changed; the last reason of a kind and day stays."""
        with self._store.transaction():
            for one in waits:
                self._store.write(
                    """INSERT INTO patch_waits (host, day, kind, said) VALUES (?, ?, ?, ?)
                       ON CONFLICT (host, day, kind) DO UPDATE SET said = excluded.said""",
                    (one.host, one.day, one.kind, self._store.redactor.text(one.said)),
                )

    def waits(self, tenant: str, start: datetime, end: datetime) -> dict[str, list[Kept]]:
        rows = self._store.read(
            "SELECT * FROM patch_waits WHERE host > ? AND host < ? AND day >= ? AND day <= ? ORDER BY host, day, kind",
            (f"{tenant}.", f"{tenant}/", f"{start:%Y-%m-%d}", f"{end:%Y-%m-%d}"),
        )
        found: dict[str, list[Kept]] = {}
        for row in rows:
            kept = Kept(host=row["host"], day=row["day"], kind=row["kind"], said=row["said"])
            found.setdefault(row["host"], []).append(kept)
        return found

    def _read(self, where: str, values: tuple[str, ...] = ()) -> list[sqlite3.Row]:
        return self._store.read(f"SELECT * FROM updates {where} ORDER BY host, package, first_seen", values)  # noqa: S608 - our own words


def _update(row: sqlite3.Row) -> Update:
    return Update(
        host=row["host"],
        package=row["package"],
        version=row["version"],
        before=row["before"],
        platform=row["platform"],
        known=moment(row["known"]),
        first_seen=moment(row["first_seen"]),
        not_before=_maybe(row["not_before"]),
        installed=_maybe(row["installed"]),
        rollout=row["rollout"],
        gone=_maybe(row["gone"]),
        became=row["became"],
    )


def _readings(row: sqlite3.Row) -> Readings:
    return Readings(
        host=row["host"],
        first=_maybe(row["first_read"]),
        last=_maybe(row["last_read"]),
        failed=_maybe(row["failed"]),
        why=row["why"],
        held=tuple(row["held"].split()),
    )


def _maybe(text: str) -> datetime | None:
    return moment(text) if text else None
