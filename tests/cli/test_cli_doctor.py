"""`opsctl doctor` and bare `opsctl`: what they print, and how they end."""

import json
from pathlib import Path

import pytest

from opsctl.cli.main import run
from opsctl.overview.support import PLATFORMS, SUPPORT

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("COLUMNS", "200")


def test_something_bad_ends_with_one_and_its_mend(capsys: Capture) -> None:
    run(["init", "drift", "--tenant", "ange"])
    capsys.readouterr()
    assert run(["-C", "drift", "doctor"]) == 1
    shown = capsys.readouterr()
    assert "BAD: keys identity: no key: ssh.identity is empty and no ssh agent runs" in shown.out
    assert "mend: set ssh.identity in opsctl.yml" in shown.out
    assert "1 bad" in shown.err


def test_programs_get_every_look_with_its_verdict(capsys: Capture) -> None:
    run(["init", "drift"])
    capsys.readouterr()
    assert run(["-C", "drift", "doctor", "-o", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["outcome"] == "failed"
    assert found["count"]["bad"] == 1
    assert {"area", "name", "verdict", "seen", "mend"} == set(found["looks"][0])


def test_outside_a_workspace_the_machine_is_looked_at_all_the_same(capsys: Capture) -> None:
    assert run(["doctor", "--hosts"]) == 1
    shown = capsys.readouterr().out
    assert "python" in shown
    assert "opsctl init DIR" in shown


def test_asking_no_host_is_no_success(capsys: Capture) -> None:
    run(["init", "drift", "--tenant", "ange"])
    assert run(["-C", "drift", "doctor", "--hosts"]) == 3


def test_the_support_table_shows_every_verb_and_platform(capsys: Capture) -> None:
    assert run(["doctor", "--support"]) == 0
    shown = capsys.readouterr().out
    for word in (*PLATFORMS, *SUPPORT):
        assert word in shown
    assert run(["doctor", "--support", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["support"]["patch"]["windows"] == "refused"


def test_bare_opsctl_outside_a_workspace_says_how_to_begin(capsys: Capture) -> None:
    assert run([]) == 0
    shown = capsys.readouterr().out
    for word in ("opsctl init DIR", "opsctl demo", "opsctl -C DIR"):
        assert word in shown


def test_bare_opsctl_in_a_workspace_says_what_next(capsys: Capture) -> None:
    run(["init", "drift", "--tenant", "ange"])
    capsys.readouterr()
    assert run(["-C", "drift"]) == 0
    shown = capsys.readouterr().out
    assert "Nothing is running." in shown
    assert "there is no host yet" in shown
    assert shown.endswith("Next: opsctl inventory sync\n")


def test_bare_opsctl_with_a_wrong_folder_or_settings_is_an_error(tmp_path: Path, capsys: Capture) -> None:
    assert run(["-C", str(tmp_path)]) == 3
    (tmp_path / "opsctl.yml").write_text("version: 7\n")
    assert run([]) == 3
    assert "opsctl.yml:1" in capsys.readouterr().err
