"""`opsctl provision` on real hosts: a mistake that would lock us out stops it, and the host mends itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from opsctl import lab
from opsctl.lab import Fleet
from tests.integration.ground import wait_until
from tests.integration.owned import lab_name

pytestmark = pytest.mark.lab

MISTAKE = "firewall_management_networks: [203.0.113.0/24]\n"


@dataclass
class Site:
    """Two hosts in two rings, and their workspace."""

    fleet: Fleet
    workspace: Path

    def answers(self, host: str) -> bool:
        return self.run("host", "probe", "--limit", host).returncode == 0

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "opsctl", "-C", str(self.workspace), *words]
        return subprocess.run(line, capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    name = lab_name()
    fleet = lab.up(name, lab.only(lab.demo(), ["ange-file1", "sundsvall-mon1"]))
    try:
        found = Site(fleet=fleet, workspace=tmp_path_factory.mktemp("provision") / "workspace")
        subprocess.run([sys.executable, "-m", "opsctl", "init", str(found.workspace), "--lab", name], check=True)
        for words in (
            ["inventory", "sync", "--yes"],
            ["host", "approve", "--all", "--fingerprints", str(fleet.fingerprints_file), "--yes"],
        ):
            done = found.run(*words)
            assert done.returncode == 0, done.stderr
        yield found
    finally:
        lab.down(name)


def test_a_dry_run_shows_the_rings_and_touches_nothing(site: Site) -> None:
    done = site.run("provision", "--dry-run", "--output", "json")
    assert done.returncode == 0, done.stderr
    waves = json.loads(done.stdout)["plan"]["waves"]
    assert [(wave["ring"], [[i["host"] for i in b["hosts"]] for b in wave["batches"]]) for wave in waves] == [
        ("canary", [["ange.ange-file1"]]),
        ("early", [["sundsvall.sundsvall-mon1"]]),
    ]


def test_a_host_that_does_not_answer_is_left_out_and_said_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSCTL_SSH_CONNECT_TIMEOUT", "2")
    lab.break_(site.fleet.name, "sundsvall-mon1", "link")
    try:
        done = site.run("provision", "--dry-run", "--output", "json")
    finally:
        lab.mend(site.fleet.name, "sundsvall-mon1")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["outcome"] == "incomplete"
    assert answer["plan"]["left_out"][0]["host"] == "sundsvall.sundsvall-mon1"
    monkeypatch.undo()
    wait_until(lambda: site.answers("sundsvall-mon1"), 90, "the host answers again")


def test_a_lock_out_stops_at_the_first_host_which_undoes_it_and_a_resume_mends_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSCTL_PROVISION_CONFIRM_SECONDS", "60")
    monkeypatch.setenv("OPSCTL_SSH_CONNECT_TIMEOUT", "8")
    variables = site.workspace / "inventories/ange/host_vars/ange-file1.yml"
    variables.parent.mkdir(parents=True, exist_ok=True)
    variables.write_text(MISTAKE)
    done = site.run("provision", "--yes", "--output", "json")
    assert done.returncode == 5, done.stderr
    answer = json.loads(done.stdout)
    states = {one["host"]: one for one in answer["hosts"]}
    assert states["ange.ange-file1"]["stage"] == "unknown", done.stderr
    assert states["sundsvall.sundsvall-mon1"]["stage"] == "planned", done.stderr
    assert "remaining: ange.ange-file1, sundsvall.sundsvall-mon1" in done.stderr
    untouched = lab.execute(site.fleet.name, "sundsvall-mon1", ["ls", "/etc/ssh/sshd_config.d"])
    assert untouched.stdout == "50-partner.conf\n"

    wait_until(lambda: site.answers("ange-file1"), 90, "the host lets us in again")

    # The mistake is mended, and the same rollout goes on: the host that undid the change gets it right this time.
    variables.unlink()
    monkeypatch.setenv("OPSCTL_PROVISION_CONFIRM_SECONDS", "600")
    done = site.run("provision", "resume", answer["id"], "--yes", "--output", "json")
    assert done.returncode == 0, done.stderr
    assert {one["stage"] for one in json.loads(done.stdout)["hosts"]} == {"done"}
    guard = ["python3", "-I", "/var/lib/opsctl/guard/guard.py", "status"]
    for host in ("ange-file1", "sundsvall-mon1"):
        assert json.loads(lab.execute(site.fleet.name, host, guard).stdout)["state"] == "idle"
