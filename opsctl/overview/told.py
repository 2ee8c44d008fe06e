"""What the store knows of hosts, as the values of opsctl's own custom fields in NetBox."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opsctl.compliance import record
from opsctl.model.host import Host
from opsctl.model.rollout import Stage
from opsctl.monitor import status
from opsctl.monitor.probe import parse
from opsctl.patch import pending

if TYPE_CHECKING:
    from opsctl.state.store import Fact, Store

Cell = str | int | None
# The fact that says how far a host's takeover has come; a host of which no takeover is recorded has none.
TAKEOVER = "takeover"
# So many of the latest rollouts are looked at for when a host was last patched.
ROLLOUTS = 200


def values(store: Store, hosts: Iterable[Host]) -> dict[str, dict[str, Cell]]:
    """By host key, the fields of which something is known; what is not known is not touched."""
    probes, updates, assessed = (store.facts(name) for name in (status.FACT, pending.FACT, record.FACT))
    takeovers, seen, patched = store.facts(TAKEOVER), store.last_seen(), last_patched(store)
    found: dict[str, dict[str, Cell]] = {}
    for host in hosts:
        known: dict[str, Cell] = {}
        if host.key in seen:
            known["opsctl_last_seen"] = stamp(seen[host.key])
        if (fact := probes.get(host.key)) and (release := parse(fact.value).os_name):
            known["opsctl_os_release"] = release[:200]
        if (count := _security(updates.get(host.key))) is not None:
            known["opsctl_pending_security"] = count
        if host.key in patched:
            known["opsctl_last_patched"] = stamp(patched[host.key])
        if fact := assessed.get(host.key):
            known["opsctl_compliance"] = _compliance(fact)
        if step := _step(takeovers.get(host.key)):
            known["opsctl_takeover"] = step
        if known:
            found[host.key] = known
    return found


def last_patched(store: Store) -> dict[str, datetime]:
    """When each host last ended a patch rollout well."""
    from opsctl.rollout.journal import Journal

    journal = Journal(store)
    found: dict[str, datetime] = {}
    for saved in store.rollouts()[:ROLLOUTS]:
        state = journal.load(saved.id)
        if state.plan.kind != "patch":
            continue
        done = {one.host for one in state.hosts if one.stage is Stage.DONE}
        for key, at in ((key, one.at) for key, one in store.host_states(saved.id).items()):
            if key in done and (key not in found or at > found[key]):
                found[key] = at
    return found


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _security(fact: Fact | None) -> int | None:
    value = fact.value if fact else None
    found = value.get("pending_security") if isinstance(value, Mapping) else None
    return found if isinstance(found, int) else None


def _step(fact: Fact | None) -> str:
    value = fact.value if fact else None
    found = value.get("step") if isinstance(value, Mapping) else None
    return found[:200] if isinstance(found, str) else ""


def _compliance(fact: Fact) -> str:
    value = fact.value
    counts = value.get("counts", {}) if isinstance(value, Mapping) else {}
    said = ", ".join(f"{number} {word}" for word, number in sorted(counts.items()) if number)
    return f"{said or 'nothing'} ({fact.at.astimezone(UTC).date().isoformat()})"
