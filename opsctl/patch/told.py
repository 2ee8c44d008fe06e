"""A reading in words: what stands in the way of patching a host, its row in the listing, its sheet. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opsctl.errors import OpsctlError
from opsctl.patch.pending import Pending

COLUMNS = ("host", "updates", "security", "reboot", "lists", "remarks")
PACKAGE_COLUMNS = ("package", "from", "to", "security")
UNKNOWN = "not known"
_MEBIBYTE = 1 << 20
# What the other columns show, and what no container knows.
_SAID_ELSEWHERE = ("transaction", "newest kernel")


def obstacle(reading: Pending) -> str:
    """What keeps the package manager of this host from working at all just now; empty where nothing does."""
    dpkg = reading.dpkg
    if dpkg.lock_holder:
        return f"{reading.manager} is in use there: {dpkg.lock_holder}"
    if dpkg.audit:
        return f"dpkg was interrupted there ({dpkg.audit[0].partition(' ')[0]}): dpkg --configure -a"
    if dpkg.interrupted:
        return "dpkg was interrupted there: dpkg --configure -a"
    if dpkg.audit is None or dpkg.interrupted is None or dpkg.lock_holder is None:
        return f"whether {reading.manager} can work there is not known: {_why(reading)}"
    if reading.pending is None and reading.lists_age_seconds is not None:
        return f"its pending updates are not known: {_why(reading)}"
    return ""


def no_room(reading: Pending) -> str:
    """Where the disk has too little room for the transaction; empty where it has enough."""
    wanted, free, boot = reading.download_bytes, reading.free_bytes, reading.boot
    if wanted is None or free is None:
        return f"whether there is room for the download is not known: {_why(reading)}"
    if wanted > free:
        return f"no room: {wanted} bytes to fetch, {free} free"
    if boot and boot.needed_bytes and boot.free_bytes is not None and boot.needed_bytes > boot.free_bytes:
        return f"no room in /boot: {boot.needed_bytes} bytes for the new kernel, {boot.free_bytes} free"
    return ""


def _why(reading: Pending) -> str:
    return "; ".join(f"{one.what}: {one.why}" for one in reading.not_known) or "the host did not say why"


def row(key: str, one: Pending | OpsctlError) -> tuple[object, ...]:
    """The host's line in the listing; what stops patching comes first."""
    if isinstance(one, OpsctlError):
        return (key, "", "", "", "", f"{one.outcome}: {getattr(one, 'reason', one.message)}")
    return (
        key,
        _number(one.pending),
        _number(one.pending_security),
        "required" if one.reboot_why else "expected" if one.reboot.coming else "",
        age(one.lists_age_seconds),
        "; ".join(_remarks(one)),
    )


def _remarks(one: Pending) -> list[str]:
    kept = sorted(set(one.kept_back or ()) - set(one.held or ()))
    stale = one.services.stale if one.services else ()
    said = {
        "STOP": obstacle(one) or (no_room(one) if one.packages else ""),
        "would remove": _first(one.removed),
        "held": _first(one.held or ()),
        "kept back": _first(kept),
        "phased": _first(one.phased or ()),
        "restart wanted": _first(stale or ()),
        "patches itself": _first(one.patchers or ()),
        UNKNOWN: _first([part.what for part in one.not_known if part.what not in _SAID_ELSEWHERE]),
    }
    return [f"{name}: {value}" for name, value in said.items() if value]


def _first(names: Sequence[str]) -> str:
    """For one line of a listing: a name, and how many more."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "") if names else ""


def sheet(one: Pending) -> dict[str, object]:
    """Name and value of all that was read, but for the packages."""
    new = [package.name for package in one.packages if not package.installed]
    kernel, services, boot = one.kernel, one.services, one.boot
    return {
        "updates": f"{_number(one.pending)}, {_number(one.pending_security)} for security",
        "new packages": _names(new),
        "removed packages": _names(one.removed) if one.pending is not None else UNKNOWN,
        "held": _names(one.held),
        "kept back": _names(one.kept_back),
        "phased": _names(one.phased),
        "download": f"{_size(one.download_bytes)}, {_size(one.free_bytes)} free",
        "/boot": f"{_size(boot.needed_bytes)} wanted, {_size(boot.free_bytes)} free" if boot else UNKNOWN,
        f"{one.manager} works": obstacle(one) or "yes",
        "reboot": "; ".join(one.reboot_why) or "not required",
        "reboot after these": _names(one.reboot.coming),
        "kernel": f"{kernel.running} runs; newest installed: {kernel.newest or UNKNOWN}" if kernel else UNKNOWN,
        "restart wanted": _names(services.stale) if services else UNKNOWN,
        "these would touch": _names(services.touched) if services else UNKNOWN,
        "patches itself": _names(one.patchers),
        "last updates": "\n".join(_past(one)),
        "package lists": f"{age(one.lists_age_seconds)} old" if one.lists_age_seconds is not None else "never fetched",
        **({UNKNOWN: "\n".join(f"{part.what}: {part.why}" for part in one.not_known)} if one.not_known else {}),
    }


def _past(one: Pending) -> list[str]:
    if one.history is None:
        return [UNKNOWN]
    return [
        f"{past.at:%Y-%m-%d %H:%M} UTC"
        + ("" if past.upgraded is None else f": {past.upgraded} upgraded, {past.installed} new, {past.removed} removed")
        + ("" if past.ended else "; it did not end well")
        for past in one.history
    ] or ["none in apt's log"]


def package_rows(one: Pending) -> list[tuple[str, ...]]:
    """Each package from version to version; security updates first."""
    ordered = sorted(one.packages, key=lambda package: (not package.security, package.name))
    return [(p.name, p.installed or "(new)", p.candidate, "yes" if p.security else "") for p in ordered]


def document(key: str, one: Pending | OpsctlError) -> Mapping[str, object]:
    """What `--output json` shows of one host; docs/reference/pending.md describes it."""
    from opsctl.model import wire

    if isinstance(one, OpsctlError):
        return {"host": key, "outcome": one.outcome, "error": one.message}
    return {
        "host": key,
        "outcome": "ok",
        **wire.as_document(one),
        "reboot_why": list(one.reboot_why),
        "obstacle": obstacle(one) or (no_room(one) if one.packages else ""),
    }


def age(seconds: int | None) -> str:
    if seconds is None:
        return "none"
    for unit, length in (("d", 86_400), ("h", 3_600)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds // 60} min"


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def _names(values: Sequence[str] | None) -> str:
    return UNKNOWN if values is None else ", ".join(values) or "none"


def _size(count: int | None) -> str:
    return UNKNOWN if count is None else f"{count / _MEBIBYTE:.1f} MiB"
