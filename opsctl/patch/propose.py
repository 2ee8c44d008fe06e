"""Readings of what is pending -> a frozen plan; and whether a frozen plan still fits the hosts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from opsctl.errors import HostError, OpsctlError, StalePlan
from opsctl.model.host import Host, Inventory
from opsctl.model.rollout import HostPlan, LeftOut, Plan
from opsctl.patch.pending import Pending, Readings
from opsctl.patch.told import no_room, obstacle
from opsctl.rollout import limits as limiting
from opsctl.rollout import plan as planning
from opsctl.rollout.contact import balancers, unreachable
from opsctl.rollout.plan import Pace

KIND = "patch"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a person asks of a patch plan."""

    max_parallel: int
    failure_budget: int
    reboot: str
    security_only: bool = False
    options: tuple[str, ...] = ()


def propose(
    inventory: Inventory,
    hosts: Iterable[Host],
    readings: Readings,
    wish: Wish,
    *,
    now: datetime,
    who: str,
    content_digest: str,
) -> Plan:
    """The frozen plan over `hosts`: each one planned with exact versions, or left out with the reason."""
    fronts = balancers(inventory)
    wanted: list[HostPlan] = []
    left_out: list[LeftOut] = []
    for host in hosts:
        reading = readings.get(host.key)
        if reason := why_left_out(host, reading):
            missed = isinstance(reading, OpsctlError)
            left_out.append(LeftOut(host=host.key, reason=reason, missed=missed))
        elif isinstance(reading, Pending):
            wanted.append(_host_plan(host.key, reading, wish, fronts))
    pace = Pace(limit=wish.max_parallel)
    return planning.freeze(
        planning.arrange(
            wanted,
            inventory,
            limiting.of(inventory, balancers=fronts),
            pace=pace,
            down=unreachable(readings.items()),
        ),
        kind=KIND,
        now=now,
        made_by=who,
        inventory_digest=inventory.digest,
        content_digest=content_digest,
        left_out=left_out,
        pace=pace,
        failure_budget=wish.failure_budget,
        reboot=wish.reboot,
        security_only=wish.security_only,
        options=wish.options,
    )


def why_left_out(host: Host, reading: Pending | OpsctlError | None) -> str:
    """Why a host cannot be in a plan; empty where it can."""
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
    waiting = [f"held: {', '.join(reading.held)}"] if reading.held else []
    waiting += [f"kept back: {', '.join(reading.kept_back)}"] if reading.kept_back else []
    other = [f"{reading.pending} other updates"] if reading.pending else []
    restart = ["a reboot is still required"] if reading.reboot_why else []
    return "; ".join(["current", *waiting, *other, *restart])


def _host_plan(key: str, reading: Pending, wish: Wish, fronts: Mapping[str, str]) -> HostPlan:
    wanted = bool(reading.reboot_why) or bool(reading.reboot.coming)
    return HostPlan(
        host=key,
        packages=tuple(package.change for package in reading.packages),
        reboot_expected=wish.reboot == "always" or (wish.reboot == "if-required" and wanted),
        drain_through=fronts.get(key, ""),
        download_bytes=reading.download_bytes or 0,
    )


def refuse_stale(plan: Plan, inventory: Inventory, content_digest: str, readings: Readings) -> None:
    """Raise StalePlan, saying what moved, where the plan no longer fits; a host that does not answer is no movement."""
    moved = tuple(_moved(plan, inventory, content_digest, readings))
    if moved:
        shown = "; ".join(moved[:5]) + (f"; and {len(moved) - 5} more" if len(moved) > 5 else "")
        raise StalePlan(f"{plan.id} no longer fits: {shown}", hint="make a new plan: opsctl patch plan")


def _moved(plan: Plan, inventory: Inventory, content_digest: str, readings: Readings) -> Iterator[str]:
    if planning.hash_of(plan) != plan.hash:
        yield "the plan itself was altered in the store"
    if inventory.digest != plan.inventory_digest:
        yield "the inventory has changed"
    if content_digest != plan.content_digest:
        yield "playbooks, roles or checks have changed"
    for item in plan.hosts:
        reading = readings.get(item.host)
        if not isinstance(reading, Pending):
            continue
        now = {package.name: package.change for package in reading.packages}
        for package in item.packages:
            found = now.get(package.name)
            if found is None:
                yield f"{item.host}: {package} is no longer pending"
            elif found != package:
                yield f"{item.host}: planned {package}, now {found}"
        new = sorted(set(now) - {package.name for package in item.packages})
        if any(now[name].new for name in new):
            yield f"{item.host}: {', '.join(new)} would now be installed as well"
