"""A person pauses, and then aborts, a rollout that is at work, in each stage of a host."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from opsctl import lab
from tests.integration.rollouts import FIXED, PatchSite, prepared, wait_for
from tests.integration.watcher import PACKAGE, hold, newer, one_ring, server

pytestmark = pytest.mark.lab

BALANCER = "ange-lb1"
FIRST, SECOND, LAST = HOSTS = ("ange-web1", "ange-web2", "sundsvall-app1")
STAGES = (
    "leased", "silenced", "prechecked", "drained", "installing", "installed", "rebooting", "back", "verified",
    "undrained", "done",
)  # fmt: skip
UNTOUCHED = ("leased", "silenced", "prechecked")
RESTARTS = ("rebooting", "back")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PatchSite]:
    with prepared(tmp_path_factory.mktemp("stops"), lab.only(lab.demo(), (*HOSTS, BALANCER))) as made:
        one_ring(made)
        yield made


def test_a_window_that_closes_in_the_middle_lets_what_began_finish_and_nothing_else_begin(site: PatchSite) -> None:
    """Open around the clock at first; while the first host is under way it is one that opens only in some hours."""
    lab.publish(site.fleet.name, PACKAGE, f"{FIXED}.0", post_install="touch /run/waits; n=0; " + UNTIL_LET_ON)
    calendar = windows(site)
    calendar.write_text("version: 1\nwindows: {tenant: [nu]}\n")
    try:
        rollout = site.plan("--limit", f"{FIRST},{SECOND}", "--package", PACKAGE, "--refresh", "--reboot", "never")
        running = site.begin("patch", "start", rollout, "--yes")
        wait_for(lambda: "waits" in site.inside(FIRST, "ls /run"), "the first one is in the middle")
        calendar.write_text("version: 1\nwindows: {tenant: [sedan]}\n")
        site.inside(FIRST, "touch /run/go")
        assert running.wait(timeout=120) == 5, site.said
        assert site.stages(rollout) == {FIRST: "done", SECOND: "planned"}
        assert (server(site, BALANCER, FIRST), site.installs(SECOND, rollout)) == ("UP", 0)
        assert f"ange.{SECOND} waits: " in site.said
    finally:
        calendar.unlink()
    site.inside(SECOND, "touch /run/go")
    site.opsctl("patch", "resume", rollout, "--yes")
    assert site.stages(rollout) == {FIRST: "done", SECOND: "done"}
    assert site.leases() == ""


UNTIL_LET_ON = "while [ ! -e /run/go ] && [ $n -lt 1800 ]; do n=$((n+1)); sleep 0.1; done"
DAYS = "mon, tue, wed, thu, fri, sat, sun"


def windows(site: PatchSite) -> Path:
    """Two more windows of the tenant, `nu` and `sedan`; the calendar that says which one holds is yet to be written."""
    here = datetime.now(ZoneInfo("Europe/Stockholm"))
    begin, last = (f"{here + timedelta(hours=hours):%H:%M}" for hours in (4, 8))
    tenant = site.workspace / "inventories/ange/tenant.yml"
    lines = tenant.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("windows:")) + 1
    spans = {"nu": ("00:00", "24:00"), "sedan": (begin, last)}
    lines[at:at] = [f'  - {{name: {n}, days: [{DAYS}], start: "{a}", end: "{b}"}}' for n, (a, b) in spans.items()]
    tenant.write_text("\n".join(lines) + "\n")
    return site.workspace / "inventories/ange/calendar.yml"


@pytest.mark.parametrize("stage", STAGES)
def test_paused_and_then_aborted_in_a_stage_what_began_is_finished_and_nothing_else_begins(
    site: PatchSite, stage: str
) -> None:
    """Three hosts, one after another: paused at the first, aborted at the second; the last one is never touched."""
    old, version = site.version(LAST, PACKAGE), newer(site, STAGES.index(stage) + 1)
    words = ("--reboot", "always" if stage in RESTARTS else "never", "--max-parallel", "1")
    rollout = site.plan("--limit", ",".join(HOSTS), "--package", PACKAGE, "--refresh", *words)
    was = asked(site, rollout, "start", stage, FIRST, "pause")
    status, hosts = told(site, rollout)
    ended_well(site, hosts[FIRST], was, FIRST, version)
    assert (status, hosts[SECOND]["stage"], hosts[LAST]["stage"]) == ("paused", "planned", "planned")
    assert f"ange.{SECOND}" in site.leases(), "a paused rollout keeps its hosts"
    was = asked(site, rollout, "resume", stage, SECOND, "abort")
    status, hosts = told(site, rollout)
    ended_well(site, hosts[SECOND], was, SECOND, version)
    assert (status, hosts[FIRST]["stage"], hosts[LAST]["stage"]) == ("aborted", "done", "planned")
    assert (site.version(LAST, PACKAGE), site.leases()) == (old, "")
    assert {host: site.installs(host, rollout) for host in HOSTS} == {
        FIRST: 1, SECOND: int(hosts[SECOND]["stage"] == "done"), LAST: 0,
    }  # fmt: skip
    assert "nothing is left to do" in site.opsctl("patch", "resume", rollout, "--yes", code=3)


def asked(site: PatchSite, rollout: str, verb: str, stage: str, host: str, wish: str) -> str:
    """Begin or go on, and file a wish while the driver stands still in this stage of this host; the stage it was in."""
    running = site.begin("patch", verb, rollout, "--yes")
    held = hold(site, rollout, (stage,), host=host)
    running.send_signal(signal.SIGSTOP)
    held.let_go()
    words = site.command("patch", wish, rollout, "--reason", "the phones are down", "--yes")
    asking = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: wish in wishes(site, rollout), f"{wish} is asked")
    finally:
        running.send_signal(signal.SIGCONT)
    assert asking.wait(timeout=120) == 0
    assert running.wait(timeout=200) == 5, site.said
    return held.stage


def wishes(site: PatchSite, rollout: str) -> list[str]:
    with closing(sqlite3.connect(site.workspace / ".state" / "store.db")) as store:
        return [row[0] for row in store.execute("SELECT kind FROM wishes WHERE rollout = ?", (rollout,))]


def ended_well(site: PatchSite, state: dict[str, object], was: str, host: str, version: str) -> None:
    """What had begun is finished and in service again; a host that was not touched yet stays as it was.

    A driver that stood still in the very moment in which it began the next step takes that step, and so all of them.
    """
    assert state["drained"] is False
    assert server(site, BALANCER, host) == "UP"
    if state["stage"] in UNTOUCHED:
        assert was in UNTOUCHED
        assert site.version(host, PACKAGE) != version
    else:
        assert (state["stage"], site.version(host, PACKAGE)) == ("done", version)


def told(site: PatchSite, rollout: str) -> tuple[object, dict[str, dict[str, object]]]:
    """How the rollout stands, and its hosts by name: one question, for each costs a process."""
    answer = site.answer("patch", "status", rollout)
    whole, hosts = answer["rollout"], answer["hosts"]
    assert isinstance(whole, dict)
    assert isinstance(hosts, list)
    return whole["status"], {one["host"].partition(".")[2]: one for one in hosts}
