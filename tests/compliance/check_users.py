"""Accounts, keys, PAM and sudo."""

from __future__ import annotations

import re
from typing import Any

import pytest
from judging import CannotJudge, Expectations, Verdict, listed, not_applicable
from reading import accounts, lines, output, sshd, sudoers, uid_range

NO_LOGIN = ("nologin", "false")
# Accounts that Debian ships with a command as their shell.
COMMANDS = {"sync": "/bin/sync", "shutdown": "/sbin/shutdown", "halt": "/sbin/halt"}


@pytest.mark.control("USR-01")
def check_root_is_the_only_uid_0(host: Any, verdict: Verdict) -> None:
    found = [account.name for account in accounts(host) if account.uid == 0]
    verdict(found == ["root"], observed=f"UID 0: {listed(found)}", expected="UID 0: root")


@pytest.mark.control("USR-02")
def check_no_empty_password(host: Any, verdict: Verdict) -> None:
    # Only names and whether there is something leave the host, never a hash.
    states = lines(host, 'awk -F: \'{ print $1 ":" ($2 == "" ? "empty" : "not empty") }\' /etc/shadow')
    empty = [line.split(":")[0] for line in states if line.endswith(":empty")]
    verdict(
        bool(states) and not empty,
        observed=f"{len(states)} accounts, with an empty password: {listed(empty)}",
        expected="none with an empty password",
    )


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


@pytest.mark.control("USR-12")
def check_pam_refuses_empty_passwords(host: Any, verdict: Verdict) -> None:
    command = "grep -rE 'pam_unix\\.so' /etc/pam.d --include='*' --exclude='*.dpkg-*' --exclude='*.ucf-*'"
    used = [line for line in lines(host, command, ok=(0, 1)) if not line.partition(":")[2].lstrip().startswith("#")]
    wrong = [" ".join(line.split()) for line in used if re.search(r"\snullok(\s|$|_)", line)]
    verdict(
        bool(used) and not wrong,
        observed=f"{len(used)} lines with pam_unix; with nullok: {listed(wrong)}",
        expected="no nullok on a pam_unix line",
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
