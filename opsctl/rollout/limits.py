"""Who may be out of service together, and who comes after whom. Pure.

Three kinds of rule, all from the inventory: so many of a cluster, of a role or of a site must stay in service; a jump
host or load balancer is not changed together with the hosts behind it; a cluster's primary comes after its other
members. They are asked twice: when a plan is made, and again just before each host is touched, with what is known then
of hosts that are down, failed or unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field

from opsctl.model.host import Host, Inventory, Tenant

# Words by which the reasons are known again (execute.mend_missed).
KEPT_IN = "in service"
COMES_AFTER = "is its cluster's primary and comes after"
NEVER = ", so none of it may ever leave (clusters: minimum in tenant.yml)"
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Hosts of which `minimum` must stay in service: a cluster, or those that a limit in tenant.yml covers.

    `lease` is what a rollout claims that takes any of them, so that no two rollouts spend the same allowance.
    """

    name: str
    lease: str
    members: frozenset[str]
    minimum: int

    @property
    def may_be_out(self) -> int:
        return len(self.members) - self.minimum

    def why_not(self, host: str, out: Set[str]) -> str:
        """Why `host` must stay in service while the hosts in `out` are out of it; empty where it may go."""
        others = (self.members & out) - {host}
        if len(others) < self.may_be_out:
            return ""
        state = f", and {listed(others)} {'is' if len(others) == 1 else 'are'} out" if others else NEVER
        return f"{self.name} needs {self.minimum} of {len(self.members)} {KEPT_IN}{state}"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """By host key: the limits that it is a member of, the hosts that must not be changed at the same time, and for a
    primary the hosts that come before it."""

    of_host: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)
    apart: Mapping[str, frozenset[str]] = field(default_factory=dict)
    after: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def why_not(self, host: str, out: Set[str], undone: Set[str] = frozenset()) -> str:
        """Why `host` must not be touched while `out` are out of service and `undone` have yet to be changed."""
        for limit in self.of_host.get(host, ()):
            if why := limit.why_not(host, out):
                return why
        before = self.after.get(host, frozenset())
        open_ones = (before & out) | (before & undone)
        return f"it {COMES_AFTER} {listed(open_ones)}, not done yet" if open_ones else ""

    def fellows(self, hosts: Iterable[str]) -> frozenset[str]:
        """The hosts whose state decides over `hosts`: all others within the same limits."""
        chosen = frozenset(hosts)
        found = {limit.name: limit.members for key in chosen for limit in self.of_host.get(key, ())}
        return frozenset().union(*found.values()) - chosen

    def lease_names(self, hosts: Iterable[str]) -> tuple[str, ...]:
        """What a rollout over `hosts` claims: each host, and each limit that it takes members from."""
        keys = sorted(set(hosts))
        return (*keys, *sorted({limit.lease for key in keys for limit in self.of_host.get(key, ())}))


def listed(hosts: Iterable[str]) -> str:
    """Names for a message, the first few of many."""
    names = sorted(hosts)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def of(inventory: Inventory, *, balancers: Mapping[str, str] | None = None) -> Limits:
    """The limits that an inventory states. `balancers`: host key -> key of the load balancer it drains through.

    A member that is not active counts as one that is not there. A jump host and a load balancer are kept apart from
    the hosts behind them.
    """
    of_host: dict[str, tuple[Limit, ...]] = {}
    after: dict[str, frozenset[str]] = {}
    active: dict[str, list[Host]] = {}
    for host in inventory:
        if host.status == "active":
            active.setdefault(host.tenant, []).append(host)
    for tenant, hosts in active.items():
        for limit in _stated(inventory.tenant(tenant), hosts):
            for key in limit.members:
                of_host[key] = (*of_host.get(key, ()), limit)
        after.update(_primaries(inventory.tenant(tenant), hosts))
    return Limits(of_host=of_host, apart=_apart(inventory, balancers or {}), after=after)


def _clusters(hosts: Iterable[Host]) -> dict[str, list[Host]]:
    found: dict[str, list[Host]] = {}
    for host in hosts:
        if host.cluster:
            found.setdefault(host.cluster, []).append(host)
    return found


def _stated(tenant: Tenant, hosts: list[Host]) -> Iterator[Limit]:
    """One limit for each cluster of `hosts` (one that tenant.yml does not know may spare one), and each of limits."""
    minimums = {cluster.name: cluster.minimum for cluster in tenant.clusters}
    for name, members in _clusters(hosts).items():
        yield Limit(
            name=f"{tenant.name}.{name}",
            lease=f"cluster:{tenant.name}.{name}",
            members=frozenset(host.key for host in members),
            minimum=minimums.get(name, len(members) - 1),
        )
    for limit in tenant.limits:
        covered = frozenset(host.key for host in hosts if limit.covers(host))
        yield Limit(
            name=f"{limit.name} of {tenant.name}",
            lease=f"limit:{limit.name} of {tenant.name}",
            members=covered,
            minimum=max(0, len(covered) - limit.may_be_out(len(covered))),
        )


def _primaries(tenant: Tenant, hosts: list[Host]) -> Iterator[tuple[str, frozenset[str]]]:
    led = {cluster.name: cluster.primary for cluster in tenant.clusters if cluster.primary}
    for name, members in _clusters(hosts).items():
        keys = {host.name: host.key for host in members}
        if first := keys.get(led.get(name, "")):
            yield first, frozenset(keys.values()) - {first}


def _apart(inventory: Inventory, balancers: Mapping[str, str]) -> dict[str, frozenset[str]]:
    pairs: dict[str, set[str]] = {}
    for host in inventory:
        fronts = {jump.key for jump in inventory.jumps(host)} | {balancers.get(host.key, host.key)}
        for front in fronts - {host.key}:
            pairs.setdefault(host.key, set()).add(front)
            pairs.setdefault(front, set()).add(host.key)
    return {key: frozenset(others) for key, others in pairs.items()}
