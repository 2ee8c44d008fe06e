"""`opsctl lab` as it is typed: what is refused, and with which words. Nothing here boots a host."""

import json
from pathlib import Path

import pytest

from opsctl import lab
from opsctl.cli.lab import FAULTS
from opsctl.cli.main import run

HOSTS = "version: 1\nhosts:\n  - {name: web1, address: 192.0.2.10, role: web, platform: debian-12}\n"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)


def test_the_command_line_knows_every_fault() -> None:
    assert tuple(lab.FAULTS) == FAULTS


def test_a_workspace_with_real_tenants_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", str(tmp_path / "w"), "--tenant", "bollnas=Bollnäs kommun"]) == 0
    assert run(["-C", str(tmp_path / "w"), "lab", "up", "--dry-run", "--name", "cli-test"]) == 3
    shown = capsys.readouterr().err
    assert "real tenants (bollnas)" in shown
    assert "what next" in shown


def test_a_workspace_that_cannot_be_read_is_refused_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "opsctl.yml").write_text("version: 1\ncolour: blue\n")
    assert run(["lab", "up", "--dry-run", "--name", "cli-test"]) == 3
    assert "colour" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["status", "--name", "cli-test"], 3, "no lab called 'cli-test'"),
        (["describe", "--name", "cli-test"], 3, "no lab called 'cli-test'"),
        (["mend", "web1", "--name", "cli-test"], 3, "no lab called 'cli-test'"),
        (["exec", "web1", "--name", "cli-test", "--", "true"], 3, "no lab called 'cli-test'"),
        (["break", "web1", "flood", "--name", "cli-test"], 2, "flood"),
        (["status", "--name", "No/Name"], 2, "cannot be called"),
        (["up", "--hosts", "0", "--name", "cli-test"], 2, "1 to 99"),
        (["up", "--hosts", "2", "--only", "ange-web1", "--name", "cli-test"], 2, "do not go together"),
        (["up", "--only", "nobody", "--name", "cli-test"], 3, "nobody"),
    ],
)
def test_what_cannot_be_is_said(words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", *words]) == code
    assert said in capsys.readouterr().err


def test_the_list_of_labs_is_a_listing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "list", "--output", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["outcome"] == "ok"
    assert all(set(one) == {"name", "hosts", "whole"} for one in document["labs"])
