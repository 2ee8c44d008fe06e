"""Hosts and limits -> waves of batches. Pure and deterministic.

Every host comes out exactly once: planned, or left out with a reason.
One wave a ring, in the order of the tenants' rings. Within a wave each host takes the first batch that has room and
that no limit forbids; hosts come in the inventory's order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from opsctl.model import wire
from opsctl.model.host import Inventory
from opsctl.model.rollout import Batch, HostPlan, LeftOut, Plan, Wave
from opsctl.rollout.limits import Limits


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How many hosts at once: at most `limit`; `growing`: the first batch has one, each next one twice as many."""

    limit: int
    growing: bool = False

    def size(self, batch: int) -> int:
        """The room in batch number `batch`, counted from 0 over the whole rollout."""
        return min(self.limit, 2 ** min(batch, 20)) if self.growing else self.limit


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """Waves in the order of work, and what the limits keep out."""

    waves: tuple[Wave, ...]
    left_out: tuple[LeftOut, ...]


def ring_order(inventory: Inventory) -> tuple[str, ...]:
    """One order of rings for all tenants: each tenant's own order is kept; where two disagree, the first one wins."""
    orders = [list(tenant.rings) for tenant in inventory.tenants]
    result: list[str] = []
    while orders := [rest for rest in ([r for r in order if r not in result] for order in orders) if rest]:
        heads = [order[0] for order in orders]
        free = [head for head in heads if not any(head in order[1:] for order in orders)]
        result.append((free or heads)[0])
    used = dict.fromkeys(host.ring for host in inventory)
    return (*result, *(ring for ring in used if ring not in result))


def arrange(
    wanted: Sequence[HostPlan],
    inventory: Inventory,
    limits: Limits,
    *,
    pace: Pace,
    down: frozenset[str] = frozenset(),
) -> Arrangement:
    """Waves of batches over `wanted`. `down`: hosts that do not answer, and so count as out of service already."""
    by_ring: dict[str, list[HostPlan]] = {ring: [] for ring in ring_order(inventory)}
    left_out = []
    for item in wanted:
        if reason := limits.why_not(item.host, down):
            left_out.append(LeftOut(host=item.host, reason=reason, missed=True))
        else:
            by_ring[inventory.host(item.host).ring].append(item)
    waves: list[Wave] = []
    done = 0
    for ring, items in by_ring.items():
        if items:
            batches = _batches(items, limits, pace, down, done)
            done += len(batches)
            waves.append(Wave(ring=ring, batches=batches))
    return Arrangement(waves=tuple(waves), left_out=tuple(left_out))


def _batches(
    items: Iterable[HostPlan], limits: Limits, pace: Pace, down: frozenset[str], first: int
) -> tuple[Batch, ...]:
    batches: list[list[HostPlan]] = []
    keys: list[set[str]] = []
    open_from = 0  # every batch before this one is full
    cursor: dict[str, int] = {}  # cluster -> every batch before this one can take no more of its members
    for item in items:
        limit = limits.clusters.get(item.host)
        number = max(open_from, cursor.get(limit.name, 0) if limit else 0)
        while number < len(batches) and not _fits(item.host, keys[number], limits, down, pace.size(first + number)):
            number += 1
            if limit and item.host not in limits.apart:
                cursor[limit.name] = number
        if number == len(batches):
            batches.append([])
            keys.append(set())
        batches[number].append(item)
        keys[number].add(item.host)
        while open_from < len(batches) and len(batches[open_from]) >= pace.size(first + open_from):
            open_from += 1
    return tuple(Batch(hosts=tuple(batch)) for batch in batches)


def _fits(host: str, batch: set[str], limits: Limits, down: frozenset[str], room: int) -> bool:
    if len(batch) >= room or limits.apart.get(host, frozenset()) & batch:
        return False
    return host not in limits.clusters or not limits.why_not(host, batch | (down & limits.clusters[host].members))


def freeze(
    arrangement: Arrangement,
    *,
    kind: str,
    now: datetime,
    made_by: str,
    inventory_digest: str,
    content_digest: str,
    left_out: Iterable[LeftOut] = (),
    pace: Pace,
    failure_budget: int,
    reboot: str = "never",
    security_only: bool = False,
    options: tuple[str, ...] = (),
) -> Plan:
    """The frozen plan, with its hash and an id that says when it was made."""
    draft = Plan(
        id="",
        hash="",
        kind=kind,
        made_at=now,
        made_by=made_by,
        inventory_digest=inventory_digest,
        content_digest=content_digest,
        waves=arrangement.waves,
        left_out=(*left_out, *arrangement.left_out),
        failure_budget=failure_budget,
        max_parallel=pace.limit,
        reboot=reboot,
        security_only=security_only,
        options=options,
    )
    digest = hash_of(draft)
    return replace(draft, id=f"{kind}-{now:%Y%m%d-%H%M%S}-{digest[:6]}", hash=digest)


def hash_of(plan: Plan) -> str:
    """SHA-256 over everything in a plan but its id, its hash, and when and by whom it was made."""
    document: Mapping[str, object] = {
        name: value
        for name, value in wire.as_document(plan).items()
        if name not in ("id", "hash", "made_at", "made_by")
    }
    return hashlib.sha256(wire.dumps(document).encode()).hexdigest()
