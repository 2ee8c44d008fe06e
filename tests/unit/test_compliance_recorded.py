"""What the checks make of recorded output: time and audit of real machines, Red Hat's variants, odd settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.unit.played_host import PlayedHost

CHECKS = Path(__file__).parents[1] / "compliance"
DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'
DEBIAN += "VERSION_CODENAME=bookworm\n"
RED_HAT = 'NAME="Red Hat Enterprise Linux"\nVERSION_ID="9.4"\nID="rhel"\nID_LIKE="fedora"\n'
LISTS: dict[str, object] = {
    "role": "application", "addresses": ["192.0.2.11"], "time_servers": ["ntp1.example", "ntp2.example"],
    "log_host": "log.example:6514", "log_retention_days": 90, "site_names": [], "monitoring_addresses": ["192.0.2.50"],
}  # fmt: skip


@pytest.fixture(scope="module")
def checks() -> Iterator[SimpleNamespace]:
    sys.path.insert(0, str(CHECKS))
    try:
        names = ("judging", "machine", "check_time", "check_audit", "check_base", "check_logging", "check_web")
        more = ("check_database", "check_monitoring", "check_services", "check_packages", "check_firewall", "ruleset")
        yield SimpleNamespace(**{name.removeprefix("check_"): import_module(name) for name in (*names, *more)})
    finally:
        sys.path.remove(str(CHECKS))


VALUES: Mapping[str, Mapping[str, object]] = {
    entry["id"]: entry.get("values", {})
    for entry in yaml.safe_load((CHECKS / "catalogue.yml").read_text(encoding="utf-8"))["checks"]
}


def judged(
    checks: SimpleNamespace, check: Any, prints: Mapping[str, str | tuple[int, str]], **lists: object
) -> tuple[bool, str]:
    """Whether the check passes on a host that prints this, and what it observed."""
    host = PlayedHost({"cat /etc/os-release": DEBIAN, "systemd-detect-virt": (1, "none\n"), **prints})
    verdict = checks.judging.Verdict()
    control = next(mark.args[0] for mark in check.pytestmark if mark.name == "control")
    given = {"host": host, "verdict": verdict}
    if "expectations" in check.__code__.co_varnames[: check.__code__.co_argcount]:
        given["expectations"] = checks.judging.Expectations({**LISTS, **lists}, VALUES, control)
    try:
        check(**given)
    except AssertionError:
        return False, verdict.observed
    return True, verdict.observed


def shown(checks: SimpleNamespace, **states: str) -> dict[str, str | tuple[int, str]]:
    """What systemctl shows: `chrony="enabled active"`; every other unit is not there."""
    blocks = []
    for name in checks.machine.UNITS:
        enabled, _, active = states.get(name.rpartition(".")[0].replace("-", "_"), "").partition(" ")
        load = "loaded" if active else "not-found"
        blocks.append(f"LoadState={load}\nActiveState={active or 'inactive'}\nUnitFileState={enabled}\n")
    return {"systemctl show": "\n".join(blocks)}


# --- time -------------------------------------------------------------------------------------------------------------

SOURCES = """\
MS Name/IP address         Stratum Poll Reach LastRx Last sample
===============================================================================
^* 192.0.2.1                     2   6   377    23    +12us[  +15us] +/- 5123us
^+ 192.0.2.2                     2   6   377    22   -103us[ -101us] +/- 6301us
^? 192.0.2.3                     0   8     0     -     +0ns[   +0ns] +/-    0ns
"""
TRACKING = """\
Reference ID    : C0000201 (192.0.2.1)
Stratum         : 3
Ref time (UTC)  : Sat Nov 28 10:00:00 2026
System time     : 0.000012345 seconds slow of NTP time
Last offset     : -0.000003456 seconds
Leap status     : Normal
"""


def test_a_container_has_no_clock_of_its_own(checks: SimpleNamespace) -> None:
    for check in (checks.time.check_exactly_one_time_service, checks.time.check_clock_is_right):
        with pytest.raises(checks.judging.NotApplicable, match="systemd-nspawn"):
            judged(checks, check, {"systemd-detect-virt": "systemd-nspawn\n"})


@pytest.mark.parametrize(
    ("states", "holds"),
    [
        ({"chrony": "enabled active"}, True),
        ({"chrony": "enabled active", "ntpsec": "enabled active"}, False),
        ({"systemd_timesyncd": "enabled active"}, True),
        ({"chrony": "disabled active"}, False),
    ],
)
def test_exactly_one_time_service_counts(checks: SimpleNamespace, states: dict[str, str], holds: bool) -> None:
    check = checks.time.check_exactly_one_time_service
    assert judged(checks, check, shown(checks, **states))[0] is holds


def test_only_reachable_and_approved_sources_count(checks: SimpleNamespace) -> None:
    check = checks.time.check_time_comes_from_approved_servers
    good = {"chronyc -n sources": SOURCES, "grep -hEs": "server ntp1.example iburst\nserver ntp2.example iburst\n"}
    assert judged(checks, check, good) == (
        True, "reachable: 192.0.2.1, 192.0.2.2; not approved: none; configured: ntp1.example, ntp2.example"
    )  # fmt: skip
    assert not judged(checks, check, {**good, "grep -hEs": "pool other.example\n"})[0]
    alone = SOURCES.replace(
        "^+ 192.0.2.2                     2   6   377", "^? 192.0.2.2                     0   6     0"
    )
    assert judged(checks, check, {**good, "chronyc -n sources": alone})[0] is False
    silent: dict[str, str | tuple[int, str]] = {**good, "chronyc -n sources": (1, "506 Cannot talk to daemon\n")}
    assert judged(checks, check, silent)[1].startswith("reachable: not known (506 Cannot talk to daemon")


@pytest.mark.parametrize(
    ("tracking", "holds", "observed"),
    [
        (TRACKING, True, "leap status Normal; offset 0.012 ms slow"),
        (TRACKING.replace("0.000012345", "1.000000001"), False, "leap status Normal; offset 1000.000 ms slow"),
        (TRACKING.replace("Normal", "Not synchronised"), False, "leap status Not synchronised; offset 0.012 ms slow"),
    ],
)
def test_the_clock_is_right_below_a_second(checks: SimpleNamespace, tracking: str, holds: bool, observed: str) -> None:
    found = judged(checks, checks.time.check_clock_is_right, {"chronyc -n tracking": tracking})
    assert found == (holds, observed)


def test_every_process_of_the_time_service_must_be_its_own_users(checks: SimpleNamespace) -> None:
    check = checks.time.check_time_service_runs_without_root
    assert judged(checks, check, {"ps -o": "_chrony\n_chrony\n"})[0]
    assert judged(checks, check, {"ps -o": "_chrony\nroot\n"}) == (False, "chronyd runs as _chrony, root")
    red_hat = {"ps -o": "chrony\n", "cat /etc/os-release": RED_HAT}
    assert judged(checks, check, red_hat)[0]


# --- audit ------------------------------------------------------------------------------------------------------------

RULES = """\
-w /etc/passwd -p wa -k identity
-w /etc/group -p wa -k identity
-w /etc/shadow -p wa -k identity
-w /etc/gshadow -p wa -k identity
-w /etc/sudoers -p wa -k identity
-a always,exit -F dir=/etc/sudoers.d -F perm=wa -F key=identity
-w /etc/localtime -p wa -k clock
-a always,exit -F arch=b64 -S adjtimex,settimeofday,clock_settime -F key=clock
-a always,exit -F arch=b64 -S init_module,finit_module,delete_module -F auid>=1000 -F auid!=-1 -F key=modules
"""
AUDIT = {"command -v auditctl": "/sbin/auditctl\n"}


@pytest.mark.parametrize(
    ("check", "change", "missing"),
    [
        ("check_changes_of_accounts_are_recorded", ("gshadow -p wa", "gshadow -p r"), "/etc/gshadow"),
        ("check_changes_of_sudo_are_recorded", ("perm=wa", "perm=w"), "/etc/sudoers.d"),
        ("check_changes_of_the_clock_are_recorded", ("settimeofday,", ""), "settimeofday"),
        ("check_changes_of_the_clock_are_recorded", ("-F arch=b64 -S adj", "-F arch=b64 -F uid=5 -S adj"), "adjtimex"),
        (
            "check_changes_of_the_clock_are_recorded",
            ("always,exit -F arch=b64 -S adj", "never,exit -S adj"),
            "adjtimex",
        ),
        ("check_loading_of_modules_is_recorded", (",delete_module", ""), "delete_module"),
        ("check_loading_of_modules_is_recorded", ("auid>=1000", "auid=1000"), "init_module"),
        ("check_changes_of_the_clock_are_recorded", ("arch=b64 -S adj", "arch=b32 -S adj"), "adjtimex"),
        ("check_changes_of_sudo_are_recorded", ("always,exit -F dir", "never,exit -F dir"), "/etc/sudoers.d"),
        ("check_changes_of_accounts_are_recorded", ("-w /etc/localtime", "-a never,task\n-w /etc/localtime"), "passwd"),
        ("check_loading_of_modules_is_recorded", ("-w /etc/passwd", "-a never,task\n-w /etc/passwd"), "init_module"),
    ],
)
def test_each_path_and_call_must_be_recorded(
    checks: SimpleNamespace, check: str, change: tuple[str, str], missing: str
) -> None:
    function = getattr(checks.audit, check)
    assert judged(checks, function, {**AUDIT, "auditctl -l": RULES}) == (True, "not recorded: none")
    holds, observed = judged(checks, function, {**AUDIT, "auditctl -l": RULES.replace(*change)})
    assert (holds, missing in observed) == (False, True), observed


def test_without_rules_nothing_is_recorded(checks: SimpleNamespace) -> None:
    for printed in ({**AUDIT, "auditctl -l": "No rules\n"}, {"command -v": (1, "")}):
        assert not judged(checks, checks.audit.check_changes_of_accounts_are_recorded, printed)[0]


@pytest.mark.parametrize(
    ("action", "plugin", "modes", "holds"),
    [
        ("keep_logs", (1, ""), "d 700 /var/log/audit\nf 600 /var/log/audit/audit.log\n", True),
        ("keep_logs", (1, ""), "d 700 /var/log/audit\nf 640 /var/log/audit/audit.log\n", False),
        ("ROTATE", (1, ""), "d 700 /var/log/audit\nf 600 /var/log/audit/audit.log\n", False),
        ("ROTATE", "active = yes\n", "d 700 /var/log/audit\nf 600 /var/log/audit/audit.log\n", True),
        ("keep_logs", (1, ""), "d 750 /var/log/audit\n", False),
    ],
)
def test_the_audit_log_is_kept_or_copied_and_closed(
    checks: SimpleNamespace, action: str, plugin: str | tuple[int, str], modes: str, holds: bool
) -> None:
    prints = shown(checks, auditd="enabled active") | {
        "cat /etc/audit/auditd.conf": f"# max_log_file_action = x\nmax_log_file_action = {action}\n",
        "grep -hEi": plugin, "find /var/log/audit": modes,
    }  # fmt: skip
    assert judged(checks, checks.audit.check_audit_log_is_kept, prints)[0] is holds


@pytest.mark.parametrize(("switch", "holds"), [("1", True), ("2", True), ("0", False)])
def test_a_service_that_runs_records_nothing_while_the_kernels_switch_is_off(
    checks: SimpleNamespace, switch: str, holds: bool
) -> None:
    prints = shown(checks, auditd="enabled active") | {
        "dpkg-query": (1, "installed auditd 1:3.0.9-1\n"), "auditctl -s": f"enabled {switch}\nfailure 1\n",
    }  # fmt: skip
    found = judged(checks, checks.audit.check_system_calls_are_audited, prints)
    assert found == (holds, f"package auditd 1:3.0.9-1; service auditd enabled, active; kernel: enabled {switch}")


def test_rules_are_locked_or_not(checks: SimpleNamespace) -> None:
    check = checks.audit.check_audit_rules_cannot_be_changed
    there = shown(checks, auditd="enabled active")
    assert judged(checks, check, {**there, "auditctl -s": "enabled 2\nfailure 1\n"})[0]
    assert judged(checks, check, {**there, "auditctl -s": "enabled 1\nfailure 1\n"}) == (False, "enabled 1")


# --- Red Hat's family, and odd settings -------------------------------------------------------------------------------


def test_packages_of_both_families_are_read(checks: SimpleNamespace) -> None:
    check = checks.services.check_no_clear_text_clients
    debian = {"dpkg-query": (1, "installed telnet 0.17+2.4-2\nconfig-files talk 1.0\n")}
    assert judged(checks, check, debian) == (False, "installed: telnet 0.17+2.4-2")
    rpm = "package nis is not installed\ninstalled rsh 0.17-99\n"
    red_hat: dict[str, str | tuple[int, str]] = {"cat /etc/os-release": RED_HAT, "rpm -q": (12, rpm)}
    assert judged(checks, check, red_hat) == (False, "installed: rsh 0.17-99")


@pytest.mark.parametrize(
    ("release", "holds", "observed"),
    [
        (DEBIAN, True, "debian-12: long-term support ends 2028-06-30"),
        (RED_HAT, True, "rhel-9: regular support ends 2032-05-31"),
        (DEBIAN.replace('"12"', '"10"'), False, "debian-10: no support that is known"),
    ],
)
def test_the_finding_says_which_support_it_is(
    checks: SimpleNamespace, release: str, holds: bool, observed: str
) -> None:
    found = judged(checks, checks.base.check_release_is_supported, {"cat /etc/os-release": release})
    assert found == (holds, observed)


FORWARD = """\
action(type="omfwd" target="log.example" port="6514" protocol="tcp"
       StreamDriver="gtls" StreamDriverMode="1" StreamDriverAuthMode="x509/name")
"""


@pytest.mark.parametrize(
    ("configured", "holds"),
    [
        (FORWARD, True),
        (FORWARD.replace('target="log.example"', 'target="other.example"'), False),
        (FORWARD.replace("x509/name", "anon"), False),
        (FORWARD.replace('Mode="1"', 'Mode="0"'), False),
        ("*.* @@log.example:6514\n", False),
        ("# " + FORWARD.replace("\n", " ") + "\n", False),
        (f"/* not now:\n{FORWARD}*/\n", False),
        (f"$IncludeConfig /etc/rsyslog.d/*.conf\n{FORWARD}*/\n", True),
    ],
)
def test_only_an_encrypted_forward_to_the_log_host_counts(
    checks: SimpleNamespace, configured: str, holds: bool
) -> None:
    prints = shown(checks, rsyslog="enabled active") | {"cat /etc/rsyslog.conf": configured}
    assert judged(checks, checks.logging.check_logs_reach_the_log_host_encrypted, prints)[0] is holds


@pytest.mark.parametrize(
    ("line", "observed"),
    [
        ('input(type="imtcp" port="514")', "imtcp"),
        ("$UDPServerRun 514", "imudp"),
        ("$InputRELPServerRun 2514", "imrelp"),
    ],
)
def test_inputs_of_both_forms_are_seen(checks: SimpleNamespace, line: str, observed: str) -> None:
    prints = shown(checks, rsyslog="enabled active") | {"cat /etc/rsyslog.conf": f'module(load="imuxsock")\n{line}\n'}
    check = checks.logging.check_no_logs_from_others
    assert judged(checks, check, prints) == (False, f"takes logs by: {observed}")
    with pytest.raises(checks.judging.NotApplicable):
        judged(checks, check, prints, role="loghost")


def test_periods_of_logrotate_become_days(checks: SimpleNamespace) -> None:
    told = (
        "rotating pattern: /var/log/syslog\n/var/log/auth.log\n after 1 days (90 rotations)\n"
        "rotating pattern: /var/log/wtmp  monthly (1 rotations)\n"
        "rotating pattern: /var/log/apt/term.log  monthly (12 rotations)\n"
        "rotating pattern: /var/log/big  1048576 bytes (4 rotations)\n"
    )
    found = checks.logging.rotation(told)
    assert (found["/var/log/syslog"], found["/var/log/auth.log"]) == (90, 90)
    assert found["/var/log/wtmp"] == 30
    assert found["/var/log/apt/term.log"] == 360
    assert found["/var/log/big"] == 0


@pytest.mark.parametrize(
    ("told", "configured", "kept"),
    [
        ("(90 rotations)\n", "rotate 90", "90"),
        ("(90 rotations)\nempty log files are not rotated, log files >= 9 are rotated earlier, old", "", "0"),
        ("(90 rotations)\n", "rotate 90\n maxage 30", "30"),
        ("(90 rotations)\n", "}\n/other {\n maxage 30", "90"),
        ("(90 rotations)\n", "}\nmaxage 7\n/other {\n", "7"),
    ],
)
def test_logs_that_go_by_their_age_or_size_are_not_kept_longer(
    checks: SimpleNamespace, told: str, configured: str, kept: str
) -> None:
    prints: dict[str, str | tuple[int, str]] = {
        **shown(checks, logrotate="enabled active"),
        "logrotate -d": f"rotating pattern: /var/log/syslog\n after 1 days {told}",
        "cat /etc/logrotate.conf": f"/var/log/syslog\n{{\n {configured}\n}}\n",
    }
    found = judged(checks, checks.logging.check_logs_are_kept_long_enough, prints)
    assert (found[0], f"/var/log/syslog {kept} days" in found[1]) == (kept == "90", True), found


def test_a_table_of_one_version_of_ip_leaves_the_other_open(checks: SimpleNamespace) -> None:
    def host(disabled: int, families: tuple[str, ...]) -> dict[str, str | tuple[int, str]]:
        chains = [
            {"chain": {"family": family, "table": "t", "name": hook, "type": "filter", "hook": hook, "policy": "drop"}}
            for family in families
            for hook in ("input", "forward")
        ]
        off = f"net.ipv6.conf.all.disable_ipv6 = {disabled}\n"
        return {"nft -j": json.dumps({"nftables": chains}), "sysctl -e": off}

    check = checks.firewall.check_incoming_is_denied
    assert judged(checks, check, host(0, ("inet",)))[0]
    assert judged(checks, check, host(0, ("ip", "ip6")))[0]
    assert judged(checks, check, host(1, ("ip",)))[0]
    failed, observed = judged(checks, check, host(0, ("ip",)))
    assert (failed, observed.partition("; ")[2]) == (False, "not filtered: forward of IPv6, input of IPv6")
    reached = checks.firewall.check_ssh_from_management_networks_only
    lists = {"management_networks": [], "ssh_port": 22}
    assert judged(checks, reached, host(1, ("ip",)), **lists)[0]
    assert judged(checks, reached, host(0, ("ip",)), **lists) == (False, "tcp/22 is open to ::/0")


def test_a_package_that_is_there_in_part_is_not_absent(checks: SimpleNamespace) -> None:
    check = checks.services.check_no_clear_text_servers
    for state in ("unpacked", "half-configured", "triggers-pending"):
        assert judged(checks, check, {"dpkg-query": (1, f"{state} telnetd 0.17\n")}) == (
            False,
            "installed: telnetd 0.17",
        )
    assert judged(checks, check, {"dpkg-query": (1, "not-installed telnetd \nconfig-files xinetd 2.3\n")})[0]


def test_two_databases_on_one_host_are_an_error(checks: SimpleNamespace) -> None:
    prints = shown(checks, postgresql="enabled active", mariadb="enabled active")
    with pytest.raises(checks.judging.CannotJudge, match="both PostgreSQL and MariaDB"):
        judged(checks, checks.database.check_database_listens_where_it_should, prints)


def test_two_web_servers_on_one_host_are_an_error(checks: SimpleNamespace) -> None:
    prints = shown(checks, nginx="enabled active", apache2="disabled inactive")
    with pytest.raises(checks.judging.CannotJudge, match="both nginx and Apache"):
        judged(checks, checks.web.check_only_current_tls, prints)


@pytest.mark.parametrize(("selected", "observed"), [("install apt\n", "none"), ("hold curl\ninstall apt\n", "curl")])
def test_a_package_that_dpkg_wants_held_is_told(checks: SimpleNamespace, selected: str, observed: str) -> None:
    prints: dict[str, str | tuple[int, str]] = {"command -v dpkg-query": "dpkg-query\n", "dpkg-query -W -f": selected}
    found = judged(checks, checks.packages.check_nothing_is_held, prints)
    assert found == (observed == "none", f"held: {observed}")


# --- databases and web ------------------------------------------------------------------------------------------------

HBA = "1|local|postgres|||peer|\n2|local|all|||peer|\n3|host|all|127.0.0.1|255.255.255.255|scram-sha-256|\n"


@pytest.mark.parametrize(
    ("line", "check", "holds"),
    [
        ("4|local|postgres|||trust|\n", "check_nobody_is_trusted", True),
        ("4|host|all|127.0.0.1|255.255.255.255|trust|\n", "check_nobody_is_trusted", False),
        ("4|hostssl|all|192.0.2.0|255.255.255.0|md5|\n", "check_database_passwords_are_hashed_well", False),
        ("4|hostssl|all|192.0.2.0|255.255.255.0|scram-sha-256|\n", "check_remote_connections_are_encrypted", True),
        ("4|host|all|192.0.2.0|255.255.255.0|scram-sha-256|\n", "check_remote_connections_are_encrypted", False),
        ("4|host|all|192.0.2.0|255.255.255.0|reject|\n", "check_remote_connections_are_encrypted", True),
        (f"4|host|all|::1|{'ffff:' * 7}ffff|scram-sha-256|\n", "check_remote_connections_are_encrypted", True),
        ("4|host|all|127.0.0.1|0.0.0.0|scram-sha-256|\n", "check_remote_connections_are_encrypted", False),
        ("4|host|all|samenet||scram-sha-256|\n", "check_remote_connections_are_encrypted", False),
    ],
)
def test_lines_of_pg_hba_are_judged(checks: SimpleNamespace, line: str, check: str, holds: bool) -> None:
    settings = "data_directory|/srv/db\nlisten_addresses|localhost\npassword_encryption|scram-sha-256\nssl|on\n"
    prints: dict[str, str | tuple[int, str]] = {**shown(checks, postgresql="enabled active")}
    prints[checks.database._SETTINGS] = settings
    prints[checks.database._HBA] = HBA + line
    assert judged(checks, getattr(checks.database, check), prints)[0] is holds


@pytest.mark.parametrize(
    ("check", "change", "holds"),
    [
        ("check_database_listens_where_it_should", (), True),
        ("check_database_listens_where_it_should", ("127.0.0.1", "0.0.0.0"), False),
        ("check_database_listens_where_it_should", ("127.0.0.1", "*"), False),
        ("check_nobody_is_trusted", (), True),
        ("check_remote_connections_are_encrypted", (), True),
        ("check_remote_connections_are_encrypted", ("transport\t1", "transport\t0"), False),
        ("check_data_directory_is_the_databases", (), True),
        ("check_data_directory_is_the_databases", ("/var/lib/mysql/", "/srv/open/"), False),
    ],
)
def test_settings_of_mariadb_are_judged(
    checks: SimpleNamespace, check: str, change: tuple[str, str] | tuple[()], holds: bool
) -> None:
    """In the form of its client's batch output; no such server was asked."""
    settings = "bind_address\t127.0.0.1\nrequire_secure_transport\t1\ndata_directory\t/var/lib/mysql/\n"
    prints: dict[str, str | tuple[int, str]] = {**shown(checks, mariadb="enabled active")}
    prints[checks.database._MARIADB] = settings.replace(*change) if change else settings
    prints[checks.database._MARIADB_ACCOUNTS] = ""
    prints["stat -L -c '%U %a' /var/lib/mysql/"] = "mysql 700\n"
    prints["stat -L -c '%U %a' /srv/open/"] = "mysql 755\n"
    assert judged(checks, getattr(checks.database, check), prints)[0] is holds


def test_an_account_of_mariadb_without_a_password_fails_and_what_is_about_postgresql_does_not_apply(
    checks: SimpleNamespace,
) -> None:
    prints: dict[str, str | tuple[int, str]] = {**shown(checks, mariadb="enabled active")}
    prints[checks.database._MARIADB_ACCOUNTS] = "\tlocalhost\napp\t%\n"
    found = judged(checks, checks.database.check_nobody_is_trusted, prints)
    assert found == (False, "without a password: anonymous@localhost, app@%")
    with pytest.raises(checks.judging.NotApplicable, match="MariaDB"):
        judged(checks, checks.database.check_database_passwords_are_hashed_well, prints)


def test_versions_of_tls_are_read_in_both_servers(checks: SimpleNamespace) -> None:
    versions = checks.web.versions
    assert versions("nginx", "http { ssl_protocols TLSv1.2 TLSv1.3; }") == {"tlsv1.2", "tlsv1.3"}
    assert "tlsv1.1" in versions("nginx", "http { }")
    assert versions("apache", "SSLProtocol -all +TLSv1.2 +TLSv1.3\n") == {"tlsv1.2", "tlsv1.3"}
    assert versions("apache", "SSLProtocol all -TLSv1 -TLSv1.1\n") == {"tlsv1.2", "tlsv1.3"}
