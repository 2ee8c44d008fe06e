"""Does a frozen plan of patching still fit: what has moved in inventory, content and the hosts' packages. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from opsctl.model.host import Inventory
from opsctl.model.rollout import HostPlan, MirrorState, Plan
from opsctl.patch.pending import Pending, Readings
from opsctl.rollout import stale
from opsctl.rollout.limits import listed


def refuse_stale(
    plan: Plan, inventory: Inventory, content_digest: str, readings: Readings, *, before: Inventory | None = None
) -> None:
    """Raise StalePlan, saying what moved, where the plan no longer fits; a host that does not answer is no movement.

    `before` is the inventory that the plan was made from, as far as the plan can touch it.
    """
    stale.refuse_stale(plan, inventory, content_digest, before=before, more=_packages_moved(plan, readings))


def _packages_moved(plan: Plan, readings: Readings) -> Iterator[str]:
    for item in plan.hosts:
        reading = readings.get(item.host)
        if not isinstance(reading, Pending):
            continue
        if any(pin.tenant == item.host.partition(".")[0] for pin in plan.snapshots):
            yield from _installed_moved(item, reading)
            continue
        if reading.planned_why:
            yield f"{item.host}: {not_possible(reading)}"
            continue
        if reading.removed:
            yield f"{item.host}: {', '.join(reading.removed)} would now be removed"
        now = {package.name: package.change for package in reading.packages}
        for package in item.packages:
            found = now.get(package.name)
            if found is None:
                yield f"{item.host}: {package} is no longer pending"
            elif (found.before, found.after) != (package.before, package.after):
                yield f"{item.host}: planned {package}, now {found}"
        new = sorted(set(now) - {package.name for package in item.packages})
        if any(now[name].new for name in new):
            yield f"{item.host}: {', '.join(new)} would now be installed as well"


def _installed_moved(item: HostPlan, reading: Pending) -> Iterator[str]:
    """A plan with a snapshot of its mirror gets its versions from there: only what is installed can have moved."""
    now = {one.name: one.version for one in reading.installed}
    for package in item.packages:
        if now.get(package.name, "") != package.before:
            yield f"{item.host}: planned {package}, and {now.get(package.name) or 'nothing'} is installed"


def not_possible(reading: Pending) -> str:
    """Why the planned versions cannot be installed: gone from the mirror, or what apt says."""
    if reading.not_offered:
        return f"its mirror no longer offers the planned {', '.join(reading.not_offered)}{_as_of(reading)}"
    return f"the planned transaction is not possible: {reading.planned_why}"


def _as_of(reading: Pending) -> str:
    dates = [one.date for one in reading.mirrors or () if one.date]
    return f" (its lists are of {max(dates):%Y-%m-%d %H:%MZ})" if dates else ""


def mirrors_moved(plan: Plan, readings: Readings) -> tuple[str, ...]:
    """The lists that hosts now have in another state than the plan's, which alone does not make it stale."""
    known, before = {(one.name, one.sha256) for one in plan.mirrors}, {one.name: one for one in plan.mirrors}
    moved: dict[str, set[str]] = {}
    newest: dict[str, MirrorState] = {}
    for key, reading in readings.items():
        for one in (reading.mirrors or ()) if isinstance(reading, Pending) else ():
            if plan.mirrors and (one.name, one.sha256) not in known:
                moved.setdefault(one.name, set()).add(key)
                newest[one.name] = one
    return tuple(
        f"the mirror has moved since: {name}, {_dated(before.get(name))} -> {_dated(newest[name])} on {listed(keys)}"
        for name, keys in sorted(moved.items())
    )


def _dated(one: MirrorState | None) -> str:
    return "not there" if one is None else f"{one.date:%Y-%m-%d %H:%M:%SZ}" if one.date else one.sha256[:12]
