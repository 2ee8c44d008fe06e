"""What the checks of accounts, kernel and files make of output that a lab's host does not give: recorded, played."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.unit.played_host import PlayedHost

CHECKS = Path(__file__).parents[1] / "compliance"
DEBIAN = {"cat /etc/os-release": 'ID=debian\nVERSION_ID="12"\n'}
RHEL = {"cat /etc/os-release": 'ID="rhel"\nID_LIKE="fedora"\nVERSION_ID="9.6"\n'}
MACHINE: dict[str, str | tuple[int, str]] = {"systemd-detect-virt": (1, "none\n")}
VALUES = {
    entry["id"]: entry.get("values", {})
    for entry in yaml.safe_load((CHECKS / "catalogue.yml").read_text(encoding="utf-8"))["checks"]
}


@pytest.fixture(scope="module")
def checks() -> Iterator[SimpleNamespace]:
    sys.path.insert(0, str(CHECKS))
    try:
        import check_filesystem
        import check_kernel
        import check_passwords
        import check_sudo
        import judging
        import reading

        yield SimpleNamespace(
            kernel=check_kernel,
            files=check_filesystem,
            passwords=check_passwords,
            sudo=check_sudo,
            judging=judging,
            reading=reading,
        )
    finally:
        sys.path.remove(str(CHECKS))


def judged(checks: SimpleNamespace, check: Any, prints: dict[str, Any]) -> tuple[bool, str]:
    """Whether a check holds with the catalogue's values, and what it observed."""
    verdict = checks.judging.Verdict()
    control = next(mark.args[0] for mark in check.pytestmark if mark.name == "control")
    options: dict[str, Any] = {}
    if "expectations" in check.__code__.co_varnames[: check.__code__.co_argcount]:
        options["expectations"] = checks.judging.Expectations({}, VALUES, control)
    try:
        check(PlayedHost(prints), verdict, **options)
    except AssertionError:
        return False, verdict.observed
    return True, verdict.observed


# --- accounts and passwords -------------------------------------------------------------------------------------------

PASSWD = "root:x:0:0::/root:/bin/bash\nanna:x:1000:1000::/home/anna:/bin/bash\n"
AGES = "root:locked:99999:\nanna:set:365:30\n"
LOGIN_DEFS = "PASS_MAX_DAYS 365\nENCRYPT_METHOD SHA512\n"


@pytest.mark.parametrize(
    ("ages", "holds"),
    [
        (AGES, True),
        ("root:set::\n" + AGES, False),
        ("anna:set:366:30\n", False),
        ("anna:set:0:30\n", False),
        ("anna:empty::\n", True),
    ],
)
def test_every_password_has_an_age_and_accounts_without_one_need_none(
    checks: SimpleNamespace, ages: str, holds: bool
) -> None:
    prints = {"grep -E": LOGIN_DEFS, "awk": ages}
    assert judged(checks, checks.passwords.check_passwords_expire, prints)[0] is holds


@pytest.mark.parametrize(("ages", "holds"), [(AGES, True), ("anna:set:365:46\n", False), ("anna:set:365:\n", False)])
def test_every_password_account_is_locked_when_it_is_not_used(checks: SimpleNamespace, ages: str, holds: bool) -> None:
    prints = {"useradd -D": "GROUP=100\nINACTIVE=30\n", "awk": ages}
    assert judged(checks, checks.passwords.check_unused_accounts_are_locked, prints)[0] is holds


def test_rhel_may_hash_with_sha512_and_debian_may_not(checks: SimpleNamespace) -> None:
    check = checks.passwords.check_passwords_are_hashed_well
    assert judged(checks, check, {**RHEL, "grep -E": LOGIN_DEFS})[0]
    assert not judged(checks, check, {**DEBIAN, "grep -E": LOGIN_DEFS})[0]


FAILLOCK = (
    "/etc/pam.d/common-auth:auth requisite pam_faillock.so preauth\n"
    "/etc/pam.d/common-auth:auth\t[default=die]\tpam_faillock.so authfail%s\n"
)


@pytest.mark.parametrize(
    ("stack", "file", "holds"),
    [
        (FAILLOCK % "", "deny = 4\nunlock_time = 900\n", True),
        (FAILLOCK % "", "unlock_time = 0\n", True),
        (FAILLOCK % "", "# unlock_time = 900\n", False),
        (FAILLOCK % " deny=10", "deny = 4\nunlock_time = 900\n", False),
        (FAILLOCK.splitlines()[0], "unlock_time = 900\n", False),
        ("", "deny = 4\nunlock_time = 900\n", False),
    ],
)
def test_a_lock_after_failures_is_the_file_and_the_stack_together(
    checks: SimpleNamespace, stack: str, file: str, holds: bool
) -> None:
    prints = {"grep -RE": stack, "cat /etc/security/faillock.conf": file}
    assert judged(checks, checks.passwords.check_accounts_lock_after_failed_logins, prints)[0] is holds


QUALITY = "/etc/pam.d/common-password:password requisite pam_pwquality.so retry=3%s\n"


@pytest.mark.parametrize(
    ("stack", "file", "holds"),
    [
        (QUALITY % "", "minlen = 8\n# the file after the folder\nminlen = 14\n", True),
        (QUALITY % "", "minlen = 14\nminlen = 8\n", False),
        (QUALITY % " minlen=8", "minlen = 14\n", False),
        (QUALITY % " minlen=20", "", True),
        ("", "minlen = 14\n", False),
    ],
)
def test_the_length_of_a_password_counts_where_pam_asks_for_it(
    checks: SimpleNamespace, stack: str, file: str, holds: bool
) -> None:
    prints = {"grep -RE": stack, "cat /etc/security/pwquality": (0 if file else 1, file)}
    assert judged(checks, checks.passwords.check_passwords_are_long, prints)[0] is holds


@pytest.mark.parametrize(
    ("rules", "holds"),
    [
        ('Defaults logfile="/var/log/sudo.log"\n', True),
        ("Defaults use_pty, logfile=/var/log/sudo.log, !lecture\n", True),
        ("Defaults logfile=/tmp/sudo.log\n", False),
        ("Defaults logfile=/var/log/sudo.log\nDefaults:anna !logfile\n", False),
        ("Defaults:anna logfile=/var/log/anna.log\n", False),
        ("", False),
    ],
)
def test_the_log_of_sudo_is_for_everybody(checks: SimpleNamespace, rules: str, holds: bool) -> None:
    prints = {"command -v sudo": "x\n", "cat /etc/sudoers": rules}
    assert judged(checks, checks.sudo.check_sudo_keeps_a_log, prints)[0] is holds


@pytest.mark.parametrize(
    ("masks", "holds"),
    [
        (("UMASK\t027", "umask 027", "umask 0077"), True),
        (("UMASK\t022", "umask 027", "umask 027"), False),
        (("UMASK\t027", "umask u=rwx,g=rx,o=", "umask 027"), False),
    ],
)
def test_a_umask_may_be_stricter_and_must_be_a_number(
    checks: SimpleNamespace, masks: tuple[str, str, str], holds: bool
) -> None:
    files = ("/etc/login.defs", "/etc/profile", "/etc/bash.bashrc")
    printed = "".join(f"{file}:7:{mask}\n" for file, mask in zip(files, masks, strict=True))
    assert judged(checks, checks.passwords.check_new_files_are_not_open, {**DEBIAN, "grep -HniE": printed})[0] is holds


# --- kernel -----------------------------------------------------------------------------------------------------------


def test_a_setting_that_the_kernel_lacks_is_no_pass(checks: SimpleNamespace) -> None:
    found = judged(checks, checks.kernel.check_tracing_is_restricted, {**MACHINE, "sysctl -e": "kernel.sysrq = 0\n"})
    assert found == (False, "kernel.yama.ptrace_scope = not there")


def test_what_belongs_to_the_machine_below_does_not_apply_in_a_container(checks: SimpleNamespace) -> None:
    prints = {"systemd-detect-virt": "lxc\n"}
    with pytest.raises(checks.judging.NotApplicable, match=r"a container \(lxc\)"):
        judged(checks, checks.kernel.check_tracing_is_restricted, prints)


def test_whether_it_is_a_container_must_be_known(checks: SimpleNamespace) -> None:
    with pytest.raises(checks.judging.CannotJudge):
        judged(checks, checks.kernel.check_tracing_is_restricted, {})


@pytest.mark.parametrize(
    ("files", "holds"), [("kernel.randomize_va_space=1\nkernel.randomize_va_space = 2\n", True), ("", False)]
)
def test_randomised_addresses_must_be_kept_for_the_boot(checks: SimpleNamespace, files: str, holds: bool) -> None:
    prints = {**MACHINE, "sysctl -e": "kernel.randomize_va_space = 2\n", "systemd-analyze": files}
    assert judged(checks, checks.kernel.check_addresses_are_randomised, prints)[0] is holds


def test_without_ipv6_its_settings_are_left_out_and_that_is_said(checks: SimpleNamespace) -> None:
    found = judged(checks, checks.kernel.check_host_does_not_route, {"sysctl -e": "net.ipv4.ip_forward = 0\n"})
    assert found == (True, "net.ipv4.ip_forward = 0; this kernel has no IPv6")
    with pytest.raises(checks.judging.NotApplicable):
        judged(checks, checks.kernel.check_router_advertisements_are_ignored, {"sysctl -e": "\n"})


@pytest.mark.parametrize(("state", "holds"), [("Enforcing\n", True), ("Permissive\n", False)])
def test_selinux_must_enforce_on_rhel(checks: SimpleNamespace, state: str, holds: bool) -> None:
    prints = {**MACHINE, **RHEL, "getenforce": state}
    assert judged(checks, checks.kernel.check_access_control_is_on, prints)[0] is holds


@pytest.mark.parametrize(
    ("said", "loaded", "holds"),
    [
        ("install /bin/false\n", "", True),
        ("modprobe: FATAL: Module usb-storage not found in directory /lib/modules/6.1.0\n", "", True),
        ("install /bin/false\n", "loaded usb_storage\n", False),
        ("insmod /lib/modules/6.1.0/kernel/drivers/usb/storage/usb-storage.ko\n", "", False),
        ("", "", False),
        ("sh: 1: modprobe: not found\n", "", False),
    ],
)
def test_a_module_is_refused_or_not_there_and_not_loaded(
    checks: SimpleNamespace, said: str, loaded: str, holds: bool
) -> None:
    prints = {**MACHINE, "for module in": f"module dccp\nmodule usb-storage\n{said}{loaded}"}
    assert judged(checks, checks.files.check_usb_storage_cannot_be_attached, prints)[0] is holds


# --- files ------------------------------------------------------------------------------------------------------------


def test_logs_need_a_mount_of_their_own(checks: SimpleNamespace) -> None:
    check = checks.files.check_logs_have_a_file_system_of_their_own
    line = "/var/log /dev/vda5 ext4 rw,nosuid,nodev,noexec,relatime\n"
    assert judged(checks, check, {**MACHINE, "findmnt": line})[0]
    assert judged(checks, check, {**MACHINE, "findmnt": (1, "")}) == (False, "/var/log: no mount of its own")


def test_password_files_of_rhel_have_no_permissions_at_all(checks: SimpleNamespace) -> None:
    check = checks.files.check_password_files
    assert judged(checks, check, {**RHEL, "stat": "root:root 0 /etc/shadow\nroot:root 0 /etc/gshadow\n"})[0]
    shown = "root:shadow 640 /etc/shadow\nroot:shadow 640 /etc/gshadow\n"
    assert judged(checks, check, {**DEBIAN, "stat": shown})[0]
    assert not judged(checks, check, {**RHEL, "stat": shown})[0]


def test_a_walk_that_could_not_see_everything_is_an_error(checks: SimpleNamespace) -> None:
    with pytest.raises(checks.judging.CannotJudge):
        judged(checks, checks.files.check_nothing_is_writable_by_everyone, {"awk": (123, "writable 666 a:b /x\n")})


def test_a_file_whose_name_has_more_than_one_line_hides_neither_itself_nor_another(checks: SimpleNamespace) -> None:
    walk = "writable 666 a:domain users /opt/=cmd\nend\u2028of it\nsetid 4755 root:root /opt/own\n"
    holds, observed = judged(checks, checks.files.check_nothing_is_writable_by_everyone, {"awk": walk})
    assert (holds, observed) == (False, "1 files: /opt/=cmd\\nend\u2028of it 666 a:domain users")
    assert checks.files.walked(PlayedHost({"awk": walk}), "setid") == {"/opt/own": "4755 root:root"}
    with pytest.raises(checks.judging.CannotJudge, match="the walk printed 'nonsense'"):
        checks.files.walked(PlayedHost({"awk": "nonsense\n"}), "setid")


def test_a_platform_without_a_list_of_setuid_programs_is_an_error(checks: SimpleNamespace) -> None:
    with pytest.raises(checks.judging.CannotJudge, match="for arch"):
        judged(checks, checks.files.check_setuid_programs_are_known, {"cat /etc/os-release": "ID=arch\n", "awk": "\n"})


@pytest.mark.parametrize(
    ("timer", "cron", "holds"),
    [
        ("ActiveState=active\nTimersCalendar={ OnCalendar=*-*-* 04:00:00 ; next_elapse=n/a }\n", "", True),
        ("ActiveState=active\nTimersCalendar={ OnCalendar=Mon *-*-* 04:00:00 ; next_elapse=n/a }\n", "", False),
        ("ActiveState=inactive\nTimersCalendar={ OnCalendar=*-*-* 04:00:00 ; next_elapse=n/a }\n", "", False),
        ("", "/etc/cron.daily/aide:aide --check\n", True),
        ("", "/etc/cron.d/aide:5 4 * * * root /usr/bin/aide --check\n", True),
        ("", "/etc/cron.d/aide:5 4 * * 1 root /usr/bin/aide --check\n", False),
        ("", "/etc/cron.daily/aide:# aide --check\n", False),
        ("", "/etc/cron.daily/aide.disabled:aide --check\n", False),
        ("", "/etc/cron.d/aide.dpkg-old:5 4 * * * root /usr/bin/aide --check\n", False),
        ("", "/etc/cron.d/aide~:5 4 * * * root /usr/bin/aide --check\n", False),
    ],
)
def test_changes_are_looked_for_every_day(checks: SimpleNamespace, timer: str, cron: str, holds: bool) -> None:
    prints = {
        "command -v aide": "x\n",
        "stat": "root:root 600 /var/lib/aide/aide.db\n",
        "systemctl show": timer,
        "grep -sHE": (0 if cron else 1, cron),
    }
    assert judged(checks, checks.files.check_file_changes_are_detected, prints)[0] is holds
