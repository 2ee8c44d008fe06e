"""The kernel's audit: that it runs, what it records, and that nobody can quietly change that.

A container shares the audit of the machine below: none of this can be judged there.
"""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from typing import Any

import pytest
from judging import Expectations, Verdict, listed, not_applicable
from machine import packages, red_hat, unit
from reading import container, lines, output


def own_kernel(host: Any) -> None:
    if kind := container(host):
        not_applicable(f"a container ({kind}): the audit is that of the machine below")


@pytest.mark.control("AUD-01")
def check_system_calls_are_audited(host: Any, verdict: Verdict) -> None:
    own_kernel(host)
    name = "audit" if red_hat(host) else "auditd"
    version, service = packages(host, name).get(name), unit(host, "auditd.service")
    # A service that runs records nothing while the kernel's own switch is off.
    switch = enabled(host) if version else "not told"
    verdict(
        version is not None and service.runs and switch in ("1", "2"),
        observed=f"package {name} {version or 'not installed'}; service auditd {service}; kernel: enabled {switch}",
        expected=f"package {name} installed; service auditd enabled, active; kernel: enabled 1 or 2",
    )


def enabled(host: Any) -> str:
    """The kernel's switch: 0 off, 1 on, 2 on and locked (auditctl(8), -e)."""
    found = re.search(r"(?m)^enabled (\d)", output(host, "auditctl -s"))
    return found[1] if found else "not told"


class Rules:
    """The rules in force, as `auditctl -l` prints them (auditctl(8))."""

    def __init__(self, printed: list[str]) -> None:
        self.watched: dict[str, str] = {}
        self.calls: set[str] = set()
        for line in printed:
            if re.fullmatch(r"-a (never,task|task,never)", " ".join(line.split())):
                # No process is looked at: the other rules record nothing (audit.rules(7)).
                self.watched, self.calls = {}, set()
                return
            self._read(shlex.split(line))

    def _read(self, words: list[str]) -> None:
        given = list(pairwise(words))
        options = dict(given)
        fields = [re.split(r"(!=|>=|<=|&=|=|>|<|&)", word, maxsplit=1) for flag, word in given if flag == "-F"]
        asked = {field[0]: field[-1] for field in fields}
        if "never" in options.get("-a", "") or asked.get("arch") == "b32" or ["auid", "="] in (f[:2] for f in fields):
            return  # records nothing, what 32-bit programs do alone, or one person alone
        # A watch: `-w PATH -p PERMISSIONS`, or in the words of a rule `-F path=PATH -F perm=PERMISSIONS`.
        path = (options.get("-w") or asked.get("path") or asked.get("dir") or "").rstrip("/")
        if path and "-S" not in options:
            self.watched[path] = self.watched.get(path, "") + (options.get("-p") or asked.get("perm", "rwxa"))
        # A rule that asks for more than an architecture and a person's login does not record every call.
        elif "always" in options.get("-a", "") and set(asked) <= {"arch", "key", "auid"}:
            self.calls |= {call for flag, word in given if flag == "-S" for call in word.split(",")}

    def lacking(self, paths: tuple[str, ...]) -> list[str]:
        """Those paths whose writes and changes of attributes are not all recorded."""
        return [path for path in paths if not {"w", "a"} <= set(self.watched.get(path, ""))]


def rules(host: Any) -> Rules:
    own_kernel(host)
    return Rules([] if host.run("command -v auditctl").rc else lines(host, "auditctl -l"))


def watches(host: Any, verdict: Verdict, paths: tuple[str, ...], calls: tuple[str, ...] = ()) -> None:
    found = rules(host)
    missing = [*found.lacking(paths), *(call for call in calls if call not in found.calls)]
    verdict(
        not missing,
        observed=f"not recorded: {listed(missing)}",
        expected=f"recorded: {listed((*paths, *calls))}",
    )


@pytest.mark.control("AUD-02")
def check_changes_of_accounts_are_recorded(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    watches(host, verdict, expectations.texts("paths"))


@pytest.mark.control("AUD-03")
def check_changes_of_sudo_are_recorded(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    watches(host, verdict, expectations.texts("paths"))


@pytest.mark.control("AUD-04")
def check_changes_of_the_clock_are_recorded(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    watches(host, verdict, expectations.texts("paths"), expectations.texts("calls"))


@pytest.mark.control("AUD-05")
def check_loading_of_modules_is_recorded(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    watches(host, verdict, (), expectations.texts("calls"))


# Mode and name of the folder and of each file in it; nothing where audit never ran.
_KEPT = "find /var/log/audit -maxdepth 1 -printf '%y %m %p\\n' | sort"


# Its plugin hands every record to syslog, which sends it to the log host (LOG-04).
_COPIED = "grep -hEi '^[[:space:]]*active[[:space:]]*=[[:space:]]*yes' /etc/audit/plugins.d/syslog.conf"


@pytest.mark.control("AUD-06")
def check_audit_log_is_kept(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    own_kernel(host)
    if unit(host, "auditd.service").there is False:
        not_applicable("auditd is not installed (AUD-01 judges that)")
    text = output(host, "cat /etc/audit/auditd.conf")
    given = re.findall(r"(?mi)^\s*max_log_file_action\s*=\s*(\S+)", text)
    copied = host.run(_COPIED).rc == 0
    action = given[-1].lower() if given else "not set"
    modes = {"d": int(expectations.text("folder_mode"), 8), "f": int(expectations.text("file_mode"), 8)}
    found = [line.split(" ", 2) for line in lines(host, _KEPT)]
    wrong = [f"{path} {mode}" for kind, mode, path in found if int(mode, 8) & ~modes.get(kind, 0)]
    verdict(
        (action == "keep_logs" or (action == "rotate" and copied)) and not wrong and bool(found),
        observed=f"max_log_file_action {action}, {'' if copied else 'not '}copied to syslog; too open: {listed(wrong)}"
        + ("" if found else "; /var/log/audit is missing"),
        expected="max_log_file_action keep_logs, or rotate and copied to syslog; "
        f"/var/log/audit {expectations.text('folder_mode')}, "
        f"its files {expectations.text('file_mode')}, or stricter",
    )


@pytest.mark.control("AUD-07")
def check_audit_rules_cannot_be_changed(host: Any, verdict: Verdict) -> None:
    own_kernel(host)
    if unit(host, "auditd.service").there is False:
        not_applicable("auditd is not installed (AUD-01 judges that)")
    seen = enabled(host)
    verdict(seen == "2", observed=f"enabled {seen}", expected="enabled 2")
