"""The tenants' variable files that a run over some hosts reads: their digest, and which of them has moved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from opsctl.ansible.render import variable_files
from opsctl.config import Settings
from opsctl.model.host import Host
from opsctl.model.rollout import Plan
from opsctl.rollout.means import Means

FACT = "variables"


def digests(hosts: Iterable[Host], settings: Settings) -> dict[str, str]:
    """`TENANT/group_vars/FILE` -> SHA-256 of its bytes. Raises InventoryError for files that must not be used."""
    base = settings.inventories
    found = set(variable_files(hosts, base).values())
    return {str(file.relative_to(base)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(found)}


def digest(found: Mapping[str, str]) -> str:
    """One digest of them all."""
    return hashlib.sha256("".join(f"{name}\0{one}\n" for name, one in sorted(found.items())).encode()).hexdigest()


def keep(means: Means, plan: Plan, read: Mapping[str, str]) -> None:
    """Keep with a plan what it was made from."""
    means.store.put_fact(f"rollout:{plan.id}", FACT, json.dumps(dict(read)), means.clock())


def moved(means: Means, plan: Plan) -> tuple[str, ...]:
    """The variable files that are others than when a plan was made from them; none of a plan that read none."""
    if not plan.variables_digest:
        return ()
    hosts = [means.inventory.host(item.host) for item in plan.hosts]
    now, fact = digests(hosts, means.settings), means.store.fact(f"rollout:{plan.id}", FACT)
    before = fact.value if fact and isinstance(fact.value, dict) else {}
    return () if digest(now) == plan.variables_digest else (what_moved(before, now),)


def what_moved(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The files that are new, gone or other ones, in words."""
    moved = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return ", ".join(f"{name} {_how(name, before, now)}" for name in moved) or "variable files have changed"


def _how(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
    return "is new" if name not in before else "is gone" if name not in now else "has changed"
