"""Accounts, keys, PAM and sudo."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from judging import CannotJudge, Expectations, Verdict, listed, not_applicable
from reading import (
    accounts,
    family,
    lines,
    login_defs,
    output,
    pam,
    shadow,
    sshd,
    stats,
    sudo_defaults,
    sudoers,
    uid_range,
)

NO_LOGIN = ("nologin", "false")
# Accounts that Debian ships with a command as their shell.
COMMANDS = {"sync": "/bin/sync", "shutdown": "/sbin/shutdown", "halt": "/sbin/halt"}


@pytest.mark.control("USR-01")
def check_root_is_the_only_uid_0(host: Any, verdict: Verdict) -> None:
    found = [account.name for account in accounts(host) if account.uid == 0]
    verdict(found == ["root"], observed=f"UID 0: {listed(found)}", expected="UID 0: root")


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


@pytest.mark.control("USR-04")
def check_names_and_ids_are_unique(host: Any, verdict: Verdict) -> None:
    repeated = []
    for file in ("/etc/passwd", "/etc/group"):
        rows = [line.split(":") for line in lines(host, f"cat {file}")]
        for place, what in ((0, "name"), (2, "id")):
            counted = Counter(row[place] for row in rows if len(row) > 3)
            repeated += [f"{what} {value} {count} times in {file}" for value, count in counted.items() if count > 1]
    verdict(not repeated, observed=f"repeated: {listed(repeated)}", expected="no name and no id twice in either file")


@pytest.mark.control("USR-05")
def check_service_accounts_have_no_shell(host: Any, verdict: Verdict) -> None:
    lowest, _ = uid_range(host)
    wrong = [
        f"{account.name} ({account.shell or 'no shell given'})"
        for account in accounts(host)
        if account.uid < lowest
        and account.name != "root"
        and account.shell.rpartition("/")[2] not in NO_LOGIN
        and not account.shell.endswith(COMMANDS.get(account.name, "\0"))
    ]
    verdict(not wrong, observed=f"with a login shell: {listed(wrong)}", expected=f"nologin or false below UID {lowest}")


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
    methods = expectations.texts("methods_rhel" if family(host) == "rhel" else "methods")
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
    bashrc = "/etc/bashrc" if family(host) == "rhel" else "/etc/bash.bashrc"
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


def only_sudo(host: Any) -> None:
    if host.run("command -v sudo").rc != 0:
        not_applicable("sudo is not installed")


@pytest.mark.control("USR-16")
def check_sudo_uses_a_terminal_of_its_own(host: Any, verdict: Verdict) -> None:
    only_sudo(host)
    on, off = [], []
    for file, rule in sudoers(host):
        if not re.match(r"Defaults\b", rule):
            continue
        for setting in re.findall(r"!*\s*\buse_pty\b", rule):
            if setting.count("!") % 2:
                off.append(f"{rule} ({file})")
            elif re.match(r"Defaults\s", rule):
                on.append(f"{rule} ({file})")
    verdict(
        bool(on) and not off,
        observed=f"switched on: {listed(on)}; switched off: {listed(off)}",
        expected="Defaults use_pty, nowhere switched off",
    )


@pytest.mark.control("USR-17")
def check_sudo_keeps_a_log(host: Any, verdict: Verdict) -> None:
    only_sudo(host)
    given = sudo_defaults(host, "logfile")
    # The last setting for everybody holds; one that is narrower must not take anything out of the log.
    everybody = [value for value, on, scope, _ in given if not scope and on]
    off = [where for value, on, scope, where in given if not on or not value.startswith("/var/log/")]
    verdict(
        bool(everybody) and not off,
        observed=f"logfile {listed(everybody)}; switched off or elsewhere: {listed(off)}",
        expected="Defaults logfile= below /var/log, nowhere switched off",
    )


@pytest.mark.control("USR-18")
def check_sudo_asks_for_a_password(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    only_sudo(host)
    automation = expectations.texts("automation_accounts")
    wrong = []
    for file, rule in sudoers(host):
        # NOPASSWD is a tag within a rule, !authenticate a Defaults setting (sudoers(5)).
        if "NOPASSWD" not in rule and not re.search(r"!\s*authenticate\b", rule):
            continue
        if any(file == f"/etc/sudoers.d/{name}" and rule.split()[0] == name for name in automation):
            continue
        wrong.append(f"{rule} ({file})")
    verdict(
        not wrong,
        observed=f"without a password: {listed(wrong)}",
        expected=f"only {listed(automation)}, in its own file of /etc/sudoers.d",
    )


@pytest.mark.control("USR-19")
def check_sudo_forgets_the_password_soon(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    only_sudo(host)
    longest = expectations.number("minutes_max")
    given = sudo_defaults(host, "timestamp_timeout")
    everybody = [value for value, on, scope, _ in given if not scope and on]
    # Less than 0 means for ever; switched off is 0 (sudoers(5)).
    wrong = [where for value, on, _, where in given if on and not _minutes(value, longest)]
    verdict(
        bool(everybody) and not wrong,
        observed=f"timestamp_timeout {listed(everybody, none='not set')}; longer: {listed(wrong)}",
        expected=f"Defaults timestamp_timeout=0..{longest}",
    )


def _minutes(value: str, longest: int) -> bool:
    return re.fullmatch(r"\d+(\.\d*)?", value) is not None and float(value) <= longest


@pytest.mark.control("USR-20")
def check_homes_belong_to_their_users(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    mode = int(expectations.text("mode"), 8)
    lowest, highest = uid_range(host)
    people = [a for a in accounts(host) if lowest <= a.uid <= highest and a.shell.rpartition("/")[2] not in NO_LOGIN]
    there = {entry.path: entry for entry in stats(host, *sorted({a.home for a in people}))}
    wrong = []
    for a in people:
        entry = there.get(a.home)
        if entry is None:
            wrong.append(f"{a.name}: {a.home or 'no home'} is missing")
        elif entry.user != a.name or not entry.no_wider_than(mode):
            wrong.append(f"{a.name}: {entry}")
    # Where nobody has such an account, /etc/passwd is the evidence, and nothing is wrong.
    verdict(
        not wrong,
        observed=f"{len(people)} interactive accounts; wrong: {listed(wrong)}",
        expected=f"each home there, its account's own, mode {mode:04o} or stricter",
    )


@pytest.mark.control("USR-21")
def check_only_approved_accounts(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    approved = expectations.texts("accounts")
    lowest, highest = uid_range(host)
    people = [account.name for account in accounts(host) if lowest <= account.uid <= highest]
    others = [name for name in people if name not in approved]
    verdict(
        not others,
        observed=f"not approved: {listed(others)}; all: {listed(people)}",
        expected=f"only {listed(approved)}",
    )


_FINGERPRINTS = (
    'for file in %s; do test -e "$file" || continue; echo "file $file"; grep -cvE \'^[[:space:]]*(#|$)\' "$file"; '
    'ssh-keygen -lf "$file" 2>/dev/null; done; true'
)


@pytest.mark.control("USR-22")
def check_only_approved_keys(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    approved = expectations.lists("keys")
    patterns: set[str] = set()
    for _, settings in sshd(host):
        for elsewhere in ("authorizedkeyscommand", "trustedusercakeys", "authorizedprincipalscommand"):
            given = settings.get(elsewhere, ["none"])[0]
            if given.lower() != "none":
                verdict(False, observed=f"{elsewhere} {given}", expected="keys from authorized_keys files alone")
        patterns |= {p for line in settings.get("authorizedkeysfile", []) for p in line.split() if p.lower() != "none"}
    files: dict[str, set[str]] = {}
    for account in accounts(host):
        for pattern in sorted(patterns):
            files.setdefault(_expanded(pattern, account.name, account.home, account.uid), set()).add(account.name)
    wrong, seen = [], 0
    for file, (count, fingerprints) in _keys(host, sorted(files)).items():
        if count != len(fingerprints):
            wrong.append(f"{file}: {count} lines, of which ssh-keygen reads {len(fingerprints)}")
        seen += len(fingerprints)
        allowed = {key for name in files[file] for key in approved.get(name, ())}
        wrong += [f"{key} in {file}" for key in fingerprints if key not in allowed]
    verdict(not wrong, observed=f"{seen} keys; not approved: {listed(wrong)}", expected="only keys of the inventory")


def _expanded(pattern: str, user: str, home: str, uid: int) -> str:
    """The file for one account (the tokens of AuthorizedKeysFile in sshd_config(5))."""
    tokens = {"%%": "%", "%h": home, "%u": user, "%U": str(uid)}
    path = re.sub(r"%[%huU]", lambda token: tokens[token[0]], pattern)
    return path if path.startswith("/") else f"{home.rstrip('/')}/{path}"


def _keys(host: Any, files: list[str]) -> dict[str, tuple[int, list[str]]]:
    """For each file that exists: how many lines hold something, and the fingerprints that ssh-keygen reads."""
    if not files:
        raise CannotJudge("sshd names no authorized_keys file")
    if any(re.search(r"[^\w./@+:-]", file) for file in files):
        raise CannotJudge(f"a home folder has a name that is not safe to use: {listed(files)}")
    found: dict[str, tuple[int, list[str]]] = {}
    name = ""
    for line in output(host, _FINGERPRINTS % " ".join(files)).splitlines():
        if line.startswith("file "):
            name = line[5:]
            found[name] = (-1, [])
        elif found[name][0] < 0:
            found[name] = (int(line), [])
        else:
            found[name][1].append(line.split()[1])
    return found
