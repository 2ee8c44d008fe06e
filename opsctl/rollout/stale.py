"""Does a frozen plan still fit: what has moved since, in the inventory and in our content. Pure.

What else a kind of change looks at, it gives as `more`: patching the pending packages, provisioning a fresh check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace

from opsctl.errors import Problem, StalePlan
from opsctl.inventory.diff import compare
from opsctl.model.host import Host, Inventory, Tenant
from opsctl.model.rollout import Plan
from opsctl.rollout import lines
from opsctl.rollout import plan as planning

_FEW = 5


def refuse_stale(
    plan: Plan, inventory: Inventory, content_digest: str, *, before: Inventory | None = None, more: Iterable[str] = ()
) -> None:
    """Raise StalePlan, saying what moved, where the plan no longer fits.

    `before` is the inventory that the plan was made from, as far as the plan can touch it.
    """
    moved = (*_moved(plan, inventory, content_digest, before), *more)
    if not moved:
        return
    hint = f"make a new plan: {lines.plan(plan.kind)}"
    if len(moved) <= _FEW:
        raise StalePlan(f"{plan.id} no longer fits: {'; '.join(moved)}", hint=hint)
    problems = tuple(Problem(where=plan.id, what=what) for what in moved)
    raise StalePlan(f"{plan.id} no longer fits, in {len(moved)} ways", hint=hint, problems=problems)


def _moved(plan: Plan, inventory: Inventory, content_digest: str, before: Inventory | None) -> Iterator[str]:
    if planning.hash_of(plan) != plan.hash:
        yield "the plan itself was altered in the store"
    if inventory.digest != plan.inventory_digest:
        yield from _inventory_moved(before, inventory) if before else ("the inventory has changed",)
    if content_digest != plan.content_digest:
        yield "playbooks, roles or checks have changed"


def _inventory_moved(before: Inventory, now: Inventory) -> Iterator[str]:
    """Changes of the tenants that the plan can touch; of others nothing is said."""
    tenants = {tenant.name: tenant for tenant in now.tenants}
    for tenant in before.tenants:
        if tenant.name not in tenants:
            yield f"tenant {tenant.name} is gone"
        elif changed := _changed(tenant, tenants[tenant.name]):
            yield f"tenant.yml of {tenant.name}: {', '.join(changed)} changed"
    ours = {tenant.name for tenant in before.tenants}
    diff = compare(_bare(before), _bare(host for host in now if host.tenant in ours))
    yield from (f"{host.key} was added" for host in diff.added)
    yield from (f"{host.key} is gone" for host in diff.removed)
    yield from (f"{pair.before.key} is now {pair.after.key}" for pair in (*diff.renamed, *diff.moved))
    for pair in diff.changed:
        told = (f"{one.name} {one.before or '(none)'} -> {one.after or '(none)'}" for one in pair.changes)
        yield f"{pair.after.key}: {', '.join(told)}"


def _changed(before: Tenant, after: Tenant) -> tuple[str, ...]:
    return tuple(one.name for one in fields(Tenant) if getattr(before, one.name) != getattr(after, one.name))


def _bare(hosts: Iterable[Host]) -> tuple[Host, ...]:
    """Hosts without what only describes them: a rollout goes the same way whatever that says."""
    return tuple(
        replace(
            host, owner="", region="", vm_cluster="", address6="", tags=(), custom="", context="", record="", stale=""
        )
        for host in hosts
    )
