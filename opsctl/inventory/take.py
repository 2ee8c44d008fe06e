"""The hosts of some tenants as NetBox has them now: connect, check the mapping against NetBox, pull, sort out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from opsctl.errors import ConfigError
from opsctl.inventory import mirrorfile
from opsctl.inventory import pull as pulling
from opsctl.inventory import token as tokens
from opsctl.inventory.address import checked_address
from opsctl.inventory.ahead import Ahead
from opsctl.inventory.answers import SourceFailed
from opsctl.inventory.mirror import Mirror, Refreshed, refresh
from opsctl.inventory.netbox import NetBox, Server
from opsctl.inventory.pull import Filters, Meanwhile, Pull
from opsctl.inventory.quarantine import Sorted, sort_out
from opsctl.inventory.record import KINDS, TYPES, Record, Texts, number
from opsctl.inventory.rules import Rules, mapping_of
from opsctl.model.host import Host, Tenant

if TYPE_CHECKING:
    from opsctl.config import Settings

MACHINES, SERVICE = frozenset(TYPES), frozenset({"ipam.service"})


@dataclass(frozen=True, kw_only=True)
class _Read:
    """One mirror as it was and as it is now; what was made of it while it came."""

    before: Mirror | None
    now: Refreshed
    ahead: Ahead


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What NetBox gave for the tenants. `whole`: it was asked for everything, records without a tenant of ours too."""

    found: Sorted
    whole: bool
    how: str


def take(
    settings: Settings,
    wanted: Sequence[str],
    tenants: Sequence[Tenant],
    *,
    before: Sequence[Host],
    others: Sequence[Host],
    now: datetime,
    full: bool = False,
    made_from: Sequence[str] | None = None,
) -> Taken:
    """`full`: read everything, whatever is known already; `made_from`: the marks of the mirrors that `before` equals.

    Raises ConfigError for what opsctl.yml says wrongly, SourceFailed for what NetBox does.
    """
    chosen = mapping_of(settings)
    address = checked_address(settings)
    read = [
        _read(settings, tenant, filters, chosen, Ahead(chosen, tenants), now=now, full=full)
        for tenant, filters in scopes(settings, wanted, tenants, chosen)
    ]
    pulled = [one.now.mirror.pulled for one in read]
    regions = {slug: region for one in pulled for slug, region in one.regions.items()}
    marks = [one.before.mark if one.before else "" for one in read]
    same = _same(read, before) if made_from and all(marks) and marks == list(made_from) else {}
    for one in read:
        same |= one.ahead.still(one.now.mirror.pulled, regions)
    records = {record.key: record for one in pulled for record in one.records}
    # Of each record the ports that came with it: another tenant's token may see only a part of them.
    ports = {key: one.ports.get(key, ()) for one in pulled for key in (record.key for record in one.records)}
    one_token = not tokens.for_each_tenant(settings)
    whole = len(wanted) == len(tenants) and one_token
    strayed = _strayed(settings, chosen, wanted, before, records.keys()) if one_token and not whole else {}
    moved = {key: _moved(chosen, one) for key, one in strayed.items()}
    found = sort_out(
        [*records.values(), *strayed.values()], ports, chosen, tenants, regions,
        before=before, others=others, address=address, same=same, moved=moved,
    )  # fmt: skip
    return Taken(found=found, whole=whole, how="; ".join(one.now.how for one in read))


def _strayed(
    settings: Settings, chosen: Rules, wanted: Sequence[str], before: Sequence[Host], seen: Collection[str]
) -> dict[str, Record]:
    """The records of our hosts that are another tenant's by now: asked for one tenant alone, NetBox hides them.

    Taken for removed, a host would move in two steps that nobody accepted.
    """
    gone = [host.record for host in before if host.record and host.record not in seen]
    if not gone:
        return {}
    netbox, own = NetBox.of(settings), pulling.filters(settings)
    try:
        found = [
            record
            for kind in KINDS
            if (ids := sorted(number(key) for key in gone if key.startswith(f"{kind}/")))
            for record in pulling.fetch_records(netbox, kind, ids, Texts())
        ]
    finally:
        netbox.close()
    return {one.key: one for one in found if pulling.fits(one, own) and chosen.place(one.tenant)[0] not in wanted}


def _moved(chosen: Rules, record: Record) -> str:
    whose = f"{chosen.place(record.tenant)[0] or record.tenant}'s" if record.tenant else "nobody's"
    return f"it is {whose} in NetBox now: sync all tenants together"


def _same(read: Sequence[_Read], before: Sequence[Host]) -> dict[str, Host]:
    """The hosts whose records have not been touched since they were made of them, by record."""
    known = [(one.before.pulled, one.now.mirror.pulled) for one in read if one.before]
    untouched = {key for was, now in known for key in pulling.untouched(was, now)}
    return {host.record: host for host in before if host.record in untouched}


def scopes(
    settings: Settings, wanted: Sequence[str], tenants: Sequence[object], chosen: Rules
) -> list[tuple[str, Filters]]:
    """What to ask for of all these tenants: one each where each has a token of its own, all at once elsewhere."""
    own = pulling.filters(settings)
    if tokens.for_each_tenant(settings):
        return [(tenant, {**own, "tenant": _slugs(chosen, [tenant])}) for tenant in wanted]
    if len(wanted) == len(tenants):
        return [("", own)]
    return [("", {**own, "tenant": _slugs(chosen, wanted)})]


def _slugs(chosen: Rules, tenants: Sequence[str]) -> tuple[str, ...]:
    for tenant in tenants:
        if not chosen.slugs([tenant]):
            raise ConfigError(
                f"netbox.tenants does not say which tenant of NetBox is {tenant}", hint=f"add NETBOX-SLUG={tenant}"
            )
    return chosen.slugs(tenants)


def _read(
    settings: Settings, tenant: str, filters: Filters, chosen: Rules, ahead: Ahead, *, now: datetime, full: bool
) -> _Read:
    netbox = NetBox.of(settings, tenant)
    file = mirrorfile.path(settings.state, netbox.address, filters, tenant)
    hours = timedelta(hours=settings.number("netbox.full_hours"))
    try:
        known = None if full else mirrorfile.load(file)
        found = refresh(
            netbox, filters, known, full_every=hours, now=now, labels=bool(chosen.serves.kind),
            meanwhile=Meanwhile(once=partial(_refuse_unknown_fields, netbox, chosen), came=ahead.came),
        )  # fmt: skip
        # A custom field comes or goes with a full pull; the mapping may be another one than that was checked with.
        if known and not _knows_fields(found.mirror.pulled, chosen):
            _refuse_unknown_fields(netbox, chosen, Server(version=found.mirror.pulled.version))
    finally:
        netbox.close()
    if known:
        _refuse_lost_fields(known.pulled, found.mirror.pulled, chosen)
        _refuse_lost_services(known, found.mirror)
    if known is None or found.mirror != known:
        mirrorfile.save(file, found.mirror)
    return _Read(before=known, now=found, ahead=ahead)


def _knows_fields(pulled: Pull, chosen: Rules) -> bool:
    """Whether what was read shows every custom field that the mapping names: NetBox gives the empty ones too."""
    ports = (port for service in pulled.services for port in service.ports)
    return all(any(name in record.fields for record in pulled.records) for name in chosen.fields) and (
        chosen.serves.kind != "field" or any(chosen.serves.name in port.fields for port in ports)
    )


def _refuse_lost_fields(before: Pull, now: Pull, chosen: Rules) -> None:
    """Raise SourceFailed where a custom field that the mapping names is there, but no more for one kind of records.

    All of that kind would lose their ring, window or whatever it gave them, at once and without another word.
    """
    for kind in KINDS:
        was, is_now = ([record.fields for record in one.records if record.kind == kind] for one in (before, now))
        for name, option in chosen.fields.items():
            if is_now and not any(name in fields for fields in is_now) and any(fields.get(name) for fields in was):
                raise SourceFailed(
                    f"{option}: no {kind.replace('-', ' ')} has the custom field {name} any more; nothing was written",
                    hint="give it back in NetBox; if that is meant: opsctl inventory sync --full",
                )


def _refuse_lost_services(before: Mirror, now: Mirror) -> None:
    """Raise SourceFailed where a full read shows not one service where there were some.

    A token that may not see them is shown none, and no error. Where each was removed, the changelog says so.
    """
    if before.pulled.services and now.pulled.records and not now.pulled.services and now.full_at != before.full_at:
        raise SourceFailed(
            f"NetBox shows no service any more, and {len(before.pulled.services)} before; nothing was written",
            hint="the token's user needs `view` on ipam.service; if that is meant: opsctl inventory sync --full",
        )


def _refuse_unknown_fields(netbox: NetBox, chosen: Rules, server: Server) -> None:
    """Raise ConfigError for a custom field that the mapping names and this NetBox does not have."""
    if chosen.fields or chosen.serves.kind == "field":
        there = pulling.custom_fields(netbox, server)
        refuse_missing_fields(chosen.fields, there)
        if chosen.serves.kind == "field":
            refuse_missing_fields({chosen.serves.name: "netbox.serves"}, there, SERVICE)


def refuse_missing_fields(
    named: Mapping[str, str], there: Mapping[str, frozenset[str]], kinds: Collection[str] = MACHINES
) -> None:
    """Raise ConfigError where the mapping names a custom field that none of these kinds of objects has."""
    usable = sorted(name for name, types in there.items() if types & set(kinds))
    for name, option in named.items():
        if name not in usable:
            whose = "services" if kinds is SERVICE else "devices or virtual machines"
            listed = ", ".join(usable) or "none at all"
            raise ConfigError(
                f"{option}: NetBox has no custom field {name!r} of {whose}", hint=f"{whose} have: {listed}"
            )
