"""The clock: one time service, from approved servers, without root, and right.

In a container the clock is that of the machine below: none of this can be judged there.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from judging import Expectations, Verdict, listed, not_applicable
from machine import red_hat, units
from reading import container, lines

_SERVICES = ("chrony", "chronyd", "systemd-timesyncd", "ntpsec")
# The daemon's own files and folders in both families (chrony.conf(5): confdir, sourcedir), and what DHCP gives it.
_CONFIGURED = (
    "grep -hEsi '^[[:space:]]*(server|pool|peer)[[:space:]]' /etc/chrony.conf /etc/chrony.d/*.conf "
    "/etc/chrony/chrony.conf /etc/chrony/conf.d/*.conf /etc/chrony/sources.d/*.sources "
    "/run/chrony-dhcp/*.sources"
)


def own_clock(host: Any) -> None:
    if kind := container(host):
        not_applicable(f"a container ({kind}): the clock is that of the machine below")


def chrony(host: Any) -> str:
    return "chronyd" if red_hat(host) else "chrony"


@pytest.mark.control("TIM-01")
def check_exactly_one_time_service(host: Any, verdict: Verdict) -> None:
    own_clock(host)
    # On Debian chronyd is another name of chrony, so each name counts in its own family alone.
    names = [name for name in _SERVICES if name not in {"chrony", "chronyd"} - {chrony(host)}]
    found = {one.name.removesuffix(".service"): one for one in units(host, *(f"{name}.service" for name in names))}
    running = [name for name, one in found.items() if one.runs]
    verdict(
        len(running) == 1,
        observed=f"enabled and active: {listed(running)}; {listed(f'{name}: {one}' for name, one in found.items())}",
        expected=f"exactly one of {listed(names)} enabled and active",
    )


@pytest.mark.control("TIM-02")
def check_time_service_runs(host: Any, verdict: Verdict) -> None:
    own_clock(host)
    (found,) = units(host, f"{chrony(host)}.service")
    verdict(found.runs, observed=f"{chrony(host)} {found}", expected=f"{chrony(host)} enabled, active")


@pytest.mark.control("TIM-03")
def check_time_comes_from_approved_servers(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    own_clock(host)
    approved, least = expectations.texts("time_servers"), expectations.number("sources_min")
    configured = {line.split()[1] for line in lines(host, _CONFIGURED, ok=(0, 1, 2)) if len(line.split()) > 1}
    others = configured - set(approved)
    told = host.run("chronyc -n sources")
    # MS NAME STRATUM POLL REACH ...: the last eight tries as an octal number (chronyc(1)).
    sources = [line.split() for line in told.stdout.splitlines() if re.match(r"[\^=#][*+?x~-]\s", line)]
    reached = [words[1] for words in sources if len(words) > 4 and words[4].isdigit() and int(words[4], 8)]
    said = listed(reached) if told.rc == 0 else f"not known ({(told.stdout + told.stderr).strip()[:120]})"
    verdict(
        told.rc == 0 and len(reached) >= least and not others and bool(configured),
        observed=f"reachable: {said}; not approved: {listed(others)}; configured: {listed(configured)}",
        expected=f"at least {least} reachable; only {listed(approved)}",
    )


@pytest.mark.control("TIM-04")
def check_time_service_runs_without_root(host: Any, verdict: Verdict) -> None:
    own_clock(host)
    users = set(lines(host, "ps -o user:32= -C chronyd", ok=(0, 1)))
    if not users:
        not_applicable("chronyd does not run (TIM-02 judges that)")
    expected = "chrony" if red_hat(host) else "_chrony"
    verdict(users == {expected}, observed=f"chronyd runs as {listed(users)}", expected=f"chronyd runs as {expected}")


@pytest.mark.control("TIM-05")
def check_clock_is_right(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    own_clock(host)
    most = expectations.number("offset_max_ms")
    told = host.run("chronyc -n tracking")
    fields = dict(re.findall(r"(?m)^([A-Z][^:]*?)\s*:\s*(.*)$", told.stdout))
    leap = fields.get("Leap status", "not known")
    offset = re.match(r"([0-9.]+) seconds (slow|fast)", fields.get("System time", ""))
    seen = f"{1000 * float(offset[1]):.3f} ms {offset[2]}" if offset else (told.stdout + told.stderr).strip()[:120]
    verdict(
        leap == "Normal" and offset is not None and 1000 * float(offset[1]) < most,
        observed=f"leap status {leap}; offset {seen}",
        expected=f"leap status Normal; offset below {most} ms",
    )
