"""What on-call staff do to a rollout on real hosts: pause, abort, skip, detach, attach; and the watchdog."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from collections.abc import Iterator

import pytest

from opsctl import config, lab
from opsctl.rollout import detach, watchdog_units
from tests.integration.rollouts import FIXED, FOUR, PatchSite, prepared, reached, wait_for

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PatchSite]:
    with prepared(tmp_path_factory.mktemp("oncall"), lab.only(lab.demo(), FOUR)) as made:
        yield made


@pytest.fixture
def site(whole: PatchSite) -> PatchSite:
    """Every host as it was prepared."""
    whole.fresh()
    return whole


def process_of(site: PatchSite, rollout: str) -> int:
    """The process that works on a rollout, as its lock names it."""
    text = (site.workspace / f".state/rollouts/{rollout}.lock").read_text()
    found = re.search(r"process (\d+)", text)
    assert found, text
    return int(found[1])


def test_paused_in_the_middle_of_a_batch_it_finishes_that_keeps_the_hosts_and_is_resumed(site: PatchSite) -> None:
    rollout = site.plan("--limit", "sundsvall-app1,ange-web1")
    running = site.begin("patch", "start", rollout, "--yes")
    wait_for(lambda: reached(site, rollout, "sundsvall-app1", "installing"), "the installation begins")
    told = site.answer("patch", "pause", rollout, "--reason", "the phones are down", "--yes")
    assert isinstance(told["asked"], dict)
    assert told["asked"]["seen"]
    running.wait(timeout=120)
    assert running.returncode == 5, site.said
    assert site.stages(rollout) == {"sundsvall-app1": "done", "ange-web1": "planned"}
    assert site.version("ange-web1", "opslab-library") == "1.0-1"
    stands = site.answer("patch", "status", rollout)
    assert stands["kept_until"], "nobody else takes them before that"
    assert "pause asked by" in str(stands["standing"])
    assert f"held by rollout {rollout}" in site.opsctl("patch", "plan", "--limit", "ange-web1", code=1)
    site.opsctl("patch", "resume", rollout, "--yes")
    assert site.stages(rollout) == {"sundsvall-app1": "done", "ange-web1": "done"}
    assert (site.installs("sundsvall-app1"), site.installs("ange-web1")) == (1, 1)
    assert site.leases() == ""


def test_aborted_while_it_runs_it_undrains_what_is_under_way_and_frees_all(site: PatchSite) -> None:
    rollout = site.plan("--limit", "ange-web*")
    running = site.begin("patch", "start", rollout, "--yes")
    wait_for(lambda: reached(site, rollout, "ange-web1", "drained"), "ange-web1 is drained")
    site.opsctl("patch", "abort", rollout, "--yes")
    running.wait(timeout=120)
    assert running.returncode == 5, site.said
    assert "aborted: abort asked by" in site.said
    assert site.stages(rollout) == {"ange-web1": "done", "ange-web2": "planned"}
    assert site.states(rollout)["ange-web1"]["drained"] is False
    assert site.version("ange-web2", "opslab-library") == "1.0-1"
    assert site.leases() == ""
    site.opsctl("patch", "resume", rollout, "--yes", code=3)


def test_a_host_that_is_skipped_while_the_rollout_runs_is_never_touched(site: PatchSite) -> None:
    rollout = site.plan("--limit", "sundsvall-app1,ange-web1")
    running = site.begin("patch", "start", rollout, "--yes")
    wait_for(lambda: reached(site, rollout, "sundsvall-app1", "installing"), "the installation begins")
    site.opsctl("patch", "skip", "ange-web1", "--reason", "its disk is being replaced", "--yes")
    running.wait(timeout=120)
    assert running.returncode == 1, site.said
    states = site.states(rollout)
    assert (states["sundsvall-app1"]["stage"], states["ange-web1"]["stage"]) == ("done", "skipped")
    assert str(states["ange-web1"]["reason"]).endswith("its disk is being replaced")
    assert site.installs("ange-web1") == 0
    assert site.leases() == ""


def test_a_failed_host_is_explained_with_its_log_and_tried_again(site: PatchSite) -> None:
    site.inside("sundsvall-app1", "touch /etc/opslab-fragile.fail")
    rollout = site.plan("--limit", "sundsvall-app1", "--reboot", "never")
    site.opsctl("patch", "start", rollout, "--yes", code=5)
    told = site.answer("patch", "why", "sundsvall-app1")
    assert "it failed when it was installing" in str(told["because"])
    assert "opslab-fragile" in str(told["log"])
    assert told["read"] == "docs/how-to/patch-night.md#a-host-failed"
    site.inside("sundsvall-app1", "rm /etc/opslab-fragile.fail")
    site.opsctl("patch", "retry", "--failed", "--yes")
    assert site.version("sundsvall-app1", "opslab-library") == FIXED


def test_detached_it_goes_on_is_attached_to_killed_missed_by_the_watchdog_and_resumed(site: PatchSite) -> None:
    rollout = site.plan("--limit", "ange-web*")
    told = site.answer("patch", "start", rollout, "--detach", "--yes")
    assert told["begun"] is True
    looking = site.begin("patch", "attach", rollout)
    wait_for(lambda: reached(site, rollout, "ange-web1", "drained"), "ange-web1 is drained")
    wait_for(lambda: "ange-web1: " in site.said, "the progress is seen elsewhere")
    looking.send_signal(signal.SIGTERM)  # as Ctrl-C, which a shell keeps from what it runs in the background
    assert looking.wait(timeout=120) == 130, site.said
    assert "is not stopped by that" in site.said
    assert "1 at work, 0 to see to" in site.opsctl("patch", "watchdog")
    os.kill(process_of(site, rollout), signal.SIGKILL)
    alarm = site.opsctl("patch", "watchdog", code=1)
    assert f"{rollout}: stalled, last seen alive " in alarm
    # Which host was drained when it was killed is the machine's affair.
    assert re.search(rf"\d drained( \(ange\.ange-web\d\))?; run opsctl patch resume {rollout}", alarm)
    assert "Decide:" in site.opsctl("patch", "shift-report")
    assert site.answer("patch", "resume", rollout, "--detach", "--yes")["begun"] is True
    assert "ange.ange-web2: done" in site.run("patch", "attach", rollout).stdout
    assert site.stages(rollout) == {"ange-web1": "done", "ange-web2": "done"}
    assert (site.installs("ange-web1"), site.installs("ange-web2")) == (1, 1)
    assert site.leases() == ""
    history = json.loads(site.run("patch", "history", "ange-web1", "-o", "json").stdout)["history"]
    assert (history[0]["rollout"], history[0]["stage"]) == (rollout, "done")


# --- systemd itself, which runs the hosts of the lab -----------------------------------------------------------------

SPEAK = "echo \"by $SUDO_USER, a word of $#\"; trap 'echo finishing; exit 0' TERM; while :; do sleep 0.1; done"


def test_systemd_runs_a_detached_rollout_for_the_person_and_stops_it_cleanly(site: PatchSite) -> None:
    unit = detach.unit_of("patch-20270117-010000-abc")
    command = ["/bin/sh", "-c", SPEAK, "opsctl", "50% of $HOME"]
    environ = {"PATH": "/usr/bin:/bin", "OPSCTL_SSH_USER": "opsctl"}
    argv = detach.unit_command("patch-20270117-010000-abc", command, who="anna", environ=environ, root=True)
    said = f"journalctl --quiet -u {unit} -o cat"
    site.inside("sundsvall-app1", shlex.join(argv))
    wait_for(lambda: "by anna, a word of 1" in site.inside("sundsvall-app1", said), "it runs, for anna")
    shown = site.inside("sundsvall-app1", f"systemctl show {unit} -p Environment,ActiveState,KillMode,ExecStart")
    assert "ActiveState=active" in shown
    assert "KillMode=mixed" in shown
    assert "OPSCTL_SSH_USER=opsctl" in shown
    site.inside("sundsvall-app1", f"systemctl stop {unit}")
    wait_for(lambda: "finishing" in site.inside("sundsvall-app1", said), "the journal has its last word")
    assert site.inside("sundsvall-app1", f"systemctl is-active {unit} || true") == "inactive"


def test_systemd_runs_the_watchdogs_units_and_a_failed_look_shows(site: PatchSite) -> None:
    """Their command is another here, for the host has no opsctl, and the folder: all else is as it is written."""
    written = watchdog_units.units(config.load(site.workspace, {}), ("/bin/sh", "/srv/look"), minutes=5, user="root")
    texts = {name: text.replace(str(site.workspace), "/srv/drift") for name, text in written.items()}
    service, timer = (next(name for name in texts if name.endswith(kind)) for kind in (".service", ".timer"))
    site.inside("sundsvall-app1", "mkdir -p /srv/drift/.state")
    for name, text in texts.items():
        site.inside("sundsvall-app1", f"printf %s {shlex.quote(text)} > /etc/systemd/system/{name}")
    # The store can be written, the rest of the file system cannot.
    look = "touch /srv/drift/.state/looked; touch /etc/x 2>/dev/null && exit 9; test ! -e /srv/alarm"
    site.inside("sundsvall-app1", f"echo {shlex.quote(look)} > /srv/look; systemctl daemon-reload")
    site.inside("sundsvall-app1", f"systemctl start {timer} && systemctl start {service}")
    assert site.inside("sundsvall-app1", f"systemctl is-active {timer}; ls /srv/drift/.state") == "active\nlooked"
    site.inside("sundsvall-app1", f"touch /srv/alarm; ! systemctl start {service}")
    assert site.inside("sundsvall-app1", f"systemctl is-failed {service}") == "failed"
    assert "ExecMainStatus=1" in site.inside("sundsvall-app1", f"systemctl show {service} -p ExecMainStatus")
