"""Readings of what is pending -> a frozen plan. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import ceil

from opsctl.errors import HostError, OpsctlError, UnknownName
from opsctl.model.calendar import Hours
from opsctl.model.handling import Handled
from opsctl.model.host import Host, Inventory
from opsctl.model.nearest import nearest
from opsctl.model.rollout import HostPlan, LeftOut, MirrorState, Plan, SnapshotPin
from opsctl.patch.pending import NAME, Pending, Readings
from opsctl.patch.told import no_room, obstacle
from opsctl.rollout import frozen, versions
from opsctl.rollout import limits as limiting
from opsctl.rollout import plan as planning
from opsctl.rollout.contact import balancers, handling_of, unreachable
from opsctl.rollout.frozen import Budgets
from opsctl.rollout.plan import Pace
from opsctl.rollout.timing import Slot, Timing
from opsctl.rollout.versions import Offer

KIND = "patch"
USUAL_DOWNTIME = 60  # seconds that a host is away for a restart, where no rollout has measured it
EXCLUDED = "excluded (--exclude)"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a person asks of a patch plan. `packages`: these and what they need alone; `excluded` are host keys."""

    max_parallel: int
    reboot: str
    budgets: Budgets = field(default_factory=Budgets)
    security_only: bool = False
    options: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    excluded: frozenset[str] = frozenset()
    ticket: str = ""
    at: datetime | None = None
    emergency: str = ""


def propose(
    inventory: Inventory,
    hosts: Iterable[Host],
    readings: Readings,
    wish: Wish,
    *,
    now: datetime,
    who: str,
    content_digest: str,
    alerting: frozenset[str] = frozenset(),
    timing: Timing | None = None,
    outages: Mapping[str, float] | None = None,
    held: Mapping[str, str] | None = None,
    profile: str = "",
) -> Plan:
    """The frozen plan over `hosts`: each one planned with exact versions, or left out with the reason.

    `readings` may hold more hosts than these: their fellows within the same limits. Hosts that do not answer, and those
    in `alerting`, count as out of service. `timing` tells when each host may start; without it, at any time.
    `held`: hosts that somebody else works on or keeps, and who.
    `outages` are seconds by which hosts were away in earlier rollouts.
    """
    timing = timing or Timing(hours=Hours(()), now=now)
    fronts = balancers(inventory)
    asked = {host.key for host in hosts}
    chosen = [host for host in inventory if host.key in asked]
    left = {host.key: why for host in chosen if (why := why_left_out(host, readings.get(host.key), wish.excluded))}
    fit = {host: one for host in chosen if host.key not in left and isinstance(one := readings[host.key], Pending)}
    slots = {host.key: timing.slot(host) for host in fit}
    taken = held or {}
    closed = {key: slot.reason for key, slot in slots.items() if slot.reason}
    closed |= {key: taken[key] for key in slots if key in taken}
    fit = {host: one for host, one in fit.items() if host.key not in closed}
    odd = versions.differing(_offers(inventory, fit))
    wanted = [
        _host_plan(host.key, one, wish, fronts, slots[host.key], handling_of(inventory, host))
        for host, one in fit.items()
        if host.key not in odd
    ]
    wanted = [_with_downtime(item, inventory.host(item.host), outages or {}) for item in wanted]
    planned = {item.host for item in wanted}
    down = unreachable(readings.items()) | alerting
    arrangement = planning.arrange(
        wanted,
        inventory,
        limiting.of(inventory, balancers=fronts),
        pace=Pace(limit=wish.max_parallel),
        down=down,
        behind=frozenset(key for key, one in readings.items() if key not in planned and _has_updates(one)),
    )
    whole, each = frozen.budgets(inventory, arrangement.waves, wish.budgets)
    left_out = (
        LeftOut(
            host=key,
            reason=why,
            missed=key in odd
            or why == taken.get(key)
            or (key in closed and slots[key].missed)
            or isinstance(readings.get(key), OpsctlError),
        )
        for key, why in {**left, **closed, **odd}.items()
    )
    return planning.freeze(
        arrangement,
        kind=KIND,
        now=now,
        made_by=who,
        inventory_digest=inventory.digest,
        content_digest=content_digest,
        left_out=left_out,
        pace=Pace(limit=wish.max_parallel),
        failure_budget=whole,
        wave_budgets=each,
        gates=frozen.gates(inventory, arrangement.waves, emergency=bool(wish.emergency), profile=profile),
        reboot=wish.reboot,
        security_only=wish.security_only,
        options=wish.options,
        packages=wish.packages,
        ticket=wish.ticket,
        start_at=wish.at,
        emergency=wish.emergency,
        down=down,
        approval=planning.approval_rings(arrangement.waves, inventory),
        mirrors=mirror_states(readings[key] for key in sorted(planned)),
        snapshots=snapshot_pins(inventory, {key: readings[key] for key in sorted(planned)}, now),
    )


def mirror_states(readings: Iterable[Pending | OpsctlError]) -> tuple[MirrorState, ...]:
    """Every state of a mirror that these hosts have read, each once."""
    states = {one for reading in readings if isinstance(reading, Pending) for one in reading.mirrors or ()}
    return tuple(sorted(states, key=lambda one: (one.name, one.sha256)))


def snapshot_pins(inventory: Inventory, readings: Readings, now: datetime) -> tuple[SnapshotPin, ...]:
    """For each tenant whose mirrors have snapshots: those of the moment at which its hosts last fetched their lists."""
    pins = []
    for tenant in inventory.tenants:
        ages = [
            one.lists_age_seconds or 0
            for key, one in readings.items()
            if isinstance(one, Pending) and key.partition(".")[0] == tenant.name
        ]
        at = (now - timedelta(seconds=min(ages, default=0))).astimezone(UTC)
        words = {"{time}": f"{at:%Y%m%dT%H%M%SZ}", "{date}": f"{at:%Y%m%d}"}
        for mirror in tenant.mirrors if ages else ():
            url = mirror.snapshot
            for name, value in words.items():
                url = url.replace(name, value)
            pins.append(SnapshotPin(tenant=tenant.name, mirror=mirror.mirror, url=url))
    return tuple(pins)


def _offers(inventory: Inventory, fit: Mapping[Host, Pending]) -> Iterator[Offer]:
    rings = planning.ring_order(inventory)
    for host, reading in fit.items():
        yield Offer(
            host=host.key,
            ring=rings.index(host.ring),
            kind=f"{host.platform} {reading.architecture}",
            versions={package.name: package.candidate for package in reading.packages},
        )


def _has_updates(reading: Pending | OpsctlError) -> bool:
    """Also where nobody could see whether it has."""
    return isinstance(reading, OpsctlError) or bool(reading.packages)


def package_names(words: Iterable[str]) -> tuple[str, ...]:
    """The packages that comma-separated words name, each once. Raises UnknownName for what no package could be."""
    given = tuple(words)
    names = tuple(dict.fromkeys(name for word in given for name in word.split(",") if name))
    if given and not names:
        raise UnknownName("--package names no package")
    for name in names:
        if not NAME.fullmatch(name):
            raise UnknownName(f"no package can be called {name!r}", hint="a name as dpkg writes it, as openssl")
    return names


def refuse_unknown(packages: Iterable[str], readings: Readings) -> None:
    """Raise UnknownName for a package that no host has installed of those that could be read."""
    read = [reading for reading in readings.values() if isinstance(reading, Pending)]
    for name in packages:
        missing = [one for reading in read for one in reading.unknown if one.name == name]
        if read and len(missing) == len(read):
            hint = nearest(name, {like for one in missing for like in one.like})
            raise UnknownName(f"none of the hosts has a package {name!r}", hint=hint or "opsctl patch pending -o json")


def why_left_out(host: Host, reading: Pending | OpsctlError | None, excluded: frozenset[str] = frozenset()) -> str:
    """Why a host cannot be in a plan; empty where it can."""
    if host.key in excluded:
        return EXCLUDED
    if not host.managed:
        return f"not managed: {host.why_not_managed}"
    if reading is None:
        return "it was not read"
    if isinstance(reading, OpsctlError):
        why = reading.reason if isinstance(reading, HostError) else reading.message
        return why if reading.outcome == "failed" else f"{reading.outcome}: {why}"
    if reading.manager != "apt":
        return f"patching of {host.platform} is not supported yet"
    if reason := obstacle(reading):
        return reason
    if reading.lists_age_seconds is None:
        return "its package lists were never fetched: opsctl patch plan --refresh"
    if not reading.packages:
        return _why_current(reading)
    if reading.removed:
        return f"the updates would remove {', '.join(reading.removed)}: not without a person"
    return no_room(reading)


def _why_current(reading: Pending) -> str:
    lacking = [f"has no package {', '.join(one.name for one in reading.unknown)}"] if reading.unknown else []
    waiting = [f"held: {', '.join(reading.held)}"] if reading.held else []
    # What is held is kept back too, and told once.
    kept = [name for name in reading.kept_back or () if name not in (reading.held or ())]
    waiting += [f"kept back: {', '.join(kept)}"] if kept else []
    other = [f"{reading.pending} other updates"] if reading.pending else []
    restart = ["a reboot is still required"] if reading.reboot_why else []
    return "; ".join([*(lacking or ["current"]), *waiting, *other, *restart])


def _host_plan(
    key: str, reading: Pending, wish: Wish, fronts: Mapping[str, str], slot: Slot, handled: Handled
) -> HostPlan:
    # A plan that restarts nothing restarts nothing, whatever the inventory says.
    policy = wish.reboot if wish.reboot == "never" else handled.reboot or wish.reboot
    wanted = bool(reading.reboot_why) or bool(reading.reboot.coming)
    return HostPlan(
        host=key,
        packages=tuple(package.change for package in reading.packages),
        reboot_expected=policy == "always" or (policy == "if-required" and wanted),
        drain_through=fronts.get(key, ""),
        download_bytes=reading.download_bytes or 0,
        expected_seconds=int(slot.takes.total_seconds()),
        window=slot.window,
        opens_at=slot.opens_at,
        reboot=policy,
        hooks=handled.hooks,
    )


def _with_downtime(item: HostPlan, host: Host, outages: Mapping[str, float]) -> HostPlan:
    """How long what it alone answers for will be away: as last time, else what a restart usually takes."""
    if item.drains or host.cluster or not host.services or not item.reboot_expected:
        return item
    return replace(item, downtime_seconds=ceil(outages.get(host.key) or USUAL_DOWNTIME))
