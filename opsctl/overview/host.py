"""All that is known of one host, on one sheet: inventory, key, live state, pending work, last runs and acts.

What the host says itself is asked now where a transport is given; else, and when it does not answer, the sheet shows
what it said last, and how old that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from opsctl.config import Settings
from opsctl.model.host import Host, Inventory
from opsctl.monitor.probe import Probe, document
from opsctl.monitor.status import HostStatus, collect, last_known
from opsctl.ssh.hostkeys import Pin, Pins
from opsctl.ssh.session import Transport
from opsctl.state.leases import Lease, Leases
from opsctl.state.ledger import Entry, Ledger
from opsctl.state.store import Fact, Run, Store

Section = tuple[str, Mapping[str, object]]


@dataclass(frozen=True, kw_only=True)
class HostSheet:
    """The sheet: `status` is None for a host that is not managed; `facts` are the store's, apart from the probe."""

    host: Host
    jumps: tuple[str, ...]
    pins: tuple[Pin, ...]
    status: HostStatus | None
    facts: Mapping[str, Fact]
    runs: tuple[Run, ...]
    acts: tuple[Entry, ...]
    leases: tuple[Lease, ...]
    now: datetime

    def sections(self) -> list[Section]:
        """The sheet for people: titles, each with names and values."""
        found: list[Section] = [("Inventory", _inventory(self)), ("Trust", _trust(self)), ("State", _state(self))]
        if self.status and self.status.probe:
            found.append((f"Seen {age(self.status.at, self.now)}", _probe(self.status.probe, self.now)))
        facts = {name: f"{_short(fact.value)}, {age(fact.at, self.now)}" for name, fact in self.facts.items()}
        acts = {f"{one.at:%Y-%m-%d %H:%M}": f"{one.verb} by {one.who}: {one.outcome}" for one in self.acts}
        runs = {one.id: f"{one.kind}: {one.outcome or 'not ended'}" for one in self.runs}
        for title, values in (("Also remembered", facts), ("Last runs", runs), ("Last changing acts", acts)):
            if values:
                found.append((title, values))
        return found

    def document(self) -> dict[str, object]:
        """The sheet for programs."""
        status = self.status
        return {
            "host": {"key": self.host.key, **asdict(self.host), "managed": self.host.managed},
            "jumps": list(self.jumps),
            "pins": [{"kind": one.key.kind, "fingerprint": one.key.fingerprint, "note": one.note} for one in self.pins],
            "state": status.word if status else "not managed",
            "error": status.error if status else self.host.why_not_managed,
            "remarks": list(status.remarks) if status else [],
            "seen": status.at if status else None,
            "probe": document(status.probe) if status and status.probe else None,
            "facts": {name: {"at": fact.at, "value": fact.value} for name, fact in self.facts.items()},
            "runs": [
                {"id": one.id, "kind": one.kind, "outcome": one.outcome, "started": one.started} for one in self.runs
            ],
            "acts": [
                {"at": one.at, "verb": one.verb, "who": one.who, "outcome": one.outcome, "entry": one.seq}
                for one in self.acts
            ],
            "leases": [{"name": one.name, "holder": one.holder, "expires": one.expires} for one in self.leases],
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
) -> HostSheet:
    """The sheet of one host. Without a transport nothing is asked of the host."""
    names = {host.key, f"host:{host.key}", f"cluster:{host.tenant}.{host.cluster}"}
    facts = store.facts_of(host.key)
    return HostSheet(
        host=host,
        jumps=tuple(jump.key for jump in inventory.jumps(host)),
        pins=Pins.load(settings.inventories).of(host.key),
        status=_status(host, store, now, transport),
        facts={name: fact for name, fact in facts.items() if name != "probe"},
        runs=tuple(store.runs_of(host.key)),
        acts=tuple(e for e in ledger.entries(host=host.key, limit=10, newest_first=True) if e.phase == "finished")[:5],
        leases=tuple(one for one in Leases(store).held(now) if one.name in names),
        now=now,
    )


def age(at: datetime | None, now: datetime) -> str:
    """How long ago, in the largest unit that says enough."""
    if at is None:
        return "never"
    seconds = max(0, int((now - at).total_seconds()))
    if seconds < 5:
        return "just now"
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} seconds ago"


def _status(host: Host, store: Store, now: datetime, transport: Transport | None) -> HostStatus | None:
    if not host.managed:
        return None
    if transport is not None:
        return collect([host], transport, store, now)[0]
    last, at = last_known(store, host)
    return HostStatus(host=host, probe=last, at=at)


def _inventory(sheet: HostSheet) -> dict[str, object]:
    host = sheet.host
    said: dict[str, object] = {
        "host": host.key,
        "address": f"{host.address} port {host.port}" + (f", through {', '.join(sheet.jumps)}" if sheet.jumps else ""),
        "role": host.role,
        "platform": host.platform,
        "ring": host.ring,
        "cluster": host.cluster,
        "site": host.site,
        "organisation": host.organisation,
        "owner": host.owner,
        "criticality": host.criticality,
        "windows": ", ".join(host.windows),
        "services": ", ".join(f"{one.name} ({one.protocol}/{one.port})" for one in host.services),
    }
    return {name: value for name, value in said.items() if value}


def _trust(sheet: HostSheet) -> dict[str, object]:
    if not sheet.pins:
        return {"host key": f"none approved; opsctl host approve {sheet.host.key} --fingerprint SHA256:..."}
    return {f"host key {n}" if n > 1 else "host key": f"{p.key}, {p.note}" for n, p in enumerate(sheet.pins, 1)}


def _state(sheet: HostSheet) -> dict[str, object]:
    status = sheet.status
    if status is None:
        return {"state": f"not managed: {sheet.host.why_not_managed}"}
    said: dict[str, object] = {"state": f"{status.word}: {status.error}" if status.error else status.word}
    if status.at is None:
        said["last seen"] = "never"
    elif status.error:
        said["last seen"] = f"{age(status.at, sheet.now)} ({status.at:%Y-%m-%d %H:%M} UTC)"
    remarks = () if status.error else status.remarks
    said |= {f"look at {n}" if n > 1 else "look at": text for n, text in enumerate(remarks, 1)}
    if sheet.leases:
        said["leased"] = ", ".join(f"by {one.holder} until {one.expires:%H:%M} UTC" for one in sheet.leases)
    return said


def _probe(probe: Probe, now: datetime) -> dict[str, object]:
    disks = ", ".join(f"{one.mount} {one.used_percent:.0f} %" for one in probe.filesystems or ())
    updates = probe.updates
    said: dict[str, object] = {
        "system": f"{probe.os_name}, kernel {probe.kernel}, {probe.architecture}, Python {probe.python}",
        "virtualization": probe.virtualization or "none seen",
        "up": "" if probe.uptime is None else f"{probe.uptime / 3600:.1f} hours; systemd says {probe.system_state}",
        "load": "" if probe.load is None else f"{' '.join(f'{n:.2f}' for n in probe.load)} on {probe.cpus} processors",
        "memory": "" if probe.memory is None else f"{probe.memory.used_percent:.0f} % of {_size(probe.memory.total)}",
        "disks": disks,
        "failed units": ", ".join(probe.failed_units or ()) or "none",
        "updates": ""
        if updates is None or updates.lists_at is None
        else f"{len(updates.packages)}, {len(updates.security)} for security; lists of {age(updates.lists_at, now)}",
        "reboot": "" if not probe.reboot_required else f"required by {', '.join(probe.reboot_packages) or 'a package'}",
        "clock": "" if probe.clock is None else f"{probe.clock.offset:+.2f} s (± {probe.clock.error:.2f})",
        "listens on": ", ".join(str(port) for port in sorted({port for _, port in probe.listening or ()})),
        "addresses": ", ".join(probe.addresses or ()),
    }  # fmt: skip
    return {name: value for name, value in said.items() if value}


def _short(value: object) -> str:
    """A remembered value in a few words: its plain fields, or how many things it holds."""
    if isinstance(value, dict):
        plain = [f"{name} {one}" for name, one in value.items() if isinstance(one, (str, int, float, bool))]
        return ", ".join(plain)[:120] or f"{len(value)} entries"
    return f"{len(value)} entries" if isinstance(value, list) else str(value)[:120]


def _size(count: int) -> str:
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} bytes"
