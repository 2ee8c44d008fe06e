"""`opsctl monitor ...`: listings, exit codes, and target files that are never emptied."""

import io
import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opsctl.cli.main import run

Capture = pytest.CaptureFixture[str]
WEB = "  - {name: ange-web1, address: ADDRESS, port: 1, role: web, platform: debian-12, ring: early}\n"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH/Sxinhm1mXfkn2HmCikqY9VnaaARdbXG6lEGZvieDt"
HEAD = "version: 1\ntenant: ange\nhosts:\n"


def own_address() -> str:
    """An address at which connections fail at once: this machine's own, or, without a network, one without a way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))  # sends nothing; only asks which address would be used
        except OSError:
            return "203.0.113.1"
        return str(probe.getsockname()[0])


@pytest.fixture(autouse=True, name="workspace")
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "opsctl.yml").write_text("version: 1\nworkspace: {id: cli-monitor}\nssh: {connect_timeout: 2}\n")
    tenant = tmp_path / "inventories/ange"
    tenant.mkdir(parents=True)
    (tenant / "tenant.yml").write_text("version: 1\nname: ange\ntitle: Ånge kommun\noperator: ange\n")
    (tenant / "hosts.yml").write_text(HEAD + WEB.replace("ADDRESS", own_address()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    # Sockets need a short path, and pytest's is long.
    with tempfile.TemporaryDirectory(prefix="o-") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        yield tmp_path


def answer(capsys: Capture) -> dict[str, Any]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_a_host_that_never_answered_keeps_its_line(capsys: Capture) -> None:
    assert run(["monitor", "status"]) == 1
    shown = capsys.readouterr().out
    assert "ange.ange-web1" in shown
    assert "never seen" in shown
    assert "0 answered, 1 did not" in shown
    assert run(["monitor", "status", "-o", "json"]) == 1
    found = answer(capsys)
    assert found["outcome"] == "unreachable"
    assert found["hosts"][0]["probe"] is None


def test_the_same_remark_on_several_hosts_is_one_line(workspace: Path, capsys: Capture) -> None:
    address = own_address()
    one = WEB.replace("ADDRESS", address)
    two = one.replace("web1", "web2").replace("port: 1", "port: 2")
    (workspace / "inventories/ange/hosts.yml").write_text(HEAD + one + two)
    for name in ("ange-web1", "ange-web2"):
        with (workspace / "inventories/ange/pins").open("a") as pins:
            pins.write(f"{name} {KEY}\n")
    assert run(["monitor", "status"]) == 1
    shown = capsys.readouterr()
    assert "2 hosts: 0 answered, 2 did not" in shown.out
    assert "what next for 2 hosts (ange.ange-web1, ange.ange-web2): is sshd running" in shown.err


@pytest.mark.parametrize(("said", "code"), [("n\n", 0), ("", 130)])
def test_to_decline_is_no_interruption(
    workspace: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, said: str, code: int
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(said))
    assert run(["monitor", "targets", "--write"]) == code
    assert not (workspace / "monitoring").exists()
    assert ("interrupted" if code else "nothing was done") in capsys.readouterr().err


def test_no_host_matching_is_an_error_not_a_green_line() -> None:
    assert run(["monitor", "status", "--limit", "nothing"]) == 3
    assert run(["monitor", "status", "--role", "print"]) == 3


def test_targets_are_shown_checked_and_written(workspace: Path, capsys: Capture) -> None:
    file = workspace / "monitoring/targets/ange.json"
    assert run(["monitor", "targets"]) == 0
    assert run(["monitor", "targets", "--write", "--dry-run"]) == 0
    assert run(["monitor", "targets", "--check"]) == 1
    assert run(["monitor", "targets", "--write"]) == 2
    assert not file.exists()
    assert run(["monitor", "targets", "--write", "--yes"]) == 0
    assert "ledger head" in capsys.readouterr().err
    assert json.loads(file.read_text())[0]["labels"]["host"] == "ange-web1"
    assert run(["monitor", "targets", "--check", "-o", "json"]) == 0
    assert answer(capsys)["files"][0]["change"] == "same"


def test_targets_are_not_emptied_by_an_inventory_without_hosts(workspace: Path, capsys: Capture) -> None:
    assert run(["monitor", "targets", "--write", "--yes"]) == 0
    before = (workspace / "monitoring/targets/ange.json").read_text()
    (workspace / "inventories/ange/hosts.yml").write_text("version: 1\ntenant: ange\nhosts: []\n")
    capsys.readouterr()
    assert run(["monitor", "targets", "--write", "--yes"]) == 3
    capsys.readouterr()
    assert run(["monitor", "targets", "--write", "--yes", "-o", "json"]) == 3
    assert json.loads(capsys.readouterr().out)["outcome"] == "refused"
    assert run(["monitor", "targets", "--write", "--yes"]) == 3
    shown = capsys.readouterr()
    assert "would be emptied" in shown.out
    assert "is the inventory of ange complete?" in shown.err
    assert (workspace / "monitoring/targets/ange.json").read_text() == before
    assert run(["monitor", "targets", "--check"]) == 1
