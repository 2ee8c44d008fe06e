"""Compliance of a fleet from the command line: findings, a host that is away, one that hangs, and the report of it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opsctl import lab
from opsctl.cli.main import run
from opsctl.compliance import catalogue, profiles
from opsctl.config import load
from opsctl.ssh.session import close_shared

pytestmark = pytest.mark.lab
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module", name="fleet")
def _fleet() -> Iterator[lab.Fleet]:
    name = f"t{secrets.token_hex(4)}"
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


def test_the_report_of_such_a_run_counts_it_too(
    fleet: lab.Fleet, workspace: Path, capsys: Capture, tmp_path: Path
) -> None:
    lab.break_(fleet.name, "host-03", "link")
    close_shared(load(workspace, {}))
    try:
        code, found = comply(workspace, capsys, "--control", "SSH-01")
    finally:
        lab.mend(fleet.name, "host-03")
    assert code == 1
    assert run(["-C", str(workspace), "comply", "report", found["run"], "--to", str(tmp_path)]) == 0
    document = json.loads(next(tmp_path.rglob("compliance-*.json")).read_text())
    assert document["assessment_sha256"] == found["sha256"]
    assert document["summary"]["hosts"] == {
        "total": 3, "assessed": 2, "unreachable": 1, "excluded": 0, "quarantined": 0
    }  # fmt: skip
    (absent,) = document["assessment"]["coverage"]["unreachable"]
    assert absent["last_good"], "it was assessed before"
    swedish = next(tmp_path.rglob("*.sv.html")).read_text()
    assert "Rapporten är ofullständig" in swedish
    assert absent["host"] in swedish


def test_the_ledger_holds_each_run_and_is_whole(workspace: Path, capsys: Capture) -> None:
    comply(workspace, capsys, "--control", "USR-01", "--limit", "host-01")
    assert run(["-C", str(workspace), "ledger", "verify"]) == 0
    capsys.readouterr()
    assert run(["-C", str(workspace), "ledger", "log", "-o", "json"]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    runs = [entry for entry in entries if entry["verb"] == "comply" and entry["outcome"]]
    assert all(len(entry["detail"]["report_sha256"]) == 64 for entry in runs)
