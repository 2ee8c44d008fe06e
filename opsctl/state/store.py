"""The store: what opsctl remembers, in one SQLite file that survives a power cut and several writers.

Write-ahead log, synchronous=FULL: what a method has written when it returns is on the disk. Every method is one
transaction of its own, or part of the one that `transaction()` opened. Threads may share a store.
Documents go in and come out as JSON text; known secrets are replaced on the way in (`store.redactor`).
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from opsctl.errors import Locked, StoreError
from opsctl.state import filesystem, migrations
from opsctl.state.redaction import Redactor

FILE = "store.db"
LOCK = "store.lock"
OPENING = "store.opening"
BUSY_SECONDS = 30.0
SEEN = "seen"  # the fact that there was contact with a host

Cell = str | int | None


@dataclass(frozen=True, kw_only=True)
class Fact:
    """The last known thing of one kind about a host."""

    host: str
    name: str
    value_json: str
    at: datetime

    @property
    def value(self) -> object:
        return json.loads(self.value_json)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a playbook, a check, a sync; `outcome` and `ended` are empty while it runs or if it was killed."""

    id: str
    kind: str
    detail_json: str
    started: datetime
    outcome: str
    ended: datetime | None

    @property
    def detail(self) -> object:
        return json.loads(self.detail_json)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened in a run, on a host ("" for the run as a whole)."""

    run: str
    seq: int
    host: str
    kind: str
    detail_json: str
    at: datetime

    @property
    def detail(self) -> object:
        return json.loads(self.detail_json)


@dataclass(frozen=True, kw_only=True)
class SavedRollout:
    """A rollout's document, as last saved."""

    id: str
    document_json: str
    created: datetime
    at: datetime

    @property
    def document(self) -> object:
        return json.loads(self.document_json)


@dataclass(frozen=True, kw_only=True)
class SavedState:
    """A host's state within a rollout, as last saved."""

    host: str
    state_json: str
    at: datetime

    @property
    def state(self) -> object:
        return json.loads(self.state_json)


# Characters of a report that are read at once.
PIECE = 16 << 20


@dataclass(frozen=True, kw_only=True)
class SavedReport:
    """A report's document."""

    id: str
    kind: str
    document_json: str
    at: datetime

    @property
    def document(self) -> object:
        return json.loads(self.document_json)


def stamp(at: datetime) -> str:
    """A time as the store writes it: UTC, fixed width, so that text sorts as time does."""
    if at.tzinfo is None:
        raise ValueError("a time without a zone cannot be stored")
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Store:
    """One open store. Raises StoreError for everything that SQLite or the file system refuses."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: int) -> None:
        self.folder = folder
        self.file = folder / FILE
        self.redactor = Redactor()
        self._connection = connection
        self._lock = lock
        self._guard = threading.RLock()
        self._depth = 0

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open the store in `folder`, made and brought up to date where needed."""
        filesystem.prepare_folder(folder)
        lock = hold(folder, exclusive=False)
        file = folder / FILE
        try:
            filesystem.private_file(file)
            with told(folder), _one_at_a_time(folder):
                connection = connect(file)
                try:
                    migrations.migrate(connection, file)
                except BaseException:
                    connection.close()
                    raise
        except BaseException:
            os.close(lock)
            raise
        return cls(folder, connection, lock)

    def close(self) -> None:
        with self._guard:
            # On a full disk the last checkpoint fails; the log keeps what was written.
            with suppress(sqlite3.Error):
                self._connection.close()
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything within is written together or not at all; an inner one joins the outer one."""
        with self._guard, told(self.folder):
            if self._depth:
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
                return
            self._connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled it back already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0

    def write(self, statement: str, values: Sequence[Cell] = ()) -> int:
        """One statement; how many rows it changed."""
        with self.transaction():
            return self._connection.execute(statement, values).rowcount

    def read(self, statement: str, values: Sequence[Cell] = ()) -> list[sqlite3.Row]:
        with self._guard, told(self.folder):
            return self._connection.execute(statement, values).fetchall()

    def version(self) -> int:
        with self._guard, told(self.folder):
            return migrations.version_of(self._connection)

    def copy_to(self, target: sqlite3.Connection) -> None:
        """A consistent copy of the whole store, while others go on writing."""
        with self._guard, told(self.folder):
            self._connection.backup(target)

    # Facts: the last known things of a host.

    def put_fact(self, host_key: str, name: str, value_json: str, at: datetime) -> None:
        self.write(
            """INSERT INTO facts (host, name, value, at) VALUES (?, ?, ?, ?)
               ON CONFLICT (host, name) DO UPDATE SET value = excluded.value, at = excluded.at""",
            (host_key, name, self.redactor.json(value_json), stamp(at)),
        )

    def fact(self, host_key: str, name: str) -> Fact | None:
        rows = self.read("SELECT * FROM facts WHERE host = ? AND name = ?", (host_key, name))
        return _fact(rows[0]) if rows else None

    def facts(self, name: str) -> dict[str, Fact]:
        """This fact of every host that has it, by host key."""
        rows = self.read("SELECT * FROM facts WHERE name = ? ORDER BY host", (name,))
        return {row["host"]: _fact(row) for row in rows}

    def facts_of(self, host_key: str) -> dict[str, Fact]:
        """Every fact of one host, by name."""
        rows = self.read("SELECT * FROM facts WHERE host = ? ORDER BY name", (host_key,))
        return {row["name"]: _fact(row) for row in rows}

    def saw(self, contacts: Mapping[str, datetime]) -> None:
        """Remember when there was contact with each host, whatever it was asked."""
        with self.transaction():
            for host_key, at in contacts.items():
                self.put_fact(host_key, SEEN, "true", at)

    def last_seen(self) -> dict[str, datetime]:
        """When each host was last in contact, by host key: every fact tells of one."""
        rows = self.read("SELECT host, MAX(at) AS at FROM facts GROUP BY host")
        return {row["host"]: moment(row["at"]) for row in rows}

    # Runs and their events.

    def new_run(self, kind: str, detail_json: str, at: datetime) -> str:
        """Begin a run; its id sorts by time and can be read aloud."""
        run_id = f"{at.astimezone(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        self.write(
            "INSERT INTO runs (id, kind, detail, started) VALUES (?, ?, ?, ?)",
            (run_id, kind, self.redactor.json(detail_json), stamp(at)),
        )
        return run_id

    def add_event(self, run_id: str, host_key: str, kind: str, detail_json: str, at: datetime) -> None:
        self.add_events(run_id, [(host_key, kind, detail_json, at)])

    def add_events(self, run_id: str, events: Iterable[tuple[str, str, str, datetime]]) -> None:
        """Several events (host key, kind, detail as JSON, time) with one write to the disk."""
        with self.transaction():
            last = self.read("SELECT COALESCE(MAX(seq), 0) AS last FROM events WHERE run = ?", (run_id,))[0]["last"]
            for seq, (host, kind, detail_json, at) in enumerate(events, start=last + 1):
                self.write(
                    "INSERT INTO events (run, seq, host, kind, detail, at) VALUES (?, ?, ?, ?, ?, ?)",
                    (run_id, seq, host, kind, self.redactor.json(detail_json), stamp(at)),
                )

    def end_run(self, run_id: str, outcome: str, at: datetime) -> None:
        self.write("UPDATE runs SET outcome = ?, ended = ? WHERE id = ?", (outcome, stamp(at), run_id))

    def run(self, run_id: str) -> Run | None:
        rows = self.read("SELECT * FROM runs WHERE id = ?", (run_id,))
        return _run(rows[0]) if rows else None

    def runs(self, kind: str | None = None, limit: int = 100) -> list[Run]:
        """The latest runs, newest first."""
        rows = self.read(
            "SELECT * FROM runs WHERE (? = '' OR kind = ?) ORDER BY started DESC, id DESC LIMIT ?",
            (kind or "", kind or "", limit),
        )
        return [_run(row) for row in rows]

    def runs_of(self, host_key: str, limit: int = 5) -> list[Run]:
        """The latest runs with an event of this host, newest first; only the last 200 runs of all are looked at."""
        rows = self.read(
            """SELECT * FROM (SELECT * FROM runs ORDER BY started DESC, id DESC LIMIT 200) AS latest
               WHERE EXISTS (SELECT 1 FROM events WHERE events.run = latest.id AND events.host = ?)
               ORDER BY started DESC, id DESC LIMIT ?""",
            (host_key, limit),
        )
        return [_run(row) for row in rows]

    def events(self, run_id: str) -> list[Event]:
        rows = self.read("SELECT * FROM events WHERE run = ? ORDER BY seq", (run_id,))
        return [
            Event(
                run=row["run"],
                seq=row["seq"],
                host=row["host"],
                kind=row["kind"],
                detail_json=row["detail"],
                at=moment(row["at"]),
            )
            for row in rows
        ]

    # Rollouts and the state of their hosts.

    def save_rollout(self, rollout_id: str, document_json: str, at: datetime) -> None:
        self.write(
            """INSERT INTO rollouts (id, document, created, at) VALUES (?, ?, ?, ?)
               ON CONFLICT (id) DO UPDATE SET document = excluded.document, at = excluded.at""",
            (rollout_id, self.redactor.json(document_json), stamp(at), stamp(at)),
        )

    def rollout(self, rollout_id: str) -> SavedRollout | None:
        rows = self.read("SELECT * FROM rollouts WHERE id = ?", (rollout_id,))
        return _rollout(rows[0]) if rows else None

    def rollouts(self) -> list[SavedRollout]:
        """Every rollout, newest first."""
        return [_rollout(row) for row in self.read("SELECT * FROM rollouts ORDER BY created DESC, id DESC")]

    def begun_rollouts(self, start: datetime, end: datetime) -> list[str]:
        """The ids of the rollouts that have a host's state and were worked on between two moments, or around them.

        Plans that nobody began can be many and large; none of them is read.
        """
        rows = self.read(
            """SELECT id FROM rollouts WHERE created <= ? AND at >= ?
               AND EXISTS (SELECT 1 FROM host_states WHERE host_states.rollout = rollouts.id) ORDER BY id""",
            (stamp(end), stamp(start)),
        )
        return [row["id"] for row in rows]

    def save_host_state(self, rollout_id: str, host_key: str, state_json: str, at: datetime) -> None:
        self.write(
            """INSERT INTO host_states (rollout, host, state, at) VALUES (?, ?, ?, ?)
               ON CONFLICT (rollout, host) DO UPDATE SET state = excluded.state, at = excluded.at""",
            (rollout_id, host_key, self.redactor.json(state_json), stamp(at)),
        )

    def host_states(self, rollout_id: str) -> dict[str, SavedState]:
        """The state of every host of a rollout, by host key."""
        rows = self.read("SELECT * FROM host_states WHERE rollout = ? ORDER BY host", (rollout_id,))
        return {
            row["host"]: SavedState(host=row["host"], state_json=row["state"], at=moment(row["at"])) for row in rows
        }

    # Reports.

    def save_report(self, report_id: str, kind: str, document_json: str, at: datetime) -> None:
        """Keep a report; an id that is taken already is an error, for a report never changes."""
        self.write(
            "INSERT INTO reports (id, kind, document, at) VALUES (?, ?, ?, ?)",
            (report_id, kind, self.redactor.json(document_json), stamp(at)),
        )

    def report(self, report_id: str) -> SavedReport | None:
        rows = self.read("SELECT * FROM reports WHERE id = ?", (report_id,))
        return _report(rows[0]) if rows else None

    def report_text(self, report_id: str) -> Iterator[str]:
        """The text of a report piece by piece: that of a fleet is large, and is only handed on."""
        start = 1
        while True:
            rows = self.read(
                "SELECT substr(document, ?, ?) AS piece FROM reports WHERE id = ?", (start, PIECE, report_id)
            )
            if not rows or not rows[0]["piece"]:
                return
            yield rows[0]["piece"]
            start += PIECE

    def report_ids(self, kind: str) -> list[str]:
        """The reports of one kind, newest first, without their documents, which can be large."""
        return [
            row["id"] for row in self.read("SELECT id FROM reports WHERE kind = ? ORDER BY at DESC, id DESC", (kind,))
        ]

    def reports(self, kind: str | None = None) -> list[SavedReport]:
        """Every report, or those of one kind, newest first."""
        rows = self.read(
            "SELECT * FROM reports WHERE (? = '' OR kind = ?) ORDER BY at DESC, id DESC", (kind or "", kind or "")
        )
        return [_report(row) for row in rows]


def connect(file: Path) -> sqlite3.Connection:
    """A connection with the settings that the promises of this file rest on."""
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def hold(folder: Path, *, exclusive: bool) -> int:
    """The lock that keeps a restore and open stores apart: shared by all who work, exclusive for who replaces it."""
    filesystem.private_file(folder / LOCK)
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise Locked(
            f"the store in {folder} is {'in use by' if exclusive else 'being replaced by'} another opsctl",
            hint="wait until it is done",
        ) from error
    return handle


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Keep openers of one store apart: SQLite gives up at once where two make a new file's log."""
    filesystem.private_file(folder / OPENING)
    handle = os.open(folder / OPENING, os.O_RDWR | os.O_CLOEXEC)
    try:
        patience = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > patience:
                    raise StoreError(f"another opsctl has been opening the store in {folder} for too long") from error
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Turn SQLite's errors into StoreError with the reason and the place."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, folder) from error


def explain(error: sqlite3.Error, folder: Path) -> StoreError:
    """What an error of SQLite means for a person. Codes: sqlite.org/rescode.html."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    file = folder / FILE
    with suppress(OSError):
        full = primary == sqlite3.SQLITE_FULL
        if full or (primary == sqlite3.SQLITE_IOERR and filesystem.free_bytes(folder) < filesystem.LITTLE_SPACE):
            return StoreError(
                f"no room left for the store {file} on {filesystem.describe_space(folder)}: nothing of this step was "
                "written, the last good state is intact",
                hint="make room there, then run the same command again",
            )
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            f"the store {file} was locked by another opsctl for {BUSY_SECONDS:.0f} seconds", hint="try again"
        )
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreError(
            f"the store {file} is damaged: {error}", hint="restore the last backup: opsctl state restore FILE"
        )
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreError(
            f"the store {file} cannot be written: {error}",
            hint=f"this user must be able to write {folder} (group of {folder}: look with ls -ld)",
        )
    return StoreError(f"the store {file}: {error}")


def _fact(row: sqlite3.Row) -> Fact:
    return Fact(host=row["host"], name=row["name"], value_json=row["value"], at=moment(row["at"]))


def _run(row: sqlite3.Row) -> Run:
    return Run(
        id=row["id"],
        kind=row["kind"],
        detail_json=row["detail"],
        started=moment(row["started"]),
        outcome=row["outcome"],
        ended=moment(row["ended"]) if row["ended"] else None,
    )


def _rollout(row: sqlite3.Row) -> SavedRollout:
    return SavedRollout(
        id=row["id"], document_json=row["document"], created=moment(row["created"]), at=moment(row["at"])
    )


def _report(row: sqlite3.Row) -> SavedReport:
    return SavedReport(id=row["id"], kind=row["kind"], document_json=row["document"], at=moment(row["at"]))
