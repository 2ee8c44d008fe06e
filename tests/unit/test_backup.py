"""Backup, restore and check of a store."""

from __future__ import annotations

import sqlite3
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsctl.errors import Locked, Refused
from opsctl.state import migrations
from opsctl.state.backup import backup, check, prove, restore
from opsctl.state.ledger import Ledger
from opsctl.state.store import FILE, Store

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def act(store: Store, verb: str) -> None:
    with Ledger(store).act(verb, [], {}, "anna", lambda: NOW):
        pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "state") as store:
        store.put_fact("h", "probe", '"before"', NOW)
        act(store, "provision")
    return tmp_path / "state"


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    with Store.open(folder) as store:
        backup(store, tmp_path / "copy.db")
    return tmp_path / "copy.db"


def verbs(folder: Path) -> list[str]:
    with Store.open(folder) as store:
        return [entry.verb for entry in Ledger(store).entries()]


def test_a_backup_is_one_private_file_that_proves_whole(folder: Path, tmp_path: Path) -> None:
    with Store.open(folder) as store:
        made = backup(store, tmp_path / "copy.db")
        assert made.head == Ledger(store).head()
    assert prove(made.file) == made
    assert stat.S_IMODE(made.file.stat().st_mode) == 0o660
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy.db", "state"]


def test_a_backup_holds_what_was_written_a_moment_before_by_another(folder: Path, tmp_path: Path) -> None:
    with Store.open(folder) as store, Store.open(folder) as other:
        act(other, "patch start")
        backup(store, tmp_path / "copy.db")
    with sqlite3.connect(tmp_path / "copy.db") as connection:
        assert connection.execute("SELECT COUNT(*) FROM ledger").fetchone() == (4,)
    connection.close()


def test_a_backup_never_overwrites(folder: Path, copy: Path) -> None:
    before = copy.read_bytes()
    with Store.open(folder) as store, pytest.raises(Refused, match="exists already"):
        backup(store, copy)
    assert copy.read_bytes() == before


def test_a_restore_brings_back_what_was_and_keeps_what_is_aside(folder: Path, copy: Path) -> None:
    with Store.open(folder) as store:
        store.put_fact("h", "probe", '"after"', NOW)
        act(store, "patch start")
    done = restore(folder, copy, NOW)
    with Store.open(folder) as store:
        found = store.fact("h", "probe")
        assert found is not None
        assert found.value == "before"
    assert verbs(folder) == ["provision", "provision"]
    assert done.aside is not None
    assert verbs(done.aside)[-1] == "patch start"


def test_a_store_is_restored_where_there_was_none(copy: Path, tmp_path: Path) -> None:
    assert restore(tmp_path / "new", copy, NOW).aside is None
    assert verbs(tmp_path / "new") == ["provision", "provision"]


def test_a_restore_replaces_a_damaged_store_with_its_log(folder: Path, copy: Path) -> None:
    (folder / FILE).write_bytes(b"rubbish" * 2000)
    (folder / f"{FILE}-wal").write_bytes(b"old log")
    done = restore(folder, copy, NOW)
    assert verbs(folder) == ["provision", "provision"]
    assert done.aside is not None
    assert (done.aside / FILE).read_bytes().startswith(b"rubbish")


def test_a_restore_is_refused_while_the_store_is_in_use(folder: Path, copy: Path) -> None:
    with Store.open(folder), pytest.raises(Locked, match="in use by another opsctl"):
        restore(folder, copy, NOW)


def _flip(file: Path, old: bytes, new: bytes) -> None:
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new, 1))


def test_a_backup_with_a_changed_ledger_is_refused_and_nothing_is_replaced(folder: Path, copy: Path) -> None:
    _flip(copy, b'"who":"anna"', b'"who":"bert"')
    with pytest.raises(Refused, match="not a whole backup: ledger: BROKEN"):
        restore(folder, copy, NOW)
    assert verbs(folder) == ["provision", "provision"]
    assert sorted(file.name for file in folder.iterdir() if "wal" not in file.name and "shm" not in file.name) == [
        "store.db",
        "store.lock",
        "store.opening",
    ]


def test_what_is_no_store_is_refused(folder: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.db"
    wrong.write_bytes(b"something else")
    with pytest.raises(Refused, match="integrity"):
        prove(wrong)
    wrong.unlink()
    connection = sqlite3.connect(wrong)
    connection.execute("CREATE TABLE t (a TEXT)")
    connection.close()
    with pytest.raises(Refused, match="not a store of opsctl"):
        prove(wrong)
    with pytest.raises(Refused, match="no file"):
        prove(tmp_path / "missing.db")


def test_a_cut_off_backup_is_refused(copy: Path) -> None:
    content = copy.read_bytes()
    copy.write_bytes(content[: len(content) // 2])
    with pytest.raises(Refused, match="not a whole backup"):
        prove(copy)


def test_a_backup_from_a_newer_opsctl_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "newer.db"
    with Store.open(folder) as store:
        store.write("INSERT INTO migrations (number, at) VALUES (?, '')", (migrations.NEWEST + 1,))
        with pytest.raises(Refused, match="newer than this opsctl"):
            backup(store, copy)
    assert not copy.exists()


def test_the_check_of_a_sound_store_finds_everything_good(folder: Path) -> None:
    checks = check(folder)
    assert all(one.good for one in checks if one.name != "room")
    assert [one.name for one in checks] == ["integrity", "references", "version", "ledger", "access", "room"]


def test_the_check_names_a_broken_ledger_and_open_access(folder: Path) -> None:
    with Store.open(folder) as store:
        store.write("UPDATE ledger SET hash = 'x' WHERE seq = 2")
    (folder / FILE).chmod(0o664)
    bad = {one.name: one.seen for one in check(folder) if not one.good and one.name != "room"}
    assert set(bad) == {"ledger", "access"}
    assert "entry 2: its content does not match its hash" in bad["ledger"]


def test_the_check_of_rubbish_is_an_answer_and_no_error(folder: Path) -> None:
    (folder / FILE).write_bytes(b"rubbish" * 2000)
    assert [one.name for one in check(folder) if not one.good and one.name != "room"] == ["integrity"]
