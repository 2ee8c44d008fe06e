"""Logs: kept over a reboot, forwarded, and not for everyone to read."""

from __future__ import annotations

import re
from typing import Any

import pytest
from judging import Expectations, Verdict, listed
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
    package = host.run("dpkg-query -W -f '${Status}' rsyslog").stdout.strip() or "not installed"
    shown = output(host, "systemctl show -p UnitFileState -p ActiveState rsyslog.service")
    unit = dict(line.split("=", 1) for line in shown.split())
    states = (unit.get("UnitFileState", ""), unit.get("ActiveState", ""))
    verdict(
        package == "install ok installed" and states == ("enabled", "active"),
        observed=f"package {package}; service {states[0] or 'unknown'}, {states[1] or 'unknown'}",
        expected="package install ok installed; service enabled, active",
    )


_RSYSLOG = "cat /etc/rsyslog.conf /etc/rsyslog.d/*.conf 2>/dev/null || true"


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
