"""Signing, verifying, waiving, looking again, comparing: what the verbs print, and how they end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from opsctl.cli.main import run
from opsctl.compliance import record
from opsctl.model.finding import Assessment
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests.unit.test_report import assessment

CLONE = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]
THEN = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True, name="workspace")
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copy(CLONE / "opsctl.yml", folder)
    shutil.copytree(CLONE / "inventories", folder / "inventories")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    monkeypatch.setenv("OPSCTL_SSH_CONNECT_TIMEOUT", "1")
    monkeypatch.setenv("COLUMNS", "200")
    return folder


def keep(workspace: Path, found: Assessment, at: datetime = THEN) -> str:
    """A whole run in store and ledger, as `comply run` leaves it."""
    scope = replace(found.scope, selection={}, deselected=())
    found = replace(found, scope=scope, started=at, ended=at)
    with Store.open(workspace / ".state") as store:
        ledger = Ledger(store)
        run_id = store.new_run(record.KIND, "{}", at)
        before = str(ledger.head())
        with ledger.act("comply", (), {}, "anna", lambda: at) as act:
            record.keep(store, run_id, record.to_document(run_id, found, before), found)
            act.detail |= {"run": run_id, "report_sha256": record.sha256(record.stored(store, run_id))}
        store.end_run(run_id, "incomplete", at)
    return run_id


def said(capsys: Capture, words: Sequence[str], code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*words, "-o", "json"]) == code, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_the_key_is_made_after_a_word_and_shown_after_that(workspace: Path, capsys: Capture) -> None:
    assert run(["ledger", "key"]) == 2, "nobody is there to ask"
    assert "an Ed25519 key will be made" in capsys.readouterr().err
    assert run(["ledger", "key", "--dry-run"]) == 0
    assert not (workspace / ".state" / "ledger.key").exists()
    assert run(["ledger", "key", "--yes"]) == 0
    made = capsys.readouterr()
    assert made.out.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert "PRIVATE" not in made.out + made.err
    found = said(capsys, ["ledger", "key"])
    assert found["public"].strip() == made.out.strip()
    entries = said(capsys, ["ledger", "log", "--verb", "ledger key"])["entries"]
    assert entries[-1]["detail"] == {"fingerprint": found["fingerprint"]}


def test_a_report_is_verified_where_there_is_no_workspace(
    workspace: Path, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = keep(workspace, assessment())
    run(["ledger", "key", "--yes"])
    capsys.readouterr()
    assert run(["ledger", "key"]) == 0
    key = tmp_path / "key.pem"
    key.write_text(capsys.readouterr().out)
    told = said(capsys, ["comply", "report", "--to", str(tmp_path / "reports")])
    keep(workspace, assessment(), THEN + timedelta(days=1))
    later = said(capsys, ["comply", "report", "--to", str(tmp_path / "reports")])
    folder = tmp_path / "reports" / f"compliance-{later['run']}"
    earlier = tmp_path / "reports" / f"compliance-{first}"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    shutil.rmtree(workspace)

    found = said(capsys, ["comply", "verify", str(folder), "--key", str(key), "--previous", str(earlier)])
    assert (found["outcome"], found["intact"], found["run"]) == ("ok", True, later["run"])
    assert (found["previous"], found["signer"]) == (told["chain"], told["signer"])
    assert run(["comply", "verify", str(folder / "seal.json"), "--key", str(key)]) == 0
    assert "verified: " in capsys.readouterr().out
    assert run(["comply", "verify", str(folder)]) == 1
    assert "intact, signer not verified" in capsys.readouterr().out
    assert said(capsys, ["comply", "verify", str(folder)], 1)["outcome"] == "unverified"
    assert list(elsewhere.iterdir()) == []

    page = next(folder.glob("*.sv.html"))
    page.write_bytes(page.read_bytes()[:-1] + b"!")
    broken = said(capsys, ["comply", "verify", str(folder), "--key", str(key)], 1)
    assert (broken["outcome"], broken["faults"]) == ("failed", [f"{page.name} was changed"])
    program = [sys.executable, "-I", "-S", str(folder / "verify.py"), "--key", str(key)]
    assert subprocess.run(program, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize(
    "text", ["", "ssh-ed25519 AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_a_key_that_is_none_ends_with_3(workspace: Path, capsys: Capture, tmp_path: Path, text: str) -> None:
    (tmp_path / "key.pem").write_text(text)
    assert run(["comply", "verify", str(tmp_path), "--key", str(tmp_path / "key.pem")]) == 3
    assert "opsctl ledger key prints the public key" in capsys.readouterr().err


def test_what_is_no_report_is_broken(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = said(capsys, ["comply", "verify", str(tmp_path / "empty")], 1)
    assert found["intact"] is False
    assert run(["comply", "verify", str(tmp_path / "nothing")]) == 2


def test_a_report_is_not_written_beside_somebody_elses_file(workspace: Path, capsys: Capture, tmp_path: Path) -> None:
    run_id = keep(workspace, assessment())
    folder = tmp_path / "out" / f"compliance-{run_id}"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("precious")
    assert run(["comply", "report", "--to", str(tmp_path / "out")]) == 3
    assert "holds notes.txt" in capsys.readouterr().err
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    assert run(["comply", "report", "--to", str(tmp_path / "out")]) == 0
    assert run(["comply", "report", "--to", str(tmp_path / "out"), "--format", "json"]) == 0, "again, in its place"
    assert not list(folder.glob("*.html")), "nothing old is sealed again unseen"
