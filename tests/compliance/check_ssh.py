"""SSH: what the running configuration of sshd allows, for everybody and for every Match block."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from judging import Expectations, Verdict, listed
from reading import Settings, lines, sshd

Look = Callable[[Settings, str], tuple[bool, str]]
WEAK_CIPHER = re.compile(r".*-cbc(@.*)?|(arcfour|blowfish|cast128|3des).*")


def everywhere(host: Any, verdict: Verdict, expected: str, look: Look) -> None:
    """The setting must hold for everybody and in every case; the first case where it does not is what is told."""
    seen = ""
    for case, settings in sshd(host):
        holds, observed = look(settings, case)
        seen = seen or observed
        verdict(holds, observed=observed if case == "everybody" else f"{observed} (for {case})", expected=expected)
    verdict(True, observed=seen, expected=expected)


def shown(settings: Settings, *names: str) -> str:
    return ", ".join(f"{name} {' '.join(settings.get(name, ['not printed']))}" for name in names)


def one(settings: Settings, name: str) -> str:
    return settings.get(name, [""])[0].lower()


def number(settings: Settings, name: str) -> int:
    found = one(settings, name)
    return int(found) if found.isdigit() else -1


@pytest.mark.control("SSH-01")
def check_root_cannot_log_in(host: Any, verdict: Verdict) -> None:
    name = "permitrootlogin"
    everywhere(host, verdict, f"{name} no", lambda found, _: (one(found, name) == "no", shown(found, name)))


@pytest.mark.control("SSH-02")
def check_logins_need_a_key(host: Any, verdict: Verdict) -> None:
    names = ("passwordauthentication", "kbdinteractiveauthentication")

    def look(found: Settings, _case: str) -> tuple[bool, str]:
        methods = one(found, "authenticationmethods").split()
        second_factor = bool(methods) and all(re.match(r"publickey,\w", method) for method in methods)
        closed = all(one(found, name) == "no" for name in names)
        return closed or second_factor, shown(found, *names, "authenticationmethods")

    expected = "passwordauthentication no, kbdinteractiveauthentication no; or authenticationmethods publickey,..."
    everywhere(host, verdict, expected, look)


@pytest.mark.control("SSH-03")
def check_empty_passwords_are_refused(host: Any, verdict: Verdict) -> None:
    name = "permitemptypasswords"
    everywhere(host, verdict, f"{name} no", lambda found, _: (one(found, name) == "no", shown(found, name)))


@pytest.mark.control("SSH-06")
def check_dead_sessions_end(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    longest, most = expectations.number("interval_max"), expectations.number("count_max")

    def look(found: Settings, _case: str) -> tuple[bool, str]:
        interval, count = number(found, "clientaliveinterval"), number(found, "clientalivecountmax")
        holds = 1 <= interval <= longest and 1 <= count <= most
        return holds, shown(found, "clientaliveinterval", "clientalivecountmax")

    everywhere(host, verdict, f"clientaliveinterval 1..{longest}, clientalivecountmax 1..{most}", look)


@pytest.mark.control("SSH-07")
def check_ciphers_are_strong(host: Any, verdict: Verdict) -> None:
    def look(found: Settings, _case: str) -> tuple[bool, str]:
        ciphers = one(found, "ciphers").split(",")
        weak = [cipher for cipher in ciphers if WEAK_CIPHER.fullmatch(cipher)]
        return bool(ciphers[0]) and not weak, f"weak: {listed(weak)}; offered: {listed(ciphers)}"

    everywhere(host, verdict, "no cipher *-cbc, arcfour*, blowfish*, cast128*, 3des*", look)


@pytest.mark.control("SSH-10")
def check_configuration_is_roots_only(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    mode = int(expectations.text("mode"), 8)
    command = "find -L /etc/ssh/sshd_config /etc/ssh/sshd_config.d -maxdepth 1 -type f -printf '%u %g %m %p\\n' | sort"
    files = [line.split(" ", 3) for line in lines(host, command)]
    wrong = [
        f"{path} {user}:{group} {rights}"
        for user, group, rights, path in files
        if (user, group) != ("root", "root") or int(rights, 8) & ~mode
    ]
    verdict(
        bool(files) and not wrong,
        observed=f"{len(files)} files; wrong: {listed(wrong)}",
        expected=f"owner root, group root, mode {mode:04o} or stricter",
    )


@pytest.mark.control("SSH-12")
def check_only_named_groups_may_log_in(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    groups = expectations.texts("ssh_groups")

    def look(found: Settings, _case: str) -> tuple[bool, str]:
        allowed = [name for line in found.get("allowgroups", []) for name in line.split()]
        # AllowUsers narrows further what AllowGroups lets in; alone it would have to name the same list.
        named = allowed or [name for line in found.get("allowusers", []) for name in line.split()]
        return bool(named) and set(named) == set(groups), f"allowed: {listed(named)}"

    everywhere(host, verdict, f"allowgroups {listed(groups)}", look)


@pytest.mark.control("SSH-14")
def check_forwarding_is_off(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    names = ("x11forwarding", "allowtcpforwarding", "allowagentforwarding")
    behind = expectations.texts("jump_for")
    passing = expectations.texts("automation_accounts") if behind else ()

    def look(found: Settings, case: str) -> tuple[bool, str]:
        off = one(found, "disableforwarding") == "yes" or all(one(found, name) == "no" for name in names)
        # Through a jump host the automation account must come, to named hosts and no further.
        narrow = (
            case.split(maxsplit=1)[0] in passing
            and one(found, "x11forwarding") == one(found, "allowagentforwarding") == "no"
            and one(found, "allowtcpforwarding") == "local"
            and one(found, "permitopen") not in ("", "any")
        )
        return off or narrow, shown(found, "disableforwarding", *names, *(("permitopen",) if narrow else ()))

    expected = "disableforwarding yes; or x11, tcp and agent forwarding no"
    if behind:
        expected += f"; for {listed(passing)} tcp forwarding local with permitopen (jump host of {listed(behind)})"
    everywhere(host, verdict, expected, look)
