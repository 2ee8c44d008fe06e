"""Back up, restore and check a store.

A backup is one SQLite file, consistent while others write, proven before it gets its name. A restore proves the copy
it is about to use, keeps the replaced store aside, and has a usable store in place at every moment, also when killed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from opsctl.errors import Refused, StoreError
from opsctl.state import fencing, filesystem, migrations
from opsctl.state.ledger import Head, Verdict, verify_rows
from opsctl.state.store import FILE, Store, hold, told

WANTED_FREE = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at, whether it is good, and what was seen."""

    name: str
    good: bool
    seen: str


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A store file that was proven whole: its size, hash, and the head of its ledger."""

    file: Path
    size: int
    sha256: str
    head: Head
    entries: int


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What a restore did: from what, and where the replaced store lies now (None: there was none)."""

    source: Backup
    aside: Path | None


def backup(store: Store, target: Path) -> Backup:
    """Copy the store into `target`, which must not exist yet; raises StoreError, and then leaves nothing behind."""
    if target.exists():
        raise Refused(f"{target} exists already", hint="backups are never overwritten: choose another name")
    part = target.with_name(f".{target.name}.part-{os.getpid()}")
    try:
        _new_private_file(part)
        with told_file(part), closing_connection(part, "rw") as copy:
            store.copy_to(copy)
            # One file, nothing beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
        proven = prove(part)
        filesystem.to_disk(part)
        os.link(part, target)  # unlike rename, never over a file that came in between
        filesystem.to_disk(target.parent)
    except OSError as error:
        raise StoreError(f"the backup {target} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return Backup(file=target, size=proven.size, sha256=proven.sha256, head=proven.head, entries=proven.entries)


def prove(file: Path) -> Backup:
    """Hold a store file against everything we can; raises Refused with what is wrong with it."""
    if not file.is_file():
        raise Refused(f"there is no file {file}")
    wrong = [check for check in checks_of(file) if not check.good]
    if wrong:
        raise Refused(
            f"{file} is not a whole backup: " + "; ".join(f"{check.name}: {check.seen}" for check in wrong),
            hint="take another backup",
        )
    verdict = _ledger_of(file)
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return Backup(file=file, size=file.stat().st_size, sha256=digest, head=verdict.head, entries=verdict.entries)


def restore(folder: Path, source: Path, now: datetime) -> Restored:
    """Put a backup in place of the store. Raises Refused for a bad backup, Locked while anybody uses the store."""
    if not source.is_file():
        raise Refused(f"there is no file {source}")
    filesystem.prepare_folder(folder)
    lock = hold(folder, exclusive=True)
    part = folder / f"{FILE}.restoring"
    try:
        part.unlink(missing_ok=True)
        _new_private_file(part)
        shutil.copyfile(source, part)
        proven = prove(part)
        with told_file(part), closing_connection(part, "rw") as restored:
            fencing.raise_floor(restored, now)
        filesystem.to_disk(part)
        aside = _set_aside(folder, now)
        part.replace(folder / FILE)
        filesystem.to_disk(folder)
    except OSError as error:
        raise StoreError(
            f"{source} could not be restored to {filesystem.describe_space(folder)}: {error.strerror}; the store is "
            "as it was"
        ) from error
    finally:
        part.unlink(missing_ok=True)
        os.close(lock)
    whole = Backup(file=source, size=proven.size, sha256=proven.sha256, head=proven.head, entries=proven.entries)
    return Restored(source=whole, aside=aside)


def check(folder: Path) -> list[Check]:
    """Look at a store in use, without changing it: file, tables, version, ledger, access, room."""
    if not (folder / FILE).is_file():
        return [Check(name="store", good=True, seen=f"none yet in {folder}; the first changing act makes it")]
    free = filesystem.free_bytes(folder)
    others = folder.stat().st_mode & 0o007 or (folder / FILE).stat().st_mode & 0o007
    return [
        *checks_of(folder / FILE),
        Check(name="access", good=not others, seen="everybody can read it" if others else "owner and group only"),
        Check(name="room", good=free >= WANTED_FREE, seen=filesystem.describe_space(folder)),
    ]


def checks_of(file: Path) -> list[Check]:
    """The checks that need nothing but the file."""
    try:
        with told_file(file), closing_connection(file, "ro") as connection:
            answers = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
            orphans = len(connection.execute("PRAGMA foreign_key_check").fetchall())
            version = migrations.version_of(connection)
        found = [
            Check(name="integrity", good=answers == ["ok"], seen=answers[0].splitlines()[0]),
            Check(
                name="references", good=not orphans, seen=f"{orphans} rows without their parent" if orphans else "ok"
            ),
            _version_check(version),
        ]
        if found[-1].good:
            verdict = _ledger_of(file)
            seen = verdict.message + "".join(f"; {fault}" for fault in verdict.faults[:3])
            found.append(Check(name="ledger", good=verdict.intact, seen=seen))
    except StoreError as error:
        return [Check(name="integrity", good=False, seen=error.message)]
    return found


def _version_check(version: int) -> Check:
    if version == 0:
        return Check(name="version", good=False, seen="this is not a store of opsctl")
    if version > migrations.NEWEST:
        return Check(name="version", good=False, seen=f"{version}: newer than this opsctl ({migrations.NEWEST})")
    older = "" if version == migrations.NEWEST else f"; will be brought to {migrations.NEWEST} when next used"
    return Check(name="version", good=True, seen=f"{version}{older}")


def _ledger_of(file: Path) -> Verdict:
    with told_file(file), closing_connection(file, "ro") as connection:
        rows = connection.execute("SELECT seq, body, hash FROM ledger ORDER BY seq").fetchall()
    return verify_rows(rows)


@contextmanager
def told_file(file: Path) -> Iterator[None]:
    """Errors of SQLite about a file that is not the store itself."""
    try:
        with told(file.parent):
            yield
    except StoreError as error:
        if file.name == FILE:
            raise
        raise StoreError(error.message.replace(str(file.parent / FILE), str(file))) from error


@contextmanager
def closing_connection(file: Path, mode: str) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(
        f"file:{quote(str(file.absolute()))}?mode={mode}", uri=True, isolation_level=None, timeout=30
    )
    try:
        yield connection
    finally:
        connection.close()


def _set_aside(folder: Path, now: datetime) -> Path | None:
    """Keep the present store in a folder of its own. `store.db` itself stays in place until it is replaced."""
    file = folder / FILE
    if not file.exists():
        return None
    aside = folder / f"replaced-{now.astimezone(UTC):%Y%m%d-%H%M%S-%f}"
    aside.mkdir(mode=0o770)
    with suppress(sqlite3.Error), closing_connection(file, "rw") as connection:
        # Fold the log into the file: a log left beside the new store would be replayed into it.
        connection.execute("PRAGMA journal_mode = DELETE")
    for suffix in ("-wal", "-shm"):
        # Still there only where the store is damaged; then it is kept as found.
        beside = folder / (FILE + suffix)
        if beside.exists():
            beside.replace(aside / beside.name)
    os.link(file, aside / FILE)
    return aside


def _new_private_file(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660))
    path.chmod(filesystem.FILE_MODE)
