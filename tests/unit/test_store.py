"""The store: what goes in comes out, also after a full disk, beside other writers and after an upgrade."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from threading import Barrier

import pytest

from opsctl.errors import StoreError
from opsctl.state import migrations
from opsctl.state.store import FILE, Store, stamp

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "state") as opened:
        yield opened


def test_a_fact_is_replaced_by_a_newer_one(store: Store) -> None:
    store.put_fact("ange.ange-web1", "probe", '{"load": 1}', NOW)
    store.put_fact("ange.ange-web1", "probe", '{"load": 2}', NOW + timedelta(minutes=1))
    store.put_fact("ange.ange-db1", "probe", '{"load": 3}', NOW)
    found = store.fact("ange.ange-web1", "probe")
    assert found is not None
    assert (found.value, found.at) == ({"load": 2}, NOW + timedelta(minutes=1))
    assert list(store.facts("probe")) == ["ange.ange-db1", "ange.ange-web1"]
    assert list(store.facts_of("ange.ange-web1")) == ["probe"]
    assert store.fact("ange.ange-web1", "pending") is None


def test_a_run_keeps_its_events_in_order(store: Store) -> None:
    run = store.new_run("provision", "{}", NOW)
    store.add_event(run, "ange.ange-web1", "changed", '{"task": "a"}', NOW)
    store.add_events(run, [("ange.ange-web1", "ok", "{}", NOW), ("", "recap", "{}", NOW)])
    assert [(e.seq, e.kind) for e in store.events(run)] == [(1, "changed"), (2, "ok"), (3, "recap")]
    found = store.run(run)
    assert found is not None
    assert found.ended is None
    store.end_run(run, "ok", NOW)
    assert [(r.outcome, r.ended) for r in store.runs(kind="provision")] == [("ok", NOW)]
    assert store.runs(kind="patch") == []


def test_runs_are_listed_newest_first_up_to_the_limit(store: Store) -> None:
    ids = [store.new_run("probe", "{}", NOW + timedelta(seconds=n)) for n in range(5)]
    assert [run.id for run in store.runs(limit=2)] == [ids[4], ids[3]]


def test_a_rollout_and_its_hosts_are_saved_over_and_over(store: Store) -> None:
    store.save_rollout("r1", '{"n": 1}', NOW)
    store.save_rollout("r1", '{"n": 2}', NOW + timedelta(hours=1))
    store.save_host_state("r1", "ange.ange-web1", '"draining"', NOW)
    store.save_host_state("r1", "ange.ange-web1", '"done"', NOW)
    found = store.rollout("r1")
    assert found is not None
    assert (found.document, found.created) == ({"n": 2}, NOW)
    assert [one.id for one in store.rollouts()] == ["r1"]
    assert {host: state.state for host, state in store.host_states("r1").items()} == {"ange.ange-web1": "done"}


def test_a_host_state_without_its_rollout_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        store.save_host_state("none", "ange.ange-web1", "{}", NOW)


def test_a_report_never_changes(store: Store) -> None:
    store.save_report("c1", "compliance", '{"ö": 1}', NOW)
    with pytest.raises(StoreError, match="UNIQUE"):
        store.save_report("c1", "compliance", "{}", NOW)
    found = store.report("c1")
    assert found is not None
    assert found.document == {"ö": 1}
    assert [one.id for one in store.reports("compliance")] == ["c1"]
    assert store.reports("other") == []


def test_what_is_no_json_is_never_stored(store: Store) -> None:
    with pytest.raises(json.JSONDecodeError):
        store.put_fact("h", "probe", "not json", NOW)


def test_times_are_stored_in_utc_and_naive_ones_refused() -> None:
    assert stamp(datetime(2026, 6, 1, 12, 0, tzinfo=timezone(timedelta(hours=2)))) == "2026-06-01T10:00:00.000000Z"
    with pytest.raises(ValueError, match="zone"):
        stamp(datetime(2026, 6, 1))  # noqa: DTZ001 - the point of the test


def test_a_transaction_is_written_as_a_whole_or_not_at_all(store: Store) -> None:
    def half() -> None:
        with store.transaction():
            store.put_fact("h", "a", "1", NOW)
            with store.transaction():
                store.put_fact("h", "b", "2", NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert store.facts_of("h") == {}


def test_known_secrets_never_reach_the_file(store: Store) -> None:
    store.redactor.add("canary-secret-7")
    run = store.new_run("provision", '{"a": "canary-secret-7"}', NOW)
    store.add_event(run, "h", "failed", '{"msg": "bad login canary-secret-7"}', NOW)
    store.put_fact("h", "probe", '["canary-secret-7"]', NOW)
    store.save_rollout("r", '"canary-secret-7"', NOW)
    store.save_host_state("r", "h", '"canary-secret-7"', NOW)
    store.save_report("c", "compliance", '"canary-secret-7"', NOW)
    for file in store.folder.iterdir():
        assert b"canary-secret-7" not in file.read_bytes()


def test_threads_share_a_store(store: Store) -> None:
    run = store.new_run("probe", "{}", NOW)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.add_event(run, f"h{n}", "ok", "{}", NOW), range(64)))
    assert [event.seq for event in store.events(run)] == list(range(1, 65))


def test_several_may_open_a_new_store_at_the_same_moment(tmp_path: Path) -> None:
    together = Barrier(8)

    def opens(folder: Path) -> int:
        together.wait(timeout=60)
        with Store.open(folder) as opened:
            return opened.version()

    for attempt in range(10):
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(opens, [tmp_path / str(attempt)] * 8)) == {migrations.NEWEST}


# Versions.


def test_a_second_opening_in_one_process_takes_the_locks_of_the_first_from_nobody(tmp_path: Path) -> None:
    """Without its locks another process takes itself for the last one, and removes the log that we still write to."""
    folder = tmp_path / "state"
    program = (
        "import sys\nfrom datetime import UTC, datetime\nfrom pathlib import Path\n"
        "from opsctl.state.store import Store\n"
        "with Store.open(Path(sys.argv[1])) as store:\n"
        "    store.put_fact('ange.ange-db1', 'probe', '2', datetime.now(UTC))\n"
    )
    with Store.open(folder) as first:
        first.put_fact("ange.ange-web1", "probe", "1", NOW)
        with Store.open(folder) as second:
            subprocess.run([sys.executable, "-c", program, str(folder)], check=True)
            assert (folder / f"{FILE}-wal").exists()
            second.put_fact("ange.ange-file1", "probe", "3", NOW)
        hosts = [row["host"] for row in first.read("SELECT host FROM facts ORDER BY host")]
    assert hosts == ["ange.ange-db1", "ange.ange-file1", "ange.ange-web1"]


def test_a_new_store_is_at_the_newest_version_and_stays_there(tmp_path: Path) -> None:
    for _ in range(2):
        with Store.open(tmp_path) as store:
            assert store.version() == migrations.NEWEST
            assert store.read("SELECT COUNT(*) FROM migrations")[0][0] == migrations.NEWEST


def test_a_store_from_a_newer_opsctl_is_refused_and_left_alone(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.write("INSERT INTO migrations (number, at) VALUES (?, ?)", (migrations.NEWEST + 1, "x"))
    with pytest.raises(StoreError, match="newer opsctl"):
        Store.open(tmp_path)


def test_an_older_store_is_brought_forward_with_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(tmp_path) as store:
        store.put_fact("h", "probe", "1", NOW)
    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, ("ALTER TABLE facts ADD COLUMN note TEXT",)))
    monkeypatch.setattr(migrations, "NEWEST", migrations.NEWEST + 1)
    with Store.open(tmp_path) as store:
        assert store.version() == migrations.NEWEST
        assert store.read("SELECT note, value FROM facts")[0]["value"] == "1"


def test_a_step_that_fails_leaves_the_store_at_the_step_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(tmp_path).close()
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "STEPS", (*migrations.STEPS, ("CREATE TABLE t (a TEXT)", "NOT SQL")))
        patched.setattr(migrations, "NEWEST", migrations.NEWEST + 1)
        with pytest.raises(StoreError, match="syntax error"):
            Store.open(tmp_path)
    with Store.open(tmp_path) as store:
        assert store.version() == migrations.NEWEST
        assert store.read("SELECT name FROM sqlite_master WHERE name = 't'") == []


# Bad disks, bad files.


def test_a_full_file_system_is_named_and_the_last_good_state_stays(store: Store) -> None:
    store.put_fact("h", "probe", '"good"', NOW)
    pages = store.read("PRAGMA page_count")[0][0]
    store.read(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(StoreError, match=r"no room left .* free\).*last good state is intact"):
        store.put_fact("h", "probe", json.dumps("x" * 1_000_000), NOW)
    found = store.fact("h", "probe")
    assert found is not None
    assert found.value == "good"
    store.read("PRAGMA max_page_count = 1000000")
    store.put_fact("h", "probe", '"again"', NOW)


FILL = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from opsctl.errors import StoreError
from opsctl.state.store import Store
with Store.open(Path(sys.argv[1])) as store:
    for n in range(1000):
        try:
            store.put_fact(f"h{n}", "probe", '"' + "x" * 20000 + '"', datetime.now(UTC))
        except StoreError as error:
            print(n, error.message)
            break
"""


def _fills(folder: Path, limit: int | None = None) -> str:
    def small_files() -> None:
        if limit:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    answer = subprocess.run(
        [sys.executable, "-c", FILL, str(folder)],
        preexec_fn=small_files,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def _is_whole(folder: Path, hosts: int) -> None:
    with Store.open(folder) as store:
        assert store.read("PRAGMA integrity_check")[0][0] == "ok"
        assert set(store.facts("probe")) >= {f"h{n}" for n in range(hosts)}


def test_a_write_cut_off_by_the_system_leaves_the_last_good_state(tmp_path: Path) -> None:
    told = _fills(tmp_path / "state", limit=400_000)
    assert told
    assert str(tmp_path) in told
    _is_whole(tmp_path / "state", hosts=int(told.split()[0]))


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="a file system needs root")
def test_a_really_full_file_system_is_named_and_the_last_good_state_stays(tmp_path: Path) -> None:
    disk, rescue = tmp_path / "disk", tmp_path / "rescue"
    disk.mkdir()
    # The mount lives in a namespace of its own and is gone with it, however this test ends.
    steps = 'mount -t tmpfs -o size=600k small "$1" && "$2" -c "$3" "$1/state" && cp -a "$1/state" "$4"'
    answer = subprocess.run(
        ["unshare", "-m", "sh", "-c", steps, "sh", str(disk), sys.executable, FILL, str(rescue)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert f"no room left for the store {disk}/state/{FILE} on {disk} (tmpfs, " in answer.stdout
    _is_whole(rescue, hosts=int(answer.stdout.split()[0]))


def test_a_damaged_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    (tmp_path / FILE).write_bytes(b"this is no database, it only looks like a file" * 100)
    with pytest.raises(StoreError, match="damaged") as caught:
        Store.open(tmp_path)
    assert "state restore" in caught.value.hint


def test_a_busy_store_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsctl.state.store.BUSY_SECONDS", 0.05)
    with Store.open(tmp_path) as store:
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked by another opsctl"):
            store.put_fact("h", "probe", "1", NOW)
        other.close()
