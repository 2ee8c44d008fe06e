"""A sync that found copy and NetBox equal, remembered: while neither has moved, the next one need not compare again.

What is remembered counts only for exactly these copies, options and tenants, and only while NetBox's changelog has
nothing new, its counts are the same and the last full read is not long ago. Any doubt is the ordinary way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from opsctl import __version__
from opsctl.inventory import saving
from opsctl.inventory.cache import Fingerprint
from opsctl.inventory.document import encode_quarantined
from opsctl.model.host import Quarantined

if TYPE_CHECKING:
    from opsctl.config import Settings
    from opsctl.inventory.mirror import Head
    from opsctl.inventory.pull import Filters

FILE = "netbox-settled.json"


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What the equal sync had to say, and the marks of the mirrors that copy and NetBox were equal by."""

    digest: str
    quarantined: tuple[Quarantined, ...]
    left_out: Mapping[str, int]
    marks: tuple[str, ...]


def recall(settings: Settings, copies: Fingerprint, wanted: Sequence[str]) -> Settled | None:
    """What was remembered of exactly these copies; None where nothing is, or nothing that can be read."""
    try:
        found: dict[str, Any] = saving.recall(settings.state / FILE)
        if found["key"] != _key(settings, copies, wanted):
            return None
        return Settled(
            digest=str(found["digest"]),
            quarantined=tuple(Quarantined(**one) for one in found["quarantined"]),
            left_out=dict(found["left_out"]),
            marks=tuple(map(str, found["marks"])),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def unmoved(settings: Settings, wanted: Sequence[str], now: datetime, marked: tuple[str, ...]) -> bool:
    """Whether NetBox says that nothing has moved since. Raises SourceFailed, ConfigError."""
    from opsctl.inventory import mirror
    from opsctl.inventory.netbox import NetBox

    hours = timedelta(hours=settings.number("netbox.full_hours"))
    heads = _heads(settings, wanted)
    # A mirror that was read again since, for a sync that was refused, is another one than the copy was equal to.
    if marked != tuple(_mark(head) for _, _, head in heads):
        return False
    for tenant, filters, head in heads:
        netbox = NetBox.of(settings, tenant)
        try:
            if head is None or not mirror.unmoved(netbox, filters, head, full_every=hours, now=now):
                return False
        finally:
            netbox.close()
    return True


def _heads(settings: Settings, wanted: Sequence[str]) -> list[tuple[str, Filters, Head | None]]:
    """What is asked for, by tenant where each has a token of its own, and the head of the mirror of it."""
    from opsctl.inventory import files, mirrorfile
    from opsctl.inventory.address import checked_address
    from opsctl.inventory.rules import mapping_of
    from opsctl.inventory.take import scopes

    names = [folder.name for folder in files.tenant_folders(settings.inventories)]
    address = checked_address(settings)
    return [
        (tenant, filters, mirrorfile.head(mirrorfile.path(settings.state, address, filters, tenant)))
        for tenant, filters in scopes(settings, wanted, names, mapping_of(settings))
    ]


def marks(settings: Settings, wanted: Sequence[str]) -> tuple[str, ...]:
    """Of the mirrors that a comparison is made from: noted at once, for another look may write newer ones meanwhile."""
    return tuple(_mark(head) for _, _, head in _heads(settings, wanted))


def _mark(head: Head | None) -> str:
    return head.mark if head else ""


def remember(settings: Settings, copies: Fingerprint, wanted: Sequence[str], settled: Settled) -> None:
    """Only into a state folder that is there; losing it costs one ordinary sync."""
    if not settings.state.is_dir():
        return
    content = {
        "key": _key(settings, copies, wanted),
        "marks": list(settled.marks),
        "digest": settled.digest,
        "quarantined": encode_quarantined(settled.quarantined),
        "left_out": dict(settled.left_out),
    }
    saving.keep(settings.state / FILE, json.dumps(content, ensure_ascii=False))


def _key(settings: Settings, copies: Fingerprint, wanted: Sequence[str]) -> str:
    """Everything that a comparison depends on, apart from NetBox itself; the token is no part of it."""
    options = {
        name: value
        for name, value in settings.values.items()
        if name.startswith(("netbox.", "inventory.")) and name != "netbox.token"
    }
    asked = json.dumps([__version__, copies.sha256, sorted(wanted), sorted(options.items())], default=list)
    return hashlib.sha256(asked.encode()).hexdigest()
