"""The dnf path, on output in the formats of dnf 4 as they are known: no test has seen a host of this family."""

from __future__ import annotations

import pytest

from opsctl.hostside import pending_dnf as dnf

CHECK_UPDATE = """
NetworkManager.x86_64                 1:1.46.0-13.el9_4           baseos
kernel.x86_64                         5.14.0-427.24.1.el9_4       baseos
openssl.x86_64                        1:3.0.7-27.el9              baseos
python3-setuptools-wheel-of-a-long-name.noarch
                                      53.0.0-12.el9_4.1           baseos
vim-minimal.x86_64                    2:8.2.2637-21.el9           baseos
Obsoleting Packages
grub2-tools.x86_64                    1:2.06-82.el9               baseos
    grub2-tools.x86_64                1:2.06-77.el9               @baseos
"""
UPDATEINFO = """\
RHSA-2026:1234 Important/Sec. kernel-5.14.0-427.24.1.el9_4.x86_64
RHSA-2026:1111 Moderate/Sec.  openssl-1:3.0.7-27.el9.x86_64
"""
TRANSACTION = """\
Last metadata expiration check: 0:52:31 ago on Tue 24 Nov 2026 02:12:13 AM CET.
Dependencies resolved.
================================================================================
 Package             Arch    Version                   Repository           Size
================================================================================
Installing:
 kernel              x86_64  5.14.0-427.24.1.el9_4     baseos              4.9 M
Upgrading:
 NetworkManager      x86_64  1:1.46.0-13.el9_4         baseos              2.3 M
 openssl             x86_64  1:3.0.7-27.el9            baseos              1.2 M
     replacing  openssl-old.x86_64 1.0-1.el9
 python3-setuptools-wheel-of-a-long-name
                     noarch  53.0.0-12.el9_4.1         baseos              468 k
Installing dependencies:
 kernel-modules-core x86_64  5.14.0-427.24.1.el9_4     baseos               31 M
Removing dependent packages:
 mailx               x86_64  12.5-39.el9               @appstream          500 k

Transaction Summary
================================================================================
Install  2 Packages
Upgrade  3 Packages
Remove   1 Package

Total download size: 40 M
Operation aborted.
"""
RPM = """\
kernel.x86_64 0:5.14.0-427.13.1.el9_4 1760000000
openssl.x86_64 1:3.0.7-25.el9 1760000000
NetworkManager.x86_64 1:1.46.0-8.el9_4 1764000000
python3-setuptools-wheel-of-a-long-name.noarch 0:53.0.0-12.el9 1760000000
"""
RESTARTS = """\
Core libraries or services have been updated since boot-up:
  * glibc
  * kernel

Reboot is required to fully utilize these updates.
More information: https://access.redhat.com/solutions/27943
"""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Answers by the word that tells the commands apart; one that is missing fails."""
    answers = {
        "check-update": CHECK_UPDATE, "updateinfo": UPDATEINFO, "upgrade": TRANSACTION,
        "-qa": RPM, "needs-restarting": RESTARTS,
    }  # fmt: skip

    def run(*words: str, good: tuple[int, ...] = (0,)) -> str:
        for word, text in answers.items():
            if word in words:
                return text
        raise RuntimeError(f"{words[0]}: exit 1")

    monkeypatch.setattr(dnf, "run", run)
    monkeypatch.setattr(dnf, "LOCKS", ())
    return answers


def test_dnf_gives_the_transaction_in_the_words_of_apt(host: dict[str, str]) -> None:
    found = dnf.main({})
    assert [(p["name"], p["installed"], p["candidate"], p["security"]) for p in found["packages"]] == [
        ("kernel", "", "5.14.0-427.24.1.el9_4", True),
        ("NetworkManager", "1:1.46.0-8.el9_4", "1:1.46.0-13.el9_4", False),
        ("openssl", "1:3.0.7-25.el9", "1:3.0.7-27.el9", True),
        ("python3-setuptools-wheel-of-a-long-name", "53.0.0-12.el9", "53.0.0-12.el9_4.1", False),
        ("kernel-modules-core", "", "5.14.0-427.24.1.el9_4", False),
    ]
    assert (found["pending"], found["pending_security"]) == (5, 2)
    assert found["removed"] == ["mailx"]
    assert found["kept_back"] == ["vim-minimal"]
    assert found["reboot"] == {"required": True, "because_of": ["glibc", "kernel"], "coming": ["kernel"]}
    assert 39 << 20 < found["download_bytes"] < 40 << 20
    assert found["history"][0]["at"] == "2025-11-24T16:00:00+00:00"


def test_what_dnf_cannot_say_is_not_known(host: dict[str, str]) -> None:
    host.pop("updateinfo")
    found = dnf.main({})
    assert (found["pending"], found["pending_security"], found["packages"]) == (None, None, [])
    assert {"what": "security updates", "why": "dnf: exit 1"} in found["not_known"]


def test_a_current_host_has_nothing_pending(host: dict[str, str]) -> None:
    host.update({"check-update": "", "upgrade": "Dependencies resolved.\nNothing to do.\nComplete!\n"})
    host["needs-restarting"] = "No core libraries or services have been updated since boot-up.\n"
    found = dnf.main({})
    assert (found["pending"], found["packages"], found["reboot"]["required"]) == (0, [], False)


def test_two_versions_of_one_package_are_a_transaction_that_was_cut_off(host: dict[str, str]) -> None:
    host["-qa"] = RPM + "openssl.x86_64 1:3.0.7-27.el9 1764000000\nkernel.x86_64 0:5.14.0-427.24.1.el9_4 1764000000\n"
    assert dnf.main({})["dpkg"]["audit"] == ["openssl.x86_64 is installed 2 times"]
