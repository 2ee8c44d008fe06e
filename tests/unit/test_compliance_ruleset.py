"""What the firewall checks understand of nftables, on rule sets as `nft -j list ruleset` prints them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CHECKS = Path(__file__).parents[1] / "compliance"
TCP_22 = {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}
ACCEPT: dict[str, Any] = {"accept": None}


@pytest.fixture(scope="module")
def ruleset() -> Iterator[ModuleType]:
    """The checks import their neighbours by bare name, as pytest lets them."""
    sys.path.insert(0, str(CHECKS))
    try:
        import ruleset as found

        yield found
    finally:
        sys.path.remove(str(CHECKS))


def saddr(right: Any, family: str = "ip", op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"payload": {"protocol": family, "field": "saddr"}}, "right": right}}


def meta(key: str, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"meta": {"key": key}}, "right": right}}


def state(*words: str) -> dict[str, Any]:
    return {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": list(words)}}


def prefix(address: str, length: int) -> dict[str, Any]:
    return {"prefix": {"addr": address, "len": length}}


def document(*rules: list[dict[str, Any]], policy: str = "drop", more: tuple[dict[str, Any], ...] = ()) -> str:
    where = {"family": "inet", "table": "filter"}
    chain = {**where, "name": "input", "handle": 1, "type": "filter", "hook": "input", "prio": 0, "policy": policy}
    entries: list[dict[str, Any]] = [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": "filter"}},
    ]
    entries += [{"chain": chain}, *more]
    entries += [{"rule": {**where, "chain": "input", "handle": i, "expr": r}} for i, r in enumerate(rules, 5)]
    return json.dumps({"nftables": entries})


def sources(ruleset: ModuleType, text: str, port: int = 22) -> list[str]:
    return sorted(str(network) for network in ruleset.sources_of(ruleset.parse(text), port))


ANYWHERE = ["0.0.0.0/0", "::/0"]
STATES = {
    "vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["established", ACCEPT], ["invalid", {"drop": None}]]}}
}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], []),
        ([[saddr(prefix("192.0.2.0", 28)), TCP_22, ACCEPT]], ["192.0.2.0/28"]),
        ([[saddr("192.0.2.1"), TCP_22, {"counter": {"packets": 1, "bytes": 2}}, ACCEPT]], ["192.0.2.1/32"]),
        ([[saddr({"set": ["192.0.2.1", "198.51.100.7"]}), TCP_22, ACCEPT]], ["192.0.2.1/32", "198.51.100.7/32"]),
        ([[saddr({"range": ["192.0.2.0", "192.0.2.3"]}), TCP_22, ACCEPT]], ["192.0.2.0/30"]),
        ([[saddr(prefix("2001:db8::", 32), "ip6"), TCP_22, ACCEPT]], ["2001:db8::/32"]),
        ([[TCP_22, ACCEPT]], ANYWHERE),
        ([[ACCEPT]], ANYWHERE),
        ([[saddr(prefix("192.0.2.0", 28)), ACCEPT]], ["192.0.2.0/28"]),
        ([[saddr("192.0.2.1", op="!="), TCP_22, ACCEPT]], ["0.0.0.0/0"]),
        ([[meta("iif", "lo"), ACCEPT]], []),
        ([[meta("iifname", "lo", op="!="), ACCEPT]], ANYWHERE),
        ([[meta("l4proto", {"set": ["icmp", "ipv6-icmp"]}), ACCEPT]], []),
        ([[meta("l4proto", "tcp"), ACCEPT]], ANYWHERE),
        ([[meta("nfproto", "ipv4"), TCP_22, ACCEPT]], ["0.0.0.0/0"]),
        ([[STATES]], []),
        ([[state("established", "related"), ACCEPT]], []),
        ([[state("new", "established"), ACCEPT]], ANYWHERE),
        ([[{"match": {**TCP_22["match"], "right": {"range": [20, 30]}}}, ACCEPT]], ANYWHERE),
        ([[{"match": {**TCP_22["match"], "right": {"set": [80, 443]}}}, ACCEPT]], []),
        ([[{"match": {**TCP_22["match"], "op": "!=", "right": 80}}, ACCEPT]], ANYWHERE),
        ([[TCP_22, {"drop": None}]], []),
    ],
)  # fmt: skip
def test_who_may_connect_is_read_from_the_rules(
    ruleset: ModuleType, rules: list[list[dict[str, Any]]], expected: list[str]
) -> None:
    assert sources(ruleset, document(*rules)) == expected


def test_where_nothing_filters_everybody_may_connect(ruleset: ModuleType) -> None:
    assert sources(ruleset, json.dumps({"nftables": []})) == ANYWHERE
    assert sources(ruleset, document(policy="accept")) == ANYWHERE
    assert sources(ruleset, document([{"reject": {"type": "icmpx"}}], policy="accept")) == []


def of_family(family: str, text: str) -> str:
    return text.replace('"inet"', f'"{family}"')


def test_a_version_of_ip_that_no_table_filters_is_open_to_everybody(ruleset: ModuleType) -> None:
    closed = document([saddr("192.0.2.1"), TCP_22, ACCEPT])
    assert sources(ruleset, of_family("ip", closed)) == ["192.0.2.1/32", "::/0"]
    assert sources(ruleset, of_family("ip6", document())) == ["0.0.0.0/0"]
    assert sources(ruleset, of_family("arp", document())) == ANYWHERE
    assert ruleset.parse(of_family("ip", closed)).unfiltered("input") == {6}
    assert ruleset.parse(closed).unfiltered("forward") == {4, 6}


def test_a_table_that_sleeps_filters_nothing(ruleset: ModuleType) -> None:
    # As nft 1.0.6 prints it, and later ones.
    for flags in ('"dorm"', '"t"', '"dormant"', '["dormant", "owner"]'):
        asleep = document().replace('"name": "filter"', f'"name": "filter", "flags": {flags}')
        assert sources(ruleset, asleep) == ANYWHERE
        assert ruleset.parse(asleep).base("input") == []
    owned = document().replace('"name": "filter"', '"name": "filter", "flags": "owner"')
    assert sources(ruleset, owned) == []


@pytest.mark.parametrize(
    "unless", [{"limit": {"rate": 5, "per": "second"}}, {"quota": {"val": 9, "val_unit": "mbytes"}}]
)
def test_a_rule_that_turns_away_only_so_many_ends_no_chain(ruleset: ModuleType, unless: dict[str, Any]) -> None:
    assert sources(ruleset, document([unless, {"drop": None}], policy="accept")) == ANYWHERE


def test_jumps_carry_their_conditions_along(ruleset: ModuleType) -> None:
    side = {"chain": {"family": "inet", "table": "filter", "name": "ssh", "handle": 9}}
    inside = {"rule": {"family": "inet", "table": "filter", "chain": "ssh", "handle": 10, "expr": [TCP_22, ACCEPT]}}
    jump = [saddr("192.0.2.9"), {"jump": {"target": "ssh"}}]
    assert sources(ruleset, document(jump, more=(side, inside))) == ["192.0.2.9/32"]


def test_named_sets_are_looked_up(ruleset: ModuleType) -> None:
    named = {
        "set": {
            "family": "inet",
            "table": "filter",
            "name": "management",
            "elem": ["192.0.2.4", prefix("192.0.2.8", 29)],
        }
    }
    text = document([saddr("@management"), TCP_22, ACCEPT], more=(named,))
    assert sources(ruleset, text) == ["192.0.2.4/32", "192.0.2.8/29"]


@pytest.mark.parametrize(
    "rule",
    [
        [{"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 7}}, ACCEPT],
        [{"xt": {"type": "match", "name": "owner"}}, ACCEPT],
        [saddr("@gone"), ACCEPT],
        [{"jump": {"target": "gone"}}],
    ],
)
def test_what_is_not_understood_is_an_error_and_never_a_pass(ruleset: ModuleType, rule: list[dict[str, Any]]) -> None:
    with pytest.raises(sys.modules["judging"].CannotJudge):
        sources(ruleset, document(rule))


def test_something_that_is_no_rule_set_is_an_error(ruleset: ModuleType) -> None:
    with pytest.raises(sys.modules["judging"].CannotJudge):
        ruleset.parse("Operation not permitted")


def test_handles_and_counters_do_not_count_as_a_difference(ruleset: ModuleType) -> None:
    one = document([TCP_22, {"counter": {"packets": 1, "bytes": 60}}, ACCEPT])
    other = one.replace('"handle": 5', '"handle": 17').replace('"packets": 1', '"packets": 9')
    assert ruleset.normal(one) == ruleset.normal(other)
    assert ruleset.normal(one) != ruleset.normal(document([TCP_22, {"drop": None}]))
