"""Compliance of a fleet from the command line: findings, a host that is away, one that hangs, and the report of it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from opsctl import lab
from opsctl.cli.main import run
from opsctl.compliance import catalogue, profiles, record
from opsctl.compliance.assess import Order, assess
from opsctl.config import load
from opsctl.inventory import files
from opsctl.model.host import Host
from opsctl.ssh.hostkeys import Pins
from opsctl.ssh.session import Transport, close_shared, hostside_script
from tests.integration.owned import lab_name

pytestmark = pytest.mark.lab
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module", name="fleet")
def _fleet() -> Iterator[lab.Fleet]:
    name = lab_name()
    fleet = lab.up(name, lab.generic(3))
    try:
        yield fleet
    finally:
        lab.down(name)


@pytest.fixture(scope="module", name="workspace")
def _workspace(fleet: lab.Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace as a person makes it: init, sync, approve."""
    folder = tmp_path_factory.mktemp("comply") / "workspace"
    assert run(["init", str(folder), "--lab", fleet.name]) == 0
    workspace = ["-C", str(folder)]
    assert run([*workspace, "inventory", "sync", "--yes"]) == 0
    handed_over = str(folder / "handover" / "fingerprints")
    assert run([*workspace, "host", "approve", "--all", "--fingerprints", handed_over, "--yes"]) == 0
    yield folder
    close_shared(load(folder, {}))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSCTL_SSH_CONNECT_TIMEOUT", "3")
    monkeypatch.setenv("COLUMNS", "200")


def comply(workspace: Path, capsys: Capture, *arguments: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run(["-C", str(workspace), "comply", "run", *arguments, "-o", "json"])
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return code, found


def test_findings_end_with_6_and_a_clean_control_with_0(workspace: Path, capsys: Capture) -> None:
    code, found = comply(workspace, capsys, "--control", "SSH-01")
    assert (code, found["outcome"]) == (6, "findings")
    assert {one["result"] for one in found["results"]} == {"fail"}
    code, found = comply(workspace, capsys, "--control", "USR-01")
    assert (code, found["outcome"]) == (0, "ok")
    assert found["counts"]["pass"] == found["coverage"]["total"] == 3


def test_every_control_gets_a_verdict_on_hosts_as_they_were_found(workspace: Path, capsys: Capture) -> None:
    code, found = comply(workspace, capsys)
    undecided = {one["control"]: one["reason"] for one in found["results"] if one["result"] == "error"}
    assert set(undecided) <= {"PAT-01"}, undecided  # where the package lists are too old to tell
    assert code == (1 if undecided else 6)
    chosen = profiles.load("standard", catalogue.load()).controls
    assert len(found["results"]) == 3 * len(chosen)
    assert found["faults"] == []
    failed = {one["control"] for one in found["results"] if one["result"] == "fail"}
    assert {"SSH-01", "SSH-02", "USR-18", "USR-21", "USR-22", "FW-02", "FW-03", "FW-07"} <= failed


ODD = (
    "cat /nowhere /etc /etc/hostname", "stat -c '%U:%G %a %n' /nowhere /etc/shadow", "stat -L -c %F /etc/os-release",
    "test -e /nowhere", "test -x /etc", "readlink /etc/os-release", "command -v no-such-program", "uname -n",
    "sysctl -e net.ipv4.ip_forward kernel.no_such_thing", "systemctl show -p ActiveState -p UnitFileState ssh.service",
    "systemctl show -p ActiveState -p UnitFileState no-such.service",
)  # fmt: skip


def test_every_answer_of_the_batch_is_byte_for_byte_that_of_the_single_command(
    workspace: Path, capsys: Capture
) -> None:
    """All commands that the checks ask for, on each host, and some for what is not there."""
    comply(workspace, capsys)
    settings, known = load(workspace, {}), catalogue.load()
    learned = json.loads(next((workspace / ".state" / "cache").glob("comply-commands-*.json")).read_text())
    moving = {control.id for control in known.controls if control.moves}
    left_out = {command for control, command in learned["commands"] if control in moving}
    commands = [*dict.fromkeys(command for _, command in learned["commands"] if command not in left_out), *ODD]
    assert len(commands) > 40
    inventory = files.load(settings)
    order = {"commands": commands, "seconds": 60, "limit": 1 << 20}
    direct = hostside_script("direct")
    with Transport(inventory, Pins.load(settings.inventories), settings) as transport:
        for host in inventory:
            both: list[Any] = [
                transport.run(host, hostside_script("batch"), {**order, "direct": text}, timeout=300)
                for text in (direct, "")
            ]
            batch, single = ([{**one, "at": 0} for one in found["answers"]] for found in both)
            different = [c for c, one, other in zip(commands, batch, single, strict=True) if one != other]
            assert different == [], host.key


@pytest.mark.parametrize("fault", ["link", "freeze"])
def test_a_host_that_does_not_answer_is_counted_and_the_others_are_done(
    fleet: lab.Fleet, workspace: Path, capsys: Capture, fault: str
) -> None:
    lab.break_(fleet.name, "host-02", fault)
    close_shared(load(workspace, {}))
    try:
        started = time.monotonic()
        code, found = comply(workspace, capsys, "--control", "SSH-01", "--control", "USR-01")
        seconds = time.monotonic() - started
    finally:
        lab.mend(fleet.name, "host-02")
    assert (code, found["outcome"]) == (1, "incomplete")
    assert found["coverage"]["total"] == 3
    assert len(found["coverage"]["assessed"]) == 2
    (away,) = found["coverage"]["unreachable"]
    assert away["host"].endswith(".host-02")
    assert away["reason"]
    mine = {one["result"] for one in found["results"] if one["host"] == away["host"]}
    assert mine == {"notchecked"}
    others = {(one["control"], one["result"]) for one in found["results"] if one["host"] != away["host"]}
    assert others == {("SSH-01", "fail"), ("USR-01", "pass")}
    assert seconds < 60, "one bounded time-out for the host, not one for each control"


class HangsAtTheThird(Transport):
    """The real transport; before the third live question to host-02 that host stands still."""

    lab_name = ""
    asked = 0

    def run(self, host: Host, script: str, arguments: Mapping[str, Any], *, timeout: float) -> object:
        if host.name == "host-02":
            self.asked += 1
            if self.asked == 3:
                lab.break_(self.lab_name, "host-02", "freeze")
        return super().run(host, script, arguments, timeout=timeout)


def test_a_host_that_hangs_in_the_middle_leaves_its_remaining_checks_not_checked(
    fleet: lab.Fleet, workspace: Path
) -> None:
    settings, known = load(workspace, {}), catalogue.load()
    inventory = files.load(settings)
    chosen = ("SSH-01", "SSH-02", "SSH-06", "SSH-14", "USR-01", "USR-02")
    profile, left = profiles.narrow(profiles.load("standard", known), chosen)
    order = Order(
        hosts=tuple(inventory), profile=profile, catalogue=known, operator="test", selection={}, deselected=left
    )
    started = time.monotonic()
    try:
        with HangsAtTheThird(inventory, Pins.load(settings.inventories), settings) as transport:
            transport.lab_name = fleet.name
            found = assess(
                order, transport=transport, inventory=inventory, settings=settings, now=lambda: datetime.now(UTC),
                live=True,
            )  # fmt: skip
    finally:
        lab.mend(fleet.name, "host-02")
        close_shared(settings)
    assert transport.asked == 3, "once it is gone it is asked nothing more"
    kinds = {host.name: [one.result for one in found.of(host.key)] for host in inventory}
    assert kinds["host-02"].count("notchecked") >= 1
    assert {*kinds["host-02"]} - {"notchecked"}, "what was judged before stands"
    assert not {"notchecked", "error"} & {*kinds["host-01"], *kinds["host-03"]}
    (fault,) = found.faults
    assert fault.startswith("contact was lost: ")
    assert "host-02" in fault
    assert record.outcome(found, ()) == "incomplete"
    assert time.monotonic() - started < 150, "one bounded time-out"


def test_the_report_of_such_a_run_counts_it_too(
    fleet: lab.Fleet, workspace: Path, capsys: Capture, tmp_path: Path
) -> None:
    lab.break_(fleet.name, "host-02", "link")
    close_shared(load(workspace, {}))
    try:
        code, found = comply(workspace, capsys, "--control", "SSH-01")
    finally:
        lab.mend(fleet.name, "host-02")
    assert code == 1
    assert run(["-C", str(workspace), "comply", "report", found["run"], "--tenant", "ange", "--to", str(tmp_path)]) == 0
    document = json.loads(next(tmp_path.rglob("compliance-*.json")).read_text())
    assert document["run_sha256"] == found["sha256"]
    assert document["summary"]["hosts"] == {
        "total": 2, "assessed": 1, "unreachable": 1, "excluded": 0, "quarantined": 0
    }  # fmt: skip
    (absent,) = document["assessment"]["coverage"]["unreachable"]
    assert absent["last_good"], "it was assessed before"
    swedish = next(tmp_path.rglob("*.sv.html")).read_text()
    assert "Rapporten är ofullständig" in swedish
    assert absent["host"].partition(".")[2] in swedish


def test_the_ledger_holds_each_run_and_is_whole(workspace: Path, capsys: Capture) -> None:
    comply(workspace, capsys, "--control", "USR-01", "--limit", "host-01")
    assert run(["-C", str(workspace), "ledger", "verify"]) == 0
    capsys.readouterr()
    assert run(["-C", str(workspace), "ledger", "log", "-o", "json"]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    runs = [entry for entry in entries if entry["verb"] == "comply" and entry["outcome"]]
    assert all(len(entry["detail"]["report_sha256"]) == 64 for entry in runs)


def test_a_waived_failure_is_no_finding_and_its_true_result_is_shown(
    workspace: Path, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = next(iter(files.load(load(workspace, {})))).key
    tenant, _, name = host.partition(".")
    key = tmp_path / "bo"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (workspace / "inventories" / "operators").write_text(f"bo {key.with_suffix('.pub').read_text()}")
    base = ["-C", str(workspace), "comply"]
    ends = f"{datetime.now(UTC) + timedelta(days=9):%Y-%m-%d}"
    words = [*base, "waive", "SSH-01", "--tenant", tenant, "--host", name, "--reason", "as it was found"]
    assert run([*words, "--owner", "anna", "--approver", "bo", "--expires", ends, "--yes"]) == 0
    code, found = comply(workspace, capsys, "--control", "SSH-01", "--limit", host)
    assert (code, found["results"][0]["disposition"]) == (6, "open"), "nobody has signed it yet"
    (waiver,) = found["waivers"]
    assert waiver["state"] == "unsigned"
    assert run([*base, "approve", waiver["waiver"], "--key", str(key), "--yes"]) == 0
    code, found = comply(workspace, capsys, "--control", "SSH-01", "--limit", host)
    assert (code, found["outcome"]) == (0, "ok")
    result = found["results"][0]
    assert (result["result"], result["disposition"], result["waiver"]) == ("fail", "waived", waiver["waiver"])
    assert [one["state"] for one in found["waivers"]] == ["expiring"]
    code, found = comply(workspace, capsys, "--control", "SSH-01")
    assert (code, found["counts"]["fail"]) == (6, 3), "the other hosts are findings all the same"
    (workspace / "inventories" / tenant / "waivers.yml").unlink()


def test_a_host_is_asked_again_beside_what_the_run_says_and_the_report_is_verified(
    fleet: lab.Fleet, workspace: Path, capsys: Capture, tmp_path: Path
) -> None:
    base = ["-C", str(workspace)]
    _, found = comply(workspace, capsys, "--control", "USR-01", "--control", "SSH-01")
    kept, host = found["run"], found["coverage"]["assessed"][0]
    again = [*base, "comply", "recheck", host, "USR-01", "--run", kept, "-o", "json"]
    assert run(again) == 0
    (look,) = json.loads(capsys.readouterr().out)["looks"]
    assert (look["word"], look["new"]["result"]) == ("same", "pass")
    assert {piece["how"] for piece in look["new"]["evidence"]} == {"live"}
    assert run([*base, "comply", "sample", "--n", "4", "--seed", "7", "--run", kept]) == 0
    name = host.partition(".")[2]
    shell(fleet, name, "echo 'toor:x:0:0::/root:/bin/sh' >> /etc/passwd")
    try:
        capsys.readouterr()
        assert run(again) == 6
        (look,) = json.loads(capsys.readouterr().out)["looks"]
        assert (look["word"], look["old"]["result"], look["new"]["result"]) == ("differs", "pass", "fail")
        assert "toor" in look["new"]["observed"]
        _, later = comply(workspace, capsys, "--control", "USR-01", "--limit", host)
    finally:
        shell(fleet, name, "sed -i /^toor:/d /etc/passwd")
    assert run([*base, "comply", "diff", kept, later["run"], "-o", "json"]) == 0
    changes = json.loads(capsys.readouterr().out)["changes"]
    assert [(c["host"], c["control"]) for c in changes if c["kind"] == "new"] == [(host, "USR-01")]

    assert run([*base, "ledger", "key", "--yes"]) == 0
    pem = tmp_path / "key.pem"
    pem.write_text(capsys.readouterr().out)
    assert run([*base, "comply", "report", kept, "--to", str(tmp_path / "out")]) == 0
    document = json.loads(next((tmp_path / "out").rglob("compliance-*.json")).read_text())
    hosts = document["assessment"]["scope"]["hosts"]
    assert all(one["host_keys"] and one["host_keys"][0].startswith("SHA256:") for one in hosts)
    assert all(len(one["check_version"]) == 16 for one in document["assessment"]["scope"]["controls"])
    for seal in (tmp_path / "out").rglob("seal.json"):
        assert run(["comply", "verify", str(seal.parent), "--key", str(pem)]) == 0
    assert "verified: " in capsys.readouterr().out


def shell(fleet: lab.Fleet, name: str, command: str) -> None:
    done = lab.execute(fleet.name, name, ["sh", "-c", command])
    assert done.returncode == 0, done.stderr
