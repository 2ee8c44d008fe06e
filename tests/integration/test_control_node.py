"""A control node that systemd runs: a lab host with opsctl on it patches another, without a terminal and over a reboot.

Where the tests themselves run, systemd need not be PID 1; in a lab host it is.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsctl import content, lab
from opsctl.rollout import detach
from tests.integration.rollouts import FIXED, OWN, PatchSite, prepared, wait_for
from tests.integration.watcher import PACKAGE, server

pytestmark = pytest.mark.lab

CONTROL, OTHER = "sundsvall-app1", "ange-file1"
# Two members of one cluster, of which only one at a time is out of service, and the balancer before them.
FRONT, FIRST, SECOND = "ange-lb1", "ange-web1", "ange-web2"
# What opsctl never imports on its way through a rollout of patches, and is large.
LARGE = (
    "ansible*", "apprise", "*brotli*", "fontTools", "grimp", "hypothesis", "mcp_*", "mypy", "mypyc", "*mypyc*.so",
    "pip", "PIL", "pillow.libs", "pypdf", "pyphen", "setuptools", "__pycache__", "__editable__*",
)  # fmt: skip
INSTALL = """
set -e
mkdir -p /srv/opsctl/bin
ln -s /usr/bin/python3 /srv/opsctl/bin/python3
printf 'home = /usr/bin\\ninclude-system-site-packages = false\\n' > /srv/opsctl/pyvenv.cfg
echo /srv/clone > /srv/opsctl/lib/python3.11/site-packages/opsctl.pth
printf '#!/srv/opsctl/bin/python3\\nfrom opsctl.cli.main import entry\\nentry()\\n' > /srv/opsctl/bin/opsctl
chmod +x /srv/opsctl/bin/opsctl
chmod 600 /srv/identity
sed -i 's,identity: [^,}]*,identity: /srv/identity,' /srv/workspace/opsctl.yml
"""
STORE = "/srv/workspace/.state/store.db"
LEASES = f"import sqlite3; print(sqlite3.connect('{STORE}').execute('SELECT count(*) FROM leases').fetchone()[0])"
UNTIL_LET_ON = "touch /run/waits; n=0; while [ ! -e /run/go ] && [ $n -lt 1800 ]; do n=$((n+1)); sleep 0.1; done"


@dataclass(frozen=True, kw_only=True)
class ControlNode:
    """The host of a site on which opsctl is installed, with the site's workspace."""

    site: PatchSite

    def opsctl(self, *words: str) -> dict[str, object]:
        found = json.loads(self.said(*words, "--output", "json"))
        assert isinstance(found, dict)
        return found

    def said(self, *words: str, code: int = 0) -> str:
        line = ["/srv/opsctl/bin/opsctl", "-C", "/srv/workspace", *words]
        done = lab.execute(self.site.fleet.name, CONTROL, line, timeout=300)
        assert done.returncode == code, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout + (done.stderr if code else "")

    def plan(self, limit: str = OTHER, *words: str) -> str:
        made = self.opsctl("patch", "plan", "--limit", limit, "--reboot", "never", *words)["plan"]
        assert isinstance(made, dict)
        return str(made["id"])

    def status(self, rollout: str) -> str:
        found = self.opsctl("patch", "status", rollout)["rollout"]
        assert isinstance(found, dict)
        return str(found["status"])

    def put(self, folder: Path, *names: str, into: str, without: tuple[str, ...] = ("__pycache__",)) -> None:
        """Copy files of this machine into the host."""
        argv = ["tar", "-C", str(folder), *(f"--exclude={name}" for name in without), "-cf", "-", *names]
        unpack = f"mkdir -p {into} && tar -C {into} --no-same-owner -xf -"
        inside = lab.enter(self.site.fleet.name, CONTROL, ["sh", "-c", unpack])
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as pack:
            subprocess.run(inside, stdin=pack.stdout, check=True, timeout=120)
        assert pack.returncode == 0


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlNode]:
    with prepared(
        tmp_path_factory.mktemp("control"), lab.only(lab.demo(), [CONTROL, OTHER, FRONT, FIRST, SECOND])
    ) as site:
        made = ControlNode(site=site)
        packages = Path(sysconfig.get_path("purelib"))
        made.put(packages, ".", into="/srv/opsctl/lib/python3.11/site-packages", without=LARGE)
        made.put(content.shipped(), "opsctl", *content.FOLDERS, into="/srv/clone")
        made.put(site.workspace, ".", into="/srv/workspace")
        identity = Path(site.fleet.identity_file)
        made.put(identity.parent, identity.name, into="/srv")
        if identity.name != "identity":
            site.inside(CONTROL, f"mv /srv/{shlex.quote(identity.name)} /srv/identity")
        site.inside(CONTROL, INSTALL)
        yield made


def test_a_rollout_without_a_terminal_is_a_unit_of_systemd_from_its_beginning_to_its_end(node: ControlNode) -> None:
    rollout = node.plan()
    told = node.opsctl("patch", "start", rollout, "--detach", "--yes")
    assert (told["detached"], told["begun"]) == (f"unit {detach.unit_of(rollout)}", True)
    wait_for(lambda: node.status(rollout) == "done", "the unit brings it to its end", 120)
    said = f"journalctl --quiet -u {detach.unit_of(rollout)} -o cat"
    wait_for(lambda: f"ange.{OTHER}: done" in node.site.inside(CONTROL, said), "the journal has its last word")
    assert node.site.installs(OTHER) == 1
    wait_for(lambda: _units(node) == "", "nothing of the unit stays")


def test_a_start_at_a_time_outlives_a_reboot_of_its_control_node_and_takes_its_unit_away(node: ControlNode) -> None:
    lab.restore(node.site.fleet.name, OTHER, "prepared")
    rollout, starts = node.plan(), datetime.now(UTC) + timedelta(seconds=25)
    told = node.opsctl("patch", "start", rollout, "--detach", "--at", starts.isoformat(), "--yes")
    assert (told["begun"], told["outlives_reboots"]) == (True, True)
    lab.reboot(node.site.fleet.name, CONTROL)
    wait_for(lambda: node.status(rollout) == "done", "it waits on after the boot, and begins", 120)
    assert [node.site.version(OTHER, name) for name in OWN] == [node.site.version(OTHER, OWN[0])] * len(OWN)
    assert node.site.installs(OTHER) == 1
    wait_for(lambda: _units(node) == "", "the unit's file is taken away")
    begun = [one for one in _history(node) if one["rollout"] == rollout]
    assert begun, "the store of the control node knows it"


def test_one_that_is_called_off_is_not_begun_by_the_next_boot(node: ControlNode) -> None:
    lab.restore(node.site.fleet.name, OTHER, "prepared")
    rollout, starts = node.plan(), datetime.now(UTC) + timedelta(hours=3)
    node.opsctl("patch", "start", rollout, "--detach", "--at", starts.isoformat(), "--yes")
    assert _units(node) != ""
    node.opsctl("patch", "abort", rollout, "--yes")
    wait_for(lambda: _units(node) == "", "the waiting unit ends, and its file is gone")


# --- the control node goes down in the middle of a rollout ------------------------------------------------------------


def begin_and_wait_midway(node: ControlNode, version: str) -> str:
    """A detached rollout over the cluster, whose first host waits in the middle of its installation; its id."""
    site = node.site
    for host in (FIRST, SECOND):
        lab.restore(site.fleet.name, host, "prepared")
    lab.publish(site.fleet.name, PACKAGE, version, post_install=UNTIL_LET_ON)
    rollout = node.plan(f"{FIRST},{SECOND}", "--package", PACKAGE, "--refresh")
    node.opsctl("patch", "start", rollout, "--detach", "--yes")
    wait_for(lambda: site.inside(FIRST, "ls /run/waits 2>/dev/null || true") != "", "it is in the middle", 120)
    return rollout


def stages(node: ControlNode, rollout: str) -> dict[str, tuple[str, bool]]:
    """The stage of each host, and whether it is drained."""
    hosts = node.opsctl("patch", "status", rollout)["hosts"]
    assert isinstance(hosts, list)
    return {one["host"].partition(".")[2]: (one["stage"], one["drained"]) for one in hosts}


def resumed_to_its_end(node: ControlNode, rollout: str, version: str) -> None:
    """After a resume every host is right, was installed once and is in service, and nothing is kept."""
    site = node.site
    for host in (FIRST, SECOND):
        site.inside(host, "touch /run/go")
    node.opsctl("patch", "resume", rollout, "--yes")
    assert stages(node, rollout) == {FIRST: ("done", False), SECOND: ("done", False)}
    assert [site.version(host, PACKAGE) for host in (FIRST, SECOND)] == [version] * 2
    assert [site.installs(host, rollout) for host in (FIRST, SECOND)] == [1, 1]
    assert [server(site, FRONT, host) for host in (FIRST, SECOND)] == ["UP", "UP"]
    assert site.inside(CONTROL, f'python3 -c "{LEASES}"') == "0"


def test_a_control_node_that_loses_its_power_in_a_rollout_tells_of_it_by_itself_and_a_resume_ends_it(
    node: ControlNode,
) -> None:
    node.said("patch", "watchdog", "--into", "/etc/systemd/system", "--yes")
    timer = node.site.inside(CONTROL, "cd /etc/systemd/system && ls opsctl-*watchdog*.timer")
    node.site.inside(CONTROL, f"systemctl enable --quiet {timer}")
    version = f"{FIXED}.1"
    rollout = begin_and_wait_midway(node, version)
    lab.crash(node.site.fleet.name, CONTROL)
    lab.start(node.site.fleet.name, CONTROL)
    assert node.status(rollout) == "running"
    assert stages(node, rollout) == {FIRST: ("installing", True), SECOND: ("planned", False)}
    told = node.said("patch", "status", rollout)
    assert "stalled: its process is gone" in told
    assert f"to go on: opsctl patch resume {rollout}" in told
    # The boot has started the timer; its first look comes a minute after, and is taken now.
    watchdog = timer.replace(".timer", ".service")
    node.site.inside(CONTROL, f"systemctl is-active --quiet {timer} && ! systemctl start {watchdog}")
    said = f"journalctl --quiet -u {watchdog} -o cat"
    wait_for(lambda: f"{rollout}: stalled, last seen alive" in node.site.inside(CONTROL, said), "the journal has it")
    assert f"1 drained (ange.{FIRST}); run opsctl patch resume {rollout}" in node.site.inside(CONTROL, said)
    resumed_to_its_end(node, rollout, version)
    node.site.inside(CONTROL, f"systemctl start {watchdog} && systemctl disable --quiet --now {timer}")


def test_a_control_node_that_is_restarted_in_a_rollout_finishes_what_is_under_way_first_and_a_resume_ends_it(
    node: ControlNode,
) -> None:
    version = f"{FIXED}.2"
    rollout = begin_and_wait_midway(node, version)
    before = lab.boot_id(node.site.fleet.name, CONTROL)
    node.site.inside(CONTROL, "systemctl --no-block reboot")
    active = f"systemctl show --value -p ActiveState {detach.unit_of(rollout)}"
    wait_for(lambda: node.site.inside(CONTROL, active) == "deactivating", "systemd asks it to stop")
    node.site.inside(FIRST, "touch /run/go")
    wait_for(lambda: node.site.up_again(CONTROL, before), "it has started again", 120)
    assert stages(node, rollout) == {FIRST: ("done", False), SECOND: ("planned", False)}
    assert "interrupted: stopped by SIGTERM, as a shutdown of its machine sends it" in node.said(
        "patch", "status", rollout
    )
    alarm = node.said("patch", "watchdog", code=1)
    assert f"{rollout}: interrupted: stopped by SIGTERM" in alarm
    assert f"0 drained; run opsctl patch resume {rollout}" in alarm
    resumed_to_its_end(node, rollout, version)


def _units(node: ControlNode) -> str:
    """The unit files of starts that somebody waits for, and transient units that are loaded."""
    files = (
        "ls /etc/systemd/system/opsctl-patch-* /etc/systemd/system/multi-user.target.wants/opsctl-patch-* 2>/dev/null"
    )
    loaded = "systemctl list-units --plain --no-legend --state=active 'opsctl-patch-*'"
    return node.site.inside(CONTROL, f"{files}; {loaded}")


def _history(node: ControlNode) -> list[dict[str, object]]:
    found = node.opsctl("patch", "history")["history"]
    assert isinstance(found, list)
    return found
