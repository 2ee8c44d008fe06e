"""Firewall and listening ports."""

from __future__ import annotations

from typing import Any

import pytest
import ruleset
from check_kernel import without_ipv6
from judging import CannotJudge, Expectations, Verdict, listed
from machine import listeners, packages, red_hat, unit, units

LOADED = "nft -j list ruleset"
# An empty network namespace that vanishes with the command: the host's own rules are not touched.
SAVED = "unshare --net sh -c 'nft -f /etc/nftables.conf && nft -j list ruleset'"
FRONT_ENDS = ("nftables", "ufw", "firewalld")


def rules_of(host: Any) -> ruleset.Ruleset | None:
    """The rules in force; None where nft is not installed, so nothing filters."""
    found = host.run(LOADED)
    if found.rc == 127:
        return None
    if found.rc != 0:
        raise CannotJudge(f"`{LOADED}` ended with {found.rc}: {found.stderr.strip()[:300]}")
    return ruleset.parse(found.stdout)


def unfiltered(host: Any, rules: ruleset.Ruleset, hook: str) -> set[int]:
    """The versions of IP that nothing filters at this hook; IPv6 is none of them where it is off."""
    found = rules.unfiltered(hook)
    return found - {6} if 6 in found and without_ipv6(host) else found


def sources_of(host: Any, rules: ruleset.Ruleset | None, port: int) -> set[ruleset.Network]:
    """From where a tcp port can be reached."""
    if rules is None:
        return set(ruleset.ANYWHERE)
    found = ruleset.sources_of(rules, port)
    off = rules.unfiltered("input") - unfiltered(host, rules, "input")
    return found - set(ruleset.anywhere(off))


@pytest.mark.control("FW-02")
def check_firewall_runs(host: Any, verdict: Verdict) -> None:
    name = "firewalld" if red_hat(host) else "nftables"
    version, service = packages(host, name).get(name), unit(host, f"{name}.service")
    verdict(
        version is not None and service.runs,
        observed=f"package {name} {version or 'not installed'}; service {service}",
        expected=f"package {name} installed; service enabled, active",
    )


@pytest.mark.control("FW-03")
def check_incoming_is_denied(host: Any, verdict: Verdict) -> None:
    rules = rules_of(host)
    chains = rules.base(*ruleset.FILTERED_HOOKS) if rules else []
    shown = [f"{c.family} {c.table} {c.name} (hook {c.hook}): {c.policy}" for c in chains]
    bare = [
        f"{hook} of IPv{version}"
        for hook in ruleset.FILTERED_HOOKS
        for version in (unfiltered(host, rules, hook) if chains and rules else ())
    ]
    none = "no base chain filters anything" if rules else "nft is not installed"
    verdict(
        bool(chains) and not bare and all(chain.policy == "drop" for chain in chains),
        observed=listed(shown, none=none) + (f"; not filtered: {listed(bare)}" if bare else ""),
        expected="a base chain at input and at forward for IPv4 and IPv6, each with policy drop",
    )


@pytest.mark.control("FW-05")
def check_firewall_survives_a_reboot(host: Any, verdict: Verdict) -> None:
    expected = "the same rules in /etc/nftables.conf as in force"
    now = host.run(LOADED)
    if now.rc == 127:
        verdict(False, observed="nft is not installed", expected=expected)
    saved = host.run(SAVED)
    if saved.rc != 0:
        verdict(False, observed=f"/etc/nftables.conf cannot be loaded: {saved.stderr.strip()[:300]}", expected=expected)
    in_force, on_disk = set(ruleset.normal(now.stdout)), set(ruleset.normal(saved.stdout))
    verdict(
        in_force == on_disk and bool(on_disk),
        observed=f"{len(in_force & on_disk)} objects in both, {len(in_force - on_disk)} only in force, "
        f"{len(on_disk - in_force)} only on disk",
        expected=expected,
    )


@pytest.mark.control("FW-06")
def check_only_approved_ports_listen(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    approved = {*expectations.texts("services"), *expectations.texts("also_allowed")}
    open_ports = {f"{one.protocol}/{one.port}" for one in listeners(host) if not one.loopback}
    others = open_ports - approved
    verdict(
        not others,
        observed=f"not approved: {listed(others)}; open: {listed(open_ports)}",
        expected=f"only {listed(approved)}",
    )


@pytest.mark.control("FW-07")
def check_ssh_from_management_networks_only(host: Any, verdict: Verdict, expectations: Expectations) -> None:
    networks = ruleset.collapsed(expectations.texts("management_networks"))
    port = expectations.number("ssh_port")
    sources = sources_of(host, rules_of(host), port)
    verdict(
        sources == networks,
        observed=f"tcp/{port} is open to {listed((str(source) for source in sources), none='nobody')}",
        expected=listed((str(network) for network in networks), none="nobody"),
    )


@pytest.mark.control("FW-01")
def check_exactly_one_firewall(host: Any, verdict: Verdict) -> None:
    found = units(host, *(f"{name}.service" for name in FRONT_ENDS))
    running = [name for name, one in zip(FRONT_ENDS, found, strict=True) if one.runs]
    shown = (f"{name} {one}" for name, one in zip(FRONT_ENDS, found, strict=True))
    verdict(
        len(running) == 1,
        observed=f"enabled and active: {listed(running)}; {listed(shown)}",
        expected=f"exactly one of {listed(FRONT_ENDS)} enabled and active",
    )


@pytest.mark.control("FW-04")
def check_loopback_is_told_apart(host: Any, verdict: Verdict) -> None:
    rules = rules_of(host)
    chains = rules.base("input") if rules else []
    missing = set(ruleset.LOOPBACK_RULES)
    for chain in chains:
        missing -= {ruleset.loopback_rule(rule) for rule in chain.rules}
    verdict(
        bool(chains) and not missing,
        observed=f"missing at input: {listed(missing)}" if chains else "no base chain at input",
        expected=f"at input: {listed(ruleset.LOOPBACK_RULES)}",
    )
