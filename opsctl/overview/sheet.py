"""The sheet of one host for people: sections with names and values, on one screen. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from opsctl.monitor.probe import Probe
from opsctl.overview.host import Known

Section = tuple[str, Mapping[str, object]]
_VOID = ("updates", "reboot")  # of a look that is older than the host's last change


def sections(known: Known, now: datetime) -> list[Section]:
    """Titles, each with names and values; a section without values is left out."""
    found: list[Section] = [("Inventory", _inventory(known)), ("Trust", _trust(known)), ("State", _state(known, now))]
    if known.status and known.status.probe:
        title = f"Looked at {age(known.status.at, now)}{', before its last change' if known.void else ''}"
        looked = _probe(known.status.probe, now)
        found.append((title, {name: value for name, value in looked.items() if not known.void or name not in _VOID}))
    found.append(_drift(known, now))
    remembered = {
        name: f"{_told(name, fact.value)}; {age(fact.at, now)}"
        f"{', before its last change' if known.changed and fact.at < known.changed else ''}"
        for name, fact in known.facts.items()
    }
    rollouts = {
        one.rollout: f"{one.kind}: {one.stage}{f' ({one.reason})' if one.reason else ''}; {age(one.at, now)}"
        for one in known.rollouts
    }
    runs = {one.id: f"{one.kind}: {one.outcome or 'not ended'}" for one in known.runs}
    acts = {f"{one.at:%Y-%m-%d %H:%M} #{one.seq}": f"{one.verb} by {one.who}: {one.outcome}" for one in known.acts}
    found += [
        ("Remembered", remembered),
        ("Latest rollouts", rollouts),
        ("Latest runs", runs),
        ("Latest changing acts", acts),
    ]
    return [section for section in found if section[1]]


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


def _inventory(known: Known) -> dict[str, object]:
    host = known.host
    said: dict[str, object] = {
        "host": host.key,
        "address": f"{host.address} port {host.port}" + (f", through {', '.join(known.jumps)}" if known.jumps else ""),
        "kept as it was": host.stale and f"its record cannot be used: {host.stale}",
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


def _trust(known: Known) -> dict[str, object]:
    if not known.host.managed and not known.pins:
        return {}
    if not known.pins:
        return {"host key": f"none approved; opsctl host approve {known.host.key} --fingerprint SHA256:..."}
    numbered = enumerate(known.pins, 1)
    return {f"host key {n}" if n > 1 else "host key": f"{pin.key}, {pin.note}" for n, pin in numbered}


def _state(known: Known, now: datetime) -> dict[str, object]:
    status = known.status
    if status is None:
        return {"state": f"not managed: {known.host.why_not_managed}"}
    said: dict[str, object] = {"state": f"{status.word}: {status.error}" if status.error else status.word}
    if status.seen is None:
        said["last seen"] = "never"
    elif status.error:
        said["last seen"] = f"{age(status.seen, now)} ({status.seen:%Y-%m-%d %H:%M} UTC)"
    remarks = () if status.error or known.void else status.remarks
    said |= {f"attention {n}" if len(remarks) > 1 else "attention": text for n, text in enumerate(remarks, 1)}
    if known.leases:
        said["leased"] = ", ".join(f"by {one.holder} until {one.expires:%H:%M} UTC" for one in known.leases)
    return said


def _probe(probe: Probe, now: datetime) -> dict[str, object]:
    updates = probe.updates
    said: dict[str, object] = {
        "system": f"{probe.os_name}, kernel {probe.kernel}, {probe.architecture}, Python {probe.python}",
        "virtualization": probe.virtualization or "none seen",
        "up": "" if probe.uptime is None else f"{probe.uptime / 3600:.1f} hours; systemd says {probe.system_state}",
        "load": "" if probe.load is None else f"{' '.join(f'{n:.2f}' for n in probe.load)} on {probe.cpus} processors",
        "memory": "" if probe.memory is None else f"{probe.memory.used_percent:.0f} % of {_size(probe.memory.total)}",
        "disks": ", ".join(f"{one.mount} {one.used_percent:.0f} %" for one in probe.filesystems or ()),
        "failed units": ", ".join(probe.failed_units or ()) or "none",
        "updates": ""
        if updates is None or updates.lists_at is None
        else f"{len(updates.packages)}, {len(updates.security)} for security; lists of {age(updates.lists_at, now)}",
        "reboot": "" if not probe.reboot_required else f"required by {', '.join(probe.reboot_packages) or 'a package'}",
        "clock": "" if probe.clock is None else f"{probe.clock.offset:+.2f} s (± {probe.clock.error:.2f})",
        "listens on": ", ".join(str(port) for port in sorted({port for _, port in probe.listening or ()})),
        "addresses": ", ".join(probe.addresses or ()),
    }
    return {name: value for name, value in said.items() if value}


def _drift(known: Known, now: datetime) -> Section:
    """Where NetBox and the host differ; the parts that nobody compared are named, never left out as if they agreed."""
    if known.drift is None:
        return "Drift", {}
    source = "NetBox" if known.intended_at else "the inventory"
    read = f"NetBox as read {age(known.intended_at, now)}" if known.intended_at else "our copy of the inventory"
    said: dict[str, list[str]] = {}
    for one in known.drift.differences:
        said.setdefault(one.what, []).append(f"{source}: {one.netbox}; the host: {one.found}")
    open_: dict[str, list[str]] = {}
    for left in known.drift.uncompared:
        open_.setdefault(left.why, []).append(left.what)
    values: dict[str, object] = {what: "\n".join(texts) for what, texts in said.items()}
    agrees = f"none: what was compared is as {source} says"
    return f"Drift from {read}", {
        **(values or {"drift": agrees}),
        **({"not compared": "\n".join(f"{', '.join(whats)}: {why}" for why, whats in open_.items())} if open_ else {}),
    }


def _told(name: str, value: object) -> str:
    """A remembered value in a few words."""
    if not isinstance(value, dict):
        return f"{len(value)} entries" if isinstance(value, list) else str(value)[:120]
    if name == "compliance" and isinstance(value.get("counts"), dict):
        return f"{_counted(value['counts'], value.get('failed') or [])}; run {value.get('run', '')}"
    if name == "pending" and "pending_security" in value:
        if value["pending_security"] is None:
            return "updates not known"
        return f"{value.get('pending')} updates, {value['pending_security']} for security"
    plain = [f"{key} {one}" for key, one in value.items() if isinstance(one, (str, int, float, bool))]
    return ", ".join(plain)[:120] or f"{len(value)} entries"


def _counted(counts: Mapping[str, object], failed: list[object]) -> str:
    """`20 pass, 2 fail (SSH-01, USR-05)`: every count that is not zero, passes first."""
    which = f" ({', '.join(map(str, failed[:8]))}{', ...' if len(failed) > 8 else ''})" if failed else ""
    order = sorted((word for word, number in counts.items() if number), key=lambda word: (word != "pass", word))
    return ", ".join(f"{counts[word]} {word}{which if word == 'fail' else ''}" for word in order) or "nothing checked"


def _size(count: int) -> str:
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} bytes"
