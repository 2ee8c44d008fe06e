"""The live state of hosts, read in one round trip each, and what of it a person should look at.

`collect` asks the hosts and remembers each answer in the store (fact `probe`); a host that does not answer keeps its
place in the list, with the reason and what was last known of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from opsctl.errors import HostFailed, OpsctlError, StoreError
from opsctl.model.host import Host, Inventory
from opsctl.monitor.probe import PARTS, Probe, Updates, document, parse
from opsctl.ssh.session import Transport, hostside_script
from opsctl.state.store import Store

FACT = "probe"
EXPORTER_PORT = 9100
# The units that every managed host should run; a role adds its own.
UNITS = ("ssh.service", "systemd-journald.service", "nftables.service", "prometheus-node-exporter.service")
TIMEOUT = 60.0

DISK_PERCENT, INODES_PERCENT, MEMORY_PERCENT = 90.0, 90.0, 95.0
LOAD_PER_CPU, CLOCK_SECONDS, LISTS_DAYS = 4.0, 2.0, 7


@dataclass(frozen=True, kw_only=True)
class HostStatus:
    """One host: reached now (`error` empty) or not; `probe` was taken `at`, and may be old or missing.

    `seen` is when there was contact last, whatever it was about.
    `unkept` says why the store could not remember the answer: at night a full disk must not hide how the hosts are.
    `scraped` is what the tenant's monitoring host says of the exporter: "" it answers, else why not; None: not asked.
    """

    host: Host
    error: str = ""
    hint: str = ""
    reached: bool = False
    probe: Probe | None = None
    at: datetime | None = None
    scraped: str | None = None
    seen: datetime | None = None
    unkept: str = ""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should look at; empty when all is well."""
        if self.error:
            return (self.error,)
        unkept = (f"not remembered: {self.unkept}",) if self.unkept else ()
        return (*remarks(self.probe, self.at), *unkept) if self.probe and self.at else unkept

    @property
    def word(self) -> str:
        """ok, attention (there are remarks), failed (reached, but no answer), unreachable, or unknown: never asked."""
        if self.error:
            return "failed" if self.reached else "unreachable"
        if self.probe is None:
            return "unknown"
        return "attention" if self.remarks else "ok"


def collect(hosts: Iterable[Host], transport: Transport, store: Store, now: datetime) -> list[HostStatus]:
    """Ask every host; never raises for a single one. `now` becomes the time of the remembered answers."""
    chosen = tuple(hosts)
    asked: dict[str, float] = {}

    def arguments(host: Host) -> Mapping[str, object]:
        asked[host.key] = time.time()
        return {"units": list(UNITS), "exporter_port": EXPORTER_PORT}

    def answered(host: Host, answer: object) -> Probe:
        if not isinstance(answer, dict) or not answer.keys() & set(PARTS):
            raise HostFailed(host.key, "its answer is not a probe's")
        found = parse(answer, asked=asked[host.key], answered=time.time())
        # A part that is left out must not pass for one that is well.
        untold = tuple(f"{part}: not told" for part in PARTS if part not in answer)
        return replace(found, faults=(*found.faults, *untold))

    answers = transport.run_all(chosen, hostside_script("probe"), arguments, timeout=TIMEOUT, then=answered)
    found = []
    for host in chosen:
        answer = answers[host.key]
        if isinstance(answer, Probe):
            unkept = _remember(store, host, answer, now)
            found.append(HostStatus(host=host, reached=True, probe=answer, at=now, seen=now, unkept=unkept))
        else:
            error = answer if isinstance(answer, OpsctlError) else HostFailed(host.key, "no answer")
            found.append(_without_answer(host, error, store, now))
    return found


def _remember(store: Store, host: Host, answer: Probe, now: datetime) -> str:
    """Keep the answer; why that was not possible, or ""."""
    try:
        store.put_fact(host.key, FACT, json.dumps(document(answer)), now)
    except StoreError as error:
        return error.message
    return ""


def _without_answer(host: Host, error: OpsctlError, store: Store, now: datetime) -> HostStatus:
    last = last_known(store, host)
    reason = getattr(error, "reason", error.message)
    reached = isinstance(error, HostFailed)
    return replace(last, error=reason, hint=error.hint, reached=reached, seen=now if reached else last.seen)


def last_known(store: Store, host: Host) -> HostStatus:
    """The probe that the store remembers of a host, when it was taken, and when there was contact last."""
    facts = store.facts_of(host.key)
    seen = max((fact.at for fact in facts.values()), default=None)
    if FACT not in facts:
        return HostStatus(host=host, seen=seen)
    return HostStatus(host=host, probe=parse(facts[FACT].value), at=facts[FACT].at, seen=seen)


def ask_monitoring(found: Sequence[HostStatus], inventory: Inventory, transport: Transport) -> list[HostStatus]:
    """Let each tenant's monitoring host try the node exporters: it is the one whom the hosts' firewalls let in.

    Only exporters that answer on their own host are tried; when there is none, nothing is asked.
    """
    asks: dict[str, list[int]] = {}
    for place, one in enumerate(found):
        answers_itself = one.probe and one.probe.exporter and one.probe.exporter.answers
        if not one.error and answers_itself and (monitor := monitoring_host(inventory, one.host)):
            asks.setdefault(monitor.key, []).append(place)
    if not asks:
        return list(found)
    answers = transport.run_all(
        [inventory.host(key) for key in asks],
        hostside_script("reach"),
        lambda monitor: {"targets": [[found[place].host.address, EXPORTER_PORT] for place in asks[monitor.key]]},
        timeout=TIMEOUT,
    )
    result = list(found)
    for key, places in asks.items():
        for place, fault in zip(places, _faults(answers[key], len(places)), strict=True):
            result[place] = replace(result[place], scraped=fault)
    return result


def monitoring_host(inventory: Inventory, host: Host) -> Host | None:
    """The host with role `monitoring` that watches this one: its own tenant's, else that of the tenant's operator."""
    for tenant in (host.tenant, inventory.tenant(host.tenant).operator):
        for one in inventory:
            if one.tenant == tenant and one.role == "monitoring" and one.managed:
                return one
    return None


def _faults(answer: object, expected: int) -> list[str]:
    faults = answer.get("faults") if isinstance(answer, dict) else None
    if isinstance(faults, list) and len(faults) == expected:
        return [str(fault)[:200] for fault in faults]
    why = answer.message if isinstance(answer, OpsctlError) else "the monitoring host gave no answer"
    return [why] * expected


def remarks(probe: Probe, at: datetime) -> tuple[str, ...]:
    """What stands out in a probe taken `at`, most urgent first. Thresholds: the constants above."""
    found = _full_filesystems(probe)
    if probe.failed_units:
        found.append("failed: " + ", ".join(probe.failed_units[:5]))
    if probe.memory and probe.memory.used_percent >= MEMORY_PERCENT:
        found.append(f"memory is {probe.memory.used_percent:.0f} % in use")
    if probe.load and probe.cpus and probe.load[0] >= LOAD_PER_CPU * probe.cpus:
        found.append(f"load {probe.load[0]:.1f} on {probe.cpus} processors")
    if probe.clock and probe.clock.surely_off >= CLOCK_SECONDS:
        found.append(f"clock is {probe.clock.offset:+.1f} s off")
    if probe.reboot_required:
        found.append("reboot required")
    if probe.updates and probe.updates.security:
        found.append(f"security updates pending: {len(probe.updates.security)}")
    if probe.updates and (old := _old_lists(probe.updates, at)):
        found.append(old)
    if probe.exporter and not probe.exporter.answers:
        found.append(f"node exporter: {probe.exporter.detail or 'no answer'}")
    return (*found, *(f"could not be read: {fault}" for fault in probe.faults))


def _full_filesystems(probe: Probe) -> list[str]:
    found = []
    for one in probe.filesystems or ():
        if one.used_percent >= DISK_PERCENT:
            found.append(f"{one.mount} is {one.used_percent:.0f} % full")
        if one.inodes_used_percent >= INODES_PERCENT:
            found.append(f"{one.mount} has {one.inodes_used_percent:.0f} % of its inodes in use")
        if one.read_only and one.mount == "/":
            found.append("/ is read-only")
    return found


def _old_lists(updates: Updates, at: datetime) -> str:
    if updates.lists_at is None:
        return "package lists were never fetched: pending updates are not known"
    days = (at - updates.lists_at).days
    return f"package lists are {days} days old" if days > LISTS_DAYS else ""
