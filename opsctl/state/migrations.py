"""The store's tables, as numbered steps forward. A store that is newer than this code is refused, never guessed at.

Each step is one transaction. The SQL keeps to what SQLite and PostgreSQL both understand: text, integers, plain keys;
times are UTC text of one fixed width, documents are canonical JSON text.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

from opsctl.errors import StoreError
from opsctl.state import fencing

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE facts (
             host TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, at TEXT NOT NULL,
             PRIMARY KEY (host, name))""",
        "CREATE INDEX facts_by_name ON facts (name, host)",
        """CREATE TABLE runs (
             id TEXT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, detail TEXT NOT NULL, started TEXT NOT NULL,
             outcome TEXT NOT NULL DEFAULT '', ended TEXT NOT NULL DEFAULT '')""",
        "CREATE INDEX runs_by_kind ON runs (kind, started)",
        """CREATE TABLE events (
             run TEXT NOT NULL REFERENCES runs (id), seq BIGINT NOT NULL, host TEXT NOT NULL, kind TEXT NOT NULL,
             detail TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (run, seq))""",
        """CREATE TABLE rollouts (
             id TEXT NOT NULL PRIMARY KEY, document TEXT NOT NULL, created TEXT NOT NULL, at TEXT NOT NULL)""",
        """CREATE TABLE host_states (
             rollout TEXT NOT NULL REFERENCES rollouts (id), host TEXT NOT NULL, state TEXT NOT NULL, at TEXT NOT NULL,
             PRIMARY KEY (rollout, host))""",
        """CREATE TABLE reports (
             id TEXT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, document TEXT NOT NULL, at TEXT NOT NULL)""",
        "CREATE INDEX reports_by_kind ON reports (kind, at)",
        """CREATE TABLE leases (
             name TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, fence BIGINT NOT NULL, taken TEXT NOT NULL,
             expires TEXT NOT NULL)""",
        "CREATE TABLE fences (name TEXT NOT NULL PRIMARY KEY, last BIGINT NOT NULL)",
        "CREATE TABLE ledger (seq BIGINT NOT NULL PRIMARY KEY, body TEXT NOT NULL, hash TEXT NOT NULL)",
    ),
    (
        """CREATE TABLE wishes (
             rollout TEXT NOT NULL REFERENCES rollouts (id), seq BIGINT NOT NULL, kind TEXT NOT NULL,
             host TEXT NOT NULL, reason TEXT NOT NULL, who TEXT NOT NULL, at TEXT NOT NULL,
             seen TEXT NOT NULL DEFAULT '', settled TEXT NOT NULL DEFAULT '', answer TEXT NOT NULL DEFAULT '',
             PRIMARY KEY (rollout, seq))""",
        """CREATE TABLE appointments (
             rollout TEXT NOT NULL PRIMARY KEY REFERENCES rollouts (id), starts TEXT NOT NULL, who TEXT NOT NULL,
             made TEXT NOT NULL, outcome TEXT NOT NULL DEFAULT '', settled TEXT NOT NULL DEFAULT '')""",
    ),
    (
        # What happened in a rollout, in its order: host_states keeps the last state alone.
        """CREATE TABLE rollout_log (
             rollout TEXT NOT NULL REFERENCES rollouts (id), seq BIGINT NOT NULL, host TEXT NOT NULL,
             kind TEXT NOT NULL, detail TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (rollout, seq))""",
    ),
    (
        # The account of a year: what hosts wanted when, when they were read, why they were not changed.
        """CREATE TABLE updates (
             host TEXT NOT NULL, package TEXT NOT NULL, version TEXT NOT NULL, before TEXT NOT NULL,
             platform TEXT NOT NULL, known TEXT NOT NULL, first_seen TEXT NOT NULL, not_before TEXT NOT NULL,
             installed TEXT NOT NULL DEFAULT '', rollout TEXT NOT NULL DEFAULT '', gone TEXT NOT NULL DEFAULT '',
             became TEXT NOT NULL DEFAULT '', PRIMARY KEY (host, package, version))""",
        "CREATE INDEX updates_open ON updates (gone, host)",
        """CREATE TABLE patch_reads (
             host TEXT NOT NULL PRIMARY KEY, first_read TEXT NOT NULL DEFAULT '', last_read TEXT NOT NULL DEFAULT '',
             failed TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT '', held TEXT NOT NULL DEFAULT '')""",
        """CREATE TABLE patch_gaps (
             host TEXT NOT NULL, began TEXT NOT NULL, ended TEXT NOT NULL, PRIMARY KEY (host, began))""",
        """CREATE TABLE patch_waits (
             host TEXT NOT NULL, day TEXT NOT NULL, kind TEXT NOT NULL, said TEXT NOT NULL,
             PRIMARY KEY (host, day, kind))""",
    ),
)
NEWEST = len(STEPS)


def version_of(connection: sqlite3.Connection) -> int:
    """The number of the last step that this store has taken; 0 for an empty one."""
    named = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'migrations'").fetchone()
    if named is None:
        return 0
    found = connection.execute("SELECT MAX(number) FROM migrations").fetchone()
    return int(found[0] or 0)


def refuse_newer(version: int, where: object) -> None:
    if version > NEWEST:
        raise StoreError(
            f"{where} was written by a newer opsctl (store version {version}, this one knows {NEWEST})",
            hint="use that newer opsctl, or restore a backup from before the upgrade: opsctl state restore FILE",
        )


def migrate(connection: sqlite3.Connection, where: object) -> int:
    """Take every step that is missing; the version reached. Safe when several processes open a new store at once."""
    version = version_of(connection)
    refuse_newer(version, where)
    while version < NEWEST:
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS migrations (number BIGINT NOT NULL PRIMARY KEY, at TEXT NOT NULL)"
            )
            version = version_of(connection)
            if version < NEWEST:
                for statement in STEPS[version]:
                    connection.execute(statement)
                now = datetime.now(UTC)
                if version == 0:
                    fencing.raise_floor(connection, now)
                version += 1
                at = now.isoformat(timespec="microseconds")
                connection.execute("INSERT INTO migrations (number, at) VALUES (?, ?)", (version, at))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return version
