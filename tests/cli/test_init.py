"""`opsctl init`: what it prints and leaves."""

import json
from pathlib import Path

import pytest

from opsctl.cli.main import run

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)


def test_a_new_workspace_says_what_was_written_and_what_next(tmp_path: Path, capsys: Capture) -> None:
    assert run(["init", "drift", "--tenant", "ange=Ånge kommun"]) == 0
    shown = capsys.readouterr()
    assert "written  drift/inventories/ange/tenant.yml" in shown.out
    assert "cd drift && opsctl" in shown.err
    assert run(["-C", "drift", "inventory", "check"]) == 0
    assert run(["-C", "drift", "config", "show"]) == 0


def test_in_a_new_workspace_of_this_folder_every_verb_says_how_hosts_come_into_it(capsys: Capture) -> None:
    run(["init", ".", "--tenant", "ange=Ånge kommun"])
    assert "what next: opsctl\n" in capsys.readouterr().err
    for words in (["list"], ["drift"], ["export", "--format", "csv"], ["graph"]):
        assert run(["inventory", *words]) == 3
        shown = capsys.readouterr().err
        assert "the inventory holds no host yet" in shown
        assert "opsctl inventory sync" in shown


def test_a_second_time_everything_is_kept(capsys: Capture) -> None:
    run(["init", "drift"])
    Path("drift/README.md").write_text("ours")
    capsys.readouterr()
    assert run(["init", "drift", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "outcome": "ok", "workspace": "drift", "written": [],
            "kept": ["opsctl.yml", ".gitignore", "inventories/opsctl.yml", "README.md"],
    }  # fmt: skip
    assert Path("drift/README.md").read_text() == "ours"


def test_a_wrong_tenant_writes_nothing(capsys: Capture) -> None:
    assert run(["init", "drift", "--tenant", "Ånge"]) == 2
    assert "NAME=TITLE" in capsys.readouterr().err
    assert not Path("drift").exists()


def test_an_unknown_lab_is_refused(capsys: Capture) -> None:
    assert run(["init", "drift", "--lab", "no-such-lab"]) == 3
    assert "no-such-lab" in capsys.readouterr().err
    assert not Path("drift").exists()
