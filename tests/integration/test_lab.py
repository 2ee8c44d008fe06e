"""The lab itself: real hosts, two labs side by side, every fault and its mend, and nothing left afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opsctl import lab as labs
from opsctl.errors import LabError, Refused, UnknownName, UsageError
from opsctl.lab import Fleet, HostStatus, control, traces, units
from opsctl.lab.machine import labs as lab_names
from opsctl.lab.place import RUN, Place
from opsctl.lab.recipe import FIXED, OLD, OWN_PACKAGES
from tests.integration.owned import lab_name

pytestmark = pytest.mark.lab
WEB = "ange-web1"


def fresh_name() -> str:
    return lab_name()


def inside(lab: Fleet, host: str, command: str) -> str:
    done = labs.execute(lab.name, host, ["sh", "-c", command])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def now(lab: Fleet, name: str) -> HostStatus:
    return next(host for host in labs.status(lab.name).hosts if host.name == name)


def until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def opsctl(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "opsctl", "lab", *words]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, timeout=120)


def _kill(moment: Callable[[], bool], *words: str) -> None:
    """Starts opsctl and kills it at a moment."""
    command = [sys.executable, "-m", "opsctl", "lab", *words]
    with subprocess.Popen(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert until(lambda: moment() or process.poll() is not None, 60)
        process.kill()


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a lab that the test makes, taken down afterwards in any case."""
    chosen = fresh_name()
    try:
        yield chosen
    finally:
        labs.down(chosen)


@pytest.fixture
def mended(lab: Fleet) -> Iterator[Fleet]:
    try:
        yield lab
    finally:
        labs.mend(lab.name, WEB)


# --- hosts as found ---------------------------------------------------------------------------------------------------


def test_every_host_answers_and_none_has_a_failed_unit(lab: Fleet) -> None:
    for host in labs.status(lab.name).hosts:
        assert host.ssh, host
        assert host.pid1
        assert host.memory > 1 << 20
        assert inside(lab, host.name, "systemctl --failed --no-legend --plain") == ""


def test_hosts_are_as_their_former_operator_left_them(lab: Fleet) -> None:
    sshd = inside(lab, WEB, "sshd -T").splitlines()
    assert "passwordauthentication yes" in sshd
    assert "permitrootlogin without-password" in sshd
    assert not any(line.startswith("allowgroups") for line in sshd)
    for account in ("gammal-admin", "konsult", "opsctl"):
        assert inside(lab, WEB, f"ssh-keygen -l -f /home/{account}/.ssh/authorized_keys").endswith("(ED25519)")
    assert inside(lab, WEB, "systemctl is-enabled apt-daily.timer apt-daily-upgrade.timer") == "enabled\nenabled"
    assert "nullok" in inside(lab, WEB, "cat /etc/pam.d/common-auth")
    assert labs.execute(lab.name, WEB, ["id", "ange-admin"]).returncode != 0
    assert labs.execute(lab.name, WEB, ["systemctl", "cat", "prometheus-node-exporter"]).returncode != 0


def test_the_automation_logs_in_with_its_key_and_becomes_root(lab: Fleet) -> None:
    options = (
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    )
    command = ["ssh", *options, "-ni", str(lab.identity_file), f"{lab.user}@{lab.host(WEB).address}", "sudo -n id -u"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.stdout == "0\n", done.stderr


def test_the_fingerprints_that_are_handed_over_are_those_on_the_disks(lab: Fleet) -> None:
    handed = dict(line.split() for line in lab.fingerprints_file.read_text().splitlines())
    for host in lab.hosts:
        shown = inside(lab, host.name, "ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
        assert handed[host.key] == shown == host.fingerprint
    assert len(set(handed.values())) == len(lab.hosts)


def test_the_database_host_is_reached_through_its_jump_host_alone(lab: Fleet) -> None:
    database, jump = control.one(lab.name, "ange-db1"), control.one(lab.name, "ange-lb1")
    assert not database.answers(timeout=0.5)
    assert database.answers(through=jump)


def test_the_load_balancer_answers_with_a_web_hosts_page_and_takes_orders(lab: Fleet) -> None:
    # It asks its servers now and then whether they answer; one that was still starting is asked again.
    assert until(lambda: WEB in inside(lab, "ange-lb1", "curl -s http://127.0.0.1/"), 60)
    for order in ("disable server webb/ange-web1", "enable server webb/ange-web1"):
        talk = (
            "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock');"
            f"s.sendall(b'{order}\\n'); print(s.recv(99).decode().strip())"
        )
        assert labs.execute(lab.name, "ange-lb1", ["python3", "-c", talk]).stdout.strip() == ""


def test_real_security_updates_are_pending_beside_the_labs_own(lab: Fleet) -> None:
    pending = inside(lab, WEB, "apt-get -q update >/dev/null; apt-get -s dist-upgrade | grep ^Inst").splitlines()
    own = {line.split()[1]: line for line in pending if line.split()[1].startswith("opslab-")}
    assert set(own) == {package.name for package in OWN_PACKAGES} | {"opslab-extra"}
    for package in OWN_PACKAGES:
        assert f"[{OLD}] ({FIXED} Debian-Security:" in own[package.name]
    assert len(pending) > len(own)
    assert all("Debian-Security:" in line for line in pending)


def test_packages_that_roles_install_come_from_the_mirror(lab: Fleet) -> None:
    wanted = "rsyslog nftables chrony prometheus-node-exporter needrestart"
    assert "Inst prometheus-node-exporter" in inside(
        lab, WEB, f"apt-get -q update >/dev/null; apt-get -s install {wanted}"
    )


# --- nothing gets out ---------------------------------------------------------------------------------------------


def test_a_host_has_no_way_out(lab: Fleet) -> None:
    assert inside(lab, WEB, "ip -4 route show default; ip -6 route show default") == ""
    assert labs.execute(lab.name, WEB, ["ip", "route", "get", "192.0.2.1"]).returncode != 0
    # even with a default route of its own making: the bridge does not forward
    machine_side = lab.mirror.split("/")[2].split(":")[0]
    gone = inside(
        lab, WEB,
        f"ip route add default via {machine_side}; timeout 2 ping -c 1 -W 1 192.0.2.1 >/dev/null 2>&1 && echo OUT;"
        " ip route del default; true",
    )  # fmt: skip
    assert gone == ""
    forwarding = Path("/proc/sys/net/ipv4/conf", Place(name=lab.name).bridge, "forwarding")
    assert forwarding.read_text() == "0\n"


def test_packets_to_a_lab_that_is_gone_do_not_leave(lab: Fleet) -> None:
    routes = json.loads(subprocess.run(["ip", "-j", "route"], capture_output=True, text=True, check=True).stdout)
    behind = [route for route in routes if route["dst"] == lab.subnet and route.get("type") == "unreachable"]
    assert len(behind) == 1
    assert behind[0]["metric"] > 1000


def test_the_mirror_listens_on_the_bridge_alone(lab: Fleet) -> None:
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
    address = lab.mirror.removeprefix("http://")
    assert f" {address} " in listening
    assert f"0.0.0.0:{address.rpartition(':')[2]}" not in listening


# --- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", list(labs.FAULTS))
def test_a_fault_is_shown_and_mended(mended: Fleet, fault: str) -> None:
    labs.break_(mended.name, WEB, fault)
    assert now(mended, WEB).faults == (fault,)
    labs.mend(mended.name, WEB)
    assert now(mended, WEB).faults == ()
    assert now(mended, WEB).ssh


@pytest.mark.parametrize("fault", ["link", "ssh", "crash", "freeze"])
def test_a_host_with_this_fault_does_not_answer(mended: Fleet, fault: str) -> None:
    labs.break_(mended.name, WEB, fault)
    assert not now(mended, WEB).ssh
    assert now(mended, "ange-lb1").ssh


def test_a_full_disk_takes_not_one_byte_more(mended: Fleet) -> None:
    labs.break_(mended.name, WEB, "disk")
    assert labs.execute(mended.name, WEB, ["sh", "-c", "echo x >/var/tmp/one-byte"]).returncode != 0
    labs.mend(mended.name, WEB)
    assert labs.execute(mended.name, WEB, ["sh", "-c", "echo x >/var/tmp/one-byte"]).returncode == 0


def test_apt_finds_the_dpkg_lock_taken(mended: Fleet) -> None:
    labs.break_(mended.name, WEB, "dpkg-lock")
    done = labs.execute(mended.name, WEB, ["apt-get", "-y", "install", "opslab-library"])
    assert "Could not get lock /var/lib/dpkg/lock-frontend" in done.stderr
    labs.mend(mended.name, WEB)
    assert labs.execute(mended.name, WEB, ["apt-get", "-y", "install", "opslab-library"]).returncode == 0


def test_a_slow_host_gets_a_twentieth_of_a_processor(mended: Fleet) -> None:
    """The share of a processor that its work gets: other work beside it makes that smaller, never larger."""
    work = (
        "import time; began, used = time.monotonic(), time.process_time()\n"
        "while time.process_time() - used < 0.2: pass\n"
        "print(0.2 / (time.monotonic() - began))"
    )
    labs.break_(mended.name, WEB, "slow")
    command = ["systemd-run", "--quiet", "--wait", "--collect", "--pipe", "python3", "-c", work]
    assert float(labs.execute(mended.name, WEB, command).stdout) < 0.1


def test_a_fault_that_there_is_not_is_refused(lab: Fleet) -> None:
    with pytest.raises(UsageError, match="flood"):
        labs.break_(lab.name, WEB, "flood")
    with pytest.raises(UnknownName, match="nobody"):
        labs.break_(lab.name, "nobody", "link")


# --- power and disks --------------------------------------------------------------------------------------------------


def test_a_reboot_is_real(lab: Fleet) -> None:
    before = labs.boot_id(lab.name, WEB)
    assert labs.boot_id(lab.name, WEB) == before
    labs.reboot(lab.name, WEB)
    assert labs.boot_id(lab.name, WEB) != before
    assert now(lab, WEB).ssh


def test_a_command_on_a_host_that_is_off_is_a_clear_error(mended: Fleet) -> None:
    labs.crash(mended.name, WEB)
    with pytest.raises(LabError, match="is off") as error:
        labs.execute(mended.name, WEB, ["true"])
    assert "lab mend" in error.value.hint


def test_a_disk_goes_back_to_a_snapshot_and_to_how_it_was_found(as_found: Fleet) -> None:
    inside(as_found, WEB, "rm -r /etc/cron.d; echo changed >/root/note")
    labs.snapshot(as_found.name, WEB, "changed")
    labs.restore(as_found.name, WEB)
    assert inside(as_found, WEB, "ls /etc/cron.d /root | grep -c -e verksamhet -e note") == "1"
    labs.restore(as_found.name, WEB, "changed")
    assert inside(as_found, WEB, "cat /root/note; ls -d /etc/cron.d 2>/dev/null; true") == "changed"
    shown = inside(as_found, WEB, "ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    assert shown == as_found.host(WEB).fingerprint
    with pytest.raises(UnknownName, match="never"):
        labs.restore(as_found.name, WEB, "never")


# --- two labs, and none -----------------------------------------------------------------------------------------------


def test_a_published_version_is_this_labs_alone(lab: Fleet, name: str) -> None:
    other = labs.up(name, labs.generic(1))
    labs.publish(other.name, "opslab-library", "1.0-1+deb12u7")
    policy = "apt-get -q update >/dev/null; apt-cache policy opslab-library"
    assert "Candidate: 1.0-1+deb12u7" in inside(other, "host-01", policy)
    assert f"Candidate: {FIXED}" in inside(lab, WEB, policy)
    with pytest.raises(UnknownName, match="openssl"):
        labs.publish(other.name, "openssl", "1")


def test_two_labs_stand_side_by_side_and_down_takes_only_its_own(lab: Fleet, name: str) -> None:
    other = labs.up(name, labs.generic(2))
    assert other.subnet != lab.subnet
    assert all(host.ssh for host in labs.status(name).hosts)
    assert {name, lab.name} <= {one.name for one in labs.control.overview() if one.whole}
    Place(name=name).description.write_text('{"made": "by another version"}')
    assert {one.name: one.whole for one in labs.control.overview() if one.name in (name, lab.name)} == {
        name: False,
        lab.name: True,
    }
    assert labs.down(name)
    assert traces.of(Place(name=name), other.subnet) == ()
    assert name not in lab_names(RUN)
    assert all(host.ssh for host in labs.status(lab.name).hosts)
    assert not labs.down(name)


def test_up_on_a_standing_lab_boots_what_is_off_and_refuses_another_fleet(name: str) -> None:
    first = labs.up(name, labs.generic(2))
    labs.crash(name, "host-02")
    assert labs.up(name, labs.generic(2)) == first
    assert all(host.ssh for host in labs.status(name).hosts)
    with pytest.raises(Refused, match="stands with other hosts"):
        labs.up(name, labs.generic(3))


MOMENTS: dict[str, Callable[[Place], bool]] = {
    "the folder": lambda place: place.folder.exists(),
    "the intent": lambda place: place.intent.exists(),
    "the bridge": lambda place: Path("/sys/class/net", place.bridge).exists(),
    "the mirror": lambda place: (place.mirror / "debian-security").exists(),
    "the first disk": lambda place: place.root("host-01").is_mount(),
    "the last disk": lambda place: place.root("host-03").is_mount(),
    "the first host": lambda place: units.Unit(lab=place.name, name="host-01").runs(),
    "the last host": lambda place: units.Unit(lab=place.name, name="host-03").runs(),
    "the last host's systemd": lambda place: units.Unit(lab=place.name, name="host-03").leader() is not None,
}


@pytest.mark.parametrize("moment", list(MOMENTS))
def test_nothing_stays_of_a_start_that_was_killed(name: str, moment: str) -> None:
    place = Place(name=name)
    _kill(lambda: MOMENTS[moment](place), "up", "--name", name, "--hosts", "3")
    subnet = json.loads(place.intent.read_text())["subnet"] if place.intent.exists() else ""
    labs.down(name)
    assert traces.of(place, subnet) == ()
    assert not place.lock.exists()
    assert name not in lab_names(RUN)


def test_a_start_after_a_killed_one_says_so_and_works(name: str) -> None:
    place = Place(name=name)
    _kill(lambda: place.root("host-02").is_mount(), "up", "--name", name, "--hosts", "3")
    said: list[str] = []
    labs.up(name, labs.generic(3), say=said.append)
    assert "did not end" in said[0]
    assert all(host.ssh for host in labs.status(name).hosts)


def test_the_command_line_boots_shows_and_takes_down(name: str) -> None:
    up = opsctl("up", "--name", name, "--only", "ange-web1")
    assert up.returncode == 0, up.stderr
    assert "ange-web1" in up.stdout
    shown = opsctl("status", "--name", name, "--output", "json")
    assert shown.returncode == 0
    document = json.loads(shown.stdout)
    assert document["outcome"] == "ok"
    assert [host["host"] for host in document["hosts"]] == ["ange-web1"]
    ran = opsctl("exec", "--name", name, "ange-web1", "--", "sh", "-c", "hostname; exit 7")
    assert (ran.returncode, ran.stdout) == (7, "ange-web1\n")
    assert opsctl("break", "--name", name, "ange-web1", "ssh").returncode == 0
    assert opsctl("status", "--name", name).returncode == 1
    assert opsctl("mend", "--name", name, "ange-web1").returncode == 0
    assert opsctl("down", "--name", name).returncode == 0
    assert traces.of(Place(name=name)) == ()
