"""Kernel, services and /boot before a host is patched; two scripts in one trip; what is not known is said so."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsctl.errors import HostFailed
from opsctl.hostside import condition, pending, together
from opsctl.patch import pending as room
from opsctl.patch import told

MAPS = """\
55d0c0a00000-55d0c0a10000 r-xp 00002000 00:2a 1234                       /usr/sbin/sshd
7f12a0a00000-7f12a0a10000 r--p 00000000 00:2a 1235                       /usr/share/locale/x
7f12a0b00000-7f12a0b10000 r-xp 00000000 00:2a 1236                       /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)
7f12a0c00000-7f12a0c10000 rw-s 00000000 00:01 9                          /memfd:cache (deleted)
7ffc8f000000-7ffc8f002000 r-xp 00000000 00:00 0                          [vdso]
"""
HISTORY = """
Start-Date: 2026-11-20  02:10:00
Commandline: apt-get install --password=canary
Upgrade: openssl:amd64 (3.0-1, 3.0-2), tzdata:all (2026a, 2026b)
Install: libnew:amd64 (1.0, automatic)
End-Date: 2026-11-20  02:10:05

Start-Date: 2026-11-21  02:10:00
Upgrade: perl:amd64 (5.36-1, 5.36-2)
"""


def reading(**more: object) -> room.Pending:
    answer = {
        "packages": [], "removed": [], "pending": 0, "pending_security": 0, "kept_back": [], "held": [],
        "download_bytes": 0, "free_bytes": 10, "reboot": {"required": False, "because_of": [], "coming": []},
        "dpkg": {"audit": [], "lock_holder": "", "interrupted": False}, "lists_age_seconds": 60,
        **more,
    }  # fmt: skip
    return room.parse("ange.web1", answer)


def test_code_in_use_is_read_from_maps_and_only_code_counts() -> None:
    assert list(condition.code_of(MAPS)) == ["/usr/sbin/sshd", "/usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)"]
    assert condition.stale({path: {"ssh.service"} for path in condition.code_of(MAPS)}) == ["ssh.service"]
    assert condition.stale({"/usr/sbin/sshd": {"ssh.service"}}) == []


@pytest.mark.parametrize(
    ("cgroups", "service"),
    [
        ("0::/system.slice/ssh.service\n", "ssh.service"),
        ("12:cpu:/x\n1:name=systemd:/system.slice/system-postgresql.slice/postgresql@15-main.service\n0::/\n",
         "postgresql@15-main.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.service\n", "user@1000.service"),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", ""),
    ],
)  # fmt: skip
def test_a_process_belongs_to_the_service_of_its_control_group(cgroups: str, service: str) -> None:
    assert condition.service_of(cgroups) == service


def test_the_newest_kernel_is_that_of_the_same_flavour_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("6.1.0-9-amd64", "6.1.0-41-amd64", "6.1.0-99-cloud-amd64", "0-rescue-0af"):
        (tmp_path / f"vmlinuz-{version}").write_bytes(b"x" * 100)
    (tmp_path / "initrd.img-6.1.0-41-amd64").write_bytes(b"x" * 900)
    monkeypatch.setattr(condition, "BOOT", str(tmp_path))
    monkeypatch.setattr(condition, "CONTAINER", str(tmp_path / "none"))
    monkeypatch.setattr("platform.release", lambda: "6.1.0-9-amd64")
    assert condition.newest_kernel(None) == "6.1.0-41-amd64"
    assert condition.boot_need([{"name": "linux-image-6.1.0-42-amd64"}, {"name": "linux-image-amd64"}]) == 1000
    assert condition.boot_need([{"name": "openssl"}]) == 0


def test_needrestart_is_believed_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "NEEDRESTART-VER: 3.6\nNEEDRESTART-KCUR: 6.1.0-37-amd64\nNEEDRESTART-KEXP: 6.1.0-41-amd64\n"
    said += "NEEDRESTART-KSTA: 3\nNEEDRESTART-SVC: ssh.service\nNEEDRESTART-SVC: cron.service\n"
    monkeypatch.setattr(condition, "run", lambda *_words: said)
    assert condition.needrestart() == {"services": ["cron.service", "ssh.service"], "kernel": "6.1.0-41-amd64"}
    monkeypatch.setattr(condition, "run", lambda *_words: "")
    with pytest.raises(RuntimeError, match="no list"):
        condition.needrestart()


def test_the_history_tells_times_and_numbers_and_never_command_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "history.log").write_text(HISTORY)
    monkeypatch.setattr(pending, "HISTORY", str(tmp_path / "history.log"))
    last, before = pending.history()
    assert (last["upgraded"], last["ended"]) == (1, False)
    assert (before["upgraded"], before["installed"], before["removed"], before["ended"]) == (2, 1, 0, True)
    assert "canary" not in str(before)


def test_a_script_that_fails_costs_only_its_own_answer() -> None:
    scripts = [
        ("first", "def main(given):\n    return {'n': given['n']}", {"n": 1}),
        ("second", "def main(given):\n    raise ValueError('broken')", {}),
        ("third", "def main(given):\n    return given['before']", {}),
    ]
    assert together.main({"scripts": scripts}) == {
        "first": {"answer": {"n": 1}},
        "second": {"error": "ValueError: broken"},
        "third": {"answer": {"first": {"n": 1}}},
    }


def test_a_trip_whose_first_script_failed_is_no_reading() -> None:
    with pytest.raises(HostFailed, match="apt is gone"):
        room.parse("ange.web1", {"pending": {"error": "apt is gone"}, "condition": {"answer": {}}})
    with pytest.raises(HostFailed, match="apt is gone"):
        room.parse("ange.web1", {"pending": {"error": "apt is gone"}})


def test_an_older_kernel_that_runs_wants_a_restart_without_any_package_asking() -> None:
    found = reading(kernel={"running": "6.1.0-9-amd64", "newest": "6.1.0-41-amd64"})
    assert found.reboot_why == ("kernel 6.1.0-41-amd64 is installed, 6.1.0-9-amd64 runs",)
    assert reading(kernel={"running": "6.1.0-9-amd64", "newest": None}).reboot_why == ()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, ""),
        ({"dpkg": {"audit": [], "lock_holder": "apt-get (process 7)"}}, "apt is in use there: apt-get (process 7)"),
        ({"dpkg": {"audit": [], "lock_holder": "", "interrupted": True}}, "dpkg --configure -a"),
        ({"dpkg": {"audit": None, "lock_holder": ""}, "not_known": [{"what": "dpkg's health", "why": "exit 2"}]},
         "dpkg's health: exit 2"),
        ({"pending": None, "not_known": [{"what": "transaction", "why": "E: broken"}]}, "transaction: E: broken"),
        ({"download_bytes": 20}, "no room: 20 bytes"),
        ({"download_bytes": None}, "not known"),
        ({"boot": {"free_bytes": 5, "needed_bytes": 6}}, "no room in /boot: 6 bytes"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_said(more: dict[str, object], said: str) -> None:
    found = reading(**more)
    assert said in (told.obstacle(found) or told.no_room(found))
    assert bool(said) == bool(told.obstacle(found) or told.no_room(found))


def test_what_is_not_known_is_never_shown_as_none() -> None:
    found = reading(pending=None, pending_security=None, held=None, history=None)
    shown = told.sheet(found)
    assert {shown[name] for name in ("held", "kernel", "restart wanted", "last updates")} == {told.UNKNOWN}
    assert told.row("ange.web1", found)[1] == told.UNKNOWN


@pytest.mark.parametrize(("told", "named"), [("", False), ("false", False), ("true", True)])
def test_debians_service_that_waits_for_the_shutdown_patches_only_where_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, *, told: str, named: bool
) -> None:
    def run(*words: str) -> str:
        if words[0] == "apt-config":
            return told
        return "\n".join("active" if unit == condition.AT_SHUTDOWN else "inactive" for unit in words[2:])

    monkeypatch.setattr(condition, "run", run)
    assert (condition.AT_SHUTDOWN in condition.patchers()) == named
