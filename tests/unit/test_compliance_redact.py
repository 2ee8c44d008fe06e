"""What evidence loses before it is kept: secrets, and data about people that no control needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.compliance.redact import redacted

YESCRYPT = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (f"root:{YESCRYPT}:19800:0:99999:7:::", "root:[redacted]:19800:0:99999:7:::"),
        (f"anna:!{YESCRYPT}:19800::::::", "anna:![redacted]:19800::::::"),
        ("old:Ab3cD5fG7hJ9k:19800:0:::::", "old:[redacted]:19800:0:::::"),
        ("md5:$1$abc$0123456789abcdefghij./:1:::::", "md5:[redacted]:1:::::"),
        ("daemon:*:19800:0:99999:7:::", "daemon:*:19800:0:99999:7:::"),
        ("locked:!*:19800:0:99999:7:::", "locked:!*:19800:0:99999:7:::"),
        ("empty::19800:0:99999:7:::", "empty::19800:0:99999:7:::"),
        ("USR-02: not empty", "USR-02: not empty"),
        ("anna:x:1000:1000:Anna A,room 3,0601234:/home/a:/bin/sh", "anna:x:1000:1000:[redacted]:/home/a:/bin/sh"),
        ("anna:x:1000:1000:,,,:/home/anna:/bin/bash", "anna:x:1000:1000:,,,:/home/anna:/bin/bash"),
        ("sshd:x:100:65534:ssh daemon:/run/sshd:/bin/false", "sshd:x:100:65534:ssh daemon:/run/sshd:/bin/false"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA anna@home", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA [redacted]"),
        (
            "256 SHA256:Rv4SVmdjXaPGjToCNahjs4/nKSTgh3x8EPRkCmkTyC8 anna laptop (ED25519)",
            "256 SHA256:Rv4SVmdjXaPGjToCNahjs4/nKSTgh3x8EPRkCmkTyC8 [redacted] (ED25519)",
        ),
        ("Mail to anna.a@ange.example now", "Mail to [redacted] now"),
        ("ciphers chacha20-poly1305@openssh.com,aes256-ctr", "ciphers chacha20-poly1305@openssh.com,aes256-ctr"),
        ("curve25519-sha256@libssh.org", "curve25519-sha256@libssh.org"),
        ("deb https://anna:geheim@mirror.example/debian", "deb https://[redacted]@mirror.example/debian"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb\n-----END OPENSSH PRIVATE KEY-----", "[redacted]"),
        ("permitrootlogin no", "permitrootlogin no"),
        ("file:/etc/ssh/sshd", "file:/etc/ssh/sshd"),
        ("path:/var/log/wtmp:root", "path:/var/log/wtmp:root"),
        ("PASS_MAX_DAYS 365", "PASS_MAX_DAYS 365"),
    ],
)  # fmt: skip
def test_secrets_and_personal_data_go_and_what_a_finding_needs_stays(line: str, kept: str) -> None:
    assert redacted(line) == kept
    assert redacted(f"before\n{line}\nafter") == f"before\n{kept}\nafter"


def test_a_hash_that_the_excerpt_cut_short_goes_too() -> None:
    for length in range(8, len(YESCRYPT)):
        assert YESCRYPT[7:length] not in redacted(f"root:{YESCRYPT[:length]}") or length == 8


@given(st.text(max_size=300))
def test_what_was_redacted_is_redacted_no_further(text: str) -> None:
    once = redacted(text)
    assert redacted(once) == once
