"""Which hosts each tenant had after its last sync here: the fuse's second witness, for the day when hosts.yml is lost.

The copy itself is the first one. Where it holds no host, a source that has shrunk would look like a first sync.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from opsctl.model.host import Host

if TYPE_CHECKING:
    from opsctl.state.store import Store

FACT = "synced hosts"


def remember(store: Store, tenants: Iterable[str], hosts: Iterable[Host], at: datetime) -> None:
    """These hosts are all that these tenants have now."""
    found: dict[str, list[str]] = {tenant: [] for tenant in tenants}
    for host in hosts:
        found[host.tenant].append(host.name)
    with store.transaction():
        for tenant, names in found.items():
            store.put_fact(f"tenant:{tenant}", FACT, json.dumps(names, ensure_ascii=False), at)


def recall(store: Store, tenants: Iterable[str]) -> Mapping[str, frozenset[str]]:
    """The keys of the hosts that these tenants had; tenants that were never synced here are left out."""
    known = store.facts(FACT)
    return {
        tenant: frozenset(f"{tenant}.{name}" for name in fact.value)
        for tenant in tenants
        if (fact := known.get(f"tenant:{tenant}")) and isinstance(fact.value, list)
    }
