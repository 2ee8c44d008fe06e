"""Tries to lock us out of real hosts: each one undoes the change by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import pytest

from opsctl import lab
from opsctl.ansible.runner import run_playbook
from opsctl.errors import HostError, Locked
from opsctl.model.rollout import HostPlan, HostState, Stage
from opsctl.model.run import HostRecap, RunEvent
from opsctl.provision.change import ProvisionChange
from opsctl.rollout.change import Claim
from opsctl.rollout.fence import Fence, Pace
from opsctl.ssh.session import hostside_script
from tests.integration.ground import Ground, ground, wait_until

pytestmark = pytest.mark.lab

GUARD = hostside_script("guard")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA nobody@example"
# What a mistake in a tenant's variables can look like, one a host.
MISTAKES = {
    "host-01": "ssh_other_lines: [Port 2222]\n",
    "host-02": "ssh_allow_groups: [adm]\n",
    "host-03": "firewall_management_networks: [203.0.113.0/24]\n",
    "host-04": f"users_accounts: [{{name: opsctl, automation: true, groups: [], keys: ['{KEY}']}}]\n",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("lockout"), lab.generic(4)) as found:
        yield found


def ask(place: Ground, name: str, action: str) -> dict[str, object]:
    """The guard's answer, asked in the host itself: ssh may be closed."""
    answer = place.inside(name, f"/usr/bin/python3 -I /var/lib/opsctl/guard/guard.py {action}")
    found = json.loads(answer)
    assert isinstance(found, dict)
    return found


def gets_in(place: Ground, name: str) -> bool:
    try:
        place.transport.fresh(place.host(name))
    except HostError:
        return False
    return True


def arm(place: Ground, name: str, seconds: int) -> object:
    arguments = {"action": "arm", "seconds": seconds, "script": GUARD, "token": "by-hand", "account": "opsctl"}
    return place.transport.run(place.host(name), GUARD, arguments, timeout=120)


def rearm(place: Ground, name: str, seconds: int) -> object:
    """Arms a host from within, as a second run would; whether the copy was kept."""
    program = (
        "import json, runpy; guard = runpy.run_path('/var/lib/opsctl/guard/guard.py');"
        f"print(json.dumps(guard['main']({{'action': 'arm', 'seconds': {seconds},"
        " 'script': open('/var/lib/opsctl/guard/guard.py').read()})['kept_copy']))"
    )
    return json.loads(place.inside(name, f'/usr/bin/python3 -I -c "{program}"'))


def test_hosts_that_a_mistake_locked_let_us_in_again(place: Ground) -> None:
    for name, text in MISTAKES.items():
        place.write(f"{place.host(name).tenant}/host_vars/{name}.yml", text)
    run = run_playbook(
        "provision",
        [place.host(name) for name in MISTAKES],
        transport=place.transport,
        inventory=place.inventory,
        settings=place.settings,
        extra_vars={"guard_seconds": 900, "guard_token": "locked", "guard_claims": place.claims},
        tags=["base", "users", "ssh", "firewall"],
    )
    for name, mistake in MISTAKES.items():
        assert run.outcome(place.host(name).key) == "changed", run.reason(place.host(name).key) + run.output
        assert not gets_in(place, name), f"{name} should be locked: {mistake}"
    for name in MISTAKES:
        assert ask(place, name, "status")["state"] == "armed"
        assert rearm(place, name, 3) is True  # the copy of the good state is kept; only the time is shortened
    for name in MISTAKES:
        wait_until(partial(gets_in, place, name), 120, f"{name} lets us in again")
        assert ask(place, name, "status")["state"] == "restored"
    assert ask(place, "host-01", "status")["undone"]


def test_a_restored_host_is_as_it_was_found(place: Ground) -> None:
    for name in MISTAKES:
        assert place.inside(name, "ls /etc/ssh/sshd_config.d") == "50-partner.conf\n"
        assert place.inside(name, "cat /etc/sudoers.d/opsctl") == "opsctl ALL=(ALL) NOPASSWD: ALL\n"
        assert place.inside(name, "nft list ruleset") == ""
        assert "nullok" in place.inside(name, "cat /etc/pam.d/common-auth")
        assert place.inside(name, "systemctl is-enabled nftables || true").strip() != "enabled"


def test_a_confirmed_change_stays(place: Ground) -> None:
    arm(place, "host-01", 900)
    place.inside("host-01", "echo '# kept' >> /etc/ssh/sshd_config")
    place.transport.fresh(place.host("host-01"))
    answer = place.transport.run(place.host("host-01"), GUARD, {"action": "confirm", "token": "by-hand"}, timeout=120)
    assert answer == {"state": "confirmed", "token": "by-hand"}
    assert place.inside("host-01", "systemctl is-active opsctl-guard.timer || true").strip() == "inactive"
    assert "# kept" in place.inside("host-01", "cat /etc/ssh/sshd_config")


def test_a_foreign_token_confirms_nothing(place: Ground) -> None:
    arm(place, "host-01", 60)
    answer = place.transport.run(place.host("host-01"), GUARD, {"action": "confirm", "token": "other"}, timeout=120)
    assert isinstance(answer, dict)
    assert answer["state"] == "refused"
    assert ask(place, "host-01", "status")["state"] == "armed"
    assert ask(place, "host-01", "confirm")["state"] == "confirmed"


def test_arming_again_keeps_the_copy_of_the_last_good_state(place: Ground) -> None:
    arm(place, "host-02", 60)
    place.inside("host-02", "rm /etc/sudoers.d/opsctl")
    assert rearm(place, "host-02", 3) is True
    wait_until(lambda: ask(place, "host-02", "status")["state"] == "restored", 120, "the guard acts")
    assert gets_in(place, "host-02")


def test_sudo_that_was_taken_away_comes_back(place: Ground) -> None:
    arm(place, "host-03", 900)
    place.inside(
        "host-03", "echo 'opsctl ALL=(ALL' > /etc/sudoers.d/opsctl; gpasswd -d opsctl ssh-login; usermod -L opsctl"
    )
    assert not gets_in(place, "host-03")
    assert rearm(place, "host-03", 3) is True
    wait_until(lambda: gets_in(place, "host-03"), 120, "host-03 lets us in again")


def test_an_armed_host_that_reboots_still_undoes_the_change(place: Ground) -> None:
    arm(place, "host-04", 900)
    place.inside("host-04", "rm -r /home/opsctl/.ssh")
    assert rearm(place, "host-04", 6) is True
    place.inside("host-04", "sync")
    lab.reboot(place.fleet.name, "host-04")
    assert ask(place, "host-04", "status")["state"] in ("armed", "restored")
    wait_until(lambda: gets_in(place, "host-04"), 120, "host-04 lets us in again")
    assert ask(place, "host-04", "status")["state"] == "restored"


def test_a_host_that_another_installation_works_on_is_not_armed(place: Ground) -> None:
    host = place.host("host-01")
    place.inside("host-01", "rm -f /var/lib/opsctl/fence.json")  # what the earlier tests left
    theirs = {"claim": {"claimant": "another", "installation": "node2/200", "token": 9, "claim_seconds": 600}}
    assert place.transport.run(host, hostside_script("fence"), theirs, timeout=120) == {"refused": "", "answer": None}
    run = run_playbook(
        "provision",
        [host],
        transport=place.transport,
        inventory=place.inventory,
        settings=place.settings,
        extra_vars={"guard_seconds": 60, "guard_token": "refused", "guard_claims": place.claims},
        tags=["guard"],
    )
    assert run.failed == (host.key,)
    assert "another installation of opsctl works on this host: another (node2/200)" in run.reason(host.key)
    place.inside("host-01", "test ! -e /var/lib/opsctl/guard/armed.json")


def test_a_batch_whose_host_another_installation_takes_is_stopped_before_it_could_lock_us_out(place: Ground) -> None:
    host, told = place.host("host-02"), list[RunEvent]()
    place.inside(host.name, "rm -f /var/lib/opsctl/fence.json")
    theirs = json.dumps({"claimant": "another", "installation": "node2/200", "token": 9, "at": 4e9, "seconds": 1})

    def on_event(event: RunEvent) -> None:
        if not told:
            place.inside(host.name, f"echo '{theirs}' >/var/lib/opsctl/fence.json")
        told.append(event)

    fence = Fence(place.transport, place.settings.id, pace=Pace(every=0.2))
    change = ProvisionChange(
        place.transport, place.inventory, place.settings, keep=lambda _run: None, on_event=on_event, fence=fence
    )
    claim = Claim(rollout="provision-1", token=7, installation="node1/100")
    item, state = HostPlan(host=host.key), HostState(host=host.key, stage=Stage.SILENCED, at=datetime.now(UTC))
    change.precheck(host, item, state, claim)
    with pytest.raises(Locked, match=r"since then another \(node2/200\) was at work here"):
        change.prepare([host], {host.key: claim})
    assert not any(isinstance(event, HostRecap) for event in told), "Ansible did not come to its end"
    place.inside(host.name, "test ! -e /var/lib/opsctl/guard/armed.json")
