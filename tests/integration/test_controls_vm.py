"""What no container can hold, on a virtual machine: the machine itself; controls of kernel, audit, time and mounts.

One machine, booted and hardened once. Each control is broken by its setting alone and seen to fail, then mended and
seen to pass, as in test_controls.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from opsctl import lab
from opsctl.model.finding import CheckResult
from tests.integration import control_cases_services, control_cases_system
from tests.integration.control_case import Case
from tests.integration.footprint import nothing_changes
from tests.integration.ground import Ground, ground
from tests.integration.judged import by_control, every, judge, provision, told

pytestmark = pytest.mark.lab
HOST = "vm-01"
# The roles whose settings no container takes; without KVM each task takes seconds, and the others are tested elsewhere.
ROLES = ("base", "time", "audit", "kernel", "filesystem")
LOCKED = "AUD-07"  # once its rules are locked, no other rule can be broken any more
CASES = sorted(
    (*control_cases_system.NEEDS_A_VM, *control_cases_services.NEEDS_A_VM), key=lambda case: case.control == LOCKED
)
UNLOCKED = [case.control for case in CASES if case.control != LOCKED]

# The audit's own log; what the agent that carries the test's own looks says of them; the socket on which chronyc(1) is
# answered comes and goes in chrony's folder.
WRITTEN_BY_THE_LOOK = ("/var/log/audit/audit.log", "/var/log/user.log", "/srv/logs", "/run/chrony")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The machine as it was found."""
    with ground(tmp_path_factory.mktemp("machine"), lab.with_machines(None, 1)) as found:
        yield found


@pytest.fixture(scope="module")
def place(machine: Ground) -> Ground:
    """The machine provisioned, with two time servers that its clock follows, and a file system for its logs."""
    servers = control_cases_services.TIME_SERVERS_OF_A_VM
    tenants = tuple(replace(tenant, time_servers=servers) for tenant in machine.inventory.tenants)
    found = replace(machine, inventory=replace(machine.inventory, tenants=tenants))
    found.inside(HOST, control_cases_services.SERVE_TIME)
    provision(found, *ROLES, guard_seconds=1800)
    found.inside(HOST, control_cases_system.LOGS_APART)
    found.inside(HOST, control_cases_services.AWAIT_TIME)
    return found


def judged(place: Ground, *controls: str) -> dict[str, CheckResult]:
    return by_control(judge(place, *controls, profile=every()))


def area(control: str) -> list[str]:
    return [case.control for case in CASES if case.control[:3] == control[:3] and case.control != LOCKED]


# --- the machine ------------------------------------------------------------------------------------------------------


def test_a_virtual_machine_has_its_own_kernel_clock_and_audit(machine: Ground) -> None:
    assert machine.inside(HOST, "uname -r").strip() != os.uname().release
    before = time.time()
    machine.inside(HOST, "date -s '2020-02-02' && sysctl -qw kernel.sysrq=0 && auditctl -s | grep 'enabled 1'")
    assert abs(time.time() - before) < 3600
    machine.inside(HOST, f"date -s @{time.time():.0f}")


def test_a_virtual_machine_is_found_as_a_container_is(machine: Ground) -> None:
    (status,) = lab.status(machine.fleet.name).hosts
    assert status.ssh
    assert machine.inside(HOST, "systemctl --failed --no-legend --plain") == ""
    shown = machine.inside(HOST, "ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    handed = dict(line.split() for line in machine.fleet.fingerprints_file.read_text().splitlines())
    assert handed[machine.host(HOST).key] == shown
    assert machine.inside(HOST, "ip -4 route show default; ip -6 route show default") == ""


# --- its controls -----------------------------------------------------------------------------------------------------


def test_a_provisioned_machine_passes_what_no_container_holds_and_the_look_changes_nothing_on_it(place: Ground) -> None:
    """Each command alone, as in a run that learns. Contents by their times: to read them all would take minutes."""
    with nothing_changes(place, HOST, logs=WRITTEN_BY_THE_LOOK, hashed=False):
        results = judged(place, *UNLOCKED)
    assert {piece.how for result in results.values() for piece in result.evidence} == {"live"}
    assert told(results) == {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.control)
def test_control_fails_when_its_setting_is_broken_and_passes_when_it_is_mended(place: Ground, case: Case) -> None:
    place.inside(HOST, case.broken)
    try:
        broken = judged(place, *{case.control, *area(case.control)})
    finally:
        place.inside(HOST, case.mended)
    found = broken[case.control]
    assert found.result == "fail", (found.result, found.reason, found.observed)
    assert case.observed in found.observed
    assert found.expected
    assert found.evidence
    assert set(told(broken)) == {case.control, *case.also}, told(broken)
    assert told(judged(place, case.control, *case.also)) == {}


# --- and back ---------------------------------------------------------------------------------------------------------


def test_a_virtual_machine_goes_back_to_how_it_was_found(machine: Ground) -> None:
    machine.inside(HOST, "echo changed > /root/note")
    before = lab.boot_id(machine.fleet.name, HOST)
    lab.restore(machine.fleet.name, HOST)
    assert lab.boot_id(machine.fleet.name, HOST) != before
    assert lab.execute(machine.fleet.name, HOST, ["cat", "/root/note"]).returncode != 0
