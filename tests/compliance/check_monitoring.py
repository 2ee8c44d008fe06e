"""The monitoring agent, room on the disks, services that failed."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
import ruleset
from check_firewall import rules_of, sources_of
from judging import CannotJudge, Expectations, Verdict, listed, not_applicable
from machine import Listener, listeners, unit
from reading import lines, output

# The first line of the answer to a small question; nothing of what the agent measures is asked for.
_ASK = (
    "timeout 10 bash -c 'exec 3<>/dev/tcp/$0/$1 && "
    'printf "HEAD / HTTP/1.0\\r\\n\\r\\n" >&3 && head -n 1 <&3\' %s %s 2>&1'
)


def agents(host: Any, port: int) -> list[Listener]:
    return [one for one in listeners(host) if (one.protocol, one.port) == ("tcp", port)]


@pytest.mark.control("MON-01")
def check_monitoring_agent_runs(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    service, port = expectations.text("service"), expectations.number("port")
    agent = unit(host, f"{service}.service")
    there = agents(host, port)
    said = "nothing listens"
    if there:
        where = "127.0.0.1" if there[0].everywhere else there[0].address
        said = host.run(_ASK, where, str(port)).stdout.strip()[:80] or "no answer"
    verdict(
        agent.runs and said.startswith("HTTP/"),
        observed=f"{service} {agent}; port {port}: {said}",
        expected=f"{service} enabled, active; port {port} answers HTTP",
    )


@pytest.mark.control("MON-02")
def check_agent_answers_to_monitoring_only(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    port = expectations.of("MON-01").number("port")
    monitors = ruleset.collapsed(str(ipaddress.ip_network(one)) for one in expectations.texts("monitoring_addresses"))
    there = agents(host, port)
    if not there:
        not_applicable(f"nothing listens on tcp/{port} (MON-01 judges that)")
    own = set(expectations.texts("addresses"))
    bound = all(one.loopback or one.address in own for one in there)
    sources = sources_of(host, rules_of(host), port)
    inside = all(any(_within(source, monitor) for monitor in monitors) for source in sources)
    verdict(
        bound or inside,
        observed=f"{listed(map(str, there))}; open to {listed(map(str, sources), none='nobody')}",
        expected=f"on the management address only, or open to no more than {listed(map(str, monitors), none='nobody')}",
    )


def _within(source: ruleset.Network, monitor: ruleset.Network) -> bool:
    return source.version == monitor.version and source.subnet_of(monitor)  # type: ignore[arg-type]  # same version


# Memory, and images that are full by their nature.
_NO_DISKS = ("tmpfs", "devtmpfs", "ramfs", "efivarfs", "squashfs", "iso9660", "udf", "fuse.lxcfs")
_DF = "df -l " + " ".join(f"-x {kind}" for kind in _NO_DISKS) + " --output=size,avail,itotal,iavail,fstype,target"


@pytest.mark.control("MON-04")
def check_there_is_room(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    least = {"space": expectations.number("space_percent"), "inodes": expectations.number("inodes_percent")}
    tight, seen = [], []
    for line in lines(host, _DF)[1:]:
        size, free, inodes, free_inodes, _, target = line.split(None, 5)
        # Some file systems make inodes as they need them and tell of none.
        for what, total, left in (("space", size, free), ("inodes", inodes, free_inodes)):
            if total.isdigit() and left.isdigit() and int(total):
                percent = 100 * int(left) / int(total)
                seen.append(f"{target} {what} {percent:.0f} %")
                if percent < least[what]:
                    tight.append(seen[-1])
    if not seen:
        raise CannotJudge("df tells of no local file system")
    verdict(
        not tight,
        observed=f"too little: {listed(tight)}; free: {listed(seen)}",
        expected=f"at least {least['space']} % of space and {least['inodes']} % of inodes free on each file system",
    )


@pytest.mark.control("MON-05")
def check_no_service_has_failed(host: Any, verdict: Verdict) -> None:
    printed = output(host, "systemctl --failed --no-legend --plain")
    failed = [line.split()[0] for line in printed.splitlines() if line.strip()]
    verdict(not failed, observed=f"failed: {listed(failed)}", expected="failed: none")
