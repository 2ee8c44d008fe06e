"""The inventory as it was when a rollout began: what recovers it works from this, whatever a sync has changed since.

Kept in the store, the tenants that the rollout can touch alone: those of its hosts, of their jump hosts, and operators.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from opsctl.inventory.document import decode, encode
from opsctl.model.host import Inventory

if TYPE_CHECKING:
    from opsctl.state.store import Store

FACT = "inventory snapshot"


def save(store: Store, rollout: str, inventory: Inventory, hosts: Iterable[str], at: datetime) -> None:
    """Keep what a rollout over these hosts (by key) may need."""
    chosen = [inventory.host(key) for key in hosts]
    needed = {step.tenant for host in chosen for step in (host, *inventory.jumps(host))}
    needed |= {tenant.operator for tenant in inventory.tenants if tenant.name in needed}
    document = encode(
        (tenant for tenant in inventory.tenants if tenant.name in needed),
        (host for host in inventory if host.tenant in needed),
    )
    content = {"digest": inventory.digest, "inventory": {**document, "quarantined": []}}
    store.put_fact(f"rollout:{rollout}", FACT, json.dumps(content, ensure_ascii=False, separators=(",", ":")), at)


def load(store: Store, rollout: str) -> Inventory | None:
    """The inventory of a rollout's beginning; None for one that began before such copies were kept."""
    fact = store.fact(f"rollout:{rollout}", FACT)
    value = fact.value if fact else None
    try:
        return decode(value["inventory"], str(value["digest"])) if isinstance(value, dict) else None
    except (KeyError, TypeError):
        return None  # written by another version, whose hosts had other fields
