"""`opsctl inventory drift` where nothing can be compared: hosts that do not answer, that are not managed, no NetBox."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsctl.cli.main import run
from opsctl.inventory import making
from tests.cli.test_host import HOSTS, PIN, own_address
from tests.netbox.played import TOKEN, Fault, Played, played

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True, name="workspace")
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One tenant whose hosts are a closed port of this machine."""
    (tmp_path / "opsctl.yml").write_text("version: 1\nworkspace: {id: cli-drift}\nssh: {connect_timeout: 2}\n")
    tenant = tmp_path / "inventories/ange"
    tenant.mkdir(parents=True)
    (tenant / "tenant.yml").write_text("version: 1\nname: ange\n")
    (tenant / "hosts.yml").write_text(HOSTS.replace("ADDRESS", own_address()))
    (tenant / "pins").write_text(PIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    # Sockets need a short path, and pytest's is long.
    with tempfile.TemporaryDirectory(prefix="o-") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        yield tmp_path


def test_hosts_that_do_not_answer_are_never_taken_for_right(workspace: Path, capsys: Capture) -> None:
    assert run(["inventory", "drift", "--suggest", "corrections.yml"]) == 1
    told = capsys.readouterr()
    assert "nothing was compared\ncompared: 0 of 2 hosts; not asked: 2; not managed: 1" in told.out
    assert "ange.ange-web1" in told.out
    assert max(map(len, told.out.splitlines())) <= 80
    assert "no file was written" in told.err
    assert not (workspace / "corrections.yml").exists()
    assert run(["inventory", "drift", "--limit", "ange-web1", "-o", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["compared"], found["drift"]) == ("unreachable", [], [])
    assert [(one["host"], one["state"]) for one in found["not_asked"]] == [("ange.ange-web1", "unreachable")]


def test_a_file_that_somebody_may_be_reviewing_is_not_overwritten(workspace: Path, capsys: Capture) -> None:
    (workspace / "corrections.yml").write_text("version: 1\n")
    assert run(["inventory", "drift", "--suggest", "corrections.yml"]) == 2
    assert "corrections.yml is there already" in capsys.readouterr().err
    assert (workspace / "corrections.yml").read_text() == "version: 1\n"


def test_a_record_that_netbox_does_not_show_is_no_agreement(
    workspace: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = workspace / "inventories/ange/hosts.yml"
    hosts.write_text(hosts.read_text().replace("ring: early}", "ring: early, record: virtual-machine/99999}"))
    with played() as server:
        server.rows["ipam/services"] = []
        monkeypatch.setenv("OPSCTL_NETBOX_URL", server.address)
        monkeypatch.setenv("OPSCTL_NETBOX_TOKEN", TOKEN)
        assert run(["inventory", "drift", "--limit", "ange-web1"]) == 1
        told = capsys.readouterr().out
        assert run(["inventory", "drift", "--limit", "ange-web1", "-o", "json"]) == 1
    assert "compared: 0 of 1 host; not seen in NetBox: 1" in told
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["compared"], found["not_asked"]) == ("incomplete", [], [])
    assert {one["host"] for one in found["not_compared"]} == {"ange.ange-web1"}


def test_a_selection_without_a_managed_host_is_an_error(capsys: Capture) -> None:
    assert run(["inventory", "drift", "--limit", "ange-print1"]) == 3
    assert "opsctl manages none of 1 selected host" in capsys.readouterr().err


def test_without_netbox_no_host_is_asked_and_nothing_is_said_to_agree(
    workspace: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = workspace / "inventories/ange/hosts.yml"
    hosts.write_text(hosts.read_text().replace("ring: early}", "ring: early, record: virtual-machine/5}"))
    with played() as server:
        server.faults = [Fault(status=403, body=b'{"detail": "Invalid v2 token"}')]
        monkeypatch.setenv("OPSCTL_NETBOX_URL", server.address)
        monkeypatch.setenv("OPSCTL_NETBOX_TOKEN", TOKEN)
        assert run(["inventory", "drift"]) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert "the token is wrong" in told.err


@pytest.fixture(name="corrected")
def _corrected(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Played]:
    """A NetBox that has the workspace's ange-web1, and a file that corrects its memory."""
    hosts = workspace / "inventories/ange/hosts.yml"
    hosts.write_text(hosts.read_text().replace("ring: early}", "ring: early, record: virtual-machine/9}"))
    (workspace / "corrections.yml").write_text("version: 1\nhosts:\n  - {host: ange.ange-web1, memory: 4096}\n")
    with played() as server:
        server.rows["ipam/services"] = []
        row = next(row for row in server.rows["virtualization/virtual-machines"] if row["id"] == 9)
        row |= {"name": "ange-web1", "memory": 2048, "tenant": {"id": 1, "slug": "ange"}}
        monkeypatch.setenv("OPSCTL_NETBOX_URL", server.address)
        monkeypatch.setenv("OPSCTL_NETBOX_TOKEN", TOKEN)
        yield server


def test_corrections_of_what_somebody_changed_after_it_was_shown_are_not_written(
    workspace: Path, corrected: Played, capsys: Capture
) -> None:
    seen: list[str] = []

    def change(line: str) -> None:
        seen.extend([line] if "vcpus" in line else [])
        if len(seen) == 2:
            corrected.rows["virtualization/virtual-machines"][:] = [
                {**row, "memory": 3072} for row in corrected.rows["virtualization/virtual-machines"]
            ]

    corrected.before_answer = change
    assert run(["inventory", "push", "--from", "corrections.yml", "--yes"]) == 3
    assert "NetBox was changed by somebody else meanwhile; nothing was written" in capsys.readouterr().err
    assert not any("PATCH" in line for line in corrected.asked)


def test_two_do_not_push_one_file_of_corrections_at_once(workspace: Path, corrected: Played, capsys: Capture) -> None:
    with making.alone(workspace / "corrections.yml"):
        assert run(["inventory", "push", "--from", "corrections.yml", "--dry-run"]) == 0
        assert run(["inventory", "push", "--from", "corrections.yml", "--yes"]) == 4
    assert "somebody else is pushing corrections.yml" in capsys.readouterr().err
