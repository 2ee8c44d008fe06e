"""All records of NetBox -> hosts, records that cannot be used, and hosts kept as they were. Pure.

What cannot be used is put aside one by one, with its reason, and the rest goes on. A host that was good and whose
record cannot be used now stays as it was, marked stale: it is neither dropped nor guessed at.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from opsctl.errors import UnknownName
from opsctl.inventory.mapping import Unusable, to_host, visible
from opsctl.inventory.record import Ports, Record
from opsctl.inventory.rules import Rules
from opsctl.model.handling import NO_BALANCER
from opsctl.model.host import BALANCER_ROLE, Host, Inventory, Quarantined, Tenant


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """What became of the records. `left_out` counts, by status, those whose status does not count."""

    hosts: tuple[Host, ...]
    quarantined: tuple[Quarantined, ...]
    left_out: Mapping[str, int]


def sort_out(
    records: Iterable[Record],
    ports: Ports,
    chosen: Rules,
    tenants: Sequence[Tenant],
    regions: Mapping[str, str],
    *,
    before: Sequence[Host] = (),
    others: Sequence[Host] = (),
    address: str = "",
    same: Mapping[str, Host] = MappingProxyType({}),
    moved: Mapping[str, str] = MappingProxyType({}),
) -> Sorted:
    """`before` is the copy of the tenants in question, `others` the hosts of the tenants that are not asked for.

    `same`: the hosts that some of the records are known to give, by record: those need not be mapped again.
    `moved`: by record, why some must wait: they are of tenants that are not asked for.
    """
    known = {tenant.name: tenant for tenant in tenants}
    good: dict[str, Host] = {}
    bad: dict[str, str] = {}
    by_key: dict[str, Record] = {}
    left_out: dict[str, int] = {}
    for record in records:
        if not chosen.counts(record):
            left_out[record.status] = left_out.get(record.status, 0) + 1
            continue
        by_key[key := record.key] = record
        if key in moved:
            bad[key] = _told(moved[key])
            continue
        try:
            good[key] = same.get(key) or to_host(record, ports.get(key, ()), chosen, known, regions)
        except Unusable as reason:
            bad[key] = _told(reason)
    _refuse_shared(good, bad, others)
    kept = _settle(good, bad, before, others, tenants)
    quarantined = (
        _put_aside(by_key[key], reason, chosen, known, address) for key, reason in bad.items() if key not in kept
    )
    return Sorted(
        hosts=tuple(sorted((*good.values(), *kept.values()), key=lambda host: (host.tenant, host.name))),
        quarantined=tuple(sorted(quarantined, key=lambda one: (one.tenant, _order(one.record)))),
        left_out=left_out,
    )


def _told(reason: object) -> str:
    """The reason as hosts.yml can hold it: it may quote NetBox, and a copy that cannot be read stops everything."""
    return visible(unicodedata.normalize("NFC", str(reason)))


def _refuse_shared(good: dict[str, Host], bad: dict[str, str], others: Sequence[Host]) -> None:
    """Two records with one name, or one address on one network, cannot both be right: nobody knows which is."""
    _refuse_doubles(good, bad, lambda host: host.key, "the name {0.name} is there twice: {1}")
    _refuse_doubles(good, bad, lambda host: host.claim, "the address {0.address} is there twice: {1}")
    elsewhere = {host.record: host.tenant for host in others if host.record}
    for key in [key for key in good if key in elsewhere]:
        bad[key] = f"it is still in the inventory of {elsewhere[key]}: sync both tenants together"
        del good[key]


def _settle(
    good: dict[str, Host],
    bad: dict[str, str],
    before: Sequence[Host],
    others: Sequence[Host],
    tenants: Sequence[Tenant],
) -> dict[str, Host]:
    """The hosts that are kept as they were; what they hold, and what is reached through nothing, moves to `bad`.

    A host whose way to it is gone cannot be kept either: nothing could reach it, and the fuse counts it as lost.
    """
    unreachable: set[str] = set()
    while True:
        kept = {record: host for record, host in _kept(before, bad).items() if record not in unreachable}
        _refuse_where_kept(good, bad, kept.values())
        lost = _lost_ways({**good, **kept}, others, tenants)
        if not lost:
            return kept
        for record, why in lost.items():
            if good.pop(record, None) is None:
                unreachable.add(record)
            bad[record] = why


def _lost_ways(hosts: Mapping[str, Host], others: Sequence[Host], tenants: Sequence[Tenant]) -> dict[str, str]:
    """By record, why there is no way through a host's own jump hosts, or no load balancer where one is named."""
    whole = Inventory(tenants=tuple(tenants), hosts=(*others, *hosts.values()))
    keys = frozenset(host.key for host in whole)
    fronts = {host.key for host in whole if host.role == BALANCER_ROLE}
    return {
        record: why
        for record, host in hosts.items()
        if (why := (host.jump and _jump_fault(host, whole, keys)) or _balancer_fault(host, fronts))
    }


def _balancer_fault(host: Host, fronts: Collection[str]) -> str:
    """A load balancer that is not there: the host would be changed without being taken out of service first."""
    if host.balancer in ("", NO_BALANCER) or f"{host.tenant}.{host.balancer}" in fronts:
        return ""
    return f"balancer {host.balancer!r}: {host.tenant} has no host of this name and role {BALANCER_ROLE}"


def _jump_fault(host: Host, whole: Inventory, keys: Collection[str]) -> str:
    key = host.jump if "." in host.jump else f"{host.tenant}.{host.jump}"
    if key not in keys:
        return f"jump {host.jump!r}: there is no host {key}"
    try:
        way = whole.jumps(host)
    except UnknownName as error:
        return f"jump {host.jump}: {error.message}"
    return next((f"jump {one.key}: it has no address" for one in way if not one.address), "")


def _refuse_doubles(
    good: dict[str, Host], bad: dict[str, str], mark: Callable[[Host], str | tuple[str, ...]], why: str
) -> None:
    sharing: dict[str | tuple[str, ...], list[str]] = {}
    for key, host in good.items():
        if marked := mark(host):
            sharing.setdefault(marked, []).append(key)
    for keys in (keys for keys in sharing.values() if len(keys) > 1):
        for key in keys:
            bad[key] = why.format(good.pop(key), ", ".join(other for other in keys if other != key))


def _kept(before: Sequence[Host], bad: Mapping[str, str]) -> dict[str, Host]:
    """The hosts that were good, by the record that now is not."""
    return {host.record: replace(host, stale=bad[host.record]) for host in before if host.record in bad}


def _refuse_where_kept(good: dict[str, Host], bad: dict[str, str], kept: Collection[Host]) -> None:
    """A kept host's name and address stay its own until a person has looked."""
    names = {host.key: host for host in kept}
    places = {host.claim: host for host in kept if host.address}
    for key, host in list(good.items()):
        holder = names.get(host.key) or places.get(host.claim)
        if holder is not None:
            bad[key] = f"{holder.key} of {holder.record}, which is stale, still has this name or address"
            del good[key]


def _put_aside(record: Record, reason: str, chosen: Rules, known: Mapping[str, Tenant], address: str) -> Quarantined:
    tenant, _ = chosen.place(record.tenant)
    return Quarantined(
        tenant=tenant if tenant in known else "",
        record=record.key,
        reason=reason,
        name=record.name,
        link=record.link(address) if address else "",
    )


def _order(record: str) -> tuple[str, int]:
    kind, _, number = record.partition("/")
    return kind, int(number)
