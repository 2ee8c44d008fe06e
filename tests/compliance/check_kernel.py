"""Kernel and network settings, core dumps, modules, mandatory access control."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from judging import CannotJudge, Expectations, Verdict, not_applicable
from machine import red_hat
from reading import lines, only_with_a_kernel, output, refuse_modules

KERNEL = (
    "kernel.randomize_va_space",
    "kernel.yama.ptrace_scope",
    "fs.suid_dumpable",
    "kernel.kptr_restrict",
    "kernel.dmesg_restrict",
    "kernel.unprivileged_bpf_disabled",
    "kernel.sysrq",
    "fs.protected_symlinks",
    "fs.protected_hardlinks",
    "fs.protected_fifos",
    "fs.protected_regular",
)
_V4 = ("send_redirects", "accept_redirects", "secure_redirects", "accept_source_route", "rp_filter", "log_martians")
_V6 = ("accept_redirects", "accept_source_route", "accept_ra")
NETWORK = (
    "net.ipv4.ip_forward",
    "net.ipv4.tcp_syncookies",
    "net.ipv6.conf.all.forwarding",
    "net.ipv6.conf.all.disable_ipv6",
    *(f"net.ipv4.conf.{which}.{name}" for name in _V4 for which in ("all", "default")),
    *(f"net.ipv6.conf.{which}.{name}" for name in _V6 for which in ("all", "default")),
)


def sysctls(host: Any) -> dict[str, str]:
    """Every setting that a check of this file looks at, as it is in force; one that this kernel lacks is left out."""
    # -e: what is not there is no error; one command for all of them, so it runs once.
    printed = lines(host, "sysctl -e " + " ".join((*KERNEL, *NETWORK)))
    return {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in printed)}


def judge(host: Any, verdict: Verdict, wanted: Mapping[str, tuple[str, ...]], *, without: str = "") -> None:
    """Each setting must have one of its values; `without` says what was left out and why."""
    found = sysctls(host)
    shown = [f"{name} = {found.get(name, 'not there')}" for name in wanted]
    verdict(
        all(found.get(name) in values for name, values in wanted.items()),
        observed="; ".join(shown) + (f"; {without}" if without else ""),
        expected="; ".join(f"{name} = {' or '.join(values)}" for name, values in wanted.items()),
    )


def kernel(host: Any, verdict: Verdict, wanted: Mapping[str, tuple[str, ...]]) -> None:
    only_with_a_kernel(host, "the kernel with its settings")
    judge(host, verdict, wanted)


def both(host: Any, verdict: Verdict, value: str, *names: str, v6: Iterable[str] = ()) -> None:
    """`conf.all` and `conf.default` of IPv4, and of IPv6 where it is on."""
    wanted = {f"net.ipv4.conf.{which}.{name}": (value,) for name in names for which in ("all", "default")}
    off = without_ipv6(host)
    if not off:
        wanted |= {f"net.ipv6.conf.{which}.{name}": (value,) for name in v6 for which in ("all", "default")}
    judge(host, verdict, wanted, without=off if tuple(v6) else "")


def without_ipv6(host: Any) -> str:
    """Why there is no IPv6 here; empty where there is."""
    state = sysctls(host).get("net.ipv6.conf.all.disable_ipv6")
    return {None: "this kernel has no IPv6", "1": "IPv6 is off (net.ipv6.conf.all.disable_ipv6 = 1)"}.get(state, "")


@pytest.mark.control("KRN-01")
def check_addresses_are_randomised(host: Any, verdict: Verdict) -> None:
    only_with_a_kernel(host, "the kernel with its settings")
    name, value = "kernel.randomize_va_space", "2"
    now = sysctls(host).get(name, "not there")
    # The last one wins (sysctl.d(5)).
    text = output(host, "systemd-analyze cat-config sysctl.d")
    given = re.findall(rf"(?m)^\s*-?{name.replace('.', '[./]')}\s*=\s*(\S+)", text)
    at_boot = given[-1] if given else "nothing"
    verdict(
        now == value and at_boot == value,
        observed=f"{name} = {now}; the files read at boot say {at_boot}",
        expected=f"{name} = {value}; the files read at boot say {value}",
    )


@pytest.mark.control("KRN-02")
def check_tracing_is_restricted(host: Any, verdict: Verdict) -> None:
    kernel(host, verdict, {"kernel.yama.ptrace_scope": ("1", "2", "3")})


_LIMITS = "cat /etc/security/limits.conf /etc/security/limits.d/*.conf"


@pytest.mark.control("KRN-03")
def check_core_dumps_are_limited(host: Any, verdict: Verdict) -> None:
    only_with_a_kernel(host, "the kernel with its settings")
    dumpable = sysctls(host).get("fs.suid_dumpable", "not there")
    words = (line.partition("#")[0].split() for line in lines(host, _LIMITS, ok=(0, 1)))
    # - stands for soft and hard; the last line for everybody holds (limits.conf(5)).
    limits = [
        line[3] for line in words if len(line) == 4 and line[0] == "*" and line[1] in "hard-" and line[2] == "core"
    ]
    verdict(
        dumpable == "0" and limits[-1:] == ["0"],
        observed=f"fs.suid_dumpable = {dumpable}; * hard core {limits[-1] if limits else 'not set'}",
        expected="fs.suid_dumpable = 0; * hard core 0",
    )


@pytest.mark.control("KRN-04")
def check_kernel_addresses_are_hidden(host: Any, verdict: Verdict) -> None:
    kernel(host, verdict, {"kernel.kptr_restrict": ("1", "2"), "kernel.dmesg_restrict": ("1",)})


@pytest.mark.control("KRN-05")
def check_users_cannot_load_bpf(host: Any, verdict: Verdict) -> None:
    kernel(host, verdict, {"kernel.unprivileged_bpf_disabled": ("1", "2")})


@pytest.mark.control("KRN-06")
def check_magic_key_is_off(host: Any, verdict: Verdict) -> None:
    kernel(host, verdict, {"kernel.sysrq": ("0",)})


@pytest.mark.control("KRN-07")
def check_link_attacks_are_blocked(host: Any, verdict: Verdict) -> None:
    values = {"symlinks": "1", "hardlinks": "1", "fifos": "2", "regular": "2"}
    kernel(host, verdict, {f"fs.protected_{name}": (value,) for name, value in values.items()})


@pytest.mark.control("KRN-08")
def check_access_control_is_on(host: Any, verdict: Verdict) -> None:
    only_with_a_kernel(host, "mandatory access control")
    if red_hat(host):
        state = output(host, "getenforce", ok=(0, 127)).strip() or "not installed"
        verdict(state == "Enforcing", observed=f"SELinux {state}", expected="SELinux Enforcing")
        return
    expected = "AppArmor enabled; 0 processes unconfined that have a profile"
    enabled = host.run("aa-status --enabled")
    if enabled.rc == 127:
        verdict(False, observed="the package apparmor is not installed", expected=expected)
    # 1 not enabled, 2 no profile is loaded, 3 no control files, 4 not allowed (aa-status(8))
    if enabled.rc == 4:
        raise CannotJudge(f"aa-status: {enabled.stderr.strip()[:200]}")
    if enabled.rc:
        verdict(False, observed=f"aa-status --enabled ended with {enabled.rc}", expected=expected)
    told = re.search(r"(\d+) processes are unconfined but have a profile defined", output(host, "aa-status"))
    if told is None:
        raise CannotJudge("aa-status says nothing of unconfined processes")
    verdict(
        told[1] == "0",
        observed=f"AppArmor enabled; {told[1]} processes unconfined that have a profile",
        expected=expected,
    )


@pytest.mark.control("NET-01")
def check_host_does_not_route(host: Any, verdict: Verdict) -> None:
    off = without_ipv6(host)
    wanted = {"net.ipv4.ip_forward": ("0",)} | ({} if off else {"net.ipv6.conf.all.forwarding": ("0",)})
    judge(host, verdict, wanted, without=off)


@pytest.mark.control("NET-02")
def check_no_redirects(host: Any, verdict: Verdict) -> None:
    both(host, verdict, "0", "send_redirects", "accept_redirects", v6=["accept_redirects"])


@pytest.mark.control("NET-03")
def check_no_secure_redirects(host: Any, verdict: Verdict) -> None:
    both(host, verdict, "0", "secure_redirects")


@pytest.mark.control("NET-04")
def check_no_source_routes(host: Any, verdict: Verdict) -> None:
    both(host, verdict, "0", "accept_source_route", v6=["accept_source_route"])


@pytest.mark.control("NET-05")
def check_impossible_sources_are_dropped(host: Any, verdict: Verdict) -> None:
    both(host, verdict, "1", "rp_filter", "log_martians")


@pytest.mark.control("NET-06")
def check_syn_floods_are_absorbed(host: Any, verdict: Verdict) -> None:
    judge(host, verdict, {"net.ipv4.tcp_syncookies": ("1",)})


@pytest.mark.control("NET-07")
def check_router_advertisements_are_ignored(host: Any, verdict: Verdict) -> None:
    off = without_ipv6(host)
    if off:
        not_applicable(off)
    judge(host, verdict, {f"net.ipv6.conf.{which}.accept_ra": ("0",) for which in ("all", "default")})


@pytest.mark.control("NET-08")
def check_rare_protocols_cannot_be_loaded(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    refuse_modules(host, verdict, expectations.texts("modules"))
