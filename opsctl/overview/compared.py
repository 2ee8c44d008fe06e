"""Hosts asked, NetBox read, both compared; and what NetBox meant, remembered for `host show`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from opsctl.errors import StoreError
from opsctl.inventory.intended import Intended, Primary, intended, of_copy
from opsctl.model.host import Host, Service
from opsctl.monitor.probe import Probe
from opsctl.monitor.status import HostStatus, collect
from opsctl.overview.drift import Comparison, Difference, Uncompared, compare

if TYPE_CHECKING:
    from opsctl.config import Settings
    from opsctl.ssh.session import Transport
    from opsctl.state.store import Fact, Store

FACT = "intended"  # what NetBox meant when drift looked last


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What became of each host; those without an answer, or without a record to see, are neither right nor wrong."""

    compared: tuple[Host, ...]
    without_record: tuple[Host, ...]
    differences: tuple[Difference, ...]
    uncompared: tuple[Uncompared, ...]
    silent: tuple[HostStatus, ...]

    @property
    def complete(self) -> bool:
        return not (self.silent or self.without_record)

    @property
    def outcome(self) -> str:
        if not self.complete:
            return "incomplete" if self.compared or self.without_record else "unreachable"
        return "drift" if self.differences else "ok"


def look(settings: Settings, hosts: Sequence[Host], transport: Transport, store: Store, now: datetime) -> Drift:
    """Compare these hosts with NetBox as it is now; a host without a record with our own copy.

    Raises ConfigError and SourceFailed before any host is asked.
    """
    meant = intended(settings, hosts) | {host.key: of_copy(host) for host in hosts if not host.record}
    without = tuple(host for host in hosts if host.key not in meant)
    found: list[Comparison] = [compare(host, None, Probe()) for host in without]
    compared: list[Host] = []
    silent: list[HostStatus] = []
    for status in collect([host for host in hosts if host.key in meant], transport, store, now):
        if status.error or status.probe is None:
            silent.append(status)
            continue
        compared.append(status.host)
        theirs = meant[status.host.key]
        found.append(compare(status.host, theirs, status.probe))
        if theirs.record:
            with suppress(StoreError):  # a full disk must not hide how the hosts are
                store.put_fact(status.host.key, FACT, _encode(theirs), now)
    return Drift(
        compared=tuple(compared),
        without_record=without,
        differences=tuple(one for comparison in found for one in comparison.differences),
        uncompared=tuple(one for comparison in found for one in comparison.uncompared),
        silent=tuple(silent),
    )


def document(differences: Sequence[Difference], uncompared: Sequence[Uncompared]) -> dict[str, object]:
    """Both for programs: the shape that docs/reference/netbox.md describes."""
    return {
        "drift": [_difference(one) for one in differences],
        "not_compared": [{"host": one.host, "what": one.what, "why": one.why} for one in uncompared],
    }


def _difference(one: Difference) -> dict[str, object]:
    asked = one.suggestion
    suggestion = {"field": asked.field, "value": asked.value, "doubt": asked.doubt} if asked else None
    return {"host": one.host, "what": one.what, "netbox": one.netbox, "found": one.found, "suggestion": suggestion}


def remembered(fact: Fact | None, host: Host) -> tuple[Intended, datetime | None]:
    """What NetBox meant when drift looked last, and when that was; else what our own copy says."""
    found = _decode(fact.value) if fact else None
    return (found, fact.at) if fact and found and found.record == host.record else (of_copy(host), None)


def refresh(settings: Settings, store: Store, hosts: Sequence[Host]) -> None:
    """After NetBox was corrected: remember what it says now, of the hosts that drift has looked at."""
    known = store.facts(FACT)
    asked = [host for host in hosts if host.key in known]
    for key, one in intended(settings, asked).items():
        # The time stays: it says when there was contact with the host.
        store.put_fact(key, FACT, _encode(one), known[key].at)


def _encode(one: Intended) -> str:
    return json.dumps({name: value for name, value in asdict(one).items() if name != "listed"})


def _decode(value: object) -> Intended | None:
    """None where the store holds something else (written by another version)."""
    try:
        given: dict[str, Any] = dict(value)  # type: ignore[call-overload]
        for name in ("address4", "address6"):
            given[name] = Primary(**given[name]) if given[name] else None
        given["services"] = tuple(
            Service(name=one["name"], port=one["port"], protocol=one["protocol"]) for one in given["services"]
        )
        return Intended(**given)
    except (TypeError, KeyError, ValueError):
        return None
