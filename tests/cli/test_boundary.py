"""The one place where an error becomes a message and an exit code."""

from pathlib import Path

import pytest

from opsctl.cli.main import run


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)


def test_help_names_every_section_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for word in ("Every day", "On call", "Audit", "Set-up", "Exit codes", "provision", "comply"):
        assert word in shown


def test_unknown_verb_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["frobnicate"]) == 2
    assert "frobnicate" in capsys.readouterr().err


def test_outside_a_workspace_the_message_says_what_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inventory", "list"]) == 3
    shown = capsys.readouterr().err
    assert "no opsctl.yml" in shown
    assert "opsctl init" in shown


def test_every_fault_of_the_settings_is_named_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "opsctl.yml").write_text(
        "version: 1\nssh:\n  connect_timeout: soon\n  colour: blue\npatch: {reboot: maybe}\n"
    )
    assert run(["inventory", "list"]) == 3
    shown = capsys.readouterr().err
    assert "opsctl.yml:3: connect_timeout: 'soon' is not allowed (a whole number from 1 to 1000000)" in shown
    assert "opsctl.yml:4: 'colour' is not known here" in shown
    assert "opsctl.yml:5: reboot: 'maybe' is not known (one of: never, if-required, always)" in shown
    assert "Traceback" not in shown


def test_workspace_that_everyone_can_write_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = tmp_path / "open"
    workspace.mkdir()
    (workspace / "opsctl.yml").write_text("version: 1\n")
    workspace.chmod(0o777)
    assert run(["-C", str(workspace), "inventory", "list"]) == 3
    assert "can be written by everyone" in capsys.readouterr().err
