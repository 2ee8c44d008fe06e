"""Who may be out of service together: cluster minimums, and hosts that depend on another one. Pure.

The same limits are asked twice: when a plan is made, and again just before each host is touched, with what is known
then of hosts that are down, failed or unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from opsctl.model.host import Host, Inventory

KEPT_IN = "in service"
NEVER = ", so none of it may ever leave (clusters: minimum in tenant.yml)"


@dataclass(frozen=True, kw_only=True)
class ClusterLimit:
    """The members of one cluster and how many of them must stay in service."""

    name: str
    members: frozenset[str]
    minimum: int

    @property
    def may_be_out(self) -> int:
        return len(self.members) - self.minimum


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Cluster limits by host key, and for each host the hosts that must not be changed at the same time."""

    clusters: Mapping[str, ClusterLimit] = field(default_factory=dict)
    apart: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def why_not(self, host: str, out: frozenset[str] | set[str]) -> str:
        """Why `host` must stay in service while the hosts in `out` are out of it; empty where it may go."""
        limit = self.clusters.get(host)
        if limit is not None:
            others = sorted((limit.members & out) - {host})
            if len(others) + 1 > limit.may_be_out:
                state = f", and {', '.join(others)} {'is' if len(others) == 1 else 'are'} out" if others else ""
                return f"{limit.name} needs {limit.minimum} of {len(limit.members)} {KEPT_IN}{state or NEVER}"
        return ""

    def lease_names(self, hosts: Iterable[str]) -> tuple[str, ...]:
        """What a rollout over `hosts` claims: each host, and each cluster that it takes members from."""
        keys = sorted(set(hosts))
        return (*keys, *sorted({f"cluster:{self.clusters[key].name}" for key in keys if key in self.clusters}))


def of(inventory: Inventory, *, balancers: Mapping[str, str] | None = None) -> Limits:
    """The limits that an inventory states. `balancers`: host key -> key of the load balancer it drains through.

    A member that is not active counts as one that is not there. A jump host and a load balancer are kept apart from
    the hosts behind them.
    """
    members: dict[tuple[str, str], list[Host]] = {}
    for host in inventory:
        if host.cluster and host.status == "active":
            members.setdefault((host.tenant, host.cluster), []).append(host)
    clusters: dict[str, ClusterLimit] = {}
    for (tenant, name), hosts in members.items():
        stated = {cluster.name: cluster.minimum for cluster in inventory.tenant(tenant).clusters}
        limit = ClusterLimit(
            name=f"{tenant}.{name}",
            members=frozenset(host.key for host in hosts),
            minimum=stated.get(name, len(hosts) - 1),
        )
        clusters.update((host.key, limit) for host in hosts)
    return Limits(clusters=clusters, apart=_apart(inventory, balancers or {}))


def _apart(inventory: Inventory, balancers: Mapping[str, str]) -> dict[str, frozenset[str]]:
    pairs: dict[str, set[str]] = {}
    for host in inventory:
        fronts = {jump.key for jump in inventory.jumps(host)} | {balancers.get(host.key, host.key)}
        for front in fronts - {host.key}:
            pairs.setdefault(host.key, set()).add(front)
            pairs.setdefault(front, set()).add(host.key)
    return {key: frozenset(others) for key, others in pairs.items()}
