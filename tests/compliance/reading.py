"""What the checks read from a host more than once: command output, accounts, sudoers, the effective sshd settings."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

from judging import CannotJudge, Verdict, listed, not_applicable

NOBODY = "192.0.2.1"  # an address of the documentation range (RFC 5737): fits no Match block by chance


def output(host: Any, command: str, *arguments: str, ok: tuple[int, ...] = (0,)) -> str:
    """What a command printed; another exit code than expected is an error of the check, not a finding."""
    found = host.run(command, *arguments)
    if found.rc not in ok:
        raise CannotJudge(f"`{command}` ended with {found.rc}: {found.stderr.strip()[:300]}")
    return str(found.stdout)


def lines(host: Any, command: str, *arguments: str, ok: tuple[int, ...] = (0,)) -> list[str]:
    """The lines that hold something. Only a line feed ends one: a name may hold what Unicode takes for an end."""
    return [line for line in output(host, command, *arguments, ok=ok).split("\n") if line.strip()]


@dataclass(frozen=True)
class Stat:
    """Owner, group and mode of a file."""

    user: str
    group: str
    mode: int
    path: str

    def no_wider_than(self, mode: int) -> bool:
        return self.mode & ~mode == 0

    def __str__(self) -> str:
        return f"{self.path} {self.user}:{self.group} {self.mode:04o}"


def stats(host: Any, *files: str) -> list[Stat]:
    """Those of the files that are there, links followed."""
    if not files:
        return []
    command = "stat -L -c '%%U:%%G %%a %%n' " + " ".join("%s" for _ in files)
    found = host.run(command, *files)
    missing = [line for line in found.stderr.splitlines() if "No such file" not in line]
    if found.rc not in (0, 1) or missing:
        raise CannotJudge(f"stat ended with {found.rc}: {found.stderr.strip()[:300]}")
    entries = []
    for line in found.stdout.splitlines():
        owner, mode, path = line.split(" ", 2)
        user, _, group = owner.partition(":")
        entries.append(Stat(user, group, int(mode, 8), path))
    return entries


def container(host: Any) -> str:
    """The kind of container that the host is (systemd-nspawn, lxc, docker, ...); empty for a machine with a kernel."""
    found = host.run("systemd-detect-virt --container")
    kind = str(found.stdout).strip()
    if found.rc not in (0, 1) or not kind:
        raise CannotJudge(f"whether this is a container is not known: {found.stderr.strip()[:200]}")
    return "" if kind == "none" else kind


def only_with_a_kernel(host: Any, what: str) -> None:
    """End the check in a container: `what` belongs to the machine below, which is judged for itself."""
    kind = container(host)
    if kind:
        not_applicable(f"a container ({kind}): {what} belongs to the machine below")


# Of NET-08, FS-10 and FS-11 together, so that one command answers all three.
MODULES = ("dccp", "tipc", "rds", "sctp", "cramfs", "freevxfs", "hfs", "hfsplus", "jffs2", "usb-storage")
_MODULES = (
    'for module in %s; do echo "module $module"; modprobe -n -v "$module" 2>&1; done; cut -d \' \' -f 1 /proc/modules '
    "| sed 's/^/loaded /'"
)


def refuse_modules(host: Any, verdict: Verdict, modules: tuple[str, ...]) -> None:
    """None of these can be loaded, nor is loaded: modprobe.d(5) turns it into true or false, or it is not built."""
    only_with_a_kernel(host, "which modules there are")
    said, loaded, name = {}, set(), ""
    asked = " ".join(dict.fromkeys((*MODULES, *modules)))
    for line in lines(host, _MODULES % asked):
        word, _, rest = line.partition(" ")
        if word == "module":
            name = rest
            said[name] = ""
        elif word == "loaded":
            loaded.add(rest)
        else:
            said[name] += line.strip() + " "
    can = [
        f"{name} ({said.get(name, '').strip()[:80] or 'built in or loaded'})"
        for name in modules
        if not _refused(said[name])
    ]
    there = [name for name in modules if name.replace("-", "_") in loaded]
    verdict(
        not can and not there,
        observed=f"can be loaded: {listed(can)}; loaded: {listed(there)}",
        expected=f"{listed(modules)} cannot be loaded and are not loaded",
    )


def _refused(said: str) -> bool:
    return re.search(r"\binstall (/usr)?/bin/(true|false)\b|\bnot found in directory\b", said) is not None


@dataclass(frozen=True)
class Account:
    """A line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


def accounts(host: Any) -> list[Account]:
    found = []
    for line in lines(host, "cat /etc/passwd"):
        fields = line.split(":")
        if len(fields) != 7 or not (fields[2] + fields[3]).isdigit():
            raise CannotJudge(f"/etc/passwd has a line that is none: {line[:80]!r}")
        found.append(Account(fields[0], int(fields[2]), int(fields[3]), fields[5], fields[6]))
    return found


def uid_range(host: Any) -> tuple[int, int]:
    """UID_MIN and UID_MAX of /etc/login.defs (login.defs(5); the values of its source where it is silent)."""
    given = {"UID_MIN": "1000", "UID_MAX": "60000"}
    for line in lines(host, "grep -E '^(UID_MIN|UID_MAX)[[:space:]]' /etc/login.defs", ok=(0, 1)):
        name, _, value = line.partition(" ") if " " in line else line.partition("\t")
        given[name.strip()] = value.strip()
    if not all(value.isdigit() for value in given.values()):
        raise CannotJudge(f"/etc/login.defs: not numbers: {given}")
    return int(given["UID_MIN"]), int(given["UID_MAX"])


def login_defs(host: Any) -> dict[str, str]:
    """The settings of /etc/login.defs; the last one of a name holds (login.defs(5))."""
    found = {}
    for line in lines(host, "grep -E '^[[:space:]]*[A-Z]' /etc/login.defs", ok=(0, 1)):
        name, *value = line.split()
        found[name] = " ".join(value)
    return found


@dataclass(frozen=True)
class Shadow:
    """A line of /etc/shadow without its hash: `state` is empty, locked or set; ages in days, empty where not given."""

    name: str
    state: str
    longest: str
    inactive: str


def shadow(host: Any) -> list[Shadow]:
    """Only names, ages and whether there is a password leave the host, never a hash."""
    state = '($2 == "" ? "empty" : $2 ~ /^[!*]/ ? "locked" : "set")'
    command = f'awk -F: \'{{ print $1 ":" {state} ":" $5 ":" $7 }}\' /etc/shadow'
    return [Shadow(*line.split(":")) for line in lines(host, command)]


# In the files of /etc/pam.d that are read, links among them: dpkg, ucf and people keep others beside them.
_COPIES = " ".join(
    f"--exclude='*{end}'" for end in (".dpkg-*", ".ucf-*", ".pam-old", ".bak", ".old", ".orig", ".save", "~")
)
_PAM = f"grep -RE '^[^#]*pam_(unix|pwquality|faillock|wheel)\\.so' /etc/pam.d {_COPIES}"


def pam(host: Any, module: str) -> list[tuple[str, str]]:
    """(file, line) of every line of /etc/pam.d that calls this module; blanks between words are one."""
    found = []
    for printed in lines(host, _PAM, ok=(0, 1)):
        file, _, line = printed.partition(":")
        if re.search(rf"\b{module}\.so\b", line):
            found.append((file, " ".join(line.split())))
    return found


def sudo_defaults(host: Any, name: str) -> list[tuple[str, bool, str, str]]:
    """(value, on, scope, where) of each Defaults setting of this name, in the order of reading; sudoers(5)."""
    found = []
    for file, rule in sudoers(host):
        line = re.match(r"Defaults(\S*)\s+(.*)", rule)
        for setting in re.findall(r"(?:\"[^\"]*\"|[^,\"])+", line[2]) if line else ():
            given = re.fullmatch(rf"\s*(!*)\s*{name}\s*(?:[+-]?=\s*(.*))?", setting.strip())
            if line and given:
                value = (given[2] or "").strip().strip('"')
                found.append((value, len(given[1]) % 2 == 0, line[1], f"{rule} ({file})"))
    return found


def sudoers(host: Any) -> list[tuple[str, str]]:
    """(file, rule) for every rule of /etc/sudoers and all that it includes; comments gone, continued lines joined."""
    found: list[tuple[str, str]] = []
    waiting, seen = ["/etc/sudoers"], set()
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        text = output(host, "cat %s", name)
        for raw in re.sub(r"\\\n\s*", " ", text).splitlines():
            rule = raw.strip()
            included = re.match(r"[@#](include|includedir)\s+(\S+)$", rule)
            if included and included[1] == "include":
                waiting.append(_beside(included[2]))
            elif included:
                # sudoers(5): files whose name holds a dot or ends in ~ are not read.
                directory = _beside(included[2])
                names = lines(host, "find -L %s -maxdepth 1 -type f -printf '%%f\\n' | sort", directory)
                waiting += [f"{directory}/{n}" for n in names if "." not in n and not n.endswith("~")]
            elif rule and not re.match(r"#(?!-?\d)", rule):
                found.append((name, re.sub(r"\s#(?!-?\d).*", "", rule)))
    return found


def _beside(path: str) -> str:
    return path if path.startswith("/") else f"/etc/{path}"


Settings = dict[str, list[str]]  # not to be written to: many checks share it


def sshd(host: Any) -> Iterator[tuple[str, Settings]]:
    """The effective settings of sshd, for everybody and for each case that a Match block may treat apart.

    `sshd -T` is the truth (sshd takes the first value it meets); without -C it applies no Match block (sshd(8)).
    """
    yield "everybody", _settings(output(host, "sshd -T"))
    for case, connection in _cases(host):
        yield case, _settings(output(host, "sshd -T -C %s", connection))


@lru_cache(maxsize=64)
def _settings(printed: str) -> Settings:
    """Read once for the many checks that look at it."""
    found: Settings = {}
    for line in printed.splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name.lower(), []).append(value.strip())
    return found


# Files that sshd_config includes, and those that these include.
_INCLUDED = 'awk \'tolower($1) == "include" { gsub(/"/, ""); for (i = 2; i <= NF; i++) print $i }\''
_CONFIGURATION = f"cd /etc/ssh && cat sshd_config $(cat sshd_config $({_INCLUDED} sshd_config) | {_INCLUDED})"
# So many cases are asked for: more would be a question for each of many accounts, once for every control.
_MOST_CASES = 60


def _cases(host: Any) -> list[tuple[str, str]]:
    """Name and connection (sshd(8), -C) of each case that the Match blocks tell apart; nothing where there are none."""
    # An Include whose pattern fits no file makes cat end with 1; the rest is still printed.
    text = output(host, _CONFIGURATION, ok=(0, 1))
    matches = [re.sub(r"\s#.*", "", m[1]) for m in re.finditer(r"(?mi)^\s*match\s*[\s=]\s*(.+)$", text)]
    if not any(match.strip().lower() != "all" for match in matches):
        return []
    fits: dict[str, set[str]] = {}
    others = {"address": {NOBODY}, "host": set[str](), "localaddress": {"127.0.0.1"}, "localport": {"22"}}
    for kind, pattern in _criteria(matches):
        if kind in ("user", "group"):
            for name in _fitting(host, kind, pattern):
                fits.setdefault(name, set()).add(f"{kind} {pattern.lstrip('!')}")
        elif kind in others:
            others[kind].add(_inside(pattern.lstrip("!")))
        else:
            raise CannotJudge(f"a Match block of sshd goes by {kind}: what it changes for whom cannot be told")
    origins = {(one, one) for one in others["address"]} | {(one, NOBODY) for one in others["host"]}
    cases = list(
        product(_told_apart(fits), sorted(origins), sorted(others["localaddress"]), sorted(others["localport"]))
    )
    if len(cases) > _MOST_CASES:
        raise CannotJudge(f"the Match blocks of sshd tell {len(cases)} cases apart, more than {_MOST_CASES}")
    return [_case(user, *origin, here, port) for user, origin, here, port in cases]


def _case(user: str, name: str, address: str, here: str, port: str) -> tuple[str, str]:
    to = "" if (here, port) == ("127.0.0.1", "22") else f" to {here} port {port}"
    return f"{user} from {name}{to}", f"user={user},host={name},addr={address},laddr={here},lport={port}"


def _told_apart(fits: dict[str, set[str]]) -> list[str]:
    """root, and of the accounts that the same patterns fit the first and the last: what holds for both is no account's
    own."""
    alike: dict[frozenset[str], list[str]] = {}
    for name in sorted(fits):
        alike.setdefault(frozenset(fits[name]), []).append(name)
    return sorted({"root", *(name for names in alike.values() for name in (names[0], names[-1]))})


def _criteria(matches: list[str]) -> Iterator[tuple[str, str]]:
    for match in matches:
        words = re.split(r"[\s=]+", match.strip())
        for kind, patterns in zip(words[::2], words[1::2], strict=False):
            for pattern in patterns.strip('"').split(","):
                yield kind.lower(), pattern


def _fitting(host: Any, kind: str, pattern: str) -> set[str]:
    """The accounts that a pattern fits. A user of a directory service is in no file of the host: any name that fits."""
    bare = pattern.lstrip("!")
    if kind == "group":
        return _members(host, bare)
    found = {a.name for a in accounts(host) if fnmatch.fnmatchcase(a.name, bare)}
    return found if found or bare != pattern else {_inside(bare)}


def _members(host: Any, pattern: str) -> set[str]:
    named: set[str] = set()
    numbers = set()
    for line in lines(host, "cat /etc/group"):
        fields = line.split(":")
        if len(fields) == 4 and fnmatch.fnmatchcase(fields[0], pattern):
            named |= set(filter(None, fields[3].split(",")))
            numbers.add(fields[2])
    return named | {a.name for a in accounts(host) if str(a.gid) in numbers}


def _inside(pattern: str) -> str:
    """One address, or one name, that a pattern of a Match block fits."""
    try:
        return str(ipaddress.ip_network(pattern, strict=False)[0])
    except ValueError:
        return pattern.replace("*", "1").replace("?", "1")
