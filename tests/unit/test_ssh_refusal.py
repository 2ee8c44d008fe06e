"""What a person is told when a host is not reached: the host, the reason, both fingerprints, what to do."""

from collections.abc import Callable

import pytest

from opsctl.errors import HostKeyRefused, Unreachable
from opsctl.model.host import Host
from opsctl.ssh import refusal
from opsctl.ssh.channel import Ended
from opsctl.ssh.hostkeys import Key

HOST = Host(name="ange-db1", tenant="ange", address="192.0.2.21", role="database", platform="debian-12")
JUMP = Host(name="ange-lb1", tenant="ange", address="192.0.2.10", role="loadbalancer", platform="debian-12")
ED = Key(kind="ssh-ed25519", base64="AAAAC3NzaC1lZDI1NTE5AAAAIH/Sxinhm1mXfkn2HmCikqY9VnaaARdbXG6lEGZvieDt")
OTHER = Key(kind="ssh-ed25519", base64="AAAAC3NzaC1lZDI1NTE5AAAAIBikCek31nKkxThCSHJE9AdL18rH1ijpi4iue1HnBJDY")
RSA = Key(kind="ssh-rsa", base64="AAAAB3NzaC1yc2EAAAADAQABAAAAQQDExampleExampleExampleExample1")


def shows(*keys: Key) -> Callable[[str], Key | None]:
    return lambda kind: next((key for key in keys if key.kind == kind), None)


def silent(kind: str) -> Key | None:
    raise Unreachable(HOST.key, "no contact")


def ended(stderr: str = "", *, code: int | None = 255, why: str = "") -> Ended:
    return Ended(code=code, stdout=b"", stderr=stderr.encode(), why=why)


def test_without_an_approved_key_the_shown_one_is_told_and_how_to_approve() -> None:
    error = refusal.key_refused(HOST, [], shows(ED))
    assert isinstance(error, HostKeyRefused)
    assert ED.fingerprint in error.reason
    assert "opsctl host approve ange.ange-db1 --fingerprint" in error.hint


def test_another_key_is_told_with_both_fingerprints_and_a_warning() -> None:
    error = refusal.key_refused(HOST, [OTHER], shows(ED))
    assert isinstance(error, HostKeyRefused)
    assert ED.fingerprint in error.reason
    assert OTHER.fingerprint in error.reason
    assert "somebody else" in error.hint
    assert "--replace" in error.hint


def test_the_kind_that_was_approved_is_looked_at_first() -> None:
    error = refusal.key_refused(HOST, [RSA], shows(ED, RSA))
    assert error.reason.endswith(f"shown: {RSA}")


def test_a_host_that_shows_no_key_is_told_so() -> None:
    assert "no key that we know" in refusal.key_refused(HOST, [], shows()).reason


def test_a_host_without_approved_key_that_is_down_is_unreachable_not_refused() -> None:
    error = refusal.key_refused(HOST, [], silent)
    assert not isinstance(error, HostKeyRefused)
    assert "no key of it is approved yet" in error.reason
    assert isinstance(refusal.key_refused(HOST, [ED], silent), HostKeyRefused)


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("Connection timed out during banner exchange\nConnection to UNKNOWN port 65535 timed out", "no answer"),
        ("kex_exchange_identification: Connection closed\nConnection closed by UNKNOWN port 65535", "no connection"),
    ],
)
def test_behind_a_jump_host_the_way_is_named(stderr: str, reason: str) -> None:
    error = refusal.no_contact(HOST, ended(stderr), jump=JUMP, when_slow="")
    assert error.reason == f"{reason} from 192.0.2.21 port 22 through ange.ange-lb1"
    assert "ange.ange-lb1" in error.hint


def test_a_connection_that_ssh_no_longer_knows_is_no_answer() -> None:
    said = "kex_exchange_identification: Connection closed\nConnection closed by UNKNOWN port 65535"
    error = refusal.no_contact(HOST, ended(said), jump=None, when_slow="")
    assert error.reason == "no answer from 192.0.2.21 port 22"
    assert "firewall" in error.hint


GONE = "Connection closed by UNKNOWN port 65535"


@pytest.mark.parametrize(
    ("stderr", "never"),
    [
        (
            "mux_client_request_session: read from master failed: Broken pipe\nConnection closed by UNKNOWN port 65535",
            True,
        ),
        ("kex_exchange_identification: Connection closed\nConnection closed by UNKNOWN port 65535", True),
        ("mux_client_read_packet: read header failed\nConnection closed by UNKNOWN port 65535", False),
        ("mux_client_request_session: read from master failed: Broken pipe", False),
        ("Connection to 192.0.2.21 closed by remote host.", False),
    ],
)
def test_only_what_certainly_did_not_begin_may_be_asked_again(stderr: str, never: bool) -> None:
    assert refusal.never_began(stderr.encode()) is never


def test_the_time_limit_says_what_it_means() -> None:
    error = refusal.no_contact(HOST, ended(code=None, why="timeout"), jump=None, when_slow="unknown now")
    assert error.reason == "unknown now"
    assert "frozen" in error.hint


@pytest.mark.parametrize(
    ("stderr", "code", "reason"),
    [
        ("sudo: a password is required\n", 1, "sudo: a password is required"),
        ("bash: line 1: /usr/bin/python3: No such file or directory\n", 127, "Python 3 is missing"),
        ("", 137, "the script gave no answer (exit 137)"),
    ],
)
def test_a_host_that_is_reached_but_cannot_run_the_script_says_why(stderr: str, code: int, reason: str) -> None:
    assert reason in refusal.no_answer(HOST, ended(stderr, code=code)).reason


def test_only_a_refused_key_is_read_again() -> None:
    assert refusal.of_key(ended("Host key verification failed."))
    assert not refusal.of_key(ended("Connection refused"))
    assert not refusal.of_key(ended("Host key verification failed.", code=None, why="timeout"))
