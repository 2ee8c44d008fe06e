"""NetBox goes away, and the copy grows old, while real hosts are patched: what was begun can be ended all the same."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from opsctl import config, lab
from opsctl.inventory import freshness
from opsctl.model.rollout import Plan
from opsctl.rollout.journal import Journal
from opsctl.state.store import Store
from tests.integration.netbox.test_changes import VMS, Api
from tests.integration.owned import lab_name
from tests.integration.rollouts import FIXED, PREPARE, PatchSite, reached, wait_for
from tests.netbox.real import TOKEN, Real

pytestmark = [pytest.mark.netbox, pytest.mark.lab]
# Two seeded records that take the names and addresses of the lab's hosts; neither belongs to a cluster.
RECORDS = {"sundsvall-app1": "sundsvall-application19", "ange-web1": "ange-application03"}
WISH = ("--limit", ",".join(RECORDS), "--reboot", "never")


class Gone(PatchSite):
    """A lab whose inventory comes from NetBox; `unplug` switches NetBox off for good, and lets the copy grow old."""

    def unplug(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPSCTL_NETBOX_URL", "http://127.0.0.1:9")
        with Store.open(config.load(self.workspace, {}).state) as store:
            freshness.remember(store, ["ange", "sundsvall"], "x", datetime.now(UTC) - timedelta(days=3))
        assert "connection refused" in self.opsctl("inventory", "sync", "--yes", code=3)


@pytest.fixture(scope="module", name="whole")
def _whole(real: Real, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gone]:
    name = lab_name()
    try:
        fleet = lab.up(name, lab.only(lab.demo(), list(RECORDS)))
        site = Gone(fleet=fleet, workspace=tmp_path_factory.mktemp("gone") / "workspace")
        subprocess.run([sys.executable, "-m", "opsctl", "init", str(site.workspace), "--lab", name], check=True)
        for host in RECORDS:
            site.inside(host, PREPARE)
            lab.snapshot(name, host, "prepared")
        _enter(Api(real.address), site)
        yield site
    finally:
        lab.down(name)


def _enter(api: Api, site: PatchSite) -> None:
    """The lab's hosts become NetBox's records."""
    for host, record in RECORDS.items():
        vm = api.vm(record)
        api.patch(VMS, vm["id"], name=host)
        api.patch("ipam/ip-addresses", vm["primary_ip4"]["id"], address=f"{site.fleet.host(host).address}/24")


@pytest.fixture(name="site")
def _site(whole: Gone, real: Real, monkeypatch: pytest.MonkeyPatch) -> Gone:
    """Old versions on every host, and a copy of NetBox that is fresh."""
    for host in RECORDS:
        if host in whole.touched:
            lab.restore(whole.fleet.name, host, "prepared")
    whole.touched = set(RECORDS)
    for option, value in {"INVENTORY_SOURCE": "netbox", "NETBOX_URL": real.address, "NETBOX_TOKEN": TOKEN}.items():
        monkeypatch.setenv(f"OPSCTL_{option}", value)
    for tenant in ("ange", "sundsvall"):
        (whole.workspace / f"inventories/{tenant}/hosts.yml").unlink(missing_ok=True)
    whole.opsctl("inventory", "sync", "--yes")
    whole.approve()
    return whole


def kill_in_the_middle(site: PatchSite, *words: str) -> str:
    """A rollout whose driver dies while the first host installs."""
    rollout = site.plan(*WISH)
    running = site.begin("patch", "start", rollout, "--yes", *words)
    wait_for(lambda: reached(site, rollout, "sundsvall-app1", "installing"), "the installation begins")
    running.send_signal(signal.SIGKILL)
    running.wait()
    return rollout


def test_a_killed_rollout_is_ended_without_netbox_from_the_copy_of_its_beginning(
    site: Gone, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = kill_in_the_middle(site)
    site.unplug(monkeypatch)
    # Whatever has become of the copy since: here nothing of it can be read any more.
    for tenant in ("ange", "sundsvall"):
        (site.workspace / f"inventories/{tenant}/hosts.yml").write_text("lost")
    told = site.answer("patch", "status", rollout)
    assert told["inventory_moved"] is True
    assert site.answer("patch", "resume", rollout, "--yes")["outcome"] == "ok"
    assert site.stages(rollout) == {"sundsvall-app1": "done", "ange-web1": "done"}
    for host in RECORDS:
        assert site.version(host, "opslab-library") == FIXED
        assert site.installs(host) == 1
    assert site.leases() == ""


def test_an_old_copy_starts_nothing_unless_told_and_ends_everything(
    site: Gone, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = site.plan(*WISH)
    site.unplug(monkeypatch)
    for verb in (("patch", "start", rollout), ("provision", "--limit", "sundsvall-app1")):
        told = site.opsctl(*verb, "--yes", code=3)
        assert "the copy of NetBox is too old to start a change from" in told
        assert "--old-inventory" in told
    assert site.installs("sundsvall-app1") == 0
    rollout = kill_in_the_middle(site, "--old-inventory")
    assert "sundsvall-app1" in site.opsctl("patch", "abort", rollout, "--yes", code=1)
    assert site.leases() == ""


def test_a_sync_under_a_running_rollout_leaves_its_plan_alone_and_the_rollout_says_so(site: Gone, real: Real) -> None:
    until_told = "for _ in $(seq 600); do test -e /run/go-on && break; sleep 0.1; done"
    lab.publish(site.fleet.name, "opslab-library", f"{FIXED}.1", post_install=f"touch /run/slow; {until_told}")
    rollout = site.plan(*WISH, "--refresh")
    frozen = plan_of(site, rollout)
    running = site.begin("patch", "start", rollout, "--yes")
    wait_for(lambda: site.inside("sundsvall-app1", "ls /run").count("slow") == 1, "the rollout is at work")
    api = Api(real.address)
    address = api.vm("ange-web1")["primary_ip4"]["id"]
    api.patch("ipam/ip-addresses", address, address="192.0.2.77/24")
    try:
        site.opsctl("inventory", "sync", "--yes")
        for host in RECORDS:
            site.inside(host, "touch /run/go-on")
        running.wait(timeout=120)
    finally:
        api.patch("ipam/ip-addresses", address, address=f"{site.fleet.host('ange-web1').address}/24")
    assert running.returncode == 0, site.said
    assert "the inventory has changed since this was planned; this rollout goes on as it was planned" in site.said
    assert site.stages(rollout) == {"sundsvall-app1": "done", "ange-web1": "done"}
    assert plan_of(site, rollout) == frozen


def plan_of(site: PatchSite, rollout: str) -> Plan:
    with Store.open(config.load(site.workspace, {}).state) as store:
        return Journal(store).load(rollout).plan
