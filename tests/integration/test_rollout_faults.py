"""What can go wrong on a host in the middle of a rollout, each on real hosts: what becomes of every host, and after."""

from __future__ import annotations

import base64
import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsctl import lab
from tests.integration.rollouts import FIXED, PatchSite, prepared, reached, wait_for

pytestmark = pytest.mark.lab

HOSTS = ("ange-file1", "ange-lb1", "ange-web1", "ange-web2", "sundsvall-app1")
FILE, WEB1, WEB2, APP = "ange-file1", "ange-web1", "ange-web2", "sundsvall-app1"
OLD = "1.0-1"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PatchSite]:
    with prepared(tmp_path_factory.mktemp("faults"), lab.only(lab.demo(), HOSTS)) as made:
        yield made


@pytest.fixture
def site(whole: PatchSite, monkeypatch: pytest.MonkeyPatch) -> PatchSite:
    """Every host as it was prepared; waits are short, for the faults last as long as they are wanted."""
    monkeypatch.setenv("OPSCTL_SSH_CONNECT_TIMEOUT", "1")
    monkeypatch.setenv("OPSCTL_PATCH_SETTLE_SECONDS", "5")
    monkeypatch.setenv("OPSCTL_PATCH_RETURN_SECONDS", "60")
    whole.fresh()
    return whole


_NUMBERS = itertools.count(1)


def newer() -> str:
    """A version of an own package that is newer than all before."""
    return f"{FIXED}.{next(_NUMBERS)}"


def how(site: PatchSite, rollout: str, host: str) -> tuple[object, object, object]:
    """Stage, the stage it failed or was lost at, and whether it is drained."""
    state = site.states(rollout)[host]
    return state["stage"], state["last"], state["drained"]


def reason(site: PatchSite, rollout: str, host: str) -> str:
    return str(site.states(rollout)[host]["reason"])


def finished(site: PatchSite, rollout: str, *hosts: str) -> None:
    """Every host is done, installed as often as it should, drained nowhere; nobody holds anything."""
    assert site.stages(rollout) == dict.fromkeys(hosts, "done")
    assert all(state["drained"] is False for state in site.states(rollout).values())
    assert all(site.inside(host, "dpkg --audit") == "" for host in hosts)
    assert site.leases() == ""


def test_a_package_that_fails_on_a_later_host_halts_there_and_the_host_is_undrained(site: PatchSite) -> None:
    site.inside(WEB1, "touch /etc/opslab-fragile.fail")
    rollout = site.plan("--limit", f"{APP},{WEB1},{WEB2}")
    site.opsctl("patch", "start", rollout, "--yes", code=5)
    assert site.stages(rollout) == {APP: "done", WEB1: "failed", WEB2: "planned"}
    assert how(site, rollout, WEB1) == ("failed", "installing", False)
    assert site.version(WEB2, "opslab-library") == OLD
    site.inside(WEB1, "rm /etc/opslab-fragile.fail")
    site.opsctl("patch", "resume", rollout, "--retry", "--yes")
    finished(site, rollout, APP, WEB1, WEB2)


def test_a_disk_that_is_full_in_the_download_and_one_in_the_unpacking(site: PatchSite) -> None:
    version, payload = newer(), base64.b64encode(os.urandom(24 << 20)).decode()
    lab.publish(site.fleet.name, "opslab-library", version, files=[("usr/share/opslab-library/payload", payload)])
    site.inside(APP, """echo 'Acquire::http::Dl-Limit "1500";' >/etc/apt/apt.conf.d/90slow""")
    # Room for the package, and not for what is in it.
    site.inside(FILE, "fallocate -l $(($(df --output=avail -B1 / | tail -1) - (44 << 20))) /var/tmp/filler")
    rollout = site.plan("--limit", f"{APP},{FILE}", "--package", "opslab-library", "--refresh", "--budget", "9")
    running = site.begin("patch", "start", rollout, "--yes")
    partial = "find /var/cache/apt/archives/partial -name 'opslab-library*' -size +64k | grep -c . || true"
    wait_for(lambda: site.inside(APP, partial) == "1", "the download is under way")
    lab.break_(site.fleet.name, APP, "disk")
    running.wait(timeout=200)
    assert running.returncode == 1, site.said
    for host in (APP, FILE):
        assert how(site, rollout, host) == ("failed", "installing", False)
        assert "No space left on device" in reason(site, rollout, host)
    lab.mend(site.fleet.name, APP)
    site.inside(APP, "rm /etc/apt/apt.conf.d/90slow")
    site.inside(FILE, "rm /var/tmp/filler")
    assert site.version(APP, "opslab-library") == OLD
    site.opsctl("patch", "resume", rollout, "--retry", "--yes")
    finished(site, rollout, APP, FILE)
    assert [site.version(host, "opslab-library") for host in (APP, FILE)] == [version, version]


def test_a_lock_of_dpkg_that_is_held_for_ever_fails_the_host_and_nobody_is_killed(
    site: PatchSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSCTL_PATCH_LOCK_SECONDS", "3")
    rollout = site.plan("--limit", APP, "--reboot", "never")
    lab.break_(site.fleet.name, APP, "dpkg-lock")
    site.opsctl("patch", "start", rollout, "--yes", code=5)
    assert how(site, rollout, APP) == ("failed", "installing", False)
    assert "lock" in reason(site, rollout, APP)
    assert site.inside(APP, "systemctl is-active opsctl-lab-dpkg-lock.service") == "active"
    assert site.version(APP, "opslab-library") == OLD
    lab.mend(site.fleet.name, APP)
    site.opsctl("patch", "resume", rollout, "--retry", "--yes")
    finished(site, rollout, APP)


def test_a_lock_of_dpkg_that_is_let_go_in_time_is_waited_for(site: PatchSite) -> None:
    rollout = site.plan("--limit", APP, "--reboot", "never")
    lab.break_(site.fleet.name, APP, "dpkg-lock")
    running = site.begin("patch", "start", rollout, "--yes")
    waits = "grep -sc 'Waiting for cache lock' /var/lib/opsctl/install/*/log || true"
    wait_for(lambda: site.inside(APP, waits) not in ("", "0"), "apt waits for the lock")
    site.inside(APP, "sleep 20")
    lab.mend(site.fleet.name, APP)
    running.wait(timeout=120)
    assert running.returncode == 0, site.said
    finished(site, rollout, APP)
    assert site.installs(APP) == 1


def test_a_link_that_is_cut_before_anything_began_leaves_the_host_untouched(site: PatchSite) -> None:
    rollout = site.plan("--limit", f"{APP},{FILE}", "--reboot", "never")
    lab.break_(site.fleet.name, APP, "link")
    try:
        site.opsctl("patch", "start", rollout, "--yes", code=5)
    finally:
        lab.mend(site.fleet.name, APP)
    assert how(site, rollout, APP)[:2] == ("unknown", "silenced")
    assert site.stages(rollout)[FILE] == "done"
    assert site.version(APP, "opslab-library") == OLD
    site.opsctl("patch", "resume", rollout, "--yes")
    finished(site, rollout, APP, FILE)
    assert [site.installs(host) for host in (APP, FILE)] == [1, 1]


def test_a_link_that_is_cut_during_the_installation_and_healed_in_time_needs_no_resume(
    site: PatchSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSCTL_SSH_CONNECT_TIMEOUT", "10")  # contact is sought again for six times as long
    version = newer()
    goes_on = "touch /run/slow; while [ -e /run/slow ]; do sleep 0.1; done"
    lab.publish(site.fleet.name, "opslab-library", version, post_install=goes_on)
    rollout = site.plan("--limit", APP, "--package", "opslab-library", "--reboot", "never", "--refresh")
    running = site.begin("patch", "start", rollout, "--yes")
    wait_for(lambda: site.inside(APP, "ls /run").split().count("slow") == 1, "apt is in the middle")
    lab.break_(site.fleet.name, APP, "link")
    try:
        site.inside(APP, "rm /run/slow")
        ended = "systemctl list-units --state=active,activating --plain --no-legend 'opsctl-install-*'"
        wait_for(lambda: site.inside(APP, ended) == "", "the unit comes to its end with nobody there")
        assert site.version(APP, "opslab-library") == version
        assert how(site, rollout, APP)[0] == "installing"
        assert running.poll() is None, site.said
    finally:
        lab.mend(site.fleet.name, APP)
    running.wait(timeout=120)
    assert running.returncode == 0, site.said
    finished(site, rollout, APP)
    assert site.installs(APP) == 1


def test_a_link_that_is_cut_after_the_installation_makes_the_host_unknown_and_it_is_not_installed_again(
    site: PatchSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that is not back yet keeps the host from being verified until the link is cut."""
    monkeypatch.setenv("OPSCTL_PATCH_SETTLE_SECONDS", "120")
    lab.publish(site.fleet.name, "opslab-library", version := newer(), post_install="systemctl stop opslab-service")
    rollout = site.plan("--limit", WEB1, "--package", "opslab-library", "--refresh", "--reboot", "never")
    running = site.begin("patch", "start", rollout, "--yes")
    wait_for(lambda: reached(site, rollout, WEB1, "installed"), "the installation has ended")
    lab.break_(site.fleet.name, WEB1, "link")
    try:
        running.wait(timeout=300)
    finally:
        site.inside(WEB1, "systemctl start opslab-service")
        lab.mend(site.fleet.name, WEB1)
    assert running.returncode == 5, site.said
    assert how(site, rollout, WEB1) == ("unknown", "installed", True)
    site.opsctl("patch", "resume", rollout, "--yes")
    finished(site, rollout, WEB1)
    assert (site.version(WEB1, "opslab-library"), site.installs(WEB1)) == (version, 1)


def test_a_host_that_does_not_come_back_from_its_restart_is_unknown_and_stays_drained_until_it_does(
    site: PatchSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSCTL_PATCH_RETURN_SECONDS", "10")
    rollout = site.plan("--limit", f"{WEB1},{WEB2}")
    boot = site.boot(WEB1)
    running = site.begin("patch", "start", rollout, "--yes")
    wait_for(lambda: reached(site, rollout, WEB1, "rebooting"), "it restarts")
    lab.crash(site.fleet.name, WEB1)
    try:
        running.wait(timeout=200)
    finally:
        lab.mend(site.fleet.name, WEB1)
    assert running.returncode == 5, site.said
    assert how(site, rollout, WEB1) == ("unknown", "rebooting", True)
    assert "not back 10 s after its restart" in reason(site, rollout, WEB1)
    assert how(site, rollout, WEB2) == ("planned", None, False)
    monkeypatch.setenv("OPSCTL_PATCH_RETURN_SECONDS", "60")
    site.opsctl("patch", "resume", rollout, "--yes")
    finished(site, rollout, WEB1, WEB2)
    assert site.boot(WEB1) != boot
    assert site.installs(WEB1) == 1


BAD_UNIT = """[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n"""


def test_a_host_that_comes_back_with_a_failed_unit_fails_and_one_that_is_only_slow_does_not(site: PatchSite) -> None:
    site.inside(APP, f"printf '{BAD_UNIT}' >/etc/systemd/system/opslab-bad.service; systemctl -q enable opslab-bad")
    late = "mkdir -p /etc/systemd/system/ssh.service.d; printf '[Service]\\nExecStartPre=/bin/sleep 15\\n' "
    site.inside(FILE, late + ">/etc/systemd/system/ssh.service.d/late.conf; systemctl daemon-reload")
    rollout = site.plan("--limit", f"{APP},{FILE}", "--budget", "9")
    site.opsctl("patch", "start", rollout, "--yes", code=1)
    assert how(site, rollout, APP) == ("failed", "back", False)
    assert "unit opslab-bad.service has failed" in reason(site, rollout, APP)
    assert site.stages(rollout)[FILE] == "done"
    assert [site.version(host, "opslab-kernel") for host in (APP, FILE)] == [FIXED, FIXED]
    assert site.leases() == ""


def test_sshd_that_restarts_in_the_middle_costs_nothing(site: PatchSite) -> None:
    version = newer()
    lab.publish(site.fleet.name, "opslab-library", version, post_install="systemctl restart ssh.service; sleep 2")
    rollout = site.plan("--limit", APP, "--package", "opslab-library", "--refresh", "--reboot", "never")
    site.opsctl("patch", "start", rollout, "--yes")
    finished(site, rollout, APP)
    assert (site.version(APP, "opslab-library"), site.installs(APP)) == (version, 1)


def test_python_is_replaced_under_our_feet(site: PatchSite) -> None:
    """A real security update of Debian's: of its version only that it is another one."""
    before = site.version(FILE, "python3.11-minimal")
    site.inside(FILE, "apt-mark unhold $(apt-mark showhold | grep python3.11)")
    rollout = site.plan("--limit", FILE, "--package", "python3.11,python3.11-minimal", "--reboot", "never")
    site.opsctl("patch", "start", rollout, "--yes")
    finished(site, rollout, FILE)
    assert site.version(FILE, "python3.11-minimal") != before
    assert site.version(FILE, "opslab-library") == OLD


def test_a_mirror_that_is_down_fails_the_host_and_changes_nothing(site: PatchSite) -> None:
    rollout = site.plan("--limit", f"{APP},{WEB1}", "--reboot", "never")
    site.inside(APP, """echo 'Acquire::http::Proxy "http://127.0.0.1:9";' >/etc/apt/apt.conf.d/90down""")
    site.opsctl("patch", "start", rollout, "--yes", code=5)
    assert how(site, rollout, APP) == ("failed", "installing", False)
    assert "E: Failed to fetch" in reason(site, rollout, APP)
    assert site.stages(rollout)[WEB1] == "planned"
    assert [site.version(host, "opslab-library") for host in (APP, WEB1)] == [OLD, OLD]
    site.inside(APP, "rm /etc/apt/apt.conf.d/90down")
    site.opsctl("patch", "resume", rollout, "--retry", "--yes")
    finished(site, rollout, APP, WEB1)


def test_a_version_that_is_gone_from_the_mirror_fails_the_first_host_and_no_other_is_installed(site: PatchSite) -> None:
    lab.publish(site.fleet.name, "opslab-library", gone := newer())
    rollout = site.plan("--limit", f"{APP},{WEB1}", "--package", "opslab-library", "--refresh", "--reboot", "never")
    lab.publish(site.fleet.name, "opslab-library", newer())
    lab.withdraw(site.fleet.name, "opslab-library", gone)
    site.opsctl("patch", "start", rollout, "--yes", code=5)
    assert how(site, rollout, APP) == ("failed", "installing", False)
    assert "404" in reason(site, rollout, APP)
    assert site.stages(rollout)[WEB1] == "planned"
    assert [site.version(host, "opslab-library") for host in (APP, WEB1)] == [OLD, OLD]


def test_a_rollout_of_other_hosts_runs_beside_the_first(site: PatchSite) -> None:
    lab.publish(site.fleet.name, "opslab-library", newer(), post_install="touch /run/slow; sleep 10")
    narrow = ("--package", "opslab-library", "--refresh", "--reboot", "never")
    first, second = site.plan("--limit", APP, *narrow), site.plan("--limit", FILE, *narrow)
    running = site.begin("patch", "start", first, "--yes")
    wait_for(lambda: site.inside(APP, "ls /run").count("slow") == 1, "the first one is in the middle")
    site.opsctl("patch", "start", second, "--yes")
    running.wait(timeout=120)
    assert running.returncode == 0, site.said
    finished(site, first, APP)
    finished(site, second, FILE)


def test_a_driver_that_was_frozen_while_another_control_node_took_over_changes_nothing_any_more(
    site: PatchSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rollout = site.plan("--limit", WEB1)
    running = site.begin("patch", "start", rollout, "--yes")
    wait_for(lambda: reached(site, rollout, WEB1, "drained"), "it is drained")
    running.send_signal(signal.SIGSTOP)
    saved = tmp_path / "backup"
    try:
        site.opsctl("state", "backup", str(saved))
        # Long after: its claims on the hosts are old, and so are its leases.
        for host in (WEB1, "ange-lb1"):
            site.inside(host, 'sed -i \'s/"seconds": [0-9.]*/"seconds": 0/\' /var/lib/opsctl/fence.json')
        monkeypatch.setenv("OPSCTL_STATE_PATH", str(tmp_path / "other"))
        site.opsctl("state", "restore", str(saved), "--yes")
        site.opsctl("patch", "resume", rollout, "--yes")
        assert how(site, rollout, WEB1) == ("done", None, False)
    finally:
        running.send_signal(signal.SIGCONT)
    running.wait(timeout=300)
    assert running.returncode == 5, site.said
    assert "newer claim" in site.said
    assert how(site, rollout, WEB1) == ("done", None, False)
    assert site.installs(WEB1) == 1
    assert site.inside(WEB1, "systemctl is-active nginx.service; dpkg --audit") == "active"
