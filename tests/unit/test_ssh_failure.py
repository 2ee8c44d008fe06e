"""What ssh's own words mean. Recorded from OpenSSH 9.2 against real hosts."""

import pytest

from opsctl.ssh.failure import Kind, classify

CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Someone could be eavesdropping on you right now (man-in-the-middle attack)!
It is also possible that a host key has just been changed.
The fingerprint for the ED25519 key sent by the remote host is
SHA256:DXQljoOmLuEXfDyFYv9EhungR9Br2e5nl3ziskXlUjw.
Host key for ange.ange-web1 has changed and you have requested strict checking.
Host key verification failed.
"""
UNKNOWN = """\
No ED25519 host key is known for ange.ange-web1 and you have requested strict checking.
Host key verification failed.
"""
OTHER_KIND = (
    "Unable to negotiate with 192.0.2.12 port 22: no matching host key type found. Their offer: ssh-ed25519\r\n"
)
BEHIND_A_JUMP_HOST = "Connection timed out during banner exchange\r\nConnection to UNKNOWN port 65535 timed out\r\n"
NOT_SSH = "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by 192.0.2.1 port 80\r\n"


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        (CHANGED, "changed-key"),
        (UNKNOWN, "unknown-key"),
        (OTHER_KIND, "unknown-key"),
        ("nobody@192.0.2.12: Permission denied (publickey,password).\r\n", "auth"),
        ("Received disconnect from 192.0.2.12 port 22:2: Too many authentication failures\r\n", "auth"),
        ("ssh: connect to host 192.0.2.12 port 22: Connection timed out\r\n", "timeout"),
        ("Connection timed out during banner exchange\r\nConnection to 192.0.2.12 port 22 timed out\r\n", "timeout"),
        ("Timeout, server 192.0.2.12 not responding.\r\n", "timeout"),
        (BEHIND_A_JUMP_HOST, "timeout"),
        ("ssh: connect to host 192.0.2.12 port 2: Connection refused\r\n", "refused"),
        ("ssh: connect to host 192.0.2.12 port 22: No route to host\r\n", "unreachable"),
        ("ssh: Could not resolve hostname nowhere.invalid: Name or service not known\r\n", "unreachable"),
        (NOT_SSH, "lost"),
        ("mux_client_request_session: read from master failed: Broken pipe\r\n", "lost"),
        ("something that nobody has seen yet\n", "other"),
        ("", "other"),
    ],
)
def test_each_failure_of_ssh_has_a_kind(stderr: str, kind: Kind) -> None:
    assert classify(stderr).kind == kind


def test_the_reason_quotes_ssh_and_the_hint_says_where_to_look() -> None:
    failure = classify("ssh: connect to host 192.0.2.12 port 2: Connection refused\r\n")
    assert failure.reason == "connection refused: ssh: connect to host 192.0.2.12 port 2: Connection refused"
    assert "sshd" in failure.hint


def test_a_refused_login_is_not_told_by_a_warning_beside_it() -> None:
    failure = classify("Warning: Permanently added something\nopsctl@192.0.2.12: Permission denied (publickey).\n")
    assert failure.detail.startswith("opsctl@192.0.2.12")
