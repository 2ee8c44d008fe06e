"""Accounts, keys, PAM and sudo."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from judging import CannotJudge, Expectations, Verdict, listed
from reading import (
    accounts,
    lines,
    output,
    sshd,
    stats,
    uid_range,
)

NO_LOGIN = ("nologin", "false")
# Accounts that Debian ships with a command as their shell.
COMMANDS = {"sync": "/bin/sync", "shutdown": "/sbin/shutdown", "halt": "/sbin/halt"}


@pytest.mark.control("USR-01")
def check_root_is_the_only_uid_0(host: Any, verdict: Verdict) -> None:
    found = [account.name for account in accounts(host) if account.uid == 0]
    verdict(found == ["root"], observed=f"UID 0: {listed(found)}", expected="UID 0: root")


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
