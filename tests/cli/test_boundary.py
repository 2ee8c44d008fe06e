"""The one place where an error becomes a message and an exit code."""

import json
import os
import subprocess
import sys
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


# --- streams that are closed, full or of another alphabet, and faults that nobody foresaw ----------------------------

WORKSPACE = """\
version: 1
tenant: ange
hosts:
  - {name: ange-web1, address: 192.0.2.1, role: web, platform: debian-12, owner: Drift Ånge}
"""


@pytest.fixture(name="drift")
def _drift(tmp_path: Path) -> Path:
    folder = tmp_path / "drift i Ånge"
    assert run(["init", str(folder), "--tenant", "ange=Ånge kommun"]) == 0
    (folder / "inventories/ange/source.yml").write_text(WORKSPACE)
    assert run(["-C", str(folder), "inventory", "sync", "--yes"]) == 0
    return folder


def shell(folder: Path, rest: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One real command line in /bin/sh, so that its streams can be closed."""
    line = f'exec "$0" -m opsctl -C "$1" {rest}'
    return subprocess.run(
        ["/bin/sh", "-c", line, sys.executable, str(folder)],
        capture_output=True, text=True, errors="replace", check=False, timeout=60, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("rest", ["inventory list >&-", "inventory list 2>&-", "inventory sync --yes <&- >&- 2>&-"])
def test_a_closed_stream_changes_nothing_but_what_is_read(rest: str, drift: Path) -> None:
    assert shell(drift, rest).returncode == 0


def test_without_a_stdin_nobody_is_taken_to_have_agreed(drift: Path) -> None:
    (drift / "inventories/ange/source.yml").write_text(WORKSPACE.replace("192.0.2.1", "192.0.2.9"))
    ended = shell(drift, "inventory sync <&-")
    assert ended.returncode == 2
    assert "--yes" in ended.stderr


@pytest.mark.parametrize("verb", ["inventory list", "inventory list -o json"])
def test_a_full_disk_under_the_answer_is_an_error_without_a_traceback(verb: str, drift: Path) -> None:
    ended = shell(drift, f"{verb} >/dev/full")
    assert ended.returncode == 1
    assert "No space left" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


@pytest.mark.parametrize(("words", "code"), [("inventory show nobody", 3), ("inventory list --no-such-option", 2)])
def test_an_error_keeps_its_exit_code_where_its_document_cannot_be_written(words: str, code: int, drift: Path) -> None:
    ended = shell(drift, f"{words} -o json >/dev/full")
    assert ended.returncode == code
    assert "rror: " in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


@pytest.mark.parametrize("verb", ["inventory list", "inventory show ange-web1", "inventory list -o json"])
def test_an_alphabet_without_our_letters_still_shows_the_answer(verb: str, drift: Path) -> None:
    (drift / "inventories/ange/source.yml").write_text(WORKSPACE.replace("Drift Ånge", "Örjan Łukasz"))
    assert shell(drift, "inventory sync --yes", PYTHONIOENCODING="latin-1:strict").returncode == 0
    ended = shell(drift, verb, PYTHONIOENCODING="latin-1:strict", LC_ALL="C")
    assert ended.returncode == 0, ended.stderr
    assert "ange-web1" in ended.stdout


def test_what_nobody_foresaw_is_a_message_and_debug_adds_the_traceback(
    drift: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (drift / "file").touch(mode=0o600)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(drift / "file"))
    capsys.readouterr()
    assert run(["-C", str(drift), "host", "probe"]) == 1
    shown = capsys.readouterr().err
    assert "Not a directory" in shown
    assert "Traceback" not in shown
    assert run(["--debug", "-C", str(drift), "host", "probe"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_debug_changes_no_exit_code(drift: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--debug", "-C", str(drift), "inventory", "show", "nobody"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_no_traceback_commands_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--debug", "-C", str(tmp_path / "x\x1b]0;y\x07\u202e"), "inventory", "list"]) == 3
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


@pytest.mark.parametrize(
    ("words", "code", "outcome"),
    [
        (["inventory", "show", "nobody", "-o", "json"], 3, "refused"),
        (["inventory", "list", "--limit", "", "--output=json"], 3, "refused"),
        (["host", "approve", "ange-web1", "-ojson"], 2, "usage"),
        (["inventory", "list", "--nonsense", "-o", "json"], 2, "usage"),
    ],
)
def test_an_error_too_is_one_document_where_json_is_asked_for(
    words: list[str], code: int, outcome: str, drift: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["-C", str(drift), *words]) == code
    document = json.loads(capsys.readouterr().out)
    assert document["outcome"] == outcome
    assert document["error"]
