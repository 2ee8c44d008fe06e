"""Every control on a hardened host: break exactly this setting and see this control fail, mend it and see it pass.

In each case all controls of the same area are judged, so that the test also sees what else is touched; `also` names
what must be.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from opsctl import lab
from opsctl.ansible.runner import run_playbook
from opsctl.compliance import catalogue as catalogues
from opsctl.compliance import expectations, profiles
from opsctl.compliance.assess import Order, assess
from opsctl.model.finding import Assessment, Catalogue, CheckResult, Profile
from opsctl.ssh.session import hostside_script
from tests.integration.ground import Ground, ground

pytestmark = pytest.mark.lab

HOST = "host-01"
ONE_PACKAGE = "/^Package: opslab-library$/,/^$/"
# What changes by itself: logs, running state, stamps of timers.
ELSEWHERE = ("/var/log", "/run", "/proc", "/sys", "/tmp", "/var/lib/systemd")
DROP_IN = "/etc/ssh/sshd_config.d/00-broken.conf"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One control: commands that break and mend it, a word of what is then observed, other controls it must touch."""

    control: str
    broken: str
    mended: str
    observed: str
    also: frozenset[str] = frozenset()


def sshd(control: str, line: str, observed: str) -> Case:
    """A setting that sshd reads first, and so the one that holds."""
    return Case(
        control=control,
        broken=f"umask 077; echo '{line}' > {DROP_IN}",
        mended=f"rm {DROP_IN}",
        observed=observed,
    )


CASES = (
    sshd("SSH-01", "PermitRootLogin yes", "permitrootlogin yes"),
    sshd("SSH-02", "PasswordAuthentication yes", "passwordauthentication yes"),
    sshd("SSH-03", "PermitEmptyPasswords yes", "permitemptypasswords yes"),
    sshd("SSH-06", "ClientAliveInterval 0", "clientaliveinterval 0"),
    sshd("SSH-07", "Ciphers aes256-ctr,aes128-cbc", "weak: aes128-cbc"),
    Case(
        control="SSH-10",
        broken="chmod 0644 /etc/ssh/sshd_config",
        mended="chmod 0600 /etc/ssh/sshd_config",
        observed="/etc/ssh/sshd_config root:root 644",
    ),
    sshd("SSH-12", "AllowGroups sudo", "allowed: ssh-login, sudo"),
    sshd("SSH-14", "AllowTcpForwarding yes", "allowtcpforwarding yes"),
    Case(
        control="USR-01",
        broken="echo 'toor:x:0:0::/nonexistent:/usr/sbin/nologin' >> /etc/passwd",
        mended="sed -i /^toor:/d /etc/passwd",
        observed="UID 0: root, toor",
    ),
    Case(
        control="USR-02",
        broken="sed -i 's/^games:[^:]*:/games::/' /etc/shadow",
        mended="sed -i 's/^games::/games:*:/' /etc/shadow",
        observed="with an empty password: games",
    ),
    Case(
        control="USR-05",
        broken="usermod --shell /bin/sh games",
        mended="usermod --shell /usr/sbin/nologin games",
        observed="games (/bin/sh)",
    ),
    Case(
        control="USR-12",
        broken="cd /etc/pam.d; cp -p common-auth /root/kept; sed -i 's/pam_unix.so/& nullok/' common-auth",
        mended="cp -p /root/kept /etc/pam.d/common-auth; rm /root/kept",
        observed="pam_unix.so nullok",
    ),
    Case(
        control="USR-16",
        broken="umask 337; echo 'Defaults:games !use_pty' > /etc/sudoers.d/zz-broken",
        mended="rm /etc/sudoers.d/zz-broken",
        observed="switched off: Defaults:games !use_pty",
    ),
    Case(
        control="USR-18",
        broken="umask 337; echo 'games ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/zz-broken",
        mended="rm /etc/sudoers.d/zz-broken",
        observed="games ALL=(ALL) NOPASSWD: ALL (/etc/sudoers.d/zz-broken)",
    ),
    Case(
        control="USR-21",
        broken="echo 'person:x:1999:1999::/nonexistent:/usr/sbin/nologin' >> /etc/passwd",
        mended="sed -i /^person:/d /etc/passwd",
        observed="not approved: person",
    ),
    Case(
        control="USR-22",
        broken="mkdir -p /root/.ssh; ssh-keygen -qt ed25519 -N '' -f /root/broken; "
        "cat /root/broken.pub >> /root/.ssh/authorized_keys",
        mended="rm /root/broken*; sed -i '$d' /root/.ssh/authorized_keys",
        observed="in /root/.ssh/authorized_keys",
    ),
    Case(
        control="PAT-01",
        broken="apt-get install -qq -y --allow-downgrades opslab-library=1.0-1",
        mended="apt-get install -qq -y opslab-library",
        observed="opslab-library 1.0-1+deb12u1",
    ),
    Case(
        control="PAT-02",
        broken="echo 'deb http://packages.example/debian bookworm main' > /etc/apt/sources.list.d/broken.list",
        mended="rm /etc/apt/sources.list.d/broken.list",
        observed="not approved: http://packages.example/debian bookworm main",
    ),
    Case(
        control="PAT-03",
        broken="echo 'APT::Get::AllowUnauthenticated \"true\";' > /etc/apt/apt.conf.d/zz-broken",
        mended="rm /etc/apt/apt.conf.d/zz-broken",
        observed="APT::Get::AllowUnauthenticated",
    ),
    Case(
        control="PAT-04",
        broken="touch -d '8 days ago' /var/lib/apt/lists /var/lib/apt/periodic/update-success-stamp",
        mended="touch /var/lib/apt/lists",
        observed="8.0 days old",
        also=frozenset({"PAT-01"}),  # whether updates wait cannot be told from old lists
    ),
    Case(
        control="PAT-07",
        broken="apt-mark hold opslab-library",
        mended="apt-mark unhold opslab-library",
        observed="held: opslab-library",
    ),
    Case(
        control="PAT-08",
        broken=f"sed -i '{ONE_PACKAGE}s/^Status: .*/Status: install ok unpacked/' /var/lib/dpkg/status",
        mended=f"sed -i '{ONE_PACKAGE}s/^Status: .*/Status: install ok installed/' /var/lib/dpkg/status",
        observed="opslab-library",
    ),
    Case(
        control="LOG-02",
        broken="printf '[Journal]\\nStorage=volatile\\n' > /etc/systemd/journald.conf.d/zz-broken.conf",
        mended="rm /etc/systemd/journald.conf.d/zz-broken.conf",
        observed="Storage=volatile",
    ),
    Case(
        control="LOG-03",
        broken="systemctl disable -q --now rsyslog",
        mended="systemctl enable -q --now rsyslog",
        observed="service disabled, inactive",
    ),
    Case(
        control="LOG-06",
        broken="touch /var/log/broken; chmod 0644 /var/log/broken",
        mended="rm /var/log/broken",
        observed="open to everyone: 644 broken",
    ),
    Case(
        control="FW-02",
        broken="systemctl disable -q nftables",
        mended="systemctl enable -q nftables",
        observed="service disabled, active",
    ),
    Case(
        control="FW-03",
        broken="nft chain inet opsctl forward '{ policy accept ; }'",
        mended="nft -f /etc/nftables.conf",
        observed="forward (hook forward): accept",
        also=frozenset({"FW-05"}),  # what is in force is no longer what is on disk
    ),
    Case(
        control="FW-05",
        broken="nft add rule inet opsctl input tcp dport 4444 accept",
        mended="nft -f /etc/nftables.conf",
        observed="1 only in force",
    ),
    Case(
        control="FW-06",
        broken="systemd-run -q --unit=broken --socket-property=ListenStream=7777 true",
        mended="systemctl stop broken.socket",
        observed="not approved: tcp/7777",
    ),
    Case(
        control="FW-07",
        broken="cp -p /etc/nftables.conf /root/kept; sed -i 's/iif \"lo\" accept/&; tcp dport 20-30 accept/' "
        "/etc/nftables.conf; nft -f /etc/nftables.conf",
        mended="cp -p /root/kept /etc/nftables.conf; rm /root/kept; nft -f /etc/nftables.conf",
        observed="tcp/22 is open to 0.0.0.0/0, ::/0",
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("controls"), lab.generic(1)) as found:
        found.write(
            "ange/group_vars/all.yml",
            "users_absent: [gammal-admin, konsult]\nusers_sudoers_absent: [gammal-admin]\n",
        )
        host = found.host(HOST)
        run = run_playbook(
            "provision",
            [host],
            transport=found.transport,
            inventory=found.inventory,
            settings=found.settings,
            extra_vars={"guard_seconds": 300, "guard_token": "test", "guard_claims": found.claims},
        )
        assert run.good, run.output
        found.transport.fresh(host)
        found.transport.run(host, hostside_script("guard"), {"action": "confirm", "token": "test"}, timeout=30)
        found.inside(HOST, "DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-remove dist-upgrade opslab-library")
        yield found


@cache
def shipped() -> tuple[Catalogue, Profile]:
    catalogue = catalogues.load()
    return catalogue, profiles.load("standard", catalogue)


def judge(place: Ground, *controls: str) -> Assessment:
    catalogue, standard = shipped()
    profile, left = profiles.narrow(standard, controls)
    order = Order(
        hosts=(place.host(HOST),), profile=profile, catalogue=catalogue, operator="test", selection={}, deselected=left
    )
    return assess(
        order,
        transport=place.transport,
        inventory=place.inventory,
        settings=place.settings,
        now=lambda: datetime.now(UTC),
    )


def neighbours(control: str) -> list[str]:
    return [case.control for case in CASES if case.control[:3] == control[:3]]


def by_control(assessment: Assessment) -> dict[str, CheckResult]:
    assert assessment.complete, assessment.faults
    return {result.control: result for result in assessment.results}


def told(results: dict[str, CheckResult]) -> dict[str, str]:
    return {name: f"{r.result}: {r.observed or r.reason}" for name, r in results.items() if r.result != "pass"}


def test_there_is_a_case_for_every_control_of_the_profile() -> None:
    chosen = [control.id for control in shipped()[1].controls]
    assert sorted(case.control for case in CASES) == sorted(chosen)
    assert len(chosen) == 30


def test_a_provisioned_host_passes_every_control(place: Ground) -> None:
    assert told(by_control(judge(place))) == {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.control)
def test_control_fails_when_its_setting_is_broken_and_passes_when_it_is_mended(place: Ground, case: Case) -> None:
    place.inside(HOST, case.broken)
    try:
        broken = by_control(judge(place, *neighbours(case.control)))
    finally:
        place.inside(HOST, case.mended)
    found = broken[case.control]
    assert found.result == "fail", (found.result, found.reason, found.observed)
    assert case.observed in found.observed
    assert found.expected
    assert found.evidence
    assert set(told(broken)) == {case.control, *case.also}, told(broken)
    mended = by_control(judge(place, case.control, *case.also))
    assert told(mended) == {}


def test_an_account_that_a_match_block_treats_apart_is_seen(place: Ground) -> None:
    place.inside(HOST, f"umask 077; printf 'Match User root\\n PermitRootLogin yes\\nMatch all\\n' > {DROP_IN}")
    try:
        found = by_control(judge(place, "SSH-01"))["SSH-01"]
    finally:
        place.inside(HOST, f"rm {DROP_IN}")
    assert found.result == "fail"
    assert found.observed == "permitrootlogin yes (for root from 192.0.2.1)"


def test_the_verdicts_are_the_same_with_and_without_learned_commands(place: Ground) -> None:
    batched = judge(place)
    (place.settings.state / "cache" / f"comply-commands-{os.geteuid()}.json").unlink()
    alone = judge(place)
    assert {piece.how for result in batched.results for piece in result.evidence} == {"batch"}
    assert "live" in {piece.how for result in alone.results for piece in result.evidence}
    assert [(r.control, r.result) for r in batched.results] == [(r.control, r.result) for r in alone.results]


def test_the_checks_say_the_same_under_plain_pytest_and_testinfra(place: Ground, tmp_path: Path) -> None:
    ours = judge(place)
    catalogue, profile = shipped()
    expected = expectations.document([place.host(HOST)], place.inventory, profile, catalogue)
    (tmp_path / "expectations.json").write_text(json.dumps(expected))
    checks = catalogues.folder()
    command = [
        *(
            sys.executable,
            "-m",
            "pytest",
            "-c",
            str(checks / "pytest.ini"),
            "-p",
            "no:cacheprovider",
            "-q",
            str(checks),
        ),
        *("--hosts", f"ssh://{place.host(HOST).key}", "--sudo", "--ssh-config", str(place.transport.config_file)),
        *("--opsctl-expectations", str(tmp_path / "expectations.json")),
        *("--opsctl-results", str(tmp_path / "results")),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stdout[-3000:]
    theirs = [json.loads(line) for line in (tmp_path / "results").read_text().splitlines()]
    assert {one["control"]: one["result"] for one in theirs} == {r.control: r.result for r in ours.results}
    digests = {piece.command: piece.sha256 for result in ours.results for piece in result.evidence}
    for one in theirs:
        for piece in one["evidence"]:
            # Some commands print a clock or sizes that move; those of sshd, accounts and rules do not.
            if one["control"][:3] in ("SSH", "USR"):
                assert piece["sha256"] == digests[piece["command"]], piece["command"]


def test_a_run_changes_nothing_on_the_host(place: Ground) -> None:
    left_out = " ".join(f"-path {path} -prune -o" for path in ELSEWHERE)
    state = (
        f"{{ find / -xdev {left_out} -printf '%p %m %U:%G %s %T@ %l\\n'; nft list ruleset; ss -Htuln; "
        "systemctl list-units --plain --no-legend --type=service | grep -v session; } | sort"
    )
    judge(place)
    before = place.inside(HOST, state)
    judge(place)
    after = place.inside(HOST, state)
    assert sorted(set(after.splitlines()) ^ set(before.splitlines())) == []


def test_a_missing_list_is_an_error_and_never_a_pass(place: Ground) -> None:
    bare = replace(
        place.inventory,
        tenants=tuple(
            replace(tenant, accounts=None, ssh_groups=None, package_sources=None, management_networks=None)
            for tenant in place.inventory.tenants
        ),
    )
    results = by_control(judge(replace(place, inventory=bare)))
    wanting = {name for name, result in results.items() if result.result == "error"}
    assert wanting == {"SSH-12", "USR-18", "USR-21", "USR-22", "PAT-02", "FW-07"}
    assert all("the inventory gives no" in results[name].reason for name in wanting)
