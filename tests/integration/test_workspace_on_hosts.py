"""From a running lab to a workspace that works: init, sync, trust, doctor, bare opsctl."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsctl import lab
from opsctl.cli.main import run
from opsctl.lab import Fleet
from tests.integration.owned import lab_name

pytestmark = pytest.mark.lab
Capture = pytest.CaptureFixture[str]


@pytest.fixture(name="fleet", scope="module")
def _fleet() -> Iterator[Fleet]:
    """A database host behind its jump host."""
    name = lab_name()
    try:
        yield lab.up(name, lab.only(lab.demo(), ["ange-db1"]))
    finally:
        lab.down(name)


@pytest.fixture(name="workspace")
def _workspace(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Path:
    """A workspace of the lab, synced, its hosts trusted."""
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    folder = tmp_path / "drift"
    assert run(["init", str(folder), "--lab", fleet.name]) == 0
    monkeypatch.chdir(folder)
    assert run(["inventory", "sync", "--yes"]) == 0
    assert run(["host", "approve", "--all", "--fingerprints", "handover/fingerprints", "--yes"]) == 0
    capsys.readouterr()
    return folder


def looks(capsys: Capture, area: str) -> dict[str, str]:
    """Verdicts of one area, by name."""
    found = json.loads(capsys.readouterr().out)
    return {look["name"]: look["verdict"] for look in found["looks"] if look["area"] == area}


@pytest.mark.usefixtures("workspace")
def test_a_workspace_made_from_a_lab_reaches_every_host_through_its_jump_host(capsys: Capture) -> None:
    assert run(["inventory", "check"]) == 0
    capsys.readouterr()
    assert run(["doctor", "--hosts", "-o", "json"]) == 0
    assert looks(capsys, "hosts") == {"ange.ange-db1": "ok", "ange.ange-lb1": "ok"}


@pytest.mark.usefixtures("workspace")
def test_the_doctor_tells_a_host_that_does_not_answer_from_one_that_does(fleet: Fleet, capsys: Capture) -> None:
    lab.break_(fleet.name, "ange-db1", "link")
    try:
        assert run(["doctor", "--hosts", "-o", "json"]) == 1
        assert looks(capsys, "hosts") == {"ange.ange-db1": "bad", "ange.ange-lb1": "ok"}
    finally:
        lab.mend(fleet.name, "ange-db1")


@pytest.mark.usefixtures("fleet")
def test_bare_opsctl_leads_from_a_new_workspace_to_known_hosts(workspace: Path, capsys: Capture) -> None:
    pins = workspace / "inventories/ange/pins"
    kept = pins.read_text()
    pins.unlink()
    assert run([]) == 0
    assert "Next: opsctl host approve --all --fingerprints handover/fingerprints" in capsys.readouterr().out
    pins.write_text(kept)
    assert run([]) == 0
    assert "Next: opsctl monitor status" in capsys.readouterr().out
    assert run(["monitor", "status"]) == 0
    capsys.readouterr()
    assert run([]) == 0
    assert "not seen for a day" not in capsys.readouterr().out
