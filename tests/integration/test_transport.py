"""The shared connection on real hosts: trust, sharing, jump hosts, and an end in time whatever a host does."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from opsctl import lab
from opsctl.config import Settings
from opsctl.errors import HostFailed, HostKeyRefused, OpsctlError, Unreachable
from opsctl.model.host import Host
from opsctl.ssh.hostkeys import Pins
from opsctl.ssh.session import Transport, close_shared
from tests.integration.ground import Ground, ground

pytestmark = pytest.mark.lab
WEB1, DB1, LB1, MON1 = "ange-web1", "ange-db1", "ange-lb1", "sundsvall-mon1"
WHO = "import os\ndef main(arguments):\n    return {'uid': os.getuid(), **arguments}\n"
SLEEP = "import time\ndef main(arguments):\n    time.sleep(60)\n    return {}\n"


@pytest.fixture(name="hosts", scope="module")
def _hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Two hosts that are reached directly, a jump host, and one behind it."""
    plan = lab.only(lab.demo(), [WEB1, DB1, MON1])
    with ground(tmp_path_factory.mktemp("transport"), plan) as made:
        yield made


@pytest.fixture(name="transport")
def _transport(hosts: Ground) -> Iterator[Transport]:
    """A transport with short patience; nothing is open before, and nothing stays open."""
    settings = patient(hosts.settings, 3)
    close_shared(settings)
    with Transport(hosts.inventory, hosts.transport.pins, settings) as made:
        yield made
    close_shared(settings)


def patient(settings: Settings, seconds: int) -> Settings:
    return replace(settings, values={**settings.values, "ssh.connect_timeout": seconds})


def logins(hosts: Ground, name: str) -> int:
    """How many ssh logins the host has seen since it booted."""
    return int(
        hosts.inside(name, "journalctl --sync; journalctl -q -b -t sshd -g '^Accepted publickey' -o cat | wc -l")
    )


@contextmanager
def broken(hosts: Ground, name: str, fault: str) -> Iterator[None]:
    lab.break_(hosts.fleet.name, name, fault)
    try:
        yield
    finally:
        lab.mend(hosts.fleet.name, name)


def test_a_script_runs_as_root_and_answers(hosts: Ground, transport: Transport) -> None:
    assert transport.run(hosts.host(WEB1), WHO, {"name": "Ånge"}, timeout=60) == {"uid": 0, "name": "Ånge"}


def test_ten_scripts_and_plain_ssh_share_one_connection(hosts: Ground, transport: Transport) -> None:
    web1 = hosts.host(WEB1)
    before = logins(hosts, WEB1)
    for number in range(10):
        assert transport.run(web1, WHO, {"n": number}, timeout=60) == {"uid": 0, "n": number}
    command = ["ssh", "-nF", str(transport.config_file), "--", transport.alias(web1), "echo shared"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "shared\n"
    assert logins(hosts, WEB1) == before + 1


def test_many_threads_at_once_open_one_connection(hosts: Ground, transport: Transport) -> None:
    web1 = hosts.host(WEB1)
    before = logins(hosts, WEB1)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: transport.run(web1, WHO, {"n": n}, timeout=120), range(16)))
    assert answers == [{"uid": 0, "n": n} for n in range(16)]
    assert logins(hosts, WEB1) == before + 1


def test_a_later_command_uses_the_connection_of_an_earlier_one(hosts: Ground, transport: Transport) -> None:
    transport.run(hosts.host(WEB1), WHO, {}, timeout=60)
    before = logins(hosts, WEB1)
    with Transport(hosts.inventory, transport.pins, transport.settings) as later:
        later.run(hosts.host(WEB1), WHO, {}, timeout=60)
    assert logins(hosts, WEB1) == before


def test_a_host_that_lost_its_power_answers_once_it_is_back(hosts: Ground, transport: Transport) -> None:
    """The connection to its earlier boot still seems to stand: nothing of its end came through."""
    web1 = hosts.host(WEB1)
    for number in range(3):
        assert transport.run(web1, WHO, {"n": number}, timeout=60) == {"uid": 0, "n": number}
        power_cut(hosts, WEB1)
    assert transport.run(web1, WHO, {}, timeout=60) == {"uid": 0}


def power_cut(hosts: Ground, name: str) -> None:
    """Off and on again; the cut link keeps the end of its connections from us."""
    lab.break_(hosts.fleet.name, name, "link")
    lab.crash(hosts.fleet.name, name)
    lab.mend(hosts.fleet.name, name)


def test_behind_a_jump_host_that_lost_its_power_hosts_answer_again(hosts: Ground, transport: Transport) -> None:
    behind = hosts.host(DB1)
    (jump,) = hosts.inventory.jumps(behind)
    for number in range(3):
        assert transport.run(behind, WHO, {"n": number}, timeout=60) == {"uid": 0, "n": number}
        power_cut(hosts, jump.name)
        assert transport.run(behind, WHO, {"n": number}, timeout=60) == {"uid": 0, "n": number}
        power_cut(hosts, jump.name)
        transport.forget(behind)
        transport.fresh(behind)
        power_cut(hosts, jump.name)
        transport.open(behind)


def test_of_many_threads_behind_a_jump_host_that_lost_its_power_none_gives_up(
    hosts: Ground, transport: Transport
) -> None:
    behind = hosts.host(DB1)
    (jump,) = hosts.inventory.jumps(behind)
    transport.open(behind)
    power_cut(hosts, jump.name)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: transport.fresh(behind), range(8))) == [None] * 8


def test_ssh_itself_opens_a_host_anew_that_lost_its_power(hosts: Ground, transport: Transport) -> None:
    """As Ansible does it, for which a command opens the connection and no more."""
    web1 = hosts.host(WEB1)
    for _ in range(3):
        transport.open(web1)
        power_cut(hosts, WEB1)
        transport.open(web1)
        command = ["ssh", "-nF", str(transport.config_file), "--", transport.alias(web1), "echo well"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "well\n"


def test_a_host_behind_a_jump_host_is_reached_through_it(hosts: Ground, transport: Transport) -> None:
    db1 = hosts.host(DB1)
    direct = ["ssh", "-nF", str(transport.config_file), "-o", "ProxyJump=none", "-o", "ControlPath=none", "--"]
    assert subprocess.run([*direct, transport.alias(db1), "true"], capture_output=True, check=False).returncode == 255
    before = logins(hosts, LB1)
    assert transport.run(db1, WHO, {}, timeout=60) == {"uid": 0}
    transport.forget(db1)
    assert transport.run(db1, WHO, {}, timeout=60) == {"uid": 0}
    assert logins(hosts, LB1) == before + 1


def test_a_fresh_login_is_really_new(hosts: Ground, transport: Transport) -> None:
    web1 = hosts.host(WEB1)
    transport.run(web1, WHO, {}, timeout=60)
    before = logins(hosts, WEB1)
    transport.fresh(web1)
    transport.fresh(web1)
    assert logins(hosts, WEB1) == before + 2


def test_a_fresh_login_fails_where_only_the_old_connection_still_works(hosts: Ground, transport: Transport) -> None:
    web1 = hosts.host(WEB1)
    transport.run(web1, WHO, {}, timeout=60)
    hosts.inside(WEB1, "systemctl stop ssh.socket ssh.service 2>/dev/null; systemctl stop ssh.service")
    try:
        assert transport.run(web1, WHO, {}, timeout=60) == {"uid": 0}
        with pytest.raises(Unreachable, match="refused"):
            transport.fresh(web1)
    finally:
        hosts.inside(WEB1, "systemctl start ssh.service")


def test_a_fresh_login_fails_without_sudo(hosts: Ground, transport: Transport) -> None:
    web1 = hosts.host(WEB1)
    hosts.inside(WEB1, "mv /etc/sudoers.d/opsctl /root/opsctl.sudoers")
    try:
        with pytest.raises(HostFailed, match="password is required") as caught:
            transport.fresh(web1)
        assert "sudo" in caught.value.hint
    finally:
        hosts.inside(WEB1, "mv /root/opsctl.sudoers /etc/sudoers.d/opsctl")


def test_without_an_approved_key_nothing_connects(hosts: Ground, transport: Transport) -> None:
    before = logins(hosts, WEB1)
    with Transport(hosts.inventory, Pins(), transport.settings) as stranger:
        for attempt in (lambda h: stranger.run(h, WHO, {}, timeout=60), stranger.fresh, stranger.open):
            with pytest.raises(HostKeyRefused, match="no key is approved") as caught:
                attempt(hosts.host(WEB1))
            assert hosts.fleet.host(WEB1).fingerprint in caught.value.reason
            assert "host approve" in caught.value.hint
        found = stranger.run_all(hosts.inventory, WHO, {}, timeout=60)
        assert all(isinstance(answer, HostKeyRefused) for answer in found.values())
        plain = ["ssh", "-nF", str(stranger.config_file), "--", stranger.alias(hosts.host(WEB1)), "true"]
        assert subprocess.run(plain, capture_output=True, check=False).returncode == 255
    assert logins(hosts, WEB1) == before


def test_another_key_than_the_approved_one_is_refused_with_both_fingerprints(
    hosts: Ground, transport: Transport
) -> None:
    web1, mon1 = hosts.host(WEB1), hosts.host(MON1)
    wrong = transport.pins.with_keys(web1.key, transport.pins.of(mon1.key), replace=True)
    # An open connection of an earlier trust is no way around it.
    transport.run(web1, WHO, {}, timeout=60)
    with Transport(hosts.inventory, wrong, transport.settings) as deceived:
        for attempt in (lambda h: deceived.run(h, WHO, {}, timeout=60), deceived.fresh):
            with pytest.raises(HostKeyRefused) as caught:
                attempt(web1)
            assert hosts.fleet.host(WEB1).fingerprint in caught.value.reason
            assert hosts.fleet.host(MON1).fingerprint in caught.value.reason
            assert "--replace" in caught.value.hint


def test_a_jump_host_with_another_key_is_refused_for_the_hosts_behind_it(hosts: Ground, transport: Transport) -> None:
    wrong = transport.pins.with_keys(hosts.host(LB1).key, transport.pins.of(hosts.host(MON1).key), replace=True)
    refused = pytest.raises(HostKeyRefused, match=f"jump host ange.{LB1}")
    with Transport(hosts.inventory, wrong, transport.settings) as deceived, refused:
        deceived.run(hosts.host(DB1), WHO, {}, timeout=60)


def test_one_host_that_is_gone_costs_only_itself(hosts: Ground, transport: Transport) -> None:
    with broken(hosts, WEB1, "link"):
        found = transport.run_all(hosts.inventory, WHO, lambda host: {"name": host.name}, timeout=60)
    assert list(found) == [host.key for host in hosts.inventory]
    gone = found.pop(hosts.host(WEB1).key)
    assert isinstance(gone, Unreachable)
    assert found == {host.key: {"uid": 0, "name": host.name} for host in hosts.inventory if host.name != WEB1}


def test_a_frozen_host_is_given_up_in_time(hosts: Ground, transport: Transport) -> None:
    """TCP connects and no banner comes: ssh alone would wait on."""
    with broken(hosts, WEB1, "freeze"):
        began = time.monotonic()
        for attempt in (lambda h: transport.run(h, WHO, {}, timeout=60), transport.fresh):
            with pytest.raises(Unreachable, match="no answer in time"):
                attempt(hosts.host(WEB1))
        assert time.monotonic() - began < 50


def test_a_frozen_jump_host_is_given_up_in_time_for_hosts_behind_it(hosts: Ground, transport: Transport) -> None:
    with broken(hosts, LB1, "freeze"):
        began = time.monotonic()
        with pytest.raises(Unreachable, match=f"jump host ange.{LB1}"):
            transport.run(hosts.host(DB1), WHO, {}, timeout=60)
        assert time.monotonic() - began < 50


def test_a_host_that_freezes_while_a_script_runs_is_given_up_after_the_limit(
    hosts: Ground, transport: Transport
) -> None:
    web1 = hosts.host(WEB1)
    transport.open(web1)
    with broken(hosts, WEB1, "freeze"), pytest.raises(Unreachable, match="what runs there is unknown"):
        transport.run(web1, WHO, {}, timeout=3)
    assert transport.run(web1, WHO, {}, timeout=60) == {"uid": 0}


def test_after_a_power_cut_the_dead_connection_is_replaced(hosts: Ground, transport: Transport) -> None:
    web1 = hosts.host(WEB1)
    transport.run(web1, WHO, {}, timeout=60)
    lab.crash(hosts.fleet.name, WEB1)
    lab.start(hosts.fleet.name, WEB1)
    transport.forget(web1)
    assert transport.run(web1, WHO, {}, timeout=60) == {"uid": 0}


def test_a_connection_that_ended_between_two_scripts_is_opened_again(hosts: Ground, transport: Transport) -> None:
    web1 = hosts.host(WEB1)
    transport.run(web1, WHO, {}, timeout=60)
    assert close_shared(transport.settings) == 1
    assert transport.run(web1, WHO, {}, timeout=60) == {"uid": 0}


def test_noise_of_login_shells_and_sudo_is_not_taken_for_an_answer(hosts: Ground, transport: Transport) -> None:
    hosts.inside(
        WEB1, "echo 'echo Welcome; echo {}' > ~opsctl/.bashrc; echo 'Defaults lecture=always' > /etc/sudoers.d/x"
    )
    try:
        assert transport.run(hosts.host(WEB1), WHO, {}, timeout=60) == {"uid": 0}
    finally:
        hosts.inside(WEB1, "rm ~opsctl/.bashrc /etc/sudoers.d/x")


def test_leaving_the_transport_ends_what_still_waits(hosts: Ground, transport: Transport) -> None:
    caught: list[OpsctlError] = []

    def wait() -> None:
        try:
            transport.run(hosts.host(WEB1), SLEEP, {}, timeout=60)
        except OpsctlError as error:
            caught.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    transport.open(hosts.host(WEB1))
    transport.__exit__()
    waiting.join(timeout=60)
    assert not waiting.is_alive()
    assert "stopped" in str(caught)


def test_after_an_interrupt_the_same_transport_still_cleans_up(hosts: Ground, transport: Transport) -> None:
    """Ctrl-C ends what waits, also while a frozen host is being connected to; to undrain must still be possible."""

    def interrupt(host: Host, answer: object) -> object:
        if host.name == MON1:
            raise KeyboardInterrupt
        return answer

    slow = "import time\ndef main(arguments):\n    time.sleep(arguments['seconds'])\n    return {}\n"
    with broken(hosts, LB1, "freeze"):
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            transport.run_all(
                hosts.inventory,
                slow,
                lambda host: {"seconds": 1 if host.name == MON1 else 60},
                timeout=90,
                then=interrupt,
            )
        assert time.monotonic() - began < 50
    assert transport.run(hosts.host(WEB1), WHO, {}, timeout=60) == {"uid": 0}


def test_closing_leaves_no_socket_and_no_process(hosts: Ground, transport: Transport) -> None:
    for host in hosts.inventory:
        transport.open(host)
    assert close_shared(transport.settings) == len(hosts.inventory)
    assert list(transport.access.sockets.iterdir()) == []

    def ours() -> list[str]:
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = entry.read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(transport.config_file.parent).encode() in line:
                found.append(line.decode())
        return found

    deadline = time.monotonic() + 60
    while ours() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ours() == []
