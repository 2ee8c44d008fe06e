"""A small fleet with updates pending, patched by the command line alone: what tests of rollouts share."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from opsctl import lab
from opsctl.lab import Fleet
from tests.integration.owned import lab_name

FIXED = "1.0-1+deb12u1"
# Hosts of two tenants, one behind a load balancer with its twin.
FOUR = ("ange-lb1", "ange-web1", "ange-web2", "sundsvall-app1")
OWN = ("opslab-fragile", "opslab-kernel", "opslab-library", "opslab-newdep", "opslab-service")
# Everything but the lab's own packages is held: real updates take their time and are proved elsewhere.
PREPARE = """
set -e
apt-get -q update
apt-mark hold $(apt list --upgradable 2>/dev/null | sed -n 's,/.*,,p' | grep -v '^opslab-')
mkdir -p /var/log/journal
systemctl disable --now --quiet apt-daily.timer apt-daily-upgrade.timer
test "$(apt-get -s dist-upgrade | grep -c '^Inst ')" = "$(apt-get -s dist-upgrade | grep -c '^Inst opslab-')"
"""


@dataclass
class Site:
    """A lab with its workspace, driven through the command line alone."""

    fleet: Fleet
    workspace: Path
    touched: set[str] = field(default_factory=set)
    begun: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "opsctl", "-C", str(self.workspace), *words]

    def run(self, words: Sequence[str], code: int) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == code, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def opsctl(self, *words: str, code: int = 0) -> str:
        done = self.run(words, code)
        return done.stdout + done.stderr

    def answer(self, *words: str, code: int = 0) -> dict[str, object]:
        found = json.loads(self.run((*words, "--output", "json"), code).stdout)
        assert isinstance(found, dict)
        return found

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """A command that runs on its own, and ends with us at the latest; what it prints is in `said`."""
        line = ["setpriv", "--pdeathsig", "KILL", *self.command(*words)]
        with (self.workspace / "said").open("wb") as said:
            running = subprocess.Popen(line, stdout=said, stderr=subprocess.STDOUT)
        self.begun.append(running)
        return running

    def fresh(self) -> None:
        """Every host that was touched as it was prepared: old versions, updates pending; no rollout holds one."""
        self._end_what_is_left()
        for host in self.fleet.hosts:
            if host.name in self.touched:
                lab.restore(self.fleet.name, host.name, "prepared")
        self.touched = {host.name for host in self.fleet.hosts}

    def kill_what_runs(self) -> None:
        for left in self.begun:
            left.kill()
            left.wait()
        self.begun = []

    def _end_what_is_left(self) -> None:
        self.kill_what_runs()
        if not self.leases():
            return
        rollouts = self.answer("patch", "status")["rollouts"]
        assert isinstance(rollouts, list)
        for one in rollouts:
            if one["status"] not in ("planned", "done", "aborted"):
                subprocess.run(self.command("patch", "abort", one["id"], "--yes"), check=False, capture_output=True)

    @property
    def said(self) -> str:
        return (self.workspace / "said").read_text()

    def plan(self, *words: str) -> str:
        made = self.answer("patch", "plan", *words)["plan"]
        assert isinstance(made, dict)
        return str(made["id"])

    def states(self, rollout: str) -> dict[str, dict[str, object]]:
        hosts = self.answer("patch", "status", rollout)["hosts"]
        assert isinstance(hosts, list)
        return {one["host"].partition(".")[2]: one for one in hosts}

    def stages(self, rollout: str) -> dict[str, object]:
        return {name: state["stage"] for name, state in self.states(rollout).items()}

    def inside(self, host: str, command: str) -> str:
        done = lab.execute(self.fleet.name, host, ["sh", "-c", command])
        assert done.returncode == 0, f"{host}: {command}: {done.stderr}"
        return done.stdout.strip()

    def version(self, host: str, package: str) -> str:
        return self.inside(host, f"dpkg-query -W -f '${{Version}}' {package}")

    def installs(self, host: str) -> int:
        """How often apt ran for opsctl on this host: its unit's journal shows it."""
        count = "journalctl --quiet -u 'opsctl-install-*' -o cat | grep -c '^Started opsctl-install-' || true"
        return int(self.inside(host, count))

    def boot(self, host: str) -> str:
        return self.inside(host, "cat /proc/sys/kernel/random/boot_id")

    def leases(self) -> str:
        with closing(sqlite3.connect(self.workspace / ".state" / "store.db")) as store:
            return "; ".join(row[0] for row in store.execute("SELECT name FROM leases"))


@contextmanager
def prepared(folder: Path, plan: Fleet) -> Iterator[Site]:
    """A lab of this fleet with a workspace, every host trusted and prepared, each with a snapshot of that."""
    name = lab_name()
    fleet = lab.up(name, plan)
    try:
        site = Site(fleet=fleet, workspace=folder / "workspace")
        subprocess.run([sys.executable, "-m", "opsctl", "init", str(site.workspace), "--lab", name], check=True)
        site.opsctl("inventory", "sync", "--yes")
        site.opsctl("host", "approve", "--all", "--fingerprints", str(fleet.fingerprints_file), "--yes")
        for host in fleet.hosts:
            site.inside(host.name, PREPARE)
            lab.snapshot(name, host.name, "prepared")
        try:
            yield site
        finally:
            site.kill_what_runs()
    finally:
        lab.down(name)


def packages(plan: dict[str, object], host: str) -> dict[str, dict[str, object]]:
    """The packages of a host in a plan, by name."""
    waves = plan["waves"]
    assert isinstance(waves, list)
    items: Sequence[dict[str, object]] = [i for w in waves for b in w["batches"] for i in b["hosts"]]
    found = next(i["packages"] for i in items if i["host"] == host)
    assert isinstance(found, list)
    return {one["name"]: one for one in found}


def wait_for(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.1)


ORDER = "planned leased silenced prechecked drained installing installed rebooting back verified undrained done"


def reached(site: Site, rollout: str, host: str, stage: str) -> bool:
    """The store shows this stage, or a later one: some last only for a moment."""
    with closing(sqlite3.connect(site.workspace / ".state" / "store.db")) as store:
        rows = store.execute(
            "SELECT state FROM host_states WHERE rollout = ? AND host LIKE ?", (rollout, f"%.{host}")
        ).fetchall()
    order = ORDER.split()
    return bool(rows) and order.index(json.loads(rows[0][0])["stage"]) >= order.index(stage)
