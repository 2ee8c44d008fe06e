"""How old the copy of each tenant's hosts is. The store remembers when NetBox last agreed with it.

The time is no part of hosts.yml: a sync that changes nothing leaves the file as it is. A copy of the file source has
no age, for its source lies beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from opsctl.errors import Refused

if TYPE_CHECKING:
    from opsctl.config import Settings
    from opsctl.state.store import Store

FACT = "inventory"
_HINT = "opsctl inventory sync; if NetBox is down and it cannot wait: --old-inventory"


@dataclass(frozen=True, kw_only=True)
class Age:
    """When NetBox last agreed with a tenant's copy; None: never on this machine."""

    tenant: str
    at: datetime | None

    def older_than(self, limit: timedelta, now: datetime) -> bool:
        # A time far ahead was written by a clock that was wrong: it says nothing of how old the copy is.
        return self.at is None or abs(now - self.at) > limit

    def said(self, now: datetime) -> str:
        if self.at is None:
            return f"{self.tenant} was never synced here"
        hours = int((now - self.at).total_seconds() // 3600)
        if hours < 0:
            return f"{self.tenant} was synced at {self.at:%Y-%m-%d %H:%MZ}, which is still to come (is a clock wrong?)"
        return f"{self.tenant} is {hours} hours old"


def remember(store: Store, tenants: Iterable[str], inventory: str, at: datetime) -> None:
    """NetBox has just agreed with the copies of these tenants."""
    for tenant in tenants:
        store.put_fact(f"tenant:{tenant}", FACT, json.dumps({"inventory": inventory}), at)


def too_old(settings: Settings, store: Store, tenants: Iterable[str], now: datetime) -> tuple[Age, ...]:
    """The tenants whose copy is older than inventory.max_age_hours; none with another source than NetBox."""
    if settings.text("inventory.source") != "netbox":
        return ()
    limit = timedelta(hours=settings.number("inventory.max_age_hours"))
    known = store.facts(FACT)
    ages = [
        Age(tenant=tenant, at=fact.at if (fact := known.get(f"tenant:{tenant}")) else None)
        for tenant in sorted(set(tenants))
    ]
    return tuple(age for age in ages if age.older_than(limit, now))


def refuse(old: Sequence[Age], now: datetime) -> None:
    """Raise Refused: what changes hosts does not start from a copy that may no longer be true."""
    if old:
        raise Refused(
            f"the copy of NetBox is too old to start a change from: {warning(old, now)}; nothing was done", hint=_HINT
        )


def warning(old: Sequence[Age], now: datetime) -> str:
    return ", ".join(age.said(now) for age in old)
