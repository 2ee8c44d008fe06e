"""The ledger: every act leaves two entries, and every tampering is found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsctl.errors import Incomplete, Interrupted, UsageError
from opsctl.state.ledger import GENESIS, Ledger, hash_of, verify_rows
from opsctl.state.redaction import canonical
from opsctl.state.store import Store

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def now() -> datetime:
    return NOW


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "state") as opened:
        yield opened


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store, node="control1")


def fill(ledger: Ledger, acts: int = 3) -> None:
    for n in range(acts):
        with ledger.act("provision", [f"ange.ange-web{n}"], {"n": n}, "anna", now):
            pass


# Acts.


def test_an_act_leaves_a_started_and_a_finished_entry_with_one_id(ledger: Ledger) -> None:
    with ledger.act("patch start", ["ange.ange-web2", "ange.ange-web1"], {"plan": "p1"}, "anna", now) as act:
        act.detail["changed"] = 2
    first, second = ledger.entries()
    assert (first.phase, second.phase, second.outcome) == ("started", "finished", "ok")
    assert first.act == second.act == act.id
    assert first.hosts == ("ange.ange-web1", "ange.ange-web2")
    assert (first.detail, second.detail) == ({"plan": "p1"}, {"changed": 2})
    assert (first.who, first.node, first.at, first.previous) == ("anna", "control1", NOW, GENESIS)
    assert act.head == ledger.head()


def test_an_entry_is_on_the_disk_before_the_first_effect(ledger: Ledger, store: Store) -> None:
    with ledger.act("provision", ["h"], {}, "anna", now), Store.open(store.folder) as other:
        assert [entry.phase for entry in Ledger(other).entries()] == ["started"]


@pytest.mark.parametrize(
    ("error", "outcome", "told"),
    [
        (Incomplete("2 of 3 done"), "incomplete", "2 of 3 done"),
        (Interrupted("stopped"), "interrupted", "stopped"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (ValueError("hunter2"), "failed", "ValueError"),
    ],
)
def test_an_exception_is_the_outcome_of_the_act(ledger: Ledger, error: BaseException, outcome: str, told: str) -> None:
    with pytest.raises(type(error)), ledger.act("provision", [], {}, "anna", now):
        raise error
    last = ledger.entries()[-1]
    assert (last.outcome, last.detail["error"]) == (outcome, told)


def test_an_outcome_that_the_act_names_is_kept(ledger: Ledger) -> None:
    with ledger.act("comply run", [], {}, "anna", now) as act:
        act.outcome = "findings"
    assert ledger.entries()[-1].outcome == "findings"


def test_entries_are_found_by_verb_host_and_number(ledger: Ledger) -> None:
    fill(ledger)
    with ledger.act("patch start", ["sundsvall.sundsvall-app1"], {}, "anna", now):
        pass
    assert [entry.seq for entry in ledger.entries(limit=3)] == [6, 7, 8]
    assert [entry.seq for entry in ledger.entries(verb="patch start", newest_first=True)] == [8, 7]
    assert [entry.seq for entry in ledger.entries(host="ange.ange-web1")] == [3, 4]
    assert [entry.seq for entry in ledger.entries(host="sundsvall-app1")] == [7, 8]


def test_an_empty_ledger_has_a_head_and_is_intact(ledger: Ledger) -> None:
    assert ledger.head().hash == GENESIS
    assert ledger.verify().intact
    assert ledger.verify(str(ledger.head())).intact


def test_secrets_never_enter_the_ledger(store: Store) -> None:
    ledger = Ledger(store, secrets=["canary-value-1"])
    store.redactor.add("canary-value-2")
    with ledger.act(
        "provision", ["h"], {"vault_password": "canary-name-1", "msg": ["-- canary-value-1"]}, "anna", now
    ) as act:
        act.detail |= {"ssh": {"private_key": "canary-name-2"}, "note": "token=canary-name-3 canary-value-2"}
    with pytest.raises(Incomplete), ledger.act("provision", ["h"], {}, "anna", now):
        raise Incomplete("login with canary-value-1 failed")
    for file in store.folder.iterdir():
        assert b"canary" not in file.read_bytes(), file
    assert ledger.verify().intact


def test_a_short_secret_does_not_maim_the_names_of_an_entry(store: Store) -> None:
    ledger = Ledger(store, secrets=["anna", "2026", "finished"])
    fill(ledger, 1)
    assert ledger.verify().intact
    assert ledger.entries()[-1].phase == "finished"


# Tampering. Each kind by its own test, as somebody with write access to the file would do it.


def test_an_untouched_ledger_is_intact_and_says_what_it_cannot_know(ledger: Ledger) -> None:
    fill(ledger)
    verdict = ledger.verify()
    assert verdict.intact
    assert "without a head that you kept" in verdict.message
    assert ledger.verify(str(ledger.head())).message.startswith("intact: 6 entries, and the head")


def test_a_flipped_character_is_found(ledger: Ledger, store: Store) -> None:
    fill(ledger)
    store.write('UPDATE ledger SET body = REPLACE(body, \'"who":"anna"\', \'"who":"bert"\') WHERE seq = 3')
    assert ledger.verify().faults == ("entry 3: its content does not match its hash",)


def test_every_single_flipped_byte_of_an_entry_is_found(ledger: Ledger, store: Store) -> None:
    fill(ledger, 1)
    rows = [(row["seq"], row["body"], row["hash"]) for row in store.read("SELECT * FROM ledger ORDER BY seq")]
    seq, body, stored = rows[0]
    for place in range(len(body)):
        flipped = body[:place] + chr(ord(body[place]) ^ 1) + body[place + 1 :]
        assert not verify_rows([(seq, flipped, stored), rows[1]]).intact


def test_an_entry_changed_together_with_its_hash_is_found(ledger: Ledger, store: Store) -> None:
    fill(ledger)
    _forge(store, 3, {"who": "bert"})
    assert ledger.verify().faults == ("entry 4: does not follow from the entry before it",)


def test_an_inserted_entry_is_found(ledger: Ledger, store: Store) -> None:
    fill(ledger)
    rows = store.read("SELECT * FROM ledger WHERE seq > 2 ORDER BY seq DESC")
    for row in rows:
        store.write("UPDATE ledger SET seq = ? WHERE seq = ?", (row["seq"] + 1, row["seq"]))
    body = store.read("SELECT body FROM ledger WHERE seq = 2")[0]["body"]
    store.write("INSERT INTO ledger (seq, body, hash) VALUES (3, ?, ?)", (body, hash_of(body)))
    faults = ledger.verify().faults
    assert any(fault.startswith("entry 3:") for fault in faults)
    assert "entry 4: says that it is entry 3" in faults


def test_a_removed_entry_is_found(ledger: Ledger, store: Store) -> None:
    fill(ledger)
    store.write("DELETE FROM ledger WHERE seq = 3")
    assert "entry 4: follows entry 2: entries are missing or moved" in ledger.verify().faults


def test_reordered_entries_are_found(ledger: Ledger, store: Store) -> None:
    fill(ledger)
    store.write("UPDATE ledger SET seq = 99 WHERE seq = 3")
    store.write("UPDATE ledger SET seq = 3 WHERE seq = 5")
    store.write("UPDATE ledger SET seq = 5 WHERE seq = 99")
    faults = ledger.verify().faults
    assert {"entry 3: says that it is entry 5", "entry 5: says that it is entry 3"} <= set(faults)


def test_a_cut_tail_is_found_with_a_kept_head_and_only_then(ledger: Ledger, store: Store) -> None:
    fill(ledger)
    kept = str(ledger.head())
    store.write("DELETE FROM ledger WHERE seq > 4")
    assert ledger.verify().intact
    assert ledger.verify(kept).faults == (
        "the chain ends at entry 4, but you kept the head of entry 6: the chain was cut or rewritten",
    )


def test_a_cut_tail_that_grew_again_is_found_with_a_kept_head(ledger: Ledger, store: Store) -> None:
    fill(ledger)
    kept = str(ledger.head())
    store.write("DELETE FROM ledger WHERE seq > 4")
    fill(ledger, 2)
    assert ledger.verify().intact
    assert ledger.verify(kept).faults == ("entry 6 is not the one that you kept: the chain was cut or rewritten",)


def test_a_wholly_rewritten_chain_is_found_with_a_kept_head_and_only_then(ledger: Ledger, store: Store) -> None:
    fill(ledger)
    kept = ledger.head()
    previous = GENESIS
    for seq in range(1, 7):
        changes: dict[str, object] = {"who": "bert", "previous": previous}
        previous = _forge(store, seq, changes)
    assert ledger.verify().intact
    assert not ledger.verify(str(kept)).intact
    assert not ledger.verify(kept.hash).intact


def test_a_head_stays_good_while_the_ledger_grows(ledger: Ledger) -> None:
    fill(ledger)
    heads = [str(ledger.head()), ledger.head().hash, ledger.head().hash[:16].upper()]
    fill(ledger)
    assert all(ledger.verify(head).intact for head in heads)


@pytest.mark.parametrize("text", ["", "xyz", "6:", "6:abc", "6:" + "g" * 32, "-1:" + "a" * 32])
def test_what_is_no_head_is_refused_as_usage(ledger: Ledger, text: str) -> None:
    with pytest.raises(UsageError):
        ledger.verify(text)


def test_an_entry_that_is_no_json_is_found_and_does_not_stop_the_verifier(ledger: Ledger, store: Store) -> None:
    fill(ledger)
    for body in ("{", "[]", "null", '{"seq": 3}', "\x00"):
        store.write("UPDATE ledger SET body = ?, hash = ? WHERE seq = 3", (body, hash_of(body)))
        assert "entry 3: cannot be read" in ledger.verify().faults


def test_a_second_finish_of_an_act_is_found(ledger: Ledger, store: Store) -> None:
    fill(ledger, 1)
    row = store.read("SELECT * FROM ledger WHERE seq = 2")[0]
    body = canonical(json.loads(row["body"]) | {"seq": 3, "previous": row["hash"], "outcome": "failed"})
    store.write("INSERT INTO ledger (seq, body, hash) VALUES (3, ?, ?)", (body, hash_of(body)))
    assert ledger.verify().faults == ("entry 3: finishes an act that never started",)


def _forge(store: Store, seq: int, changes: dict[str, object]) -> str:
    """Rewrite one entry and its own hash, as its writer could."""
    body = canonical(json.loads(store.read("SELECT body FROM ledger WHERE seq = ?", (seq,))[0]["body"]) | changes)
    store.write("UPDATE ledger SET body = ?, hash = ? WHERE seq = ?", (body, hash_of(body), seq))
    return hash_of(body)


# The page for auditors.


def _by_the_page(store: Store, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the verifier prints that docs/reference/ledger.md gives to auditors."""
    page = (Path(__file__).parents[2] / "docs/reference/ledger.md").read_text(encoding="utf-8")
    script = page.partition("```python\n")[2].partition("```")[0]
    command = [sys.executable, "-I", "-c", script, str(store.file), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_verifier_in_the_documentation_finds_what_ours_finds(ledger: Ledger, store: Store) -> None:
    fill(ledger)
    kept = str(ledger.head())
    assert _by_the_page(store).stdout == "intact\n"
    assert _by_the_page(store, kept).stdout == "intact\n"
    store.write("DELETE FROM ledger WHERE seq > 4")
    assert _by_the_page(store).stdout == "intact\n"
    assert "cut or rewritten" in _by_the_page(store, kept).stderr
    _forge(store, 3, {"who": "bert"})
    assert "entry 4: does not follow" in _by_the_page(store).stderr
    store.write("UPDATE ledger SET body = REPLACE(body, 'anna', 'bert') WHERE seq = 1")
    assert "entry 1: its content does not match" in _by_the_page(store).stderr


def test_the_documentation_names_every_field_of_an_entry(ledger: Ledger, store: Store) -> None:
    fill(ledger, 1)
    page = (Path(__file__).parents[2] / "docs/reference/ledger.md").read_text(encoding="utf-8")
    for field in json.loads(store.read("SELECT body FROM ledger WHERE seq = 1")[0]["body"]):
        assert f"`{field}`" in page


# Several writers, and writers that are killed.

WRITE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
with Store.open(Path(sys.argv[1])) as store:
    ledger = Ledger(store)
    for n in range(int(sys.argv[3])):
        with ledger.act("probe", [], {"n": n}, sys.argv[2], lambda: datetime.now(UTC)):
            print(n, flush=True)
"""


def _writer(folder: Path, who: str, acts: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITE, str(folder), who, str(acts)], stdout=subprocess.PIPE, text=True
    )


def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    writers = [_writer(tmp_path / "state", f"writer{n}", 15) for n in range(4)]
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    with Store.open(tmp_path / "state") as store:
        verdict = Ledger(store).verify()
        assert (verdict.faults, verdict.entries, verdict.unfinished) == ((), 120, ())
        assert {entry.who for entry in Ledger(store).entries()} == {f"writer{n}" for n in range(4)}


def test_a_writer_killed_at_any_point_leaves_a_chain_that_verifies(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    for round_number in range(8):
        writer = _writer(folder, "anna", 100_000)
        assert writer.stdout is not None
        # Another point each time: so many acts, and then whatever the machine does meanwhile.
        for _ in range(1 + 3 * round_number):
            writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate(timeout=30)
        with Store.open(folder) as store:
            verdict = Ledger(store).verify()
            assert verdict.faults == ()
            assert verdict.entries >= 2 * (1 + 3 * round_number) - 1


def test_an_act_that_was_killed_stays_visible_as_started_and_never_finished(tmp_path: Path) -> None:
    script = WRITE.replace("print(n, flush=True)", "import os; os.kill(os.getpid(), 9)")
    answer = subprocess.run([sys.executable, "-c", script, str(tmp_path), "anna", "1"], timeout=60, check=False)
    assert answer.returncode == -signal.SIGKILL
    with Store.open(tmp_path) as store:
        ledger = Ledger(store)
        with ledger.act("probe", [], {}, "bert", lambda: NOW + timedelta(hours=1)):
            pass
        verdict = ledger.verify()
    assert verdict.intact
    assert [(entry.who, entry.verb) for entry in verdict.unfinished] == [("anna", "probe")]
