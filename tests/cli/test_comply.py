"""`opsctl comply ...`: what it prints, and how it ends. Real hosts are in tests/integration/test_comply_fleet.py."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from opsctl.cli.main import run
from opsctl.compliance import record
from opsctl.state.store import Store
from tests.unit.test_report import assessment

CLONE = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True, name="workspace")
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example workspace: its addresses are of the documentation ranges, nobody answers there."""
    shutil.copy(CLONE / "opsctl.yml", tmp_path)
    shutil.copytree(CLONE / "inventories", tmp_path / "inventories")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    monkeypatch.setenv("OPSCTL_SSH_CONNECT_TIMEOUT", "1")
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def kept(workspace: Path) -> None:
    """A run in the store, as `comply run` keeps it."""
    found = assessment()
    with Store.open(workspace / ".state") as store:
        run_id = store.new_run(record.KIND, "{}", found.started)
        record.keep(store, run_id, record.to_document(run_id, found, "3:0123456789abcdef"), found)
        store.end_run(run_id, "incomplete", found.ended)


def document(capsys: Capture) -> dict[str, Any]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_hosts_that_do_not_answer_are_counted_kept_and_end_with_1(capsys: Capture) -> None:
    selection = ["--limit", "ange-web1,ange-print1"]
    assert run(["comply", "run", *selection, "--control", "SSH-01", "-o", "json"]) == 1
    found = document(capsys)
    assert found["outcome"] == "incomplete"
    assert found["coverage"]["total"] == 2
    assert found["coverage"]["assessed"] == []
    assert [one["host"] for one in found["coverage"]["unreachable"]] == ["example-ange.ange-web1"]
    assert [one["host"] for one in found["coverage"]["excluded"]] == ["example-ange.ange-print1"]
    assert [(one["host"], one["result"]) for one in found["results"]] == [("example-ange.ange-web1", "notchecked")]
    assert run(["comply", "list"]) == 0
    assert found["run"] in capsys.readouterr().out
    assert run(["ledger", "log", "-o", "json"]) == 0
    last = document(capsys)["entries"][-1]
    assert (last["verb"], last["outcome"]) == ("comply", "incomplete")
    assert last["detail"]["report_sha256"] == found["sha256"]


def test_the_table_names_every_host_and_why_it_is_missing(capsys: Capture) -> None:
    assert run(["comply", "run", "--limit", "ange-web1", "--control", "SSH-01"]) == 1
    shown = capsys.readouterr()
    assert "1 in scope: 0 assessed, 1 unreachable, 0 excluded, 0 quarantined" in shown.out
    assert "not assessed: example-ange.ange-web1:" in shown.out
    assert "what next: opsctl comply report" in shown.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--control", "SSH-99"], "'SSH-99' is not a control of profile standard"),
        (["--control", "SSH-04"], "'SSH-04' is not a control of profile standard"),
        (["--profile", "strictest"], "no profile is called 'strictest'"),
        (["--limit", "nobody"], "no host fits 'nobody'"),
        (["--tenant", "nowhere"], "no tenant is called 'nowhere'"),
    ],
)
def test_a_wrong_name_ends_with_3_before_any_host_is_touched(
    workspace: Path, capsys: Capture, arguments: list[str], told: str
) -> None:
    assert run(["comply", "run", *arguments]) == 3
    assert told in capsys.readouterr().err
    assert not (workspace / ".state").exists()


def test_controls_lists_what_can_be_checked_and_what_cannot_yet(workspace: Path, capsys: Capture) -> None:
    assert run(["comply", "controls"]) == 0
    assert "129 controls, 30 of them can be checked" in capsys.readouterr().out
    assert run(["comply", "controls", "--profile", "standard", "-o", "json"]) == 0
    found = document(capsys)["controls"]
    assert len(found) == 30
    assert all(one["built"] for one in found)


def test_nothing_kept_yet_is_said(capsys: Capture, tmp_path: Path) -> None:
    assert run(["comply", "list"]) == 0
    assert "no run is kept yet" in capsys.readouterr().err
    assert run(["comply", "report", "--to", str(tmp_path / "out")]) == 3
    assert "opsctl comply run" in capsys.readouterr().err


@pytest.mark.usefixtures("kept")
def test_report_writes_pages_and_json_of_the_latest_run(capsys: Capture, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(["comply", "report", "--to", str(out), "-o", "json"]) == 0
    files = document(capsys)["files"]
    assert {Path(one["path"]).name.split(".", 1)[1] for one in files} == {"sv.html", "en.html", "json"}
    assert run(["comply", "report", "--to", str(tmp_path / "two"), "--format", "html", "--lang", "sv"]) == 0
    assert [file.name.split(".", 1)[1] for file in (tmp_path / "two").iterdir()] == ["sv.html"]
    assert "ledger head 3:0123456789abcdef" in capsys.readouterr().out


@pytest.mark.usefixtures("kept")
def test_a_report_of_a_run_that_is_not_there_ends_with_3(capsys: Capture, tmp_path: Path) -> None:
    assert run(["comply", "report", "nothing", "--to", str(tmp_path / "out")]) == 3
    assert "opsctl comply list" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("kept")
def test_a_place_that_cannot_be_written_is_told(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run(["comply", "report", "--to", str(tmp_path / "file")]) in (1, 2)
    assert "file" in capsys.readouterr().err
