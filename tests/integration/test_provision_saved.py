# SPDX-License-Identifier: GPL-3.0-or-later
"""Saved plans of provisioning on real hosts: what is foreseen is what is done, what moved is refused, what was killed
goes on."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

from opsctl import config, lab
from opsctl.state.leases import Leases
from opsctl.state.store import Store
from tests.integration.site import Site, handed_over

pytestmark = pytest.mark.lab

PASSWORD, VAULTED = "canary-password-3f1a90", "canary-vaulted-77c1d2"
TOUCHED = "/etc/systemd/journald.conf.d/50-opsctl.conf"


class ProvisionSite(Site):
    """Two equal hosts of two tenants, in two rings, and the command line."""

    def variables(self, text: str) -> None:
        file = self.workspace / "inventories/ange/host_vars/host-01.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProvisionSite]:
    with handed_over(tmp_path_factory.mktemp("saved"), lab.generic(2), ProvisionSite) as made:
        yield made


def planned(told: dict[str, Any]) -> dict[str, int]:
    """Host -> how many tasks would change something."""
    waves = told["plan"]["waves"]
    return {item["host"]: item["changes"] for w in waves for batch in w["batches"] for item in batch["hosts"]}


def test_a_plan_foresees_each_host_is_refused_when_one_moved_and_killed_and_resumed_brings_all_there(
    site: ProvisionSite,
) -> None:
    """One story, for each part takes a minute of real hosts."""
    told = site.answer("provision", "plan")
    plan, hosts = told["plan"]["id"], planned(told)
    assert set(hosts) == {"ange.host-01", "sundsvall.host-02"}
    assert all(count > 5 for count in hosts.values())
    shown = site.run("provision", "diff", plan, "host-01").stdout
    assert "ange.host-01: Bring accounts, keys and groups to what is approved" in shown
    assert "account ange-admin made" in shown
    assert "sundsvall" not in shown

    # Variables that somebody changed meanwhile.
    site.variables("ssh_max_auth_tries: 5\n")
    refused = site.run("provision", "apply", plan, "--yes", code=3).stderr
    assert "ange/host_vars/host-01.yml is new" in refused
    (site.workspace / "inventories/ange/host_vars/host-01.yml").unlink()

    # A host that somebody changed meanwhile.
    site.inside("host-01", "useradd nykomling && mkdir -p /etc/ssh/sshd_config.d")
    site.inside("host-01", "sed -i 's/X11Forwarding yes/X11Forwarding no/' /etc/ssh/sshd_config.d/50-partner.conf")
    site.inside("host-01", "apt-get -qq update && apt-get -qq -y install rsyslog >/dev/null 2>&1")
    refused = site.run("provision", "apply", plan, "--yes", code=3).stderr
    assert "ange.host-01 has moved: what would change is another in" in refused
    assert "host-02" not in refused
    assert "make a new plan: opsctl provision plan" in refused
    assert site.answer("provision", "status", plan)["rollout"]["status"] == "planned"
    plan = site.answer("provision", "plan")["plan"]["id"]
    dry = site.answer("provision", "apply", plan, "--dry-run")
    assert planned(dry).keys() == hosts.keys()

    _kill_while_it_installs(site, plan)
    told = site.answer("provision", "status", plan)
    assert told["rollout"]["stalled"]
    held = site.run("provision", "--yes", code=4).stderr
    assert f"opsctl provision resume {plan}, or end it for good: opsctl provision abort {plan}" in held
    ended = site.answer("provision", "resume", plan, "--yes")
    assert {one["host"]: one["stage"] for one in ended["hosts"]} == dict.fromkeys(hosts, "done")
    for host in ("host-01", "host-02"):
        guard = "python3 -I /var/lib/opsctl/guard/guard.py status"
        assert json.loads(site.inside(host, guard))["state"] == "idle"
    with Store.open(config.load(site.workspace, {}).state) as store:
        assert Leases(store).held() == ()

    empty = site.answer("provision", "plan")
    assert empty["empty_because"] == "nothing would change (2)"
    assert site.run("provision", "apply", empty["plan"]["id"], "--yes").stderr.count("the plan is empty") == 1


def _kill_while_it_installs(site: ProvisionSite, plan: str) -> None:
    """Begin the plan, and kill the process as soon as the store says that the first host installs."""
    process = subprocess.Popen(
        site.command("provision", "apply", plan, "--yes"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 240
    try:
        while "installing" not in site.answer("provision", "status", plan)["rollout"]["stages"]:
            assert time.monotonic() < deadline, "it never installed"
            assert process.poll() is None, "it ended before it installed"
            time.sleep(0.2)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("whole", [False, True])
def test_a_saved_plan_holds_no_secret(site: ProvisionSite, tmp_path: Path, whole: bool) -> None:
    """A vaulted value that a task writes into a file, without hiding it, stands in that task's difference."""
    (tmp_path / "password").write_text(PASSWORD)
    with (site.workspace / config.FILE).open("a", encoding="utf-8") as settings:
        settings.write("" if whole else f"\nvault:\n  password_command: [cat, {tmp_path / 'password'}]\n")
    vault = VaultLib([("default", VaultSecret(PASSWORD.encode()))])
    use = 'ssh_other_lines: ["# {{ app_secret }}", "# {{ app_secret | b64encode }}"]\n'
    if whole:
        site.variables(vault.encrypt(f"app_secret: {VAULTED}\n{use}").decode())
    else:
        sealed = vault.encrypt(VAULTED).decode()
        site.variables("app_secret: !vault |\n" + "".join(f"  {line}\n" for line in sealed.splitlines()) + use)
    plan = site.answer("provision", "plan", "--limit", "host-01")
    assert planned(plan), plan
    shown = site.run("provision", "diff", plan["plan"]["id"]).stdout
    assert "+# [redacted]" in shown
    encoded = base64.b64encode(VAULTED.encode()).decode().rstrip("=")
    state = config.load(site.workspace, {}).state
    for secret in (VAULTED, encoded):
        assert secret not in shown
        assert [file for file in state.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()] == []
