"""Patching real hosts by the command line: plans, rollouts, failures, and a driver that is killed in the middle."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsctl import lab
from tests.integration.load import Load
from tests.integration.rollouts import FIXED, FOUR, OWN, PatchSite, packages, prepared, reached, wait_for
from tests.integration.watcher import server

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PatchSite]:
    with prepared(tmp_path_factory.mktemp("patch"), lab.only(lab.demo(), FOUR)) as made:
        yield made


@pytest.fixture
def site(whole: PatchSite) -> PatchSite:
    """Every host as it was prepared."""
    whole.fresh()
    return whole


def test_a_plan_names_every_package_with_its_versions_and_the_new_one(site: PatchSite) -> None:
    plan = site.answer("patch", "plan")["plan"]
    assert isinstance(plan, dict)
    found = packages(plan, "ange.ange-web1")
    assert set(found) == {*OWN, "opslab-extra"}
    assert found["opslab-library"] == {"name": "opslab-library", "before": "1.0-1", "after": FIXED, "security": True}
    assert found["opslab-extra"]["before"] == ""
    waves = plan["waves"]
    assert [(w["ring"], [[i["host"] for i in b["hosts"]] for b in w["batches"]]) for w in waves] == [
        ("canary", [["sundsvall.sundsvall-app1"]]),
        ("early", [["ange.ange-web1"]]),
        ("broad", [["ange.ange-lb1"], ["ange.ange-web2"]]),
    ]
    assert waves[1]["batches"][0]["hosts"][0]["drain_through"] == "ange.ange-lb1"
    assert site.version("ange-web1", "opslab-library") == "1.0-1"


def test_a_rollout_patches_restarts_and_loses_no_request(site: PatchSite) -> None:
    site.inside("ange-web1", "echo '# ours' >> /etc/opslab-library/opslab-library.conf")
    manual = site.inside("ange-web1", "apt-mark auto opslab-library >/dev/null; apt-mark showmanual")
    rollout = site.plan("--limit", "ange-web*")
    boots = {host: site.boot(host) for host in ("ange-web1", "ange-web2")}
    for host in boots:  # They were restored just now, and the balancer has to have seen it.
        wait_for(lambda host=host: server(site, "ange-lb1", host) == "UP", f"{host} is in service")  # type: ignore[misc]
    with Load(url=f"http://{site.fleet.host('ange-lb1').address}/", least=20_000) as load:
        told = site.answer("patch", "start", rollout, "--yes")
    assert told["outcome"] == "ok"
    assert load.lost == []
    assert load.answered >= 20_000
    probing = told["probing"]
    assert isinstance(probing, dict)
    assert probing["answered"] > 0
    addresses = [site.fleet.host(host).address for host in ("ange-web1", "ange-web2")]
    assert {one["target"] for one in probing["services"] if one["answered"] > 0} == {
        f"tcp {address}:{port}" for address in addresses for port in (80, 8099)
    }
    assert site.stages(rollout) == {"ange-web1": "done", "ange-web2": "done"}
    for host in ("ange-web1", "ange-web2"):
        assert [site.version(host, name) for name in OWN] == [FIXED] * len(OWN)
        assert site.boot(host) != boots[host]
        assert site.installs(host) == 1
        assert site.inside(host, "systemctl is-active opslab-service.service") == "active"
    assert site.inside("ange-web1", "apt-mark showmanual") == manual
    assert "# ours" in site.inside("ange-web1", "cat /etc/opslab-library/opslab-library.conf")
    notes = site.states(rollout)["ange-web1"]["notes"]
    assert notes == ["kept /etc/opslab-library/opslab-library.conf"]
    assert site.leases() == ""
    assert site.version("sundsvall-app1", "opslab-library") == "1.0-1"
    stat = "echo 'show stat' | python3 -c \"import socket,sys; s=socket.socket(socket.AF_UNIX);"
    stat += "s.connect('/run/haproxy/admin.sock'); s.sendall(sys.stdin.buffer.read()); print(s.makefile().read())\""
    assert "DRAIN" not in site.inside("ange-lb1", stat)


def test_what_auditors_get_of_a_rollout_is_what_happened_and_whoever_is_told_reads_of_its_own_hosts(
    site: PatchSite, tmp_path: Path
) -> None:
    import json

    from tests.unit.receivers import web_server

    site.inside("ange-web1", "echo '# ours' >> /etc/opslab-library/opslab-library.conf")
    settings = (site.workspace / "opsctl.yml").read_text()
    with web_server() as ange, web_server(answer=500) as broken:
        book = site.workspace / "targets.yml"
        book.write_text(f"ange: json://127.0.0.1:{ange.port}/\nbroken: json://127.0.0.1:{broken.port}/\n")
        book.chmod(0o600)
        notify = 'notify: {routes: ["tenant:ange = ange", "= broken"], targets_file: targets.yml}\n'
        (site.workspace / "opsctl.yml").write_text(settings + notify)
        try:
            rollout = site.plan("--limit", "ange-web1,sundsvall-app1")
            said = site.opsctl("patch", "start", rollout, "--yes")
        finally:
            (site.workspace / "opsctl.yml").write_text(settings)
    assert said.count("notification to broken: it answered 500; the rollout itself goes on") == 1
    assert [post["title"].removeprefix(f"opsctl: {rollout}").strip(" :") for post in ange.posts] == [
        "begins", "ring early passed its gates", "is done",
    ]  # fmt: skip
    assert "sundsvall-app1" not in str(ange.posts)
    site.opsctl("patch", "report", rollout, "--to", str(tmp_path), "--lang", "both")
    found = json.loads((tmp_path / f"patching-{rollout}.json").read_text())
    assert (found["outcome"], found["stages"]) == ("ok", {"done": 2})
    assert {line["detail"]["answer"] for line in found["log"] if line["kind"] == "gate"} == {"pass"}
    assert {line["detail"]["why"] for line in found["log"] if line["kind"] == "notified"} == {"", "it answered 500"}
    page = (tmp_path / f"patching-{rollout}.sv.html").read_text()
    for word in ("/etc/opslab-library/opslab-library.conf", FIXED, "opslab-extra", found["rollout"]["plan"]["hash"]):
        assert word in page, word
    today = datetime.now(UTC).date()
    period = ("--from", str(today - timedelta(days=7)), "--to", str(today + timedelta(days=2)))
    site.opsctl("patch", "report", "--tenant", "ange", *period, "--folder", str(tmp_path), code=1)
    [file] = tmp_path.glob("patching-ange-*.json")
    account = json.loads(file.read_text())
    done = [one for one in account["updates"] if one["host"] == "ange.ange-web1"]
    assert {one["package"] for one in done} == {*OWN, "opslab-extra"}
    assert {(one["by"], one["rollout"]) for one in done} == {("rollout", rollout)}
    assert account["rollouts"][-1]["id"] == rollout
    assert sum(account["coverage"]["parts"].values()) == account["coverage"]["total"]


def test_a_failing_package_halts_the_rollout_and_a_retry_finishes_it(site: PatchSite) -> None:
    site.inside("sundsvall-app1", "touch /etc/opslab-fragile.fail")
    rollout = site.plan("--limit", "sundsvall-app1,ange-web1")
    site.opsctl("patch", "start", rollout, "--yes", code=5)
    states = site.states(rollout)
    assert (states["sundsvall-app1"]["stage"], states["sundsvall-app1"]["last"]) == ("failed", "installing")
    assert "opslab-fragile" in str(states["sundsvall-app1"]["reason"])
    assert states["ange-web1"]["stage"] == "planned"
    assert site.version("ange-web1", "opslab-library") == "1.0-1"
    assert "sundsvall.sundsvall-app1" in site.leases(), "a halted rollout keeps its hosts"
    site.inside("sundsvall-app1", "rm /etc/opslab-fragile.fail")
    site.opsctl("patch", "resume", rollout, "--retry", "--yes")
    assert site.stages(rollout) == {"sundsvall-app1": "done", "ange-web1": "done"}
    assert site.inside("sundsvall-app1", "dpkg --audit") == ""


def test_a_resume_without_retry_leaves_the_failed_host_and_says_so(site: PatchSite) -> None:
    site.inside("sundsvall-app1", "touch /etc/opslab-fragile.fail")
    rollout = site.plan("--limit", "sundsvall-app1,ange-web1", "--reboot", "never")
    site.opsctl("patch", "start", rollout, "--yes", code=5)
    assert site.answer("patch", "resume", rollout, "--yes", code=1)["outcome"] == "incomplete"
    assert site.stages(rollout) == {"sundsvall-app1": "failed", "ange-web1": "done"}


@pytest.mark.parametrize("stage", ["drained", "installing", "rebooting"])
def test_killed_in_the_middle_a_resume_finishes_and_installs_nothing_twice(site: PatchSite, stage: str) -> None:
    rollout = site.plan("--limit", "ange-web*")
    running = site.begin("patch", "start", rollout, "--yes")
    wait_for(lambda: reached(site, rollout, "ange-web1", stage), f"ange-web1 is {stage}")
    running.send_signal(signal.SIGKILL)
    running.wait()
    told = site.answer("patch", "status", rollout)["rollout"]
    assert isinstance(told, dict)
    assert told["stalled"] is True
    assert site.answer("patch", "resume", rollout, "--yes")["outcome"] == "ok"
    assert site.stages(rollout) == {"ange-web1": "done", "ange-web2": "done"}
    for host in ("ange-web1", "ange-web2"):
        assert site.version(host, "opslab-kernel") == FIXED
        assert site.installs(host) == 1
        assert site.inside(host, "test -e /run/reboot-required || echo none") == "none"
    assert site.leases() == ""


def test_interrupted_it_stops_cleanly_and_a_resume_finishes(site: PatchSite) -> None:
    rollout = site.plan("--limit", "sundsvall-app1,ange-web1")
    running = site.begin("patch", "start", rollout, "--yes")
    wait_for(lambda: reached(site, rollout, "sundsvall-app1", "installing"), "the installation begins")
    second = site.opsctl("patch", "resume", rollout, "--yes", code=4)
    assert "is at work" in second
    running.send_signal(signal.SIGINT)
    running.wait(timeout=120)
    assert running.returncode == 130, site.said
    assert f"opsctl patch resume {rollout}" in site.said
    stages = site.stages(rollout)
    assert stages["sundsvall-app1"] in ("installed", "back")  # it finished the step that it was in
    assert stages["ange-web1"] == "planned"
    assert "sundsvall.sundsvall-app1" in site.leases(), "it is in the middle of its change"
    site.opsctl("patch", "resume", rollout, "--yes")
    assert site.stages(rollout) == {"sundsvall-app1": "done", "ange-web1": "done"}
    assert site.installs("sundsvall-app1") == 1
    assert site.leases() == ""


def test_a_freeze_written_in_the_middle_lets_what_began_finish_and_nothing_else_begin(site: PatchSite) -> None:
    calendar = site.workspace / "inventories/ange/calendar.yml"
    rollout = site.plan("--limit", "ange-web*")
    running = site.begin("patch", "start", rollout, "--yes")
    try:
        wait_for(lambda: reached(site, rollout, "ange-web1", "drained"), "ange-web1 is drained")
        first, last = (datetime.now(UTC).date() + timedelta(days=days) for days in (-1, 2))
        calendar.write_text(f"version: 1\nfreezes: [{{name: outage, from: {first}, to: {last}}}]\n")
        running.wait(timeout=120)
        assert running.returncode == 5, site.said
        assert "ange.ange-web2 waits: freeze outage until" in site.said
        assert site.stages(rollout) == {"ange-web1": "done", "ange-web2": "planned"}
        assert site.states(rollout)["ange-web1"]["drained"] is False
        assert site.version("ange-web2", "opslab-library") == "1.0-1"
        assert site.leases() == ""
        made = site.answer("patch", "plan", "--limit", "ange-web2")["plan"]
        assert isinstance(made, dict)
        assert (made["waves"], made["left_out"][0]["host"]) == ([], "ange.ange-web2")
    finally:
        calendar.unlink(missing_ok=True)
    site.opsctl("patch", "resume", rollout, "--yes")
    assert site.stages(rollout) == {"ange-web1": "done", "ange-web2": "done"}
    assert site.installs("ange-web1") == site.installs("ange-web2") == 1


def test_an_overlapping_rollout_is_refused_while_the_first_one_runs(site: PatchSite) -> None:
    first, second = site.plan("--limit", "sundsvall-app1"), site.plan("--limit", "sundsvall-app1,ange-web1")
    running = site.begin("patch", "start", first, "--yes")
    wait_for(lambda: reached(site, first, "sundsvall-app1", "leased"), "the first one has its leases")
    site.opsctl("patch", "start", second, "--yes", code=4)
    running.wait(timeout=120)
    assert running.returncode == 0, site.said
    site.opsctl("patch", "start", second, "--yes", code=3)


def test_a_plan_is_refused_when_a_host_has_moved(site: PatchSite) -> None:
    rollout = site.plan("--limit", "ange-web1")
    site.inside("ange-web1", f"apt-get -q -y install opslab-library={FIXED} 2>&1")
    told = site.opsctl("patch", "start", rollout, "--yes", code=3)
    assert "ange.ange-web1: opslab-library 1.0-1 -> 1.0-1+deb12u1 is no longer pending" in told
    assert site.installs("ange-web1") == 0


def test_a_host_lost_during_installation_is_unknown_and_a_resume_finds_it_patched(
    site: PatchSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSCTL_SSH_CONNECT_TIMEOUT", "1")
    lab.publish(site.fleet.name, "opslab-library", f"{FIXED}.1", post_install="touch /run/slow; sleep 25")
    rollout = site.plan("--limit", "sundsvall-app1", "--reboot", "never", "--refresh")
    running = site.begin("patch", "start", rollout, "--yes")
    wait_for(lambda: site.inside("sundsvall-app1", "ls /run").count("slow") == 1, "apt is in the middle")
    lab.break_(site.fleet.name, "sundsvall-app1", "link")
    try:
        running.wait(timeout=100)
    finally:
        lab.mend(site.fleet.name, "sundsvall-app1")
    assert running.returncode == 5, site.said
    state = site.states(rollout)["sundsvall-app1"]
    assert (state["stage"], state["last"]) == ("unknown", "installing")
    site.opsctl("patch", "resume", rollout, "--yes")
    assert site.stages(rollout) == {"sundsvall-app1": "done"}
    assert site.version("sundsvall-app1", "opslab-library") == f"{FIXED}.1"
    assert site.installs("sundsvall-app1") == 1


def test_a_host_that_is_cut_off_from_power_during_installation_is_mended_and_done(site: PatchSite) -> None:
    rollout = site.plan("--limit", "sundsvall-app1", "--reboot", "never")
    running = site.begin("patch", "start", rollout, "--yes")
    wait_for(lambda: reached(site, rollout, "sundsvall-app1", "installing"), "the installation begins")
    lab.crash(site.fleet.name, "sundsvall-app1")
    lab.mend(site.fleet.name, "sundsvall-app1")
    running.wait(timeout=200)
    assert running.returncode == 0, site.said
    assert site.stages(rollout) == {"sundsvall-app1": "done"}
    assert [site.version("sundsvall-app1", name) for name in OWN] == [FIXED] * len(OWN)
    assert site.inside("sundsvall-app1", "dpkg --audit") == ""


def test_a_host_that_does_not_answer_is_left_out_by_name_and_the_exit_code_says_so(
    site: PatchSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSCTL_SSH_CONNECT_TIMEOUT", "2")
    lab.break_(site.fleet.name, "ange-web2", "link")
    try:
        made = site.answer("patch", "plan", "--limit", "ange-web*", code=1)
    finally:
        lab.mend(site.fleet.name, "ange-web2")
    plan = made["plan"]
    assert isinstance(plan, dict)
    left = {one["host"]: one["reason"] for one in plan["left_out"]}
    assert left["ange.ange-web2"].startswith("unreachable")
    assert left["ange.ange-web1"] == "ange.ange-web needs 1 of 2 in service, and ange.ange-web2 is out"
    assert plan["waves"] == []


def test_the_driver_survives_nothing_but_the_hosts_do(site: PatchSite) -> None:
    """The installation goes on when opsctl is killed and never comes back."""
    rollout = site.plan("--limit", "sundsvall-app1", "--reboot", "never")
    running = site.begin("patch", "start", rollout, "--yes")
    wait_for(lambda: reached(site, rollout, "sundsvall-app1", "installing"), "the installation begins")
    wait_for(lambda: site.installs("sundsvall-app1") == 1, "the unit has begun")
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    wait_for(lambda: site.version("sundsvall-app1", "opslab-service") == FIXED, "apt ends its work")
    # Nobody comes back for it: given up for good, it holds no host any more, and says what it left in the middle.
    assert "sundsvall-app1" in site.opsctl("patch", "abort", rollout, "--yes", code=1)
    assert site.leases() == ""


def test_a_second_store_of_the_same_workspace_is_refused_by_the_host_by_name_and_until_when(
    site: PatchSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site.opsctl("patch", "start", site.plan("--limit", "sundsvall-app1", "--reboot", "never"), "--yes")
    lab.publish(site.fleet.name, "opslab-library", f"{FIXED}.2")
    monkeypatch.setenv("OPSCTL_STATE_PATH", str(tmp_path / "other"))
    rollout = site.plan("--limit", "sundsvall-app1", "--reboot", "never", "--refresh")
    site.opsctl("patch", "start", rollout, "--yes", code=5)
    reason = str(site.states(rollout)["sundsvall-app1"]["reason"])
    assert "another installation of opsctl works on this host: " in reason
    assert "Z at most; this is " in reason
    assert site.version("sundsvall-app1", "opslab-library") == FIXED
    site.inside("sundsvall-app1", 'sed -i \'s/"seconds": [0-9.]*/"seconds": 1/\' /var/lib/opsctl/fence.json')
    site.opsctl("patch", "resume", rollout, "--retry", "--yes")
    assert site.version("sundsvall-app1", "opslab-library") == f"{FIXED}.2"


def test_commands_run_around_each_change_and_a_failing_one_leaves_the_host_untouched(site: PatchSite) -> None:
    tenant = site.workspace / "inventories/ange/tenant.yml"
    before, seen = tenant.read_text(), site.workspace / "seen"
    hook = site.workspace / "hook"
    hook.write_text(f'#!/bin/sh\necho "$@" >>{seen}\ntest ! -e {site.workspace}/refuse || exit 7\n')
    hook.chmod(0o755)
    words = {key: f"[{hook}, {key}, '{{host}}', '{{address}}', '{{tenant}}']" for key in ("before", "drain", "undrain")}
    given = ", ".join(f"{key}: {word}" for key, word in words.items())
    tenant.write_text(f"{before}handling:\n  - {{name: web, role: web, reboot: never, {given}}}\n")
    address = site.fleet.host("ange-web1").address
    try:
        (site.workspace / "refuse").touch()
        made = site.opsctl("patch", "plan", "--limit", "ange-web1")
        assert f"before: {hook} before" in made
        refused = site.answer("patch", "plan", "--limit", "ange-web1")["plan"]
        assert isinstance(refused, dict)
        boot = site.boot("ange-web1")
        site.opsctl("patch", "start", str(refused["id"]), "--yes", code=5)
        state = site.states(str(refused["id"]))["ange-web1"]
        assert (state["stage"], state["last"], state["drained"]) == ("failed", "silenced", False)
        assert "before:" in str(state["reason"])
        assert "ended with 7" in str(state["reason"])
        assert site.version("ange-web1", "opslab-library") == "1.0-1"
        (site.workspace / "refuse").unlink()
        seen.unlink()
        site.opsctl("patch", "resume", str(refused["id"]), "--retry", "--yes")
        assert seen.read_text().splitlines() == [f"{key} ange-web1 {address} ange" for key in words]
        assert site.version("ange-web1", "opslab-library") == FIXED
        assert site.boot("ange-web1") == boot, "its role is never restarted"
    finally:
        tenant.write_text(before)
