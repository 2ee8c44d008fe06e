"""An nftables rule set as `nft -j list ruleset` prints it (libnftables-json(5)), and who it lets in to a tcp port.

What is not understood is an error, never a pass: an unknown expression in a rule that accepts cannot be judged.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from judging import CannotJudge

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
ANYWHERE: tuple[Network, ...] = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
FILTERED_HOOKS = ("input", "forward")
HARMLESS = {"counter", "log", "comment", "limit", "quota"}
# A rule with one of these lets some through, whatever its verdict: it ends no chain.
UNLESS_MANY = {"limit", "quota"}
# The versions of IP that a table of each family sees; those of arp, bridge and netdev stand in nobody's way here.
VERSIONS = {"inet": {4, 6}, "ip": {4}, "ip6": {6}}


@dataclass(frozen=True)
class Chain:
    """A chain with its rules; `hook` and `policy` are empty for one that is only jumped to."""

    family: str
    table: str
    name: str
    hook: str
    policy: str
    kind: str
    rules: tuple[tuple[dict[str, Any], ...], ...]

    @property
    def versions(self) -> set[int]:
        """Of IP, whose packets it sees."""
        return VERSIONS.get(self.family, set())


@dataclass(frozen=True)
class Ruleset:
    chains: tuple[Chain, ...]
    sets: dict[tuple[str, str, str], list[Any]]

    def base(self, *hooks: str) -> list[Chain]:
        """The filter chains at these hooks."""
        return [chain for chain in self.chains if chain.hook in hooks and chain.kind == "filter"]

    def unfiltered(self, hook: str) -> set[int]:
        """The versions of IP whose packets meet no filter chain at this hook."""
        return {4, 6}.difference(*(chain.versions for chain in self.base(hook)))

    def chain(self, near: Chain, name: str) -> Chain:
        for chain in self.chains:
            if (chain.family, chain.table, chain.name) == (near.family, near.table, name):
                return chain
        raise CannotJudge(f"the rule set jumps to chain {name}, which is not there")


def parse(text: str) -> Ruleset:
    entries = _active(_entries(text))
    rules: dict[tuple[str, str, str], list[tuple[dict[str, Any], ...]]] = {}
    for rule in (entry["rule"] for entry in entries if "rule" in entry):
        rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(tuple(rule.get("expr", ())))
    chains = tuple(
        Chain(
            chain["family"],
            chain["table"],
            chain["name"],
            chain.get("hook", ""),
            chain.get("policy", ""),
            chain.get("type", ""),
            tuple(rules.get((chain["family"], chain["table"], chain["name"]), ())),
        )
        for chain in (entry["chain"] for entry in entries if "chain" in entry)
    )
    sets = {
        (found["family"], found["table"], found["name"]): found.get("elem", [])
        for found in (entry["set"] for entry in entries if "set" in entry)
    }
    return Ruleset(chains, sets)


def _entries(text: str) -> list[dict[str, Any]]:
    try:
        return list(json.loads(text)["nftables"])
    except (ValueError, KeyError, TypeError) as error:
        raise CannotJudge(f"nft printed no rule set: {text[:120]!r}") from error


def _active(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what stands in a dormant table: that is loaded, and filters nothing (nft(8))."""
    tables = [entry["table"] for entry in entries if "table" in entry]
    # nft 1.0.6 prints the word dormant damaged; a table with an owner, or one that outlives it, is as awake as any.
    asleep = {
        (table["family"], table["name"])
        for table in tables
        if not set(_list(table.get("flags", []))) <= {"owner", "persist"}
    }
    return [e for e in entries if not any((o.get("family"), o.get("table")) in asleep for o in e.values())]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def normal(text: str) -> list[str]:
    """The rule set without what changes by itself: handles, counters, and elements that time out."""
    return sorted(
        json.dumps(_steady(entry), sort_keys=True)
        for entry in _entries(text)
        if "metainfo" not in entry and "element" not in entry
    )


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        dynamic = "timeout" in value.get("flags", []) or "dynamic" in value.get("flags", [])
        return {
            name: _steady(inner)
            for name, inner in value.items()
            if name not in ("handle", "packets", "bytes", "index") and not (name == "elem" and dynamic)
        }
    return [_steady(inner) for inner in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class _Reach:
    """What has been matched on the way to a rule: the sources that can come here, empty when none can."""

    sources: tuple[Network, ...] = ANYWHERE


def sources_of(rules: Ruleset, port: int) -> set[Network]:
    """Every source from which a new tcp connection to this port is accepted; anywhere, where nothing filters."""
    accepted = set(anywhere(rules.unfiltered("input")))
    for chain in rules.base("input"):
        seen = anywhere(chain.versions)
        accepted |= set(_accepted(rules, chain, _Reach(seen), port, depth=0))
        if chain.policy != "drop" and not _ends(chain):
            accepted |= set(seen)
    return set(_collapsed(accepted))


def anywhere(versions: set[int]) -> tuple[Network, ...]:
    return tuple(network for network in ANYWHERE if network.version in versions)


def _ends(chain: Chain) -> bool:
    """Whether the last rule of a chain turns away whatever is left, whatever the policy says."""
    last = chain.rules[-1] if chain.rules else ()
    return (
        bool(last)
        and all(set(part) <= (HARMLESS - UNLESS_MANY) | {"drop", "reject"} for part in last)
        and _verdict(last) != ""
    )


def _verdict(rule: tuple[dict[str, Any], ...]) -> str:
    return next((kind for part in rule for kind in ("drop", "reject", "accept") if kind in part), "")


def _accepted(rules: Ruleset, chain: Chain, reach: _Reach, port: int, depth: int) -> Iterator[Network]:
    if depth > 16:
        raise CannotJudge("the chains of the rule set call each other too deeply")
    for rule in chain.rules:
        here: _Reach | None = reach
        for part in rule:
            if here is None:
                break
            if "match" in part:
                here = _narrowed(rules, chain, here, part["match"], port)
            elif "accept" in part:
                yield from here.sources
            elif "vmap" in part:
                yield from _mapped(rules, chain, here, part["vmap"], port, depth)
            elif "jump" in part or "goto" in part:
                target = (part.get("jump") or part.get("goto") or {}).get("target", "")
                yield from _accepted(rules, rules.chain(chain, target), here, port, depth + 1)
            elif not set(part) <= HARMLESS | {"drop", "reject", "return", "ct helper", "mangle", "notrack"}:
                raise CannotJudge(f"a rule of chain {chain.name} cannot be judged: {sorted(part)}")


def _mapped(
    rules: Ruleset, chain: Chain, reach: _Reach, vmap: dict[str, Any], port: int, depth: int
) -> Iterator[Network]:
    """A verdict map: one rule for each of its entries."""
    entries = vmap["data"]["set"] if isinstance(vmap["data"], dict) else None
    if entries is None:
        raise CannotJudge(f"a verdict map of chain {chain.name} cannot be judged")
    for key, verdict in entries:
        rule = ({"match": {"op": "==", "left": vmap["key"], "right": key}}, verdict)
        yield from _accepted(rules, replace(chain, rules=(rule,)), reach, port, depth + 1)


def _narrowed(rules: Ruleset, chain: Chain, reach: _Reach, match: dict[str, Any], port: int) -> _Reach | None:
    """What is left after one match; None when a new tcp connection to the port cannot pass it."""
    left, right, equal = match["left"], match["right"], match.get("op", "==") in ("==", "in")
    field = _field(left)
    wanted = _elements(rules, chain, right)
    if field in ("ip saddr", "ip6 saddr"):
        return _from(reach, field, wanted, equal=equal)
    if field in ("tcp dport", "th dport"):
        return reach if _holds(wanted, port) is equal else None
    if field == "ct state":
        return reach if ("new" in wanted) is equal else None
    if field in ("l4proto", "ip protocol", "ip6 nexthdr"):
        return reach if ("tcp" in wanted or 6 in wanted) is equal else None
    if field in ("nfproto", "protocol"):
        family = {"ipv4": 4, "ip": 4, "ipv6": 6, "ip6": 6}
        versions = {family[str(word)] for word in wanted if str(word) in family}
        kept = tuple(network for network in reach.sources if (network.version in versions) is equal)
        return replace(reach, sources=kept) if kept else None
    if field in ("iif", "iifname"):
        return None if equal and set(wanted) == {"lo"} else reach
    if field.split()[0] in ("udp", "icmp", "icmpv6", "sctp", "dccp", "igmp"):
        return None
    if field in ("ip daddr", "ip6 daddr", "oif", "oifname", "fib", "pkttype"):
        return reach  # may still be one of this host's addresses: nobody is left out
    raise CannotJudge(f"a match of chain {chain.name} cannot be judged: {field}")


def _field(left: Any) -> str:
    if isinstance(left, dict) and "payload" in left and "field" in left["payload"]:
        return f"{left['payload'].get('protocol', '')} {left['payload']['field']}"
    if isinstance(left, dict) and "meta" in left:
        return str(left["meta"]["key"])
    if isinstance(left, dict) and "ct" in left:
        return f"ct {left['ct']['key']}"
    if isinstance(left, dict) and "fib" in left:
        return "fib"
    return json.dumps(left)


def _elements(rules: Ruleset, chain: Chain, right: Any) -> list[Any]:
    """The values on the right of a match, named sets looked up."""
    if isinstance(right, str) and right.startswith("@"):
        named = rules.sets.get((chain.family, chain.table, right[1:]))
        if named is None:
            raise CannotJudge(f"the rule set uses set {right}, which is not there")
        return [element for value in named for element in _elements(rules, chain, value)]
    if isinstance(right, dict) and "set" in right:
        return [element for value in right["set"] for element in _elements(rules, chain, value)]
    if isinstance(right, dict) and "elem" in right:
        return _elements(rules, chain, right["elem"]["val"])
    if isinstance(right, list):
        return [element for value in right for element in _elements(rules, chain, value)]
    return [right]


def _holds(wanted: list[Any], port: int) -> bool:
    names = {"ssh": 22, "http": 80, "https": 443}
    for value in wanted:
        if isinstance(value, dict) and "range" in value:
            low, high = value["range"]
            if low <= port <= high:
                return True
        elif value == port or names.get(str(value)) == port:
            return True
    return False


def _from(reach: _Reach, field: str, wanted: list[Any], *, equal: bool) -> _Reach | None:
    version = 4 if field.startswith("ip ") else 6
    if not equal:
        kept = tuple(network for network in reach.sources if network.version == version)
        return replace(reach, sources=kept) if kept else None
    named = [network for value in wanted for network in _networks(value)]
    kept = tuple(
        inner
        for network in named
        for outer in reach.sources
        if outer.version == network.version == version
        for inner in _overlap(outer, network)
    )
    return replace(reach, sources=kept) if kept else None


def _networks(value: Any) -> Iterable[Network]:
    try:
        if isinstance(value, dict) and "prefix" in value:
            return (ipaddress.ip_network(f"{value['prefix']['addr']}/{value['prefix']['len']}"),)
        if isinstance(value, dict) and "range" in value:
            first, last = (ipaddress.ip_address(end) for end in value["range"])
            return tuple(ipaddress.summarize_address_range(first, last))
        return (ipaddress.ip_network(str(value)),)
    except ValueError as error:
        raise CannotJudge(f"not an address: {value!r}") from error


def _overlap(one: Network, other: Network) -> list[Network]:
    if one.version != other.version or not one.overlaps(other):
        return []
    return [one if one.prefixlen >= other.prefixlen else other]


def _collapsed(networks: Iterable[Network]) -> list[Network]:
    every = list(networks)
    v4 = ipaddress.collapse_addresses(n for n in every if isinstance(n, ipaddress.IPv4Network))
    v6 = ipaddress.collapse_addresses(n for n in every if isinstance(n, ipaddress.IPv6Network))
    return [*v4, *v6]


def collapsed(names: Iterable[str]) -> set[Network]:
    """Networks of the inventory in the same form as `sources_of` gives them."""
    return set(_collapsed(ipaddress.ip_network(name) for name in names))


LOOPBACK_RULES = ("accept from lo", "drop 127.0.0.0/8 from elsewhere", "drop ::1 from elsewhere")


def loopback_rule(rule: tuple[dict[str, Any], ...]) -> str:
    """Which of LOOPBACK_RULES this rule is; empty for any other. One that asks for anything more is another."""
    asked = [part["match"] for part in rule if "match" in part]
    from_lo = [_is_lo(match) for match in asked]
    sources = [source for match in asked if (source := _loopback_source(match))]
    verdict = _verdict(rule)
    if verdict == "accept" and from_lo == [True]:
        return LOOPBACK_RULES[0]
    # `iif != lo` may stand before the source or be left to an earlier rule.
    if verdict in ("drop", "reject") and len(sources) == 1 and len(asked) - 1 == from_lo.count(False):
        return LOOPBACK_RULES[1] if sources[0] == "127.0.0.0/8" else LOOPBACK_RULES[2]
    return ""


def _is_lo(match: dict[str, Any]) -> bool | None:
    """True for `iif lo`, False for `iif != lo`, None for anything else."""
    left = match.get("left", {})
    key = left.get("meta", {}).get("key") if isinstance(left, dict) else None
    if key not in ("iif", "iifname") or match.get("right") != "lo":
        return None
    return {"==": True, "!=": False}.get(match.get("op", ""))


def _loopback_source(match: dict[str, Any]) -> str:
    left, right = match.get("left", {}), match.get("right")
    payload = left.get("payload", {}) if isinstance(left, dict) else {}
    if match.get("op") != "==" or payload.get("field") != "saddr":
        return ""
    if payload.get("protocol") == "ip6":
        return "::1" if right == "::1" else ""
    prefix = right.get("prefix", {}) if isinstance(right, dict) else {}
    return "127.0.0.0/8" if (prefix.get("addr"), prefix.get("len")) == ("127.0.0.0", 8) else ""
