"""SSH: what the running configuration of sshd allows, for everybody and for every Match block."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from judging import Expectations, Verdict, listed
from reading import Settings, Stat, lines, output, sshd, stats

Look = Callable[[Settings, str], tuple[bool, str]]
WEAK_MAC = re.compile(r"(hmac-md5|hmac-sha1|hmac-ripemd160|umac-64).*")
WEAK_KEX = (
    "diffie-hellman-group1-sha1",
    "diffie-hellman-group14-sha1",
    "diffie-hellman-group-exchange-sha1",
)
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


def settings_are(**wanted: str) -> tuple[str, Look]:
    """What is expected, and a look at settings that must have exactly these values."""

    def look(found: Settings, _case: str) -> tuple[bool, str]:
        return all(one(found, name) == value for name, value in wanted.items()), shown(found, *wanted)

    return ", ".join(f"{name} {value}" for name, value in wanted.items()), look


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


@pytest.mark.control("SSH-04")
def check_few_attempts_per_connection(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    name, most = "maxauthtries", expectations.number("tries_max")

    def look(found: Settings, _case: str) -> tuple[bool, str]:
        return 1 <= number(found, name) <= most, shown(found, name)

    everywhere(host, verdict, f"{name} 1..{most}", look)


@pytest.mark.control("SSH-05")
def check_unauthenticated_connections_end_soon(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    name, longest = "logingracetime", expectations.number("seconds_max")

    def look(found: Settings, _case: str) -> tuple[bool, str]:
        # 0 means no limit (sshd_config(5))
        return 1 <= number(found, name) <= longest, shown(found, name)

    everywhere(host, verdict, f"{name} 1..{longest}", look)


@pytest.mark.control("SSH-06")
def check_dead_sessions_end(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    longest, most = expectations.number("interval_max"), expectations.number("count_max")

    def look(found: Settings, _case: str) -> tuple[bool, str]:
        interval, count = number(found, "clientaliveinterval"), number(found, "clientalivecountmax")
        holds = 1 <= interval <= longest and 1 <= count <= most
        return holds, shown(found, "clientaliveinterval", "clientalivecountmax")

    everywhere(host, verdict, f"clientaliveinterval 1..{longest}, clientalivecountmax 1..{most}", look)


def without_weak(name: str, weak: re.Pattern[str]) -> Look:
    """A list of algorithms that is not empty and has none of the weak ones."""

    def look(found: Settings, _case: str) -> tuple[bool, str]:
        offered = one(found, name).split(",")
        bad = [entry for entry in offered if weak.fullmatch(entry)]
        return bool(offered[0]) and not bad, f"weak: {listed(bad)}; offered: {listed(offered)}"

    return look


@pytest.mark.control("SSH-07")
def check_ciphers_are_strong(host: Any, verdict: Verdict) -> None:
    expected = "no cipher *-cbc, arcfour*, blowfish*, cast128*, 3des*"
    everywhere(host, verdict, expected, without_weak("ciphers", WEAK_CIPHER))


@pytest.mark.control("SSH-08")
def check_message_authentication_is_strong(host: Any, verdict: Verdict) -> None:
    everywhere(host, verdict, "no MAC hmac-md5*, hmac-sha1*, hmac-ripemd160*, umac-64*", without_weak("macs", WEAK_MAC))


@pytest.mark.control("SSH-09")
def check_key_exchange_is_strong(host: Any, verdict: Verdict) -> None:
    expected = f"no key exchange {listed(WEAK_KEX)}"
    weak = re.compile("|".join(map(re.escape, WEAK_KEX)))
    everywhere(host, verdict, expected, without_weak("kexalgorithms", weak))


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


@pytest.mark.control("SSH-11")
def check_private_host_keys_are_protected(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    mode = int(expectations.text("mode"), 8)
    command = "find -L /etc/ssh -maxdepth 1 -name 'ssh_host_*_key' -type f | sort"
    found = stats(host, *lines(host, command))
    wrong = [entry for entry in found if not _protected(entry, mode)]
    verdict(
        bool(found) and not wrong,
        observed=f"{len(found)} private host keys; wrong: {listed(map(str, wrong))}",
        expected=f"owner root, mode {mode:04o} or stricter (with group ssh_keys 0640)",
    )


def _protected(entry: Stat, mode: int) -> bool:
    # RHEL lets ssh-keysign read them through a group of its own.
    allowed = 0o640 if entry.group == "ssh_keys" else mode
    return entry.user == "root" and entry.no_wider_than(allowed)


@pytest.mark.control("SSH-12")
def check_only_named_groups_may_log_in(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    groups = expectations.texts("ssh_groups")

    def look(found: Settings, _case: str) -> tuple[bool, str]:
        allowed = [name for line in found.get("allowgroups", []) for name in line.split()]
        # AllowUsers narrows further what AllowGroups lets in; alone it would have to name the same list.
        named = allowed or [name for line in found.get("allowusers", []) for name in line.split()]
        return bool(named) and set(named) == set(groups), f"allowed: {listed(named)}"

    everywhere(host, verdict, f"allowgroups {listed(groups)}", look)


@pytest.mark.control("SSH-13")
def check_a_warning_is_shown(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    file = expectations.text("file")
    text = output(host, f"cat {file}", ok=(0, 1)).strip()

    def look(found: Settings, _case: str) -> tuple[bool, str]:
        said = f"{len(text)} characters in {file}" if text else f"{file} is empty or missing"
        return one(found, "banner") == file and bool(text), f"{shown(found, 'banner')}; {said}"

    everywhere(host, verdict, f"banner {file}, a file that is not empty", look)


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


@pytest.mark.control("SSH-15")
def check_host_based_trust_is_off(host: Any, verdict: Verdict) -> None:
    everywhere(host, verdict, *settings_are(hostbasedauthentication="no", ignorerhosts="yes"))


@pytest.mark.control("SSH-16")
def check_logins_are_logged(host: Any, verdict: Verdict) -> None:
    def look(found: Settings, _case: str) -> tuple[bool, str]:
        return one(found, "loglevel") in ("info", "verbose"), shown(found, "loglevel")

    everywhere(host, verdict, "loglevel INFO or VERBOSE", look)


@pytest.mark.control("SSH-17")
def check_floods_are_limited(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    start, rate, full = (expectations.number(name) for name in ("start_max", "rate_min", "full_max"))
    sessions = expectations.number("sessions_max")

    def look(found: Settings, _case: str) -> tuple[bool, str]:
        # START:RATE:FULL; RATE percent of the connections beyond START are refused, so more is stricter.
        given = one(found, "maxstartups").split(":")
        numbers = [int(part) for part in given] if len(given) == 3 and all(map(str.isdigit, given)) else [0, 0, 0]
        limited = 1 <= numbers[0] <= start and rate <= numbers[1] <= 100 and 1 <= numbers[2] <= full
        few = 0 <= number(found, "maxsessions") <= sessions
        return limited and few, shown(found, "maxstartups", "maxsessions")

    expected = f"maxstartups {start}:{rate}:{full} or stricter in every number, maxsessions at most {sessions}"
    everywhere(host, verdict, expected, look)


@pytest.mark.control("SSH-18")
def check_pam_is_used_and_no_user_environment(host: Any, verdict: Verdict) -> None:
    everywhere(host, verdict, *settings_are(permituserenvironment="no", usepam="yes"))
