"""Approving keys and looking at hosts with real command lines on real hosts."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opsctl import config, lab
from opsctl.cli.main import run
from opsctl.lab import Fleet
from opsctl.ssh.session import close_shared
from tests.integration.owned import lab_name

pytestmark = pytest.mark.lab
Capture = pytest.CaptureFixture[str]
FILE = "handover/fingerprints"


@pytest.fixture(name="fleet", scope="module")
def _fleet() -> Iterator[Fleet]:
    """A web host, a database host behind its jump host, and a monitoring host."""
    name = lab_name()
    try:
        yield lab.up(name, lab.only(lab.demo(), ["ange-web1", "ange-db1", "sundsvall-mon1"]))
    finally:
        lab.down(name)


@pytest.fixture(name="workspace")
def _workspace(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Iterator[Path]:
    """A workspace of the lab, synced; no key is approved yet."""
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    monkeypatch.setenv("OPSCTL_SSH_CONNECT_TIMEOUT", "3")
    monkeypatch.setenv("COLUMNS", "250")
    folder = tmp_path / "drift"
    assert run(["init", str(folder), "--lab", fleet.name]) == 0
    monkeypatch.chdir(folder)
    assert run(["inventory", "sync", "--yes"]) == 0
    capsys.readouterr()
    yield folder
    settings = config.load(folder, {})
    close_shared(settings)
    shutil.rmtree(settings.runtime, ignore_errors=True)


@pytest.fixture(name="trusted")
def _trusted(workspace: Path, capsys: Capture) -> Path:
    assert run(["host", "approve", "--all", "--fingerprints", FILE, "--yes"]) == 0
    capsys.readouterr()
    return workspace


def answer(capsys: Capture) -> dict[str, Any]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def pinned(workspace: Path) -> list[str]:
    """Names of all hosts with an approved key."""
    lines = [line for file in workspace.glob("inventories/*/pins") for line in file.read_text().splitlines()]
    return sorted(line.split()[0] for line in lines if not line.startswith("#"))


def acts(capsys: Capture) -> int:
    assert run(["ledger", "log", "--verb", "host approve", "-o", "json"]) == 0
    return len(answer(capsys)["entries"])


def test_nothing_is_reached_before_a_key_is_approved(fleet: Fleet, capsys: Capture, workspace: Path) -> None:
    assert run(["monitor", "status", "-o", "json"]) == 1
    found = answer(capsys)
    assert found["outcome"] == "unreachable"
    errors = {one["host"]: one["error"] for one in found["hosts"]}
    assert fleet.host("ange-web1").fingerprint in errors["ange.ange-web1"]
    assert "jump host ange.ange-lb1: no key is approved" in errors["ange.ange-db1"]
    assert pinned(workspace) == []


def test_every_host_is_approved_in_one_go_also_behind_a_jump_host(workspace: Path, capsys: Capture) -> None:
    everyone = ["host", "approve", "--all", "--fingerprints", FILE]
    assert run([*everyone, "--dry-run"]) == 0
    assert run(everyone) == 2
    assert pinned(workspace) == []
    capsys.readouterr()
    assert acts(capsys) == 0

    assert run([*everyone, "--yes"]) == 0
    assert "ledger head" in capsys.readouterr().err
    assert pinned(workspace) == ["ange-db1", "ange-lb1", "ange-web1", "sundsvall-mon1"]
    assert acts(capsys) == 2

    assert run([*everyone, "-o", "json"]) == 0
    assert {one["verdict"] for one in answer(capsys)["hosts"]} == {"same"}
    assert acts(capsys) == 2


def test_a_host_behind_a_jump_host_needs_that_one_first(fleet: Fleet, workspace: Path, capsys: Capture) -> None:
    assert run(["host", "approve", "ange-db1", "--fingerprints", FILE, "--yes"]) == 1
    assert "jump host ange.ange-lb1: no key is approved" in capsys.readouterr().err
    assert pinned(workspace) == []
    lb1 = fleet.host("ange-lb1").fingerprint
    assert run(["host", "approve", "ange-lb1", "--fingerprint", lb1, "--yes"]) == 0
    assert run(["host", "approve", "ange-db1", "--fingerprints", FILE, "--yes"]) == 0
    assert pinned(workspace) == ["ange-db1", "ange-lb1"]


def test_a_wrong_fingerprint_approves_nothing_and_both_are_shown(
    fleet: Fleet, workspace: Path, capsys: Capture
) -> None:
    shown, wrong = fleet.host("ange-web1").fingerprint, fleet.host("sundsvall-mon1").fingerprint
    assert run(["host", "approve", "ange-web1", "--fingerprint", wrong, "--yes"]) == 1
    said = capsys.readouterr().err
    assert shown in said
    assert wrong in said
    assert pinned(workspace) == []


def test_good_hosts_are_approved_beside_a_refused_one(fleet: Fleet, workspace: Path, capsys: Capture) -> None:
    file = workspace / "mixed"
    wrong = fleet.host("sundsvall-mon1").fingerprint
    file.write_text(f"ange-web1 {wrong}\nsundsvall-mon1 {wrong}\n")
    assert run(["host", "approve", "--all", "--fingerprints", str(file), "--yes", "-o", "json"]) == 1
    found = answer(capsys)
    assert found["outcome"] == "incomplete"
    assert {one["host"]: one["verdict"] for one in found["hosts"]} == {
        "ange.ange-web1": "refused",
        "sundsvall.sundsvall-mon1": "approve",
    }
    assert pinned(workspace) == ["sundsvall-mon1"]


def test_a_changed_key_is_refused_until_its_new_fingerprint_is_handed_over(
    fleet: Fleet, trusted: Path, capsys: Capture
) -> None:
    old = fleet.host("ange-web1").fingerprint
    change = (
        "rm /etc/ssh/ssh_host_ed25519_key*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key;"
        "systemctl restart ssh; ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
    )
    try:
        new = lab.execute(fleet.name, "ange-web1", ["sh", "-c", change]).stdout.split()[1]
        assert run(["host", "probe", "--limit", "ange-web1", "-o", "json"]) == 1
        (found,) = answer(capsys)["hosts"]
        assert found["state"] == "unreachable"
        assert old in found["error"]
        assert new in found["error"]

        approve = ["host", "approve", "ange-web1", "--yes", "--fingerprint"]
        assert run([*approve, old, "--replace"]) == 1
        assert run([*approve, new]) == 1
        said = capsys.readouterr().err
        assert "--replace" in said
        assert run([*approve, new, "--replace"]) == 0
        assert run(["host", "probe", "--limit", "ange-web1"]) == 0
        assert sorted(pinned(trusted)).count("ange-web1") == 1
    finally:
        lab.restore(fleet.name, "ange-web1")


def test_every_kind_of_key_that_was_handed_over_is_approved_and_any_of_them_is_enough(
    fleet: Fleet, workspace: Path, capsys: Capture
) -> None:
    """What `ssh-keygen -lf` prints on the host is the owner's file; later the host loses one kind."""
    host = "ange-web1"
    make = "ssh-keygen -A >&2; systemctl restart ssh; for f in /etc/ssh/ssh_host_*.pub; do ssh-keygen -lf $f; done"
    try:
        listed = lab.execute(fleet.name, host, ["sh", "-c", make]).stdout
        # The comment names the machine that made the image; the owner wrote the host's name there.
        lines = [f"{' '.join(line.split()[:2])} root@{host} {line.split()[-1]}" for line in listed.splitlines()]
        (workspace / "keys").write_text("\n".join(lines) + "\n")
        assert run(["host", "approve", host, "--fingerprints", "keys", "--yes", "-o", "json"]) == 0
        kinds = {key["kind"] for key in answer(capsys)["hosts"][0]["keys"]}
        assert kinds == {"ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"}
        for lost in ("ed25519", "ecdsa"):
            drop = f"rm /etc/ssh/ssh_host_{lost}_key*; systemctl restart ssh"
            lab.execute(fleet.name, host, ["sh", "-c", drop])
            close_shared(config.load(workspace, {}))
            assert run(["host", "probe", "--limit", host]) == 0
    finally:
        lab.restore(fleet.name, host)


def test_one_host_that_is_down_does_not_keep_the_others_from_answering(
    fleet: Fleet, trusted: Path, capsys: Capture
) -> None:
    assert run(["monitor", "status", "-o", "json"]) == 0
    assert {one["state"] for one in answer(capsys)["hosts"]} <= {"ok", "attention"}
    close_shared(config.load(trusted, {}))
    lab.break_(fleet.name, "ange-web1", "freeze")
    try:
        began = time.monotonic()
        assert run(["monitor", "status", "-o", "json"]) == 1
        assert time.monotonic() - began < 60
        found = {one["host"]: one for one in answer(capsys)["hosts"]}
        assert len(found) == 4
        gone = found.pop("ange.ange-web1")
        assert (gone["state"], gone["probe"]["hostname"]) == ("unreachable", "ange-web1")
        assert gone["seen"]
        assert all(one["error"] == "" for one in found.values())
        assert run(["monitor", "status"]) == 1
        assert "last seen" in capsys.readouterr().out

        assert run(["host", "show", "ange-web1"]) == 1
        sheet = capsys.readouterr().out
        assert "unreachable" in sheet
        assert "Debian GNU/Linux 12" in sheet
    finally:
        lab.mend(fleet.name, "ange-web1")


@pytest.mark.usefixtures("trusted")
def test_a_probe_tells_what_the_host_is(fleet: Fleet, capsys: Capture) -> None:
    assert run(["host", "probe", "--limit", "ange-db1", "-o", "json"]) == 0
    (found,) = answer(capsys)["hosts"]
    probe = found["probe"]
    assert probe["faults"] == {}
    assert probe["hostname"] == "ange-db1"
    assert probe["os"]["id"] == "debian"
    assert probe["virtualization"] == "systemd-nspawn"
    assert probe["boot_id"] == lab.boot_id(fleet.name, "ange-db1")
    assert ["0.0.0.0", 22] in probe["listening"]
    assert [one["mount"] for one in probe["filesystems"]] == ["/"]
    assert f"{fleet.host('ange-db1').address}/24" in probe["addresses"]
    assert probe["units"]["ssh.service"] == "active"
    assert abs(probe["clock"]["offset"]) < 2


@pytest.mark.usefixtures("trusted")
def test_a_failed_unit_and_a_full_disk_are_seen(fleet: Fleet, capsys: Capture) -> None:
    host = "ange-web1"
    unit = "printf '[Service]\\nExecStart=/bin/false\\n' > /run/systemd/system/backup.service; systemctl start backup"
    lab.execute(fleet.name, host, ["sh", "-c", unit])
    lab.break_(fleet.name, host, "disk")
    try:
        assert run(["monitor", "status", "--limit", host, "-o", "json"]) == 0
        (found,) = answer(capsys)["hosts"]
        assert found["state"] == "attention"
        remarks = " ".join(found["remarks"])
        assert "backup.service" in remarks
        assert "/ is 100 % full" in remarks
    finally:
        lab.mend(fleet.name, host)
        lab.execute(fleet.name, host, ["sh", "-c", "rm /run/systemd/system/backup.service; systemctl reset-failed"])


@pytest.mark.usefixtures("trusted")
def test_the_sheet_of_a_host_holds_what_every_room_knows(fleet: Fleet, capsys: Capture) -> None:
    assert run(["host", "show", "ange-db1", "-o", "json"]) == 0
    sheet = answer(capsys)
    assert sheet["jumps"] == ["ange.ange-lb1"]
    assert sheet["pins"][0]["fingerprint"] == fleet.host("ange-db1").fingerprint
    assert sheet["probe"]["hostname"] == "ange-db1"
    assert [one["verb"] for one in sheet["acts"]] == ["host approve", "inventory sync"]
    assert run(["host", "show", "ange-db1"]) == 0
    shown = capsys.readouterr().out
    for word in ("through ange.ange-lb1", "host key", "Latest changing acts", "kernel"):
        assert word in shown


@pytest.mark.usefixtures("trusted")
def test_an_exporter_is_tried_from_the_host_and_from_the_monitoring_host(fleet: Fleet, capsys: Capture) -> None:
    """A stand-in exporter on a web host: reachable from everywhere, then only from itself."""
    host = "ange-web1"
    serve = "systemd-run --unit=exporter --working-directory=/run/exporter python3 -m http.server 9100 --bind {address}"
    lab.execute(fleet.name, host, ["sh", "-c", "mkdir -p /run/exporter && echo up 1 > /run/exporter/metrics"])

    def column(address: str) -> tuple[bool, str | None]:
        lab.execute(fleet.name, host, ["sh", "-c", serve.format(address=address)])
        try:
            listens = ["sh", "-c", "for n in $(seq 50); do ss -Hltn sport = :9100 | grep -q . && exit; sleep 0.1; done"]
            lab.execute(fleet.name, host, listens)
            assert run(["monitor", "status", "--limit", host, "-o", "json"]) == 0
            (found,) = answer(capsys)["hosts"]
            return found["probe"]["exporter"]["answers"], found["exporter_from_monitoring"]
        finally:
            lab.execute(fleet.name, host, ["systemctl", "stop", "exporter"])

    assert column("0.0.0.0") == (True, "")
    answers, scraped = column("127.0.0.1")
    assert answers
    assert scraped
    assert "refused" in scraped
