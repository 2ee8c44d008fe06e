"""Rollouts beside a real Prometheus and a real Alertmanager, on a host of the lab: alerts, silences, gates."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsctl import lab
from tests.integration.rollouts import FIXED, FOUR, PREPARE, PatchSite, reached, wait_for
from tests.integration.site import handed_over

pytestmark = pytest.mark.lab

MONITORING = "sundsvall-mon1"
EXPORTER = "prometheus-node-exporter"
STATE = f"systemctl is-active {EXPORTER} || true"

# A look every other second, so that an alert is a matter of seconds; one look that fails on a busy machine is none.
_PROMETHEUS = """\
global: {scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}
rule_files: [/etc/prometheus/rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:9093"]}]}]}
scrape_configs:
  - job_name: hosts
    file_sd_configs: [{files: [/etc/prometheus/targets/*.json], refresh_interval: 1s}]
"""
# Evaluated in this order: a host that comes back sick is told of before it is no longer down.
_RULES = """\
groups:
  - name: hosts
    rules:
      - {alert: Sick, expr: opslab_sick == 1}
      - {alert: HostDown, expr: 'max_over_time(up[8s]) == 0'}
      - {alert: Watchdog, expr: vector(1)}
"""


@dataclass
class Monitored:
    """The site, and its two servers as a colleague would ask them."""

    site: PatchSite
    address: str
    tenants: dict[str, str] = field(default_factory=dict)

    def get(self, port: int, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.address}:{port}{path}", timeout=10) as answer:
            return json.load(answer)

    def firing(self) -> set[str]:
        found = self.get(9090, "/api/v1/alerts")["data"]["alerts"]
        return {one["labels"]["host"] for one in found if one["state"] == "firing" and "host" in one["labels"]}

    def all_well(self) -> bool:
        """Every exporter was seen at the last look, and no alert is left."""
        found = self.get(9090, "/api/v1/query?query=up")["data"]["result"]
        # What Prometheus asked before it had our settings has no host, and is told of for some minutes more.
        up = {one["metric"]["host"] for one in found if one["value"][1] == "1" and "host" in one["metric"]}
        return up == set(FOUR) and self.firing() == {MONITORING}

    def silences(self, state: str = "active", of: str = "") -> dict[str, dict[str, Any]]:
        """Ours in this state, by the host that the comment names; `of`: a rollout, or the beginning of its name."""
        found = self.get(9093, "/api/v2/silences")
        return {
            one["comment"].split()[-1]: one
            for one in found
            if one["createdBy"] == "opsctl"
            and one["status"]["state"] == state
            and one["comment"].startswith(f"rollout {of}")
        }

    def speaks(self, host: str) -> bool:
        """Alertmanager has an alert of this host that it would tell people."""
        found = self.get(9093, "/api/v2/alerts")
        return any(one["labels"].get("host") == host and one["status"]["state"] == "active" for one in found)

    def exporter(self, host: str, *, on: bool) -> None:
        self.site.inside(host, f"systemctl {'enable --now' if on else 'disable --now'} --quiet {EXPORTER}")
        wait_for(lambda: (host in self.firing()) is not on, f"the alert of {host}")

    def gates(self, tenant: str, text: str) -> None:
        """Another list of gates for a tenant, as somebody would write it."""
        path = self.site.workspace / "inventories" / tenant / "tenant.yml"
        self.tenants.setdefault(tenant, path.read_text(encoding="utf-8"))
        path.write_text(self.tenants[tenant] + f"gates:\n{text}", encoding="utf-8")

    def without_gates(self) -> None:
        for tenant, text in self.tenants.items():
            (self.site.workspace / "inventories" / tenant / "tenant.yml").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    plan = lab.only(lab.demo(), (*FOUR, MONITORING))
    with handed_over(tmp_path_factory.mktemp("monitored"), plan, PatchSite) as site:
        site.opsctl("monitor", "targets", "--write", "--yes")
        address = site.fleet.host(MONITORING).address
        _begin_monitoring(site)
        with (site.workspace / "opsctl.yml").open("a", encoding="utf-8") as settings:
            settings.write(
                f'\nmonitor:\n  prometheus: "http://{address}:9090"\n  alertmanager: "http://{address}:9093"\n'
                '  allow_http: "yes"\n'
            )
        found = Monitored(site=site, address=address)
        for host in FOUR:
            site.inside(host, PREPARE)
            site.inside(host, f"apt-get -qq install -y --no-install-recommends {EXPORTER} >/dev/null 2>&1")
            # An exporter that needs a while after each start, so that every restart of its host is seen.
            site.inside(
                host,
                f"folder=/etc/systemd/system/{EXPORTER}.service.d; mkdir -p $folder; "
                "printf '[Service]\\nExecStartPre=/bin/sleep 14\\n' >$folder/slow.conf; systemctl daemon-reload",
            )
            lab.snapshot(site.fleet.name, host, "prepared")
        wait_for(found.all_well, "the hosts are watched")
        yield found


def _begin_monitoring(site: PatchSite) -> None:
    def write(path: str, text: str) -> None:
        command = ["sh", "-c", f"mkdir -p $(dirname {path}) && cat >{path}"]
        assert lab.execute(site.fleet.name, MONITORING, command, text=text).returncode == 0

    write("/etc/prometheus/prometheus.yml", _PROMETHEUS)
    write("/etc/prometheus/rules.yml", _RULES)
    for file in (site.workspace / "monitoring" / "targets").glob("*.json"):
        write(f"/etc/prometheus/targets/{file.name}", file.read_text(encoding="utf-8"))
    site.inside(MONITORING, "systemctl restart prometheus prometheus-alertmanager")


@pytest.fixture
def watched(whole: Monitored) -> Iterator[Monitored]:
    """Every host as it was prepared and well, no gates."""
    for host in FOUR:
        if host in whole.site.touched:
            lab.restore(whole.site.fleet.name, host, "prepared")
    whole.site.touched = set()
    whole.site.inside(MONITORING, "systemctl start prometheus prometheus-alertmanager")
    for host in FOUR:  # one that was restored starts anew
        wait_for(lambda host=host: whole.site.inside(host, STATE) == "active", f"{host} is watched")  # type: ignore[misc]
    wait_for(whole.all_well, "every host is well")
    yield whole
    whole.without_gates()
    rollouts = whole.site.answer("patch", "status")["rollouts"]
    assert isinstance(rollouts, list)
    for one in rollouts:  # one that a failed test left halfway would hold its hosts
        if one["status"] not in ("done", "aborted"):
            subprocess.run(whole.site.command("patch", "abort", one["id"], "--yes"), capture_output=True, check=False)


def judged(watched: Monitored, host: str, control: str, result: str) -> str:
    """What a control sees of a host by what monitoring server and store really know; it must be this result."""
    words = ("comply", "run", "--profile", "strict", "--limit", host, "--control", control)
    results = watched.site.answer(*words, code=0 if result == "pass" else 6)["results"]
    assert isinstance(results, list)
    (found,) = results
    assert (found["host"].partition(".")[2], found["result"]) == (host, result), found
    return str(found["observed"])


def plan(watched: Monitored, limit: str, *more: str) -> str:
    watched.site.opsctl("inventory", "sync", "--yes")
    watched.site.touched |= set(limit.split(","))
    return watched.site.plan("--limit", limit, *more)


METRIC = "/var/lib/prometheus/node-exporter/sick.prom"
# Something that only monitoring sees: no unit fails, and every port answers.
SICK_AFTER_RESTART = f"""
cat >/etc/systemd/system/sick.service <<END
[Service]
Type=oneshot
ExecStart=/bin/sh -c "echo opslab_sick 1 >{METRIC}"
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload; systemctl enable --quiet sick.service
"""
ALERTS = "  - {name: no-alert, alerts: true, seconds: 60}\n"


def test_a_host_whose_neighbour_alerts_is_left_out_of_the_plan(watched: Monitored) -> None:
    watched.site.touched |= {"ange-web2"}
    watched.exporter("ange-web2", on=False)
    made = watched.site.answer("patch", "plan", "--limit", "ange-web1", code=1)["plan"]
    assert isinstance(made, dict)
    assert made["down"] == ["ange.ange-web2"]
    assert ":9100 down, " in judged(watched, "ange-web2", "MON-03", "fail")
    assert [one["reason"] for one in made["left_out"]] == [
        "ange.ange-web needs 1 of 2 in service, and ange.ange-web2 is out"
    ]
    watched.exporter("ange-web2", on=True)
    assert " up, " in judged(watched, "ange-web2", "MON-03", "pass")
    assert plan(watched, "ange-web1")


def test_a_neighbour_that_falls_ill_after_the_plan_holds_the_host_in_service(watched: Monitored) -> None:
    rollout = plan(watched, "ange-web1")
    watched.site.touched |= {"ange-web2"}
    watched.exporter("ange-web2", on=False)
    said = watched.site.opsctl("patch", "start", rollout, "--yes", code=5)
    assert "needs 1 of 2 in service, and ange.ange-web2 is out" in said
    assert watched.site.version("ange-web1", "opslab-library") != FIXED
    assert watched.silences() == {}


def test_the_alerts_of_a_restart_are_silenced_and_speak_again_afterwards(watched: Monitored) -> None:
    watched.gates("ange", ALERTS)
    rollout = plan(watched, "ange-web1", "--reboot", "always")
    seen: set[str] = set()
    ended, spoke = threading.Event(), threading.Event()

    def look() -> None:
        while not ended.wait(0.3):
            seen.update({"alert"} if "ange-web1" in watched.firing() else ())
            seen.update(watched.silences())
            if watched.speaks("ange-web1"):
                spoke.set()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        said = watched.site.opsctl("patch", "start", rollout, "--yes")
    finally:
        ended.set()
        looking.join()
    assert "gates after batch: no-alert" in said
    assert seen == {"alert", "ange.ange-web1"}
    assert not spoke.is_set(), "an alert of the restart would have been told"
    assert watched.silences() == {}
    assert "ange.ange-web1" in watched.silences("expired", of=rollout)
    watched.exporter("ange-web1", on=False)
    wait_for(lambda: watched.speaks("ange-web1"), "a later alert is told")


def test_an_alert_that_stays_fails_its_gate_and_is_told_and_a_resume_asks_again(watched: Monitored) -> None:
    watched.gates("sundsvall", "  - {name: no-alert, alerts: true, seconds: 15, rings: [canary]}\n")
    assert judged(watched, "sundsvall-app1", "PAT-05", "fail") == "no last good patch run is known"
    rollout = plan(watched, "sundsvall-app1,ange-web1", "--reboot", "always")
    watched.site.inside("sundsvall-app1", SICK_AFTER_RESTART)
    said = watched.site.opsctl("patch", "start", rollout, "--yes", code=5)
    assert "gate no-alert failed: sundsvall.sundsvall-app1: Sick since" in said
    assert "docs/how-to/patch-night.md#a-gate-has-failed" in said
    assert watched.site.stages(rollout) == {"sundsvall-app1": "done", "ange-web1": "planned"}
    assert "gate no-alert failed" in watched.site.opsctl("ledger", "log", "--output", "json")
    assert watched.silences() == {}
    wait_for(lambda: watched.speaks("sundsvall-app1"), "the alert is told")
    watched.site.inside("sundsvall-app1", f"rm {METRIC}")
    wait_for(lambda: "sundsvall-app1" not in watched.firing(), "the host is well again")
    watched.site.opsctl("patch", "resume", rollout, "--yes")
    assert set(watched.site.stages(rollout).values()) == {"done"}
    assert ", 0.0 days ago" in judged(watched, "sundsvall-app1", "PAT-05", "pass")


def test_without_alertmanager_nothing_is_touched_and_it_pauses_until_that_is_back(watched: Monitored) -> None:
    rollout = plan(watched, "sundsvall-app1", "--reboot", "never")
    watched.site.inside(MONITORING, "systemctl stop prometheus-alertmanager")
    said = watched.site.opsctl("patch", "start", rollout, "--yes", code=5)
    assert "monitoring does not answer: sundsvall.sundsvall-app1 is not silenced: Alertmanager at" in said
    assert "nothing listens there" in said
    assert "docs/how-to/patch-night.md#monitoring-does-not-answer" in said
    assert watched.site.installs("sundsvall-app1") == 0
    assert watched.site.stages(rollout) == {"sundsvall-app1": "leased"}
    watched.site.inside(MONITORING, "systemctl start prometheus-alertmanager")
    _wait_for_alertmanager(watched)
    watched.site.opsctl("patch", "resume", rollout, "--yes")
    assert watched.site.stages(rollout) == {"sundsvall-app1": "done"}


def _wait_for_alertmanager(watched: Monitored) -> None:
    def up() -> bool:
        try:
            watched.silences()
        except OSError:
            return False
        return True

    wait_for(up, "Alertmanager answers")


def test_killed_it_leaves_a_silence_with_an_end_and_the_resume_goes_on_with_the_same_one(watched: Monitored) -> None:
    rollout = plan(watched, "sundsvall-app1", "--reboot", "never")
    process = watched.site.begin("patch", "start", rollout, "--yes")
    wait_for(lambda: reached(watched.site, rollout, "sundsvall-app1", "installing"), "it installs")
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = watched.silences()["sundsvall.sundsvall-app1"]
    ends = datetime.fromisoformat(left["endsAt"])
    assert datetime.now(UTC) < ends <= datetime.now(UTC) + timedelta(minutes=15)
    watched.site.opsctl("patch", "resume", rollout, "--yes")
    assert watched.site.stages(rollout) == {"sundsvall-app1": "done"}
    ended = watched.silences("expired", of=rollout)["sundsvall.sundsvall-app1"]
    assert (ended["id"], watched.silences()) == (left["id"], {})
    assert watched.site.installs("sundsvall-app1") == 1


def test_an_abort_of_what_was_killed_lifts_its_silences(watched: Monitored) -> None:
    rollout = plan(watched, "sundsvall-app1", "--reboot", "never")
    process = watched.site.begin("patch", "start", rollout, "--yes")
    wait_for(lambda: reached(watched.site, rollout, "sundsvall-app1", "installing"), "it installs")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert watched.silences()
    watched.site.opsctl("patch", "abort", rollout, "--yes", code=1)
    assert watched.silences() == {}


def test_commands_pages_and_controls_decide_between_waves(watched: Monitored) -> None:
    script = watched.site.workspace / "check"
    script.write_text('#!/bin/sh\necho "asked of $OPSCTL_HOSTS"\nexit $(cat code)\n', encoding="utf-8")
    script.chmod(0o755)
    code = watched.site.workspace / "code"
    watched.gates(
        "sundsvall",
        f"  - {{name: page, http: 'http://{watched.address}:9090/-/healthy', text: Healthy}}\n"
        f"  - {{name: own, command: [{script}], seconds: 20}}\n"
        "  - {name: smoke, compliance: [USR-02, FW-01]}\n",
    )
    rollout = plan(watched, "sundsvall-app1,ange-web1", "--reboot", "never")
    code.write_text("3", encoding="utf-8")
    said = watched.site.opsctl("patch", "start", rollout, "--yes", code=5)
    assert f"gate own gave no answer: {script} ended with 3: asked of sundsvall.sundsvall-app1" in said
    assert "paused" in said
    code.write_text("1", encoding="utf-8")
    said = watched.site.opsctl("patch", "resume", rollout, "--yes", code=5)
    assert f"halted: gate own failed: {script} ended with 1" in said
    assert watched.site.stages(rollout) == {"sundsvall-app1": "done", "ange-web1": "planned"}
    code.write_text("0", encoding="utf-8")
    said = watched.site.opsctl("patch", "resume", rollout, "--yes", code=5)
    assert "halted: gate smoke failed: sundsvall.sundsvall-app1: FW-01" in said
    waive(watched, "FW-01", "sundsvall-app1")
    said = watched.site.opsctl("patch", "resume", rollout, "--yes")
    assert "gate smoke passed: sundsvall.sundsvall-app1: FW-01 fails, and is waived until 2199-01-01 00:00 UTC" in said
    assert set(watched.site.stages(rollout).values()) == {"done"}


def waive(watched: Monitored, control: str, host: str) -> None:
    """Accept a failure of one host of Sundsvall's, as its owner and its approver do."""
    inventories = watched.site.workspace / "inventories"
    key = watched.site.workspace / "approver"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (inventories / "operators").write_text(f"bo {key.with_suffix('.pub').read_text()}", encoding="utf-8")
    watched.site.opsctl(
        "comply", "waive", control, "--tenant", "sundsvall", "--host", host, "--reason", "filtered in front of it",
        "--owner", "anna", "--approver", "bo", "--expires", "2199-01-01", "--yes",
    )  # fmt: skip
    (waiver,) = json.loads(watched.site.opsctl("comply", "waivers", "-o", "json"))["waivers"]
    watched.site.opsctl("comply", "approve", waiver["waiver"], "--key", str(key), "--yes")


def test_provisioning_silences_its_hosts_too(watched: Monitored) -> None:
    watched.site.opsctl("inventory", "sync", "--yes")
    watched.site.touched |= {"sundsvall-app1"}
    watched.site.opsctl("provision", "--limit", "sundsvall-app1", "--yes")
    assert "sundsvall.sundsvall-app1" in watched.silences("expired", of="provision-")
    assert watched.silences() == {}
