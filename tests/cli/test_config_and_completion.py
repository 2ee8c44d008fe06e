"""`opsctl config` and `opsctl completion`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from opsctl.cli.main import run
from opsctl.config import OPTIONS


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "opsctl.yml").write_text("version: 1\nssh:\n  parallel: 3\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    return tmp_path


def test_every_setting_is_listed_with_its_origin(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSCTL_SSH_USER", "automation")
    assert run(["config", "show", "--output", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["outcome"] == "ok"
    found = {one["name"]: one for one in document["settings"]}
    assert list(found) == [option.name for option in OPTIONS]
    assert (found["ssh.parallel"]["value"], found["ssh.parallel"]["origin"]) == (3, f"{workspace}/opsctl.yml:3")
    assert (found["ssh.user"]["value"], found["ssh.user"]["origin"]) == ("automation", "OPSCTL_SSH_USER")
    assert found["patch.reboot"]["origin"] == "default"


def test_the_table_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "show"]) == 0
    shown = capsys.readouterr().out
    assert all(option.name in shown for option in OPTIONS)
    assert "opsctl.yml:3" in shown


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_secret_in_a_setting_is_not_shown(workspace: Path, capsys: pytest.CaptureFixture[str], output: str) -> None:
    (workspace / "opsctl.yml").write_text(
        'version: 1\nvault: {password_command: [curl, "https://anna:hunter2@vault.example/x", "token=hunter2"]}\n',
        encoding="utf-8",
    )
    assert run(["config", "show", "--output", output]) == 0
    caught = capsys.readouterr()
    assert "curl" in caught.out
    assert "hunter2" not in caught.out + caught.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed_for_each_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_OPSCTL_COMPLETE" in capsys.readouterr().out


def test_the_help_says_where_to_put_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "--help"]) == 0
    shown = capsys.readouterr().out
    for place in ("bash-completion/completions/opsctl", "_opsctl", "fish/completions/opsctl.fish"):
        assert place in shown


def test_an_unknown_shell_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "csh"]) == 2
    assert "csh" in capsys.readouterr().err


def _complete(words: str) -> list[str]:
    environ = os.environ | {
        "_OPSCTL_COMPLETE": "fish_complete",
        "COMP_WORDS": f"opsctl {words}",
        "COMP_CWORD": words.rpartition(" ")[2],
    }
    command = [sys.executable, "-c", "from opsctl.cli.main import entry; entry()"]
    answer = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=True)
    return [line.split(",")[1].split("\t")[0] for line in answer.stdout.splitlines()]


def test_verbs_and_their_commands_are_completed() -> None:
    assert _complete("st") == ["state"]
    assert _complete("state ba") == ["backup"]
    assert "--output" in _complete("ledger log --")


def test_the_bash_script_completes_in_a_real_shell(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run(["completion", "bash"])
    script = capfd.readouterr().out
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "opsctl").write_text(
        f"#!{sys.executable}\nfrom opsctl.cli.main import entry\nentry()\n", encoding="utf-8"
    )
    (bin_folder / "opsctl").chmod(0o755)
    asked = 'COMP_WORDS=(opsctl ledger ve); COMP_CWORD=2; _opsctl_completion opsctl; echo "${COMPREPLY[@]}"'
    answer = subprocess.run(
        ["bash", "-c", f"{script}\n{asked}"],
        env=os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert answer.stdout.strip() == "verify"
