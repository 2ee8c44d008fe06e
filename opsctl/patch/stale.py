"""Does a frozen plan of patching still fit: what has moved in inventory, content and the hosts' packages. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from opsctl.model.host import Inventory
from opsctl.model.rollout import Plan
from opsctl.patch.pending import Pending, Readings
from opsctl.rollout import stale


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
        if reading.removed:
            yield f"{item.host}: {', '.join(reading.removed)} would now be removed"
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
