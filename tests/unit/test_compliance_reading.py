"""What the checks make of files and settings that are unusual: on hosts that are only played."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.played_host import PlayedHost

CHECKS = Path(__file__).parents[1] / "compliance"
PASSWD = "root:x:0:0:root:/root:/bin/bash\nanna:x:1000:1000::/home/anna:/bin/bash\nsync:x:4:65534::/bin:/bin/sync\n"


@pytest.fixture(scope="module")
def checks() -> Iterator[SimpleNamespace]:
    """The checks' modules; they import their neighbours by bare name, as pytest lets them."""
    sys.path.insert(0, str(CHECKS))
    try:
        import check_packages
        import check_ssh
        import check_sudo
        import check_users
        import judging
        import reading

        yield SimpleNamespace(
            reading=reading, judging=judging, ssh=check_ssh, sudo=check_sudo, users=check_users, packages=check_packages
        )
    finally:
        sys.path.remove(str(CHECKS))


def holds(checks: SimpleNamespace, check: Any, host: PlayedHost, **lists: object) -> tuple[bool, str]:
    """Whether a check passes, and what it observed."""
    verdict = checks.judging.Verdict()
    options = {"expectations": checks.judging.Expectations(lists, {}, "")} if lists else {}
    try:
        check(host, verdict, **options)
    except AssertionError:
        return False, verdict.observed
    return True, verdict.observed


def sshd(**settings: str) -> dict[str, str | tuple[int, str]]:
    """A host whose sshd prints these settings and has no Match block."""
    printed = "".join(f"{name} {value}\n" for name, value in settings.items())
    return {"sshd -T": printed, "cd /etc/ssh": "PermitRootLogin no\n", "cat /etc/passwd": PASSWD}


# --- sshd -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ("publickey,password", True),
        ("publickey,keyboard-interactive:pam publickey,password", True),
        ("publickey", False),
        ("publickey,password password", False),
        ("any", False),
    ],
)
def test_a_password_may_be_a_second_factor_and_never_the_only_one(
    checks: SimpleNamespace, methods: str, expected: bool
) -> None:
    settings = sshd(passwordauthentication="yes", kbdinteractiveauthentication="no", authenticationmethods=methods)
    assert holds(checks, checks.ssh.check_logins_need_a_key, PlayedHost(settings))[0] is expected


@pytest.mark.parametrize(
    ("interval", "count", "expected"), [("300", "3", True), ("0", "3", False), ("301", "3", False), ("10", "0", False)]
)
def test_the_bounds_of_dead_sessions_belong_to_them(
    checks: SimpleNamespace, interval: str, count: str, expected: bool
) -> None:
    host = PlayedHost(sshd(clientaliveinterval=interval, clientalivecountmax=count))
    found = holds(checks, checks.ssh.check_dead_sessions_end, host, interval_max=300, count_max=3)
    assert found[0] is expected


def test_match_blocks_are_asked_for_each_user_group_and_address_that_they_name(checks: SimpleNamespace) -> None:
    host = PlayedHost(
        {
            "cat /etc/passwd": PASSWD,
            "cat /etc/group": "admins:x:50:anna,berit\nother:x:51:carl\n",
            "cd /etc/ssh": 'Match User anna,!x*\nmatch Group "admins" Address 198.51.100.0/24\n# Match User no\n',
            "sshd -T": "permitrootlogin no\n",
        }
    )
    cases = [case for case, _ in checks.reading.sshd(host)]
    assert cases[0] == "everybody"
    assert set(cases[1:]) == {
        f"{user} from {address}" for user in ("root", "anna", "berit") for address in ("192.0.2.1", "198.51.100.0")
    }
    assert all("lport=22" in asked for asked in host.asked if asked.startswith("sshd -T -C"))


def cases_of(checks: SimpleNamespace, configured: str, group: str = "") -> list[str]:
    prints = {**sshd(permitrootlogin="no"), "cd /etc/ssh": configured, "cat /etc/group": group}
    return [case for case, _ in checks.reading.sshd(PlayedHost(prints))][1:]


def test_match_blocks_that_go_by_the_hosts_own_address_or_port_are_asked_for(checks: SimpleNamespace) -> None:
    found = cases_of(
        checks, "Match LocalPort 2222 # for transfers\nMatch LocalAddress 192.0.2.77\nMatch Host *.example\n"
    )
    assert "root from 192.0.2.1 to 127.0.0.1 port 2222" in found
    assert "root from 1.example to 192.0.2.77 port 22" in found
    with pytest.raises(checks.judging.CannotJudge, match="rdomain"):
        cases_of(checks, "Match RDomain inside\n")


def test_a_user_of_a_directory_service_is_asked_for_too(checks: SimpleNamespace) -> None:
    assert "sftp1 from 192.0.2.1" in cases_of(checks, "Match User sftp*\n")


def test_many_accounts_hide_none_that_a_match_block_names(checks: SimpleNamespace) -> None:
    many = ",".join(f"user{number:03}" for number in range(200))
    found = cases_of(checks, "Match Group people Address 198.51.100.0/24\nMatch User zoe\n", f"people:x:9:{many},zoe\n")
    assert {case.split()[0] for case in found} == {"root", "user000", "user199", "zoe"}
    addresses = " ".join(f"Address 10.0.{number}.0/24" for number in range(61))
    with pytest.raises(checks.judging.CannotJudge, match="62 cases"):
        cases_of(checks, f"Match {addresses}\n")


def test_without_match_blocks_one_question_is_enough(checks: SimpleNamespace) -> None:
    host = PlayedHost(sshd(permitrootlogin="no"))
    assert [case for case, _ in checks.reading.sshd(host)] == ["everybody"]


def test_a_jump_host_may_let_the_automation_account_through_to_named_hosts(checks: SimpleNamespace) -> None:
    closed = {
        "x11forwarding": "no",
        "allowtcpforwarding": "no",
        "allowagentforwarding": "no",
        "disableforwarding": "no",
    }
    narrow = {**closed, "allowtcpforwarding": "local", "permitopen": "10.0.0.2:22"}

    def host(for_opsctl: dict[str, str]) -> PlayedHost:
        shown = "".join(f"{name} {value}\n" for name, value in for_opsctl.items())
        return PlayedHost(
            {
                "sshd -T -C user=opsctl": shown,
                **sshd(**closed),
                "cd /etc/ssh": "Match User opsctl\n",
                "cat /etc/passwd": PASSWD + "opsctl:x:999:999::/var/lib/opsctl:/bin/sh\n",
            }
        )

    check = checks.ssh.check_forwarding_is_off
    lists: dict[str, Any] = {"automation_accounts": ["opsctl"]}
    assert holds(checks, check, host(narrow), jump_for=["ange.db1"], **lists)[0]
    assert not holds(checks, check, host({**narrow, "permitopen": "any"}), jump_for=["ange.db1"], **lists)[0]
    assert not holds(checks, check, host(narrow), jump_for=[], **lists)[0], "not a jump host"


# --- accounts, keys, sudo ---------------------------------------------------------------------------------------------


def sudoers(main: str, **more: str) -> dict[str, str | tuple[int, str]]:
    found: dict[str, str | tuple[int, str]] = {f"cat /etc/sudoers.d/{name}": text for name, text in more.items()}
    found["find -L /etc/sudoers.d"] = "\n".join(more) + "\n"
    found["command -v sudo"] = "/usr/bin/sudo\n"
    return {**found, "cat /etc/sudoers": main}


INCLUDE = "@includedir /etc/sudoers.d\n"


def test_sudoers_are_read_with_their_includes_joined_lines_and_without_comments(checks: SimpleNamespace) -> None:
    text = "# a comment\nDefaults use_pty\nanna ALL=(ALL) \\\n  NOPASSWD: ALL # why\n#1000 ALL=ALL\n" + INCLUDE
    host = PlayedHost(sudoers(text, opsctl="opsctl ALL=ALL\n"))
    assert checks.reading.sudoers(host) == [
        ("/etc/sudoers", "Defaults use_pty"),
        ("/etc/sudoers", "anna ALL=(ALL)  NOPASSWD: ALL"),
        ("/etc/sudoers", "#1000 ALL=ALL"),
        ("/etc/sudoers.d/opsctl", "opsctl ALL=ALL"),
    ]


def test_files_that_sudo_does_not_read_do_not_count(checks: SimpleNamespace) -> None:
    prints = sudoers(INCLUDE, good="anna ALL=ALL\n")
    prints["find -L /etc/sudoers.d"] = "good\nold.bak\nother~\n"
    assert checks.reading.sudoers(PlayedHost(prints)) == [("/etc/sudoers.d/good", "anna ALL=ALL")]


@pytest.mark.parametrize(
    ("rule", "file", "expected"),
    [
        ("opsctl ALL=(ALL) NOPASSWD: ALL", "opsctl", True),
        ("opsctl ALL=(ALL) NOPASSWD: ALL", "other", False),
        ("anna ALL=(ALL) NOPASSWD: ALL", "opsctl", False),
        ("Defaults:anna !authenticate", "anna", False),
        ("anna ALL=(ALL) ALL", "anna", True),
    ],
)
def test_only_the_automation_account_in_its_own_file_goes_without_a_password(
    checks: SimpleNamespace, rule: str, file: str, expected: bool
) -> None:
    host = PlayedHost(sudoers(INCLUDE, **{file: rule + "\n"}))
    found = holds(checks, checks.sudo.check_sudo_asks_for_a_password, host, automation_accounts=["opsctl"])
    assert found[0] is expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("Defaults use_pty", True),
        ("Defaults env_reset, use_pty", True),
        ("Defaults !use_pty", False),
        ("Defaults:anna use_pty", False),
        ("Defaults use_pty\nDefaults:anna !use_pty", False),
        ("", False),
    ],
)
def test_a_terminal_of_its_own_holds_for_everybody(checks: SimpleNamespace, rules: str, expected: bool) -> None:
    host = PlayedHost({"command -v sudo": "sudo\n", "cat /etc/sudoers": rules + "\n"})
    assert holds(checks, checks.sudo.check_sudo_uses_a_terminal_of_its_own, host)[0] is expected


def test_without_sudo_its_controls_do_not_apply(checks: SimpleNamespace) -> None:
    with pytest.raises(checks.judging.NotApplicable):
        checks.sudo.check_sudo_uses_a_terminal_of_its_own(PlayedHost({}), checks.judging.Verdict())


def keys(printed: str, **settings: str) -> PlayedHost:
    return PlayedHost({**sshd(authorizedkeysfile=".ssh/authorized_keys", **settings), "for file in": printed})


def test_a_key_opens_only_the_account_that_it_is_approved_for(checks: SimpleNamespace) -> None:
    printed = "file /home/anna/.ssh/authorized_keys\n1\n256 SHA256:one anna (ED25519)\n"
    check = checks.users.check_only_approved_keys
    assert holds(checks, check, keys(printed), keys={"anna": ["SHA256:one"]})[0]
    assert not holds(checks, check, keys(printed), keys={"root": ["SHA256:one"]})[0]


def test_a_line_that_ssh_keygen_cannot_read_is_no_pass(checks: SimpleNamespace) -> None:
    printed = "file /home/anna/.ssh/authorized_keys\n2\n256 SHA256:one anna (ED25519)\n"
    found = holds(checks, checks.users.check_only_approved_keys, keys(printed), keys={"anna": ["SHA256:one"]})
    assert found == (
        False,
        "1 keys; not approved: /home/anna/.ssh/authorized_keys: 2 lines, of which ssh-keygen reads 1",
    )


def test_keys_that_come_from_elsewhere_are_no_pass(checks: SimpleNamespace) -> None:
    host = keys("", authorizedkeyscommand="/usr/bin/fetch-keys")
    found = holds(checks, checks.users.check_only_approved_keys, host, keys={"anna": []})
    assert found == (False, "authorizedkeyscommand /usr/bin/fetch-keys")


def test_a_home_folder_with_a_shell_in_its_name_is_an_error(checks: SimpleNamespace) -> None:
    host = keys("")
    host.prints["cat /etc/passwd"] = "root:x:0:0::/root:/bin/sh\nmal:x:1001:1001::/home/$(id):/bin/sh\n"
    with pytest.raises(checks.judging.CannotJudge, match="not safe to use"):
        holds(checks, checks.users.check_only_approved_keys, host, keys={"root": []})
    assert not any("$(id)" in asked for asked in host.asked)


def test_a_full_name_breaks_no_line_of_passwd(checks: SimpleNamespace) -> None:
    named = PASSWD + "dag:x:1004:1004:Dag\u2028\x85\x0cX:/home/dag:/bin/bash\n"
    found = checks.reading.accounts(PlayedHost({"cat /etc/passwd": named}))
    assert (found[-1].name, found[-1].home) == ("dag", "/home/dag")


def test_a_broken_line_of_passwd_is_an_error(checks: SimpleNamespace) -> None:
    with pytest.raises(checks.judging.CannotJudge):
        checks.reading.accounts(PlayedHost({"cat /etc/passwd": "root:x:zero:0::/root:/bin/sh\n"}))


# --- packages ---------------------------------------------------------------------------------------------------------

RELEASE = 'ID=debian\nVERSION_ID="12"\n'
SUPPORT = {"supported_until": ["debian-12 2999-01-01"], "max_age_days": 7}


def packages(simulated: str = "", **changes: str) -> PlayedHost:
    prints: dict[str, str | tuple[int, str]] = {
        "command -v": "x\n",
        "cat /etc/os-release": RELEASE,
        "date +%s": "1000000\n999000.5\n",
    }
    sources = "http://m.example/debian/ bookworm main\nhttp://m.example/debian-security/ bookworm-security main\n"
    start = "LC_ALL=C apt-get -o Debug::NoLocking=true -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "
    prints |= {f"{start}indextargets": changes.pop("sources", sources), f"{start}-s": simulated or "\n"}
    return PlayedHost({**{name.replace("_", " "): text for name, text in changes.items()}, **prints})


def test_only_updates_of_a_security_suite_are_waiting(checks: SimpleNamespace) -> None:
    simulated = (
        "Inst bash [5.2-2] (5.2-3 Debian:12.15/oldstable [amd64])\n"
        "Inst openssl [3.0.1] (3.0.2 Debian:12/oldstable, Debian-Security:12/oldstable-security [amd64])\n"
        "Inst new1 (1.0 Debian-Security:12/oldstable-security [all]) []\n"
        "Conf openssl (3.0.2 Debian-Security:12/oldstable-security [amd64])\n"
    )
    found = holds(checks, checks.packages.check_no_security_update_waits, packages(simulated), **SUPPORT)
    assert found == (False, "2 waiting: new1 1.0, openssl 3.0.2")
    assert holds(checks, checks.packages.check_no_security_update_waits, packages(), **SUPPORT)[0]


@pytest.mark.parametrize(
    ("host", "lists", "told"),
    [
        (packages(), {**SUPPORT, "supported_until": ["debian-12 2020-01-01"]}, "no support since 2020-01-01"),
        (packages(), {**SUPPORT, "supported_until": []}, "no support that is known"),
        (packages(sources="http://m.example/debian/ bookworm main\n"), SUPPORT, "no security source"),
    ],
)
def test_where_nothing_could_be_listed_it_is_an_error_and_never_a_pass(
    checks: SimpleNamespace, host: PlayedHost, lists: dict[str, object], told: str
) -> None:
    with pytest.raises(checks.judging.CannotJudge, match=told):
        holds(checks, checks.packages.check_no_security_update_waits, host, **lists)


@pytest.mark.parametrize(
    ("printed", "found"),
    [("1000000\n", "there are no package lists"), ("1000000\n300000.0\n", "package lists 8.1 days old")],
)
def test_old_or_missing_lists_say_nothing_about_updates(checks: SimpleNamespace, printed: str, found: str) -> None:
    host = packages()
    host.prints["date +%s"] = printed
    with pytest.raises(checks.judging.CannotJudge, match=r"package lists.*: run apt-get update \(provision does\)"):
        holds(checks, checks.packages.check_no_security_update_waits, host, **SUPPORT)
    assert holds(checks, checks.packages.check_lists_are_fresh, host, **SUPPORT) == (False, found)


def test_lists_of_a_time_to_come_are_an_error_and_never_fresh(checks: SimpleNamespace) -> None:
    host = packages()
    host.prints["date +%s"] = "1000000\n2000000\n"
    for check in (checks.packages.check_lists_are_fresh, checks.packages.check_no_security_update_waits):
        with pytest.raises(checks.judging.CannotJudge, match=r"11\.6 days from now"):
            holds(checks, check, host, **SUPPORT)


@pytest.mark.parametrize(
    ("approved", "expected"),
    [
        (["http://m.example/debian bookworm main", "http://m.example/debian-security bookworm-security main"], True),
        (
            ["http://m.example/debian bookworm main contrib", "http://m.example/debian-security/ bookworm-security"],
            True,
        ),
        (
            ["http://m.example/debian bookworm contrib", "http://m.example/debian-security bookworm-security main"],
            False,
        ),
        (["http://m.example/debian bookworm main"], False),
    ],
)
def test_each_active_source_must_be_approved(checks: SimpleNamespace, approved: list[str], expected: bool) -> None:
    found = holds(checks, checks.packages.check_sources_are_approved, packages(), package_sources=approved)
    assert found[0] is expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/etc/apt/sources.list:3:deb [trusted=yes] http://m.example/debian bookworm main", False),
        ("/etc/apt/sources.list.d/x.sources:5:Trusted: yes", False),
        ("/etc/apt/sources.list.d/x.sources:5:Trusted: no", True),
        ("/etc/apt/sources.list:3:deb [trusted=enable] http://m.example/debian bookworm main", False),
        ("/etc/apt/sources.list:3:# deb [trusted=yes] http://m.example/debian bookworm main", True),
        ("/etc/apt/sources.list:3:deb [allow-insecure=yes arch=amd64] http://m.example/debian bookworm main", False),
    ],
)
def test_sources_that_are_trusted_without_a_signature_are_found(
    checks: SimpleNamespace, line: str, expected: bool
) -> None:
    host = PlayedHost({"command -v": "x\n", "apt-config dump": 'APT::Get "";\n', "grep -rHnEi": line + "\n"})
    assert holds(checks, checks.packages.check_signatures_are_checked, host)[0] is expected


def test_a_host_without_dpkg_is_not_judged_by_it(checks: SimpleNamespace) -> None:
    with pytest.raises(checks.judging.NotApplicable):
        checks.packages.check_nothing_is_held(PlayedHost({}), checks.judging.Verdict())
