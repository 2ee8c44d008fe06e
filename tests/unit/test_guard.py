"""The guard's decisions, on a made-up system below a folder."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from opsctl.hostside import guard as module
from opsctl.hostside.guard import Guard

PASSWD = "root:x:0:0:root:/root:/bin/bash\nopsctl:x:1002:1002::/home/opsctl:/bin/bash\n"
SHADOW = "root:*:1:0:99999:7:::\nopsctl:!:1:0:99999:7:::\n"
GROUP = "root:x:0:\nssh-login:x:999:opsctl\nopsctl:x:1002:\n"


class System:
    """Answers for nft and systemctl, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.rules = "table inet old {\n}\n"
        self.loads = True

    def __call__(self, words: list[str]) -> tuple[int, str]:
        self.asked.append(" ".join(words))
        if words[:3] == ["nft", "list", "ruleset"]:
            return 0, self.rules
        if words[:2] == ["nft", "-f"]:
            return (0 if self.loads else 1), ""
        if words[:2] in (["systemctl", "is-active"], ["systemctl", "is-enabled"]):
            return 0, "active\n" if words[1] == "is-active" else "enabled\n"
        return 0, ""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {
        "etc/passwd": PASSWD,
        "etc/shadow": SHADOW,
        "etc/group": GROUP,
        "etc/ssh/sshd_config": "Port 22\n",
        "etc/ssh/sshd_config.d/50-partner.conf": "PasswordAuthentication yes\n",
        "etc/sudoers": "@includedir /etc/sudoers.d\n",
        "etc/sudoers.d/opsctl": "opsctl ALL=(ALL) NOPASSWD: ALL\n",
        "etc/pam.d/common-auth": "auth pam_unix.so nullok\n",
        "home/opsctl/.ssh/authorized_keys": "ssh-ed25519 AAAA opsctl\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for folder in ("etc/systemd/system", "var/lib/opsctl/guard"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/sudoers.d/opsctl").chmod(0o440)
    return tmp_path


@pytest.fixture
def system() -> System:
    return System()


@pytest.fixture
def guard(root: Path, system: System) -> Guard:
    return Guard(str(root), run=system, now=lambda: 1000.0)


def arm(guard: Guard, seconds: int = 60, token: str = "run-1") -> dict[str, object]:
    return guard.arm(seconds, script="# this file", token=token)


def contents(root: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(root)): (path.read_text(), path.stat().st_mode)
        for folder in ("etc/ssh", "etc/sudoers.d", "etc/pam.d", "home")
        for path in (root / folder).rglob("*")
        if path.is_file()
    }


def test_restore_puts_back_changed_removed_and_added_files(guard: Guard, root: Path) -> None:
    before = contents(root)
    arm(guard)
    (root / "etc/ssh/sshd_config").write_text("Port 2222\n")
    (root / "etc/sudoers.d/opsctl").unlink()
    (root / "etc/sudoers.d/new").write_text("x")
    (root / "etc/nftables.conf").write_text("flush ruleset\n")
    (root / "etc/pam.d/common-auth").chmod(0o600)
    (root / "home/opsctl/.ssh/authorized_keys").write_text("")
    answer = guard.restore()
    assert contents(root) == before
    assert not (root / "etc/nftables.conf").exists()
    assert answer["undone"] == [
        *("/etc/pam.d/common-auth", "/etc/ssh/sshd_config", "/etc/sudoers.d/opsctl"),
        *("/home/opsctl/.ssh/authorized_keys", "/etc/nftables.conf", "/etc/sudoers.d/new"),
    ]


def test_restore_loads_the_old_rules_and_reloads_sshd(guard: Guard, root: Path, system: System) -> None:
    arm(guard)
    guard.restore()
    assert (root / "var/lib/opsctl/guard/copy/rules.nft").read_text() == "flush ruleset\ntable inet old {\n}\n"
    assert "systemctl reload ssh.service" in system.asked


def test_rules_that_no_longer_load_leave_the_host_open_and_not_locked(guard: Guard, system: System) -> None:
    arm(guard)
    system.loads = False
    guard.restore()
    assert "nft flush ruleset" in system.asked


def test_restore_mends_the_automation_account_and_leaves_others_alone(guard: Guard, root: Path) -> None:
    arm(guard)
    (root / "etc/passwd").write_text(
        PASSWD.replace("/bin/bash\n", "/usr/sbin/nologin\n") + "prometheus:x:110:110::/:/x\n"
    )
    (root / "etc/shadow").write_text("root:*:1:0:99999:7:::\n")
    (root / "etc/group").write_text("root:x:0:\nopsctl:x:1002:\nprometheus:x:110:\n")
    guard.restore()
    lines = (root / "etc/passwd").read_text().splitlines()
    assert "opsctl:x:1002:1002::/home/opsctl:/bin/bash" in lines
    assert "prometheus:x:110:110::/:/x" in lines
    assert "opsctl:!:1:0:99999:7:::" in (root / "etc/shadow").read_text().splitlines()
    groups = (root / "etc/group").read_text().splitlines()
    assert [line for line in groups if line.startswith("ssh-login:")] == ["ssh-login:x:1003:opsctl"]


def test_restore_brings_back_a_lost_key_folder_with_its_mode(guard: Guard, root: Path) -> None:
    folder = root / "home/opsctl/.ssh"
    folder.chmod(0o700)
    arm(guard)
    (folder / "authorized_keys").unlink()
    folder.rmdir()
    guard.restore()
    assert (folder / "authorized_keys").read_text() == "ssh-ed25519 AAAA opsctl\n"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_restore_puts_back_settings_of_the_network_that_could_cut_the_host_off(guard: Guard, root: Path) -> None:
    setting = root / "proc/sys/net/ipv4/conf/eth0/rp_filter"
    gone = root / "proc/sys/net/ipv4/conf/eth1/rp_filter"
    for file in (setting, gone):
        file.parent.mkdir(parents=True)
        file.write_text("2\n")
    arm(guard)
    setting.write_text("1\n")
    gone.unlink()
    (root / "etc/sysctl.d").mkdir()
    (root / "etc/sysctl.d/99-zz-opsctl.conf").write_text("net.ipv4.conf.all.rp_filter = 1\n")
    undone = guard.restore()["undone"]
    assert undone == ["/etc/sysctl.d/99-zz-opsctl.conf", "/proc/sys/net/ipv4/conf/eth0/rp_filter"]
    assert setting.read_text() == "2"


def test_a_confirmed_guard_has_nothing_to_restore(guard: Guard, root: Path) -> None:
    arm(guard)
    (root / "etc/ssh/sshd_config").write_text("Port 2222\n")
    assert guard.confirm("run-1") == {"state": "confirmed", "token": "run-1"}
    assert guard.restore() == {"state": "idle"}
    assert (root / "etc/ssh/sshd_config").read_text() == "Port 2222\n"
    assert not (root / "var/lib/opsctl/guard/copy").exists()


def test_a_confirmation_that_comes_too_late_is_told_so(guard: Guard) -> None:
    arm(guard)
    guard.restore()
    answer = guard.confirm("run-1")
    assert answer["state"] == "restored"
    assert answer["token"] == "run-1"


def test_another_runs_token_is_refused(guard: Guard) -> None:
    arm(guard)
    assert guard.confirm("run-2")["state"] == "refused"
    assert guard.status()["state"] == "armed"


def test_arming_an_armed_host_keeps_the_first_copy(guard: Guard, root: Path) -> None:
    arm(guard)
    (root / "etc/ssh/sshd_config").write_text("broken\n")
    assert arm(guard, token="run-2")["kept_copy"] is True
    guard.restore()
    assert (root / "etc/ssh/sshd_config").read_text() == "Port 22\n"


def test_arming_after_a_restore_takes_a_new_copy(guard: Guard, root: Path) -> None:
    arm(guard)
    guard.restore()
    (root / "etc/ssh/sshd_config").write_text("Port 22\n# mended\n")
    assert arm(guard)["kept_copy"] is False
    assert guard.status() == {"state": "armed", "token": "run-1", "seconds": 60, "left": 60.0}


def test_units_are_written_once_and_read_by_systemd_only_when_they_differ(guard: Guard, system: System) -> None:
    arm(guard)
    guard.confirm()
    arm(guard)
    assert system.asked.count("systemctl daemon-reload") == 1
    arm(guard, seconds=90)
    assert system.asked.count("systemctl daemon-reload") == 2
    assert system.asked[-2:] != ["systemctl daemon-reload"]


def test_the_timer_is_enabled_and_runs_only_while_armed() -> None:
    assert "WantedBy=timers.target" in module.TIMER
    for unit in (module.TIMER, module.SERVICE):
        assert "ConditionPathExists={folder}/armed.json" in unit


@pytest.mark.parametrize("seconds", [0, -1, 86401])
def test_a_time_that_makes_no_sense_is_refused(guard: Guard, seconds: int) -> None:
    with pytest.raises(ValueError, match="seconds"):
        arm(guard, seconds)


def test_links_are_kept_as_links(guard: Guard, root: Path) -> None:
    (root / "etc/pam.d/other").symlink_to("common-auth")
    arm(guard)
    (root / "etc/pam.d/other").unlink()
    (root / "etc/pam.d/other").write_text("not a link")
    guard.restore()
    assert str((root / "etc/pam.d/other").readlink()) == "common-auth"


def test_the_script_imports_the_standard_library_alone() -> None:
    assert module.__file__
    names = {
        (node.module if isinstance(node, ast.ImportFrom) else name.name)
        for node in ast.walk(ast.parse(Path(module.__file__).read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert names <= {
        "__future__",
        "contextlib",
        "fcntl",
        "glob",
        "json",
        "os",
        "shutil",
        "stat",
        "subprocess",
        "sys",
        "time",
        "typing",
    }
