"""The roles on real hosts: as found, provisioned, provisioned again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsctl import lab
from opsctl.ansible.runner import run_playbook
from opsctl.compliance import profiles
from opsctl.compliance.records import record
from opsctl.errors import Unreachable
from opsctl.model.run import PlaybookRun, TaskEnded
from opsctl.ssh.session import hostside_script
from tests.integration import control_cases_services, control_cases_system, judged
from tests.integration.control_cases_services import RECORD_CASES
from tests.integration.ground import Ground, ground

pytestmark = pytest.mark.lab

HOSTS = ("ange-lb1", "ange-web1", "ange-db1")
# The way to ange-db1, held to the profile `bastion` by the variables of docs/reference/profiles.md.
JUMP = "ange-lb1"
BASTION = {
    "ssh_max_auth_tries": "3",
    "ssh_login_grace_seconds": "30",
    "users_failures": "3",
    "users_idle_seconds": "600",
    "audit_immutable": "true",
}
# Bounds that the roles' defaults do not meet.
BOUNDS = ("SSH-04", "SSH-05", "USR-11", "USR-14")
# The last one is about GRUB, which no container boots by.
IN_NO_CONTAINER = {
    *(case.control for case in (*control_cases_system.NEEDS_A_VM, *control_cases_services.NEEDS_A_VM)), "FS-12"
}  # fmt: skip
# Everything below / that a role could touch: names, modes, owners and contents.
STATE = (
    "{ find /etc /home /root /usr/local /var/lib/opsctl -xdev -printf '%p %m %U:%G %l\\n' 2>/dev/null;"
    " find /etc /home /root -xdev -type f -exec sha256sum {} +; dpkg -l; systemctl list-unit-files --no-pager;"
    " find /var/log -type f -not -path '*/journal/*' -printf '%p %m\\n';"
    " nft list ruleset 2>/dev/null; } | grep -v /.ansible | sort"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("provision"), lab.only(lab.demo(), list(HOSTS))) as found:
        found.write(
            "ange/group_vars/all.yml", "users_absent: [gammal-admin, konsult]\nusers_sudoers_absent: [gammal-admin]\n"
        )
        found.write(f"ange/host_vars/{JUMP}.yml", "".join(f"{name}: {value}\n" for name, value in BASTION.items()))
        yield found


def provision(place: Ground, *names: str, check: bool = False, tags: tuple[str, ...] = ()) -> PlaybookRun:
    run = run_playbook(
        "provision",
        [place.host(name) for name in names],
        transport=place.transport,
        inventory=place.inventory,
        settings=place.settings,
        check=check,
        tags=tags,
        extra_vars={"guard_seconds": 900, "guard_token": "test", "guard_claims": place.claims},
    )
    for name in names:
        assert run.outcome(place.host(name).key) in ("ok", "changed"), run.reason(place.host(name).key) + run.output
    return run


def confirm(place: Ground, name: str) -> object:
    place.transport.fresh(place.host(name))
    script = hostside_script("guard")
    return place.transport.run(place.host(name), script, {"action": "confirm", "token": "test"}, timeout=120)


def test_check_mode_on_hosts_as_found_changes_nothing(place: Ground) -> None:
    before = {name: place.inside(name, STATE) for name in HOSTS}
    run = provision(place, *HOSTS, check=True)
    assert all(run.outcome(place.host(name).key) == "changed" for name in HOSTS), "it says what it would change"
    assert {name: place.inside(name, STATE) for name in HOSTS} == before


def test_provisioned_hosts_let_us_in_and_a_second_run_changes_nothing(place: Ground) -> None:
    first = provision(place, *HOSTS)
    assert set(first.changed) == {place.host(name).key for name in HOSTS}
    for name in HOSTS:
        assert confirm(place, name) == {"state": "confirmed", "token": "test"}
    second = provision(place, *HOSTS)
    changes = [e for e in second.events if isinstance(e, TaskEnded) and e.outcome == "changed"]
    assert changes == []
    assert second.good
    for name in HOSTS:
        confirm(place, name)


def test_nothing_has_failed_and_nothing_is_half_installed(place: Ground) -> None:
    for name in HOSTS:
        assert place.inside(name, "systemctl --failed --no-legend --plain") == ""
        assert place.inside(name, "dpkg --audit") == ""


def test_the_way_in_is_keys_of_approved_people_alone(place: Ground) -> None:
    for name in HOSTS:
        in_force = place.inside(name, "sshd -T").splitlines()
        assert {"passwordauthentication no", "permitrootlogin no", "allowgroups ssh-login"} <= set(in_force)
        assert "gammal-admin" not in place.inside(name, "cat /etc/passwd /etc/group /etc/sudoers.d/* /etc/subuid")
        assert "NOPASSWD" not in place.inside(name, "cat /etc/sudoers; ls /etc/sudoers.d").replace("opsctl", "")


def test_the_jump_host_forwards_to_the_hosts_behind_it_and_to_nothing_else(place: Ground) -> None:
    behind = place.host("ange-db1").address
    rules = place.inside("ange-lb1", "sshd -T -C user=opsctl,host=x,addr=127.0.0.1")
    assert f"permitopen {behind}:22" in rules
    assert "allowtcpforwarding local" in rules
    assert "allowtcpforwarding no" in place.inside("ange-lb1", "sshd -T -C user=ange-admin,host=x,addr=127.0.0.1")
    assert "allowtcpforwarding no" in place.inside("ange-web1", "sshd -T -C user=opsctl,host=x,addr=127.0.0.1")
    place.transport.fresh(place.host("ange-db1"))


def test_a_jump_host_provisioned_for_it_passes_the_profile_bastion_but_for_updates_that_wait(place: Ground) -> None:
    now = datetime.now(UTC)
    records = {case.name: record(f"a test: {case.name}", now, case.mended(now)) for case in RECORD_CASES}
    bastion = profiles.load("bastion", judged.shipped()[0])
    (host,) = profiles.hosts_of(bastion, [place.host(name) for name in HOSTS], place.inventory)
    assert host.name == JUMP
    results = judged.by_control(judged.judge(place, host=JUMP, profile=bastion, records=records))
    assert results.keys() == {control.id for control in bastion.controls}
    assert judged.told(results, IN_NO_CONTAINER).keys() == {"PAT-01"}, "the patching's, not the provisioning's"
    for control in ("SSH-04", "SSH-05", "SSH-14", "USR-11", "USR-14"):
        assert results[control].result == "pass", control
    standard = judged.by_control(judged.judge(place, *BOUNDS, host="ange-web1", profile=bastion))
    assert {result.result for result in standard.values()} == {"fail"}, "the roles' defaults are not enough for it"


def test_ansible_uses_the_shared_connection_and_opens_none_of_its_own(place: Ground) -> None:
    place.transport.open(place.host("ange-web1"))
    logins = "journalctl --sync; journalctl --no-pager -u ssh | grep -c 'Accepted publickey for opsctl' || true"
    before = place.inside("ange-web1", logins)
    provision(place, "ange-web1", tags=("base",))
    assert place.inside("ange-web1", logins) == before


def test_rules_added_by_hand_are_noticed_and_undone(place: Ground) -> None:
    place.inside("ange-web1", "nft add rule inet opsctl input tcp dport 8888 accept")
    run = provision(place, "ange-web1", tags=("firewall",))
    confirm(place, "ange-web1")
    assert [e.task for e in run.events if isinstance(e, TaskEnded) and e.outcome == "changed"] == [
        "Compare the live rules with the file",
        "Reload nftables",
    ]
    assert "8888" not in place.inside("ange-web1", "nft list ruleset")


def test_a_container_never_gets_a_time_service_that_runs(place: Ground) -> None:
    assert place.inside("ange-web1", "systemctl is-active chrony || true").strip() == "inactive"
    assert "0.se.pool.ntp.org" in place.inside("ange-web1", "cat /etc/chrony/chrony.conf")


def test_an_unreachable_host_is_told_apart_and_the_others_are_done(place: Ground) -> None:
    lab.break_(place.fleet.name, "ange-web1", "link")
    place.transport.forget(place.host("ange-web1"))
    try:
        run = run_playbook(
            "provision",
            [place.host("ange-web1"), place.host("ange-lb1")],
            transport=place.transport,
            inventory=place.inventory,
            settings=place.settings,
            tags=["base"],
        )
    finally:
        lab.mend(place.fleet.name, "ange-web1")
    assert run.unreachable == ("ange.ange-web1",)
    assert run.outcome("ange.ange-lb1") == "ok"
    assert not run.good


def test_only_unreachable_hosts_start_no_ansible_at_all(place: Ground) -> None:
    class Nowhere:
        config_file = Path("/nonexistent")

        def open(self, host: object) -> None:
            raise Unreachable("ange.ange-web1", "no route to host")

    run = run_playbook(
        "provision",
        [place.host("ange-web1")],
        transport=Nowhere(),
        inventory=place.inventory,
        settings=place.settings,
    )
    assert run.unreachable == ("ange.ange-web1",)
    assert run.reason("ange.ange-web1") == "make contact: no route to host"
    assert run.exit_code == 4
