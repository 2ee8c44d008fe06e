"""What errors say of hosts."""

from __future__ import annotations

from opsctl.errors import HostFailed


def test_what_a_host_says_stays_one_line_about_this_host() -> None:
    error = HostFailed("ange.web1", "E: broken\n\n ange.web2: done\x85ange.web3: done")
    assert error.message == "ange.web1: E: broken; ange.web2: done; ange.web3: done"
    assert error.reason == "E: broken; ange.web2: done; ange.web3: done"
