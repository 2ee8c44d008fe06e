"""The inventory as it was when a rollout began: what recovers it works from this, whatever a sync has changed since.

Kept in the store, the tenants that the rollout can touch alone: those of its hosts, of their jump hosts, and operators.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from opsctl.inventory.document import decode, encode
from opsctl.model.host import Inventory

if TYPE_CHECKING:
    from opsctl.state.store import Store

FACT = "inventory snapshot"


def save(
    store: Store,
    rollout: str,
    inventory: Inventory,
    hosts: Iterable[str],
    at: datetime,
    *,
    approved: Mapping[str, Iterable[str]] | None = None,
) -> None:
    """Keep what a rollout over these hosts (by key) may need; `approved` are the fingerprints of their keys."""
    chosen = [inventory.host(key) for key in hosts]
    needed = {step.tenant for host in chosen for step in (host, *inventory.jumps(host))}
    needed |= {tenant.operator for tenant in inventory.tenants if tenant.name in needed}
    document = encode(
        (tenant for tenant in inventory.tenants if tenant.name in needed),
        (host for host in inventory if host.tenant in needed),
    )
    pins = {key: sorted(keys) for key, keys in (approved or {}).items()}
    content = {"digest": inventory.digest, "inventory": {**document, "quarantined": []}, "approved": pins}
    store.put_fact(f"rollout:{rollout}", FACT, json.dumps(content, ensure_ascii=False, separators=(",", ":")), at)


def load(store: Store, rollout: str) -> Inventory | None:
    """The inventory of a rollout's beginning; None for one that began before such copies were kept."""
    fact = store.fact(f"rollout:{rollout}", FACT)
    value = fact.value if fact else None
    try:
        return decode(value["inventory"], str(value["digest"])) if isinstance(value, dict) else None
    except (KeyError, TypeError):
        return None  # written by another version, whose hosts had other fields


def approved(store: Store, rollout: str) -> dict[str, frozenset[str]]:
    """The fingerprints that were approved for each host when the rollout began; empty where they were not kept."""
    fact = store.fact(f"rollout:{rollout}", FACT)
    value = fact.value if fact else None
    pins = value.get("approved") if isinstance(value, dict) else None
    return {str(key): frozenset(map(str, keys)) for key, keys in pins.items()} if isinstance(pins, dict) else {}
