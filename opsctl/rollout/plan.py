"""Hosts and limits -> waves of batches. Pure and deterministic.

Every host comes out exactly once: planned, or left out with a reason.
One wave a ring, in the order of the tenants' rings. Within a wave each host takes the first batch that has room and
that no limit forbids; hosts come in the inventory's order, in whatever order they are asked for, and the primaries of
clusters after the others.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from opsctl.model import wire
from opsctl.model.gate import Gate
from opsctl.model.host import Inventory
from opsctl.model.rollout import Batch, HostPlan, LeftOut, MirrorState, Plan, SnapshotPin, Wave
from opsctl.rollout.limits import Limit, Limits


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
    wanted: Iterable[HostPlan],
    inventory: Inventory,
    limits: Limits,
    *,
    pace: Pace,
    down: frozenset[str] = frozenset(),
    behind: frozenset[str] = frozenset(),
) -> Arrangement:
    """Waves of batches over `wanted`.

    `down`: hosts that do not answer or alert, and so count as out of service already. `behind`: hosts that need the
    change and do not get it with this plan; a primary does not go before them.
    """
    place = {host.key: number for number, host in enumerate(inventory)}
    rings = {ring: number for number, ring in enumerate(ring_order(inventory))}
    wave_of = {item.host: rings[inventory.host(item.host).ring] for item in wanted}
    kept = _kept_back(wave_of, limits, down, behind)
    waves: list[list[HostPlan]] = [[] for _ in rings]
    for item in sorted(wanted, key=lambda item: (item.host in limits.after, place[item.host])):
        if item.host not in kept:
            waves[wave_of[item.host]].append(item)
    found: list[Wave] = []
    for ring, items in zip(rings, waves, strict=True):
        if items:
            batches = _Filling(limits, pace, down, first=sum(len(wave.batches) for wave in found)).fill(items)
            found.append(Wave(ring=ring, batches=batches))
    left_out = (LeftOut(host=key, reason=kept[key], missed=True) for key in sorted(kept, key=place.__getitem__))
    return Arrangement(waves=tuple(found), left_out=tuple(left_out))


def _kept_back(
    wave_of: Mapping[str, int], limits: Limits, down: frozenset[str], behind: frozenset[str]
) -> dict[str, str]:
    """The hosts that no batch may take, with the reason: a limit forbids it, or a primary would come too early."""
    kept = {key: why for key in wave_of if (why := limits.why_not(key, down))}
    for key, wave in wave_of.items():
        before = limits.after.get(key, frozenset()) if key not in kept else frozenset()
        undone = {one for one in before if one in behind or one in kept or wave_of.get(one, wave) > wave}
        if why := limits.why_not(key, down, undone) if undone else "":
            kept[key] = why
    return kept


class _Filling:
    """The batches of one wave while they fill; `first` batches of the rollout come before them."""

    def __init__(self, limits: Limits, pace: Pace, down: frozenset[str], *, first: int) -> None:
        self._limits, self._pace, self._down, self._first = limits, pace, down, first
        self._batches: list[list[HostPlan]] = []
        self._keys: list[set[str]] = []
        self._taken: list[Counter[str]] = []  # of each batch: how much of each limit it takes, down hosts apart
        self._open_from = 0  # every batch before this one is full
        self._used_up: dict[str, int] = {}  # limit -> every batch before this one can take no more of its members
        self._down_of: dict[str, int] = {}
        self._number: dict[str, int] = {}

    def fill(self, items: Iterable[HostPlan]) -> tuple[Batch, ...]:
        for item in items:
            self._put(item, self._first_that_fits(item.host))
        return tuple(Batch(hosts=tuple(batch)) for batch in self._batches)

    def _first_that_fits(self, host: str) -> int:
        earlier = [self._number[one] + 1 for one in self._limits.after.get(host, ()) if one in self._number]
        if host not in self._down:
            earlier += [self._used_up.get(limit.name, 0) for limit in self._limits.of_host.get(host, ())]
        number = max([self._open_from, *earlier])
        while number < len(self._batches) and not self._fits(host, number):
            number += 1
        return number

    def _fits(self, host: str, number: int) -> bool:
        if self._is_full(number):
            return False
        if self._limits.apart.get(host, frozenset()) & self._keys[number]:
            return False
        own = host not in self._down
        return all(self._out(limit, number) + own <= limit.may_be_out for limit in self._limits.of_host.get(host, ()))

    def _out(self, limit: Limit, number: int) -> int:
        """How many members of a limit are out of service while a batch is worked on."""
        if limit.name not in self._down_of:
            self._down_of[limit.name] = len(limit.members & self._down)
        return self._taken[number][limit.name] + self._down_of[limit.name]

    def _put(self, item: HostPlan, number: int) -> None:
        if number == len(self._batches):
            self._batches.append([])
            self._keys.append(set())
            self._taken.append(Counter())
        self._batches[number].append(item)
        self._keys[number].add(item.host)
        self._number[item.host] = number
        for limit in self._limits.of_host.get(item.host, ()) if item.host not in self._down else ():
            self._taken[number][limit.name] += 1
            self._move_on(limit)
        while self._open_from < len(self._batches) and self._is_full(self._open_from):
            self._open_from += 1

    def _is_full(self, number: int) -> bool:
        return len(self._batches[number]) >= self._pace.size(self._first + number)

    def _move_on(self, limit: Limit) -> None:
        number = self._used_up.get(limit.name, 0)
        while number < len(self._batches) and self._out(limit, number) >= limit.may_be_out:
            number += 1
        self._used_up[limit.name] = number


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
    packages: tuple[str, ...] = (),
    ticket: str = "",
    start_at: datetime | None = None,
    emergency: str = "",
    down: Iterable[str] = (),
    approval: tuple[str, ...] = (),
    mirrors: tuple[MirrorState, ...] = (),
    snapshots: tuple[SnapshotPin, ...] = (),
    rollback_of: str = "",
    variables_digest: str = "",
    gates: tuple[Gate, ...] = (),
    wave_budgets: Iterable[int] = (),
) -> Plan:
    """The frozen plan, with its hash and an id that says when it was made."""
    budgets = tuple(wave_budgets) or (0,) * len(arrangement.waves)
    draft = Plan(
        id="",
        hash="",
        kind=kind,
        made_at=now,
        made_by=made_by,
        inventory_digest=inventory_digest,
        content_digest=content_digest,
        waves=tuple(replace(wave, budget=n) for wave, n in zip(arrangement.waves, budgets, strict=True)),
        left_out=(*left_out, *arrangement.left_out),
        failure_budget=failure_budget,
        max_parallel=pace.limit,
        reboot=reboot,
        security_only=security_only,
        options=options,
        packages=packages,
        ticket=ticket,
        start_at=start_at,
        emergency=emergency,
        down=tuple(sorted(down)),
        approval=approval,
        mirrors=mirrors,
        snapshots=snapshots,
        rollback_of=rollback_of,
        variables_digest=variables_digest,
        gates=gates,
    )
    digest = hash_of(draft)
    return replace(draft, id=f"{kind}-{now:%Y%m%d-%H%M%S}-{digest[:6]}", hash=digest)


def approval_rings(waves: Iterable[Wave], inventory: Inventory) -> tuple[str, ...]:
    """The rings that do not begin without a second person: one of their hosts' tenants asks for it."""
    return tuple(
        wave.ring
        for wave in waves
        if any(wave.ring in inventory.tenant(inventory.host(item.host).tenant).approval for item in wave.hosts)
    )


def hash_of(plan: Plan) -> str:
    """SHA-256 over everything in a plan but its id, its hash, and when and by whom it was made."""
    document: Mapping[str, object] = {
        name: value
        for name, value in wire.as_document(plan).items()
        if name not in ("id", "hash", "made_at", "made_by")
    }
    return hashlib.sha256(wire.as_text(document).encode()).hexdigest()
