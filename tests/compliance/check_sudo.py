"""sudo: a terminal of its own, a log, a password, and that soon again."""

from __future__ import annotations

import re
from typing import Any

import pytest
from judging import Expectations, Verdict, listed, not_applicable
from reading import sudo_defaults, sudoers


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
