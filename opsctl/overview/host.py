"""All that is known of one host: inventory, key, live state, pending updates, compliance, rollouts, runs, acts, leases.

What the host says itself is asked now where a transport is given; else, and when it does not answer, there is what it
said last, and when. `sheet.py` writes it for people; `document` is for programs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from opsctl.config import Settings
from opsctl.model.host import Host, Inventory
from opsctl.monitor.probe import document
from opsctl.monitor.status import FACT, HostStatus, collect, last_known
from opsctl.overview import compared, remembered
from opsctl.overview.drift import Comparison, compare
from opsctl.ssh.hostkeys import Pin, Pins
from opsctl.state.leases import Lease, Leases
from opsctl.state.ledger import Entry, Ledger
from opsctl.state.store import SEEN, Fact, Run, Store

if TYPE_CHECKING:
    from opsctl.ssh.session import Transport

LATEST = 5
PENDING = "pending"  # what patching read of the updates


@dataclass(frozen=True, kw_only=True)
class Part:
    """The host's part in one rollout: how far it came, and why no further."""

    rollout: str
    kind: str
    stage: str
    reason: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Known:
    """`status` is None for a host that is not managed; `facts` are the store's, apart from the probe.

    `changed`: when a rollout last brought the host to its end. What it said of its updates before that is void, and
    so is what a newer look says better: `facts` holds neither.
    `drift` compares the look with what NetBox said at `intended_at` (None: with our own copy).
    """

    host: Host
    jumps: tuple[str, ...]
    pins: tuple[Pin, ...]
    status: HostStatus | None
    facts: Mapping[str, Fact]
    rollouts: tuple[Part, ...]
    runs: tuple[Run, ...]
    acts: tuple[Entry, ...]
    leases: tuple[Lease, ...]
    changed: datetime | None = None
    drift: Comparison | None = None
    intended_at: datetime | None = None

    @property
    def void(self) -> bool:
        """Whether the look is older than the host's last change."""
        return bool(self.changed and self.status and self.status.at and self.status.at < self.changed)

    def document(self) -> dict[str, object]:
        """What is known, for programs."""
        status = self.status
        return {
            "host": {"key": self.host.key, **asdict(self.host), "managed": self.host.managed},
            "jumps": list(self.jumps),
            "pins": [{"kind": p.key.kind, "fingerprint": p.key.fingerprint, "note": p.note} for p in self.pins],
            "state": status.word if status else "not managed",
            "error": status.error if status else self.host.why_not_managed,
            "remarks": list(status.remarks) if status else [],
            "seen": status.seen if status else None,
            "changed": self.changed,
            "probe": document(status.probe) if status and status.probe else None,
            "facts": {name: {"at": fact.at, "value": fact.value} for name, fact in self.facts.items()},
            "rollouts": [asdict(one) for one in self.rollouts],
            "runs": [{"id": r.id, "kind": r.kind, "outcome": r.outcome, "started": r.started} for r in self.runs],
            "acts": [
                {"at": one.at, "verb": one.verb, "who": one.who, "outcome": one.outcome, "entry": one.seq}
                for one in self.acts
            ],
            "leases": [{"name": one.name, "holder": one.holder, "expires": one.expires} for one in self.leases],
            "drift": None
            if self.drift is None
            else {"netbox_read": self.intended_at, **compared.document(self.drift.differences, self.drift.uncompared)},
        }


def describe(
    host: Host,
    *,
    inventory: Inventory,
    settings: Settings,
    store: Store,
    ledger: Ledger,
    now: datetime,
    transport: Transport | None,
) -> Known:
    """Gather it. Without a transport nothing is asked of the host."""
    leased = {host.key, f"cluster:{host.tenant}.{host.cluster}"}
    status = _status(host, store, now, transport)
    known = remembered.rollouts(store)
    changed = remembered.changed(known).get(host.key)
    meant, read_at = compared.remembered(store.fact(host.key, compared.FACT), host)
    entries = ledger.entries(host=host.key, limit=2 * LATEST, newest_first=True)
    return Known(
        host=host,
        jumps=tuple(jump.key for jump in inventory.jumps(host)),
        pins=Pins.load(settings.inventories).of(host.key),
        status=status,
        facts=_facts(store, host, status, changed),
        rollouts=_parts(known, host),
        runs=tuple(store.runs_of(host.key, LATEST)),
        acts=tuple(entry for entry in entries if entry.phase == "finished")[:LATEST],
        leases=tuple(one for one in Leases(store).held(now) if one.name in leased),
        changed=changed,
        drift=compare(host, meant, status.probe) if status and status.probe else None,
        intended_at=read_at,
    )


def _facts(store: Store, host: Host, status: HostStatus | None, changed: datetime | None) -> dict[str, Fact]:
    found = {name: fact for name, fact in store.facts_of(host.key).items() if name not in (FACT, SEEN, compared.FACT)}
    looked = status.at if status and status.probe and status.probe.updates else None
    since = max((at for at in (looked, changed) if at), default=None)
    if PENDING in found and since and found[PENDING].at < since:
        del found[PENDING]
    return found


def _status(host: Host, store: Store, now: datetime, transport: Transport | None) -> HostStatus | None:
    if not host.managed:
        return None
    if transport is not None:
        return collect([host], transport, store, now)[0]
    return last_known(store, host)


def _parts(known: list[remembered.Known], host: Host) -> tuple[Part, ...]:
    found = [
        Part(rollout=each.state.plan.id, kind=each.state.plan.kind, stage=one.stage, reason=one.reason, at=one.at)
        for each in known
        for one in each.state.hosts
        if one.host == host.key
    ]
    return tuple(found[:LATEST])
