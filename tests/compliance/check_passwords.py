"""Passwords: hashes, ages, what PAM asks for, idle shells and su."""

from __future__ import annotations

import re
from typing import Any

import pytest
from judging import Expectations, Verdict, listed
from machine import red_hat
from reading import accounts, lines, login_defs, output, pam, shadow


@pytest.mark.control("USR-02")
def check_no_empty_password(host: Any, verdict: Verdict) -> None:
    every = shadow(host)
    empty = [entry.name for entry in every if entry.state == "empty"]
    verdict(
        bool(every) and not empty,
        observed=f"{len(every)} accounts, with an empty password: {listed(empty)}",
        expected="none with an empty password",
    )


@pytest.mark.control("USR-03")
def check_hashes_are_in_the_shadow_file(host: Any, verdict: Verdict) -> None:
    # Whatever else stands there may be a hash: only that it does leaves the host.
    states = lines(host, 'awk -F: \'{ print $1 ":" ($2 == "x" ? "x" : "something else") }\' /etc/passwd')
    wrong = [line.partition(":")[0] for line in states if not line.endswith(":x")]
    verdict(
        bool(states) and not wrong,
        observed=f"{len(states)} accounts; second field not x: {listed(wrong)}",
        expected="x in the second field of every line of /etc/passwd",
    )


@pytest.mark.control("USR-06")
def check_accounts_without_a_shell_are_locked(host: Any, verdict: Verdict) -> None:
    shells = {line.strip() for line in lines(host, "cat /etc/shells") if not line.startswith("#")}
    # Without an entry there is no password that could work.
    states = {entry.name: entry.state for entry in shadow(host)}
    without = [a for a in accounts(host) if a.name != "root" and a.shell not in shells]
    wrong = [f"{a.name} ({a.shell or 'no shell given'})" for a in without if states.get(a.name, "locked") != "locked"]
    verdict(
        bool(shells) and not wrong,
        observed=f"{len(without)} accounts without a shell of /etc/shells; not locked: {listed(wrong)}",
        expected="each of them locked",
    )


def _within(value: str, low: int, high: int) -> bool:
    return value.isdigit() and low <= int(value) <= high


@pytest.mark.control("USR-07")
def check_passwords_expire(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    most = expectations.number("days_max")
    default = login_defs(host).get("PASS_MAX_DAYS", "not set")
    with_password = [entry for entry in shadow(host) if entry.state == "set"]
    wrong = [f"{e.name} ({e.longest or 'never'})" for e in with_password if not _within(e.longest, 1, most)]
    verdict(
        _within(default, 1, most) and not wrong,
        observed=f"PASS_MAX_DAYS {default}; {len(with_password)} accounts with a password, of which later: "
        f"{listed(wrong)}",
        expected=f"PASS_MAX_DAYS 1..{most}, and so for every account with a password",
    )


@pytest.mark.control("USR-08")
def check_unused_accounts_are_locked(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    most = expectations.number("days_max")
    shown = dict(line.partition("=")[::2] for line in lines(host, "useradd -D"))
    default = shown.get("INACTIVE", "not printed")
    with_password = [entry for entry in shadow(host) if entry.state == "set"]
    wrong = [f"{e.name} ({e.inactive or 'never'})" for e in with_password if not _within(e.inactive, 0, most)]
    verdict(
        _within(default, 1, most) and not wrong,
        observed=f"INACTIVE={default}; {len(with_password)} accounts with a password, of which later: {listed(wrong)}",
        expected=f"INACTIVE=1..{most}, and 0..{most} for every account with a password",
    )


@pytest.mark.control("USR-09")
def check_passwords_are_hashed_well(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    methods = expectations.texts("methods_rhel" if red_hat(host) else "methods")
    found = login_defs(host).get("ENCRYPT_METHOD", "not set")
    verdict(
        found.upper() in methods, observed=f"ENCRYPT_METHOD {found}", expected=f"ENCRYPT_METHOD {' or '.join(methods)}"
    )


def _settings(text: str) -> dict[str, str]:
    """name = value lines, of which the last one of a name holds; a name alone is switched on."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition("#")[0].partition("=")
        if name.strip():
            found[name.strip()] = value.strip()
    return found


def _argument(line: str, name: str) -> str | None:
    given = re.search(rf"\s{name}=(\S+)", line)
    return given[1] if given else None


_PWQUALITY = "cat /etc/security/pwquality.conf.d/*.conf /etc/security/pwquality.conf"


@pytest.mark.control("USR-10")
def check_passwords_are_long(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    least = expectations.number("length_min")
    # The folder is read before the file (pwquality.conf(5)); an argument in the stack beats both (pam_pwquality(8)).
    text = output(host, _PWQUALITY, ok=(0, 1))
    called = [line for _, line in pam(host, "pam_pwquality") if line.startswith("password")]
    lengths = [_argument(line, "minlen") or _settings(text).get("minlen", "8") for line in called]
    verdict(
        bool(called) and all(_within(length, least, 9999) for length in lengths),
        observed=f"{len(called)} PAM lines call pam_pwquality; minlen {listed(lengths, none='without effect')}",
        expected=f"PAM calls pam_pwquality with minlen at least {least}",
    )


@pytest.mark.control("USR-11")
def check_accounts_lock_after_failed_logins(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    most, shortest = expectations.number("deny_max"), expectations.number("unlock_seconds_min")
    given = _settings(output(host, "cat /etc/security/faillock.conf", ok=(0, 1)))
    used = [line for _, line in pam(host, "pam_faillock") if re.match(r"-?auth\s", line)]
    steps = {step for line in used for step in ("preauth", "authfail") if f" {step}" in line}
    # faillock.conf(5): 3 failures and 600 seconds where nothing is said; arguments in the stack beat the file.
    values = {"deny": {given.get("deny", "3")}, "unlock_time": {given.get("unlock_time", "600")}}
    for line in used:
        for name, found in values.items():
            found |= {value for value in [_argument(line, name)] if value}
    holds = all(_within(value, 1, most) for value in values["deny"]) and all(
        value == "never" or value == "0" or _within(value, shortest, 10**9) for value in values["unlock_time"]
    )
    verdict(
        steps == {"preauth", "authfail"} and holds,
        observed=f"pam_faillock in the stack: {listed(steps, none='no')}; deny {listed(values['deny'])}, "
        f"unlock_time {listed(values['unlock_time'])}",
        expected=f"pam_faillock preauth and authfail; deny 1..{most}, unlock_time 0 or at least {shortest}",
    )


@pytest.mark.control("USR-12")
def check_pam_refuses_empty_passwords(host: Any, verdict: Verdict) -> None:
    used = pam(host, "pam_unix")
    wrong = [f"{file}:{line}" for file, line in used if re.search(r"\snullok(\s|$|_)", line)]
    verdict(
        bool(used) and not wrong,
        observed=f"{len(used)} lines with pam_unix; with nullok: {listed(wrong)}",
        expected="no nullok on a pam_unix line",
    )


_UMASKS = "grep -HniE '^[[:space:]]*umask[[:space:]]' /etc/login.defs /etc/profile %s"


@pytest.mark.control("USR-13")
def check_new_files_are_not_open(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    mask = expectations.text("umask")
    bashrc = "/etc/bashrc" if red_hat(host) else "/etc/bash.bashrc"
    found: dict[str, list[str]] = {"/etc/login.defs": [], "/etc/profile": [], bashrc: []}
    for line in lines(host, _UMASKS, bashrc, ok=(0, 1, 2)):
        file, _, text = line.split(":", 2)
        found[file].append(text.split()[1].strip(";"))
    # A symbolic mask (u=rwx,g=rx,o=) is not read here: it counts as too open, and can be written as a number.
    wrong = [file for file, masks in found.items() if not masks or not all(_masks(given, mask) for given in masks)]
    shown = (f"{file} {' '.join(masks) or 'none'}" for file, masks in found.items())
    verdict(not wrong, observed=f"umask in {listed(shown)}", expected=f"umask {mask} or stricter in each file")


def _masks(given: str, mask: str) -> bool:
    return re.fullmatch(r"[0-7]{1,4}", given) is not None and int(mask, 8) & ~int(given, 8) == 0


@pytest.mark.control("USR-14")
def check_idle_shells_end(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    longest = expectations.number("seconds_max")
    printed = lines(host, 'bash -lc \'echo "TMOUT $TMOUT"; readonly -p | grep " TMOUT="\' 2> /dev/null', ok=(0, 1))
    seconds = next((line.partition(" ")[2] for line in printed if line.startswith("TMOUT ")), "")
    fixed = any(line.startswith("declare -") for line in printed)
    verdict(
        _within(seconds, 1, longest) and fixed,
        observed=f"TMOUT {seconds or 'not set'}, {'readonly' if fixed else 'not readonly'}",
        expected=f"TMOUT 1..{longest}, readonly",
    )


@pytest.mark.control("USR-15")
def check_su_is_reserved_for_a_group(host: Any, verdict: Verdict) -> None:
    used = [line for file, line in pam(host, "pam_wheel") if file == "/etc/pam.d/su" and line.startswith("auth ")]
    good = [line for line in used if re.search(r"^auth (required|requisite) \S*pam_wheel\.so\b.* use_uid\b", line)]
    groups = [group for line in good if (group := _argument(line, "group"))]
    rows = [line.split(":") for line in lines(host, "cat /etc/group")]
    table = {row[0]: row for row in rows if len(row) == 4}
    people = accounts(host)
    members = [
        *(name for group in groups if group in table for name in filter(None, table[group][3].split(","))),
        *(a.name for group in groups if group in table for a in people if str(a.gid) == table[group][2]),
    ]
    missing = [group for group in groups if group not in table]
    verdict(
        bool(groups) and not missing and not members,
        observed=f"{listed(used, none='no pam_wheel in /etc/pam.d/su')}; group {listed(groups)}"
        f"{' (missing)' if missing else ''}, members: {listed(members)}",
        expected="auth required pam_wheel.so use_uid with a group that exists and has no members",
    )
