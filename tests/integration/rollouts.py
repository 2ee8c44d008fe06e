"""A small fleet with updates pending, patched by the command line alone: what tests of rollouts share."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opsctl import lab
from opsctl.errors import LabError
from opsctl.lab import Fleet
from tests.integration.site import Site, handed_over

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
class PatchSite(Site):
    """A site whose hosts are changed, and brought back to what they were."""

    touched: set[str] = field(default_factory=set)
    begun: list[subprocess.Popen[bytes]] = field(default_factory=list)

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
        for one in self.answer("patch", "status")["rollouts"]:
            if one["status"] not in ("planned", "done", "aborted"):
                subprocess.run(self.command("patch", "abort", one["id"], "--yes"), check=False, capture_output=True)

    @property
    def said(self) -> str:
        return (self.workspace / "said").read_text()

    def plan(self, *words: str) -> str:
        return str(self.answer("patch", "plan", *words)["plan"]["id"])

    def states(self, rollout: str) -> dict[str, dict[str, object]]:
        hosts = self.answer("patch", "status", rollout)["hosts"]
        return {one["host"].partition(".")[2]: one for one in hosts}

    def stages(self, rollout: str) -> dict[str, object]:
        return {name: state["stage"] for name, state in self.states(rollout).items()}

    def version(self, host: str, package: str) -> str:
        return self.inside(host, f"dpkg-query -W -f '${{Version}}' {package}")

    def installs(self, host: str, rollout: str = "") -> int:
        """How often apt ran on this host, for opsctl or for this rollout: its unit's journal shows it."""
        said = f"journalctl --sync; journalctl --quiet -u 'opsctl-install-{rollout}*' -o cat"
        return int(self.inside(host, f"{said} | grep -c '^Started opsctl-install-' || true"))

    def boot(self, host: str) -> str:
        return self.inside(host, "cat /proc/sys/kernel/random/boot_id")

    def up_again(self, host: str, before: str) -> bool:
        """Whether it runs another boot than the one before."""
        with suppress(LabError):  # it is off, or has just begun to start
            return lab.boot_id(self.fleet.name, host) not in ("", before)
        return False

    def leases(self) -> str:
        with closing(sqlite3.connect(self.workspace / ".state" / "store.db")) as store:
            return "; ".join(row[0] for row in store.execute("SELECT name FROM leases"))


@contextmanager
def prepared(folder: Path, plan: Fleet) -> Iterator[PatchSite]:
    """A lab of this fleet with a workspace, every host trusted and prepared, each with a snapshot of that."""
    with handed_over(folder, plan, PatchSite) as site:
        for host in site.fleet.hosts:
            site.inside(host.name, PREPARE)
            lab.snapshot(site.fleet.name, host.name, "prepared")
        try:
            yield site
        finally:
            site.kill_what_runs()


def packages(plan: dict[str, Any], host: str) -> dict[str, dict[str, object]]:
    """The packages of a host in a plan, by name."""
    items = [i for w in plan["waves"] for b in w["batches"] for i in b["hosts"]]
    found = next(i["packages"] for i in items if i["host"] == host)
    return {one["name"]: one for one in found}


def wait_for(true: Callable[[], bool], what: str, seconds: float = 120) -> None:
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
