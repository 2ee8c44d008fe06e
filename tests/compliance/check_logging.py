"""Logs: kept over a reboot, forwarded, and not for everyone to read."""

from __future__ import annotations

import re
from typing import Any

import pytest
from judging import Expectations, Verdict, listed, not_applicable
from machine import packages, unit
from reading import lines, output


@pytest.mark.control("LOG-02")
def check_logs_survive_a_reboot(host: Any, verdict: Verdict) -> None:
    # The last value wins (journald.conf(5)); systemd prints the files in the order in which it reads them.
    text = output(host, "systemd-analyze cat-config systemd/journald.conf")
    given = re.findall(r"(?m)^\s*Storage\s*=\s*(\S+)", text)
    storage = given[-1] if given else "auto (default)"
    directory = host.run("test -d /var/log/journal").rc == 0
    verdict(
        storage == "persistent" and directory,
        observed=f"Storage={storage}, /var/log/journal {'exists' if directory else 'is missing'}",
        expected="Storage=persistent, /var/log/journal exists",
    )


@pytest.mark.control("LOG-03")
def check_log_forwarder_runs(host: Any, verdict: Verdict) -> None:
    version, service = packages(host, "rsyslog").get("rsyslog"), unit(host, "rsyslog.service")
    verdict(
        version is not None and service.runs,
        observed=f"package rsyslog {version or 'not installed'}; service {service}",
        expected="package rsyslog installed; service enabled, active",
    )


# What lies in rsyslog.d is read where rsyslog.conf includes it, and not otherwise.
_RSYSLOG = (
    "cat /etc/rsyslog.conf $(grep -qisE '^[^#]*include.*/etc/rsyslog\\.d/\\*' /etc/rsyslog.conf && "
    "ls /etc/rsyslog.d/*.conf) 2>/dev/null || true"
)


@pytest.mark.control("LOG-06")
def check_log_files_are_not_for_everyone(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    mode = int(expectations.text("mode"), 8)
    configured = "\n".join(line for line in lines(host, _RSYSLOG) if not line.lstrip().startswith("#"))
    pattern = r"(?i)(?:^\s*\$FileCreateMode\s+|\bfileCreateMode\s*=\s*\"?)(0?[0-7]{3,4})"
    modes = re.findall(pattern, configured, re.MULTILINE)
    # Without a configuration there is no rsyslog, and nothing that it could create.
    too_open = [found for found in modes if int(found, 8) & ~mode] or (["none set"] if configured and not modes else [])
    found = lines(host, "find /var/log -type f -perm /007 -printf '%m %P\\n' | sort")
    wrong = [line for line in found if not _shipped_so(line, expectations.texts("readable"))]
    verdict(
        not too_open and not wrong,
        observed=f"FileCreateMode {listed(modes, none='not set')}; open to everyone: {listed(wrong)}",
        expected=f"FileCreateMode {mode:04o} or stricter; no file open to everyone but those that Debian ships so",
    )


def _shipped_so(line: str, readable: tuple[str, ...]) -> bool:
    """Whether a file may be read, and only read, by everyone; rotated copies count as the file itself."""
    rights, _, path = line.partition(" ")
    name = re.sub(r"(\.\d+)?(\.(gz|xz|zst))?$", "", path)
    return int(rights, 8) & 0o003 == 0 and (path in readable or name in readable)


def configuration(host: Any) -> str:
    """What rsyslog reads, without comments."""
    if not unit(host, "rsyslog.service").there:
        not_applicable("rsyslog is not installed (LOG-03 judges that)")
    # A path may hold the signs of a comment, but none begins with them.
    text = re.sub(r"(?s)(?<!\S)/\*.*?\*/", "", output(host, _RSYSLOG))
    return "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def not_the_log_host(expectations: Expectations) -> None:
    if expectations.text("role") == "loghost":
        not_applicable("the host has the role loghost: it is where the logs of the others go")


@pytest.mark.control("LOG-01")
def check_journal_runs(host: Any, verdict: Verdict) -> None:
    journal = unit(host, "systemd-journald.service")
    verdict(journal.active == "active", observed=f"systemd-journald {journal}", expected="systemd-journald active")


# The settings of an omfwd action that make its way to the log host private (rsyslog's documentation of omfwd).
_PRIVATE = {"protocol": "tcp", "streamdriver": "gtls", "streamdrivermode": "1", "streamdriverauthmode": "x509/name"}


def forwards(text: str) -> list[dict[str, str]]:
    """The settings of each omfwd action, names in lower case; the old form (`*.* @@host`) as well."""
    found = []
    for action in re.findall(r"(?is)\baction\s*\((.*?)\)", text):
        given = {name.lower(): value for name, value in re.findall(r"([\w.]+)\s*=\s*\"([^\"]*)\"", action)}
        if given.get("type", "").lower() == "omfwd":
            found.append({"protocol": "udp", "port": "514", **given})
    for sign, target, port in re.findall(r"(?m)^[^\n\"(]*\s(@@?)(?:\([^)]*\))?\[?([\w.:-]+?)\]?(?::(\d+))?\s*$", text):
        found.append({"target": target, "port": port or "514", "protocol": "tcp" if sign == "@@" else "udp"})
    return found


@pytest.mark.control("LOG-04")
def check_logs_reach_the_log_host_encrypted(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    not_the_log_host(expectations)
    name, _, port = expectations.text("log_host").partition(":")
    wanted = {"target": name, "port": port or "6514", **_PRIVATE}
    found = forwards(configuration(host))
    there = [one for one in found if all(one.get(key, "").lower() == value.lower() for key, value in wanted.items())]
    shown = (" ".join(f"{key} {one.get(key, 'not set')}" for key in wanted) for one in found)
    verdict(
        bool(there),
        observed=f"forwards: {listed(shown)}",
        expected="a forward with " + " ".join(f"{key} {value}" for key, value in wanted.items()),
    )


_INPUTS = ("imudp", "imtcp", "imrelp", "imptcp")
_OLD_INPUTS = {
    "udpserverrun": "imudp",
    "inputtcpserverrun": "imtcp",
    "inputptcpserverrun": "imptcp",
    "inputrelpserverrun": "imrelp",
}


@pytest.mark.control("LOG-05")
def check_no_logs_from_others(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    not_the_log_host(expectations)
    text = configuration(host)
    found = {kind.lower() for kind in re.findall(r"(?is)\binput\s*\([^)]*\btype\s*=\s*\"(\w+)\"", text)} & set(_INPUTS)
    found |= {
        _OLD_INPUTS[name.lower()] for name in re.findall(r"(?m)^\s*\$(\w+)\s", text) if name.lower() in _OLD_INPUTS
    }
    verdict(not found, observed=f"takes logs by: {listed(found)}", expected="takes logs by: none of " + listed(_INPUTS))


# Dry run: it says what it would do with each file, and does nothing (logrotate(8), -d).
_ROTATION = "logrotate -d /etc/logrotate.conf 2>&1"
_DAYS = {"hourly": 1 / 24, "weekly": 7, "monthly": 30, "yearly": 365}
# As logrotate words it: `rotating pattern: FILES weekly (4 rotations)`, or `after 1 days (...`, or `1024 bytes (...`.
_PATTERN = re.compile(
    r"(?s)rotating pattern: (.*?)\s(?:(hourly|weekly|monthly|yearly)|after (\d+) days|\d+ bytes|forced \D+?)"
    r"\s*\((?:(\d+) rotations|no old logs)[^\n]*(\n[^\n]*rotated earlier)?"
)
# What it does not tell: old logs that go by their age, however many are kept.
_CONFIGURED = "cat /etc/logrotate.conf /etc/logrotate.d/* 2>/dev/null; true"
_MAXAGE = re.compile(r"(?m)^\s*maxage\s+(\d+)")


@pytest.mark.control("LOG-07")
def check_logs_are_kept_long_enough(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    least, files = expectations.number("log_retention_days"), expectations.texts("files")
    timer = unit(host, "logrotate.timer")
    job = host.run("test -x /etc/cron.daily/logrotate").rc == 0
    # Debian's own job in cron.daily does nothing where systemd runs: there it is the timer that counts.
    runs = timer.active == "active" if timer.there else job
    days, ages = rotation(output(host, _ROTATION)), oldest(output(host, _CONFIGURED), files)
    kept = {file: min(days[file], ages.get(file, days[file])) for file in files if file in days}
    short = [f"{file} {number:g} days" for file, number in kept.items() if number < least]
    verdict(
        runs and bool(kept) and not short,
        observed=f"logrotate {'timer ' + str(timer) if timer.there else 'job ' + ('there' if job else 'missing')}; "
        f"kept: {listed((f'{file} {number:g} days' for file, number in kept.items()), none='no such file is rotated')}",
        expected=f"logrotate active; each of {listed(files)} that is rotated is kept {least} days or longer",
    )


def rotation(told: str) -> dict[str, float]:
    """Days for which each file is kept: the period times the number of old files; 0 where it goes by size."""
    found = {}
    for files, period, days, count, by_size in _PATTERN.findall(told):
        for file in files.split():
            found[file] = (int(days) if days else _DAYS.get(period, 0)) * int(not by_size and (count or 0))
    return found


def oldest(configured: str, files: tuple[str, ...]) -> dict[str, float]:
    """Days after which `maxage` removes the old logs of these files; nothing for those of which it says nothing."""
    for_all = _MAXAGE.findall(re.sub(r"\{[^}]*\}", "", configured))
    found: dict[str, float] = {}
    for names, body in re.findall(r"([^{}]*)\{([^}]*)\}", configured):
        given = _MAXAGE.findall(body) or for_all
        found |= {file: float(given[-1]) for file in files if given and file in names.split()}
    return found
