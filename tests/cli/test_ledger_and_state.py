"""`opsctl ledger` and `opsctl state`: what they print, and their exit codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsctl.cli.main import run
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "opsctl.yml").write_text("version: 1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    with Store.open(tmp_path / ".state") as store:
        ledger = Ledger(store)
        with ledger.act("provision", ["ange.ange-web1", "ange.ange-web2"], {"content": "abc"}, "anna", lambda: NOW):
            pass
        with ledger.act("patch start", ["sundsvall.sundsvall-app1"], {}, "anna", lambda: NOW) as act:
            act.outcome = "incomplete"
            act.detail["error"] = "1 host \x1b[31munreachable"
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_the_log_lists_both_entries_of_each_act(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ledger", "log"]) == 0
    shown = printed(capsys)
    assert "ange-web1, ange-web2" in shown
    assert "finished, incomplete: 1 host \\x1b[31munreachable" in shown
    assert shown.index("provision") < shown.index("patch start")


def test_the_log_as_json_can_be_narrowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ledger", "log", "--verb", "patch start", "--host", "sundsvall-app1", "--last", "1", "-o", "json"]) == 0
    document = json.loads(printed(capsys))
    assert [(e["seq"], e["outcome"], e["at"]) for e in document["entries"]] == [
        (4, "incomplete", "2026-11-22T10:00:00Z")
    ]


def test_verify_says_what_it_cannot_see_and_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ledger", "verify"]) == 0
    assert "without a head that you kept (--head), a cut tail or a rewritten chain cannot be seen" in printed(capsys)


def test_a_kept_head_is_found_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ledger", "head"]) == 0
    head = printed(capsys).strip()
    assert head.startswith("4:")
    assert run(["ledger", "verify", "--head", head]) == 0
    assert "the head that you kept is among them" in printed(capsys)


def test_a_broken_ledger_ends_with_1_in_both_forms(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(workspace / ".state") as store:
        store.write("UPDATE ledger SET body = REPLACE(body, 'anna', 'bert') WHERE seq = 2")
    assert run(["ledger", "verify"]) == 1
    shown = printed(capsys)
    assert "BROKEN: 1 fault" in shown
    assert "entry 2: its content does not match its hash" in shown
    assert run(["ledger", "verify", "--output", "json"]) == 1
    document = json.loads(printed(capsys))
    assert (document["outcome"], document["intact"], len(document["faults"])) == ("failed", False, 1)


def test_a_cut_tail_ends_with_1_when_a_head_is_given(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["ledger", "head", "--output", "json"])
    head = json.loads(printed(capsys))["hash"]
    with Store.open(workspace / ".state") as store:
        store.write("DELETE FROM ledger WHERE seq > 2")
    assert run(["ledger", "verify"]) == 0
    assert run(["ledger", "verify", "--head", head]) == 1
    assert run(["ledger", "verify", "--head", "nonsense"]) == 2


def test_an_act_without_an_end_is_named(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(workspace / ".state") as store:
        store.write("DELETE FROM ledger WHERE seq > 3")
    assert run(["ledger", "verify"]) == 0
    assert "entry 3: patch start by anna started 2026-11-22 10:00, never finished" in printed(capsys)


def test_a_backup_is_restored_after_a_yes_and_the_act_is_in_the_ledger(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["state", "backup", "copy.db"]) == 0
    assert run(["state", "backup", "copy.db"]) == 3
    with Store.open(workspace / ".state") as store:
        store.put_fact("h", "probe", "1", NOW)
    assert run(["state", "restore", "copy.db", "--dry-run"]) == 0
    assert run(["state", "restore", "copy.db"]) == 2
    with Store.open(workspace / ".state") as store:
        assert store.fact("h", "probe") is not None
    assert run(["state", "restore", "copy.db", "--yes"]) == 0
    assert "the replaced store is in" in printed(capsys)
    with Store.open(workspace / ".state") as store:
        assert store.fact("h", "probe") is None
        last = Ledger(store).entries()[-1]
        assert (last.verb, last.outcome) == ("state restore", "ok")
    assert len(list((workspace / ".state").glob("replaced-*/store.db"))) == 1


def test_a_backup_that_does_not_verify_is_refused_with_3(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / "bad.db").write_bytes(b"x" * 5000)
    assert run(["state", "restore", "bad.db", "--yes"]) == 3
    assert "not a whole backup" in capsys.readouterr().err


def test_a_restore_while_somebody_works_ends_with_4(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["state", "backup", "copy.db"])
    with Store.open(workspace / ".state"):
        assert run(["state", "restore", "copy.db", "--yes"]) == 4
    assert "in use by another opsctl" in capsys.readouterr().err


def test_the_check_ends_with_0_or_1(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["state", "check"]) == 0
    with Store.open(workspace / ".state") as store:
        store.write("UPDATE ledger SET hash = 'x' WHERE seq = 2")
    capsys.readouterr()
    assert run(["state", "check", "--output", "json"]) == 1
    document = json.loads(printed(capsys))
    assert document["outcome"] == "failed"
    assert [one["name"] for one in document["checks"] if not one["good"]] == ["ledger"]


def test_a_damaged_store_is_one_clear_message(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / ".state" / "store.db").write_bytes(b"rubbish" * 1000)
    assert run(["ledger", "log"]) == 1
    told = capsys.readouterr().err
    assert "is damaged" in told
    assert "opsctl state restore FILE" in told
    assert "Traceback" not in told
