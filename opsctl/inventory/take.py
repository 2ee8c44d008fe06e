"""The hosts of some tenants as NetBox has them now: connect, check the mapping against NetBox, pull, sort out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from opsctl.errors import ConfigError
from opsctl.inventory import mirror
from opsctl.inventory import pull as pulling
from opsctl.inventory import token as tokens
from opsctl.inventory.address import checked_address
from opsctl.inventory.mapping import MAPPED, Rules, rules
from opsctl.inventory.mirror import Refreshed
from opsctl.inventory.netbox import NetBox
from opsctl.inventory.pull import Filters
from opsctl.inventory.quarantine import Sorted, sort_out
from opsctl.inventory.record import TYPES
from opsctl.model.host import Host, Tenant

if TYPE_CHECKING:
    from opsctl.config import Settings

MACHINES, SERVICE = frozenset(TYPES), frozenset({"ipam.service"})


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What NetBox gave for the tenants. `whole`: it was asked for everything, records without a tenant of ours too."""

    found: Sorted
    version: str
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
) -> Taken:
    """`full`: read everything, whatever is known already.

    Raises ConfigError for what opsctl.yml says wrongly, SourceFailed for what NetBox does.
    """
    chosen = mapping_of(settings)
    address = checked_address(settings)
    refreshed = [
        _refreshed(settings, tenant, filters, chosen, now=now, full=full)
        for tenant, filters in scopes(settings, wanted, tenants, chosen)
    ]
    pulled = [one.mirror.pulled for one in refreshed]
    records = {record.key: record for one in pulled for record in one.whole}
    regions = {slug: region for one in pulled for slug, region in one.regions.items()}
    found = sort_out(records.values(), chosen, tenants, regions, before=before, others=others, address=address)
    whole = len(wanted) == len(tenants) and not tokens.for_each_tenant(settings)
    return Taken(found=found, version=pulled[0].version, whole=whole, how="; ".join(one.how for one in refreshed))


def mapping_of(settings: Settings) -> Rules:
    """The mapping that opsctl.yml describes. Raises ConfigError."""
    texts = {name: settings.text(f"netbox.{name}") for name in (*MAPPED, "serves", "prefer")}
    lists = {name: settings.texts(f"netbox.{name}") for name in ("statuses", "tenants", "translate")}
    return rules(texts, lists)


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


def _refreshed(
    settings: Settings, tenant: str, filters: Filters, chosen: Rules, *, now: datetime, full: bool
) -> Refreshed:
    netbox = NetBox.of(settings, tenant)
    file = mirror.path(settings.state, netbox.address, filters, tenant)
    hours = timedelta(hours=settings.number("netbox.full_hours"))
    try:
        known = None if full else mirror.load(file)
        labels = bool(chosen.serves.kind)
        found = mirror.refresh(netbox, filters, known, full_every=hours, now=now, labels=labels)
        # A custom field comes or goes with a full pull: what was checked then still holds.
        if found.mirror.full_at == now and (chosen.fields or chosen.serves.kind == "field"):
            there = pulling.custom_fields(netbox, netbox.server())
            refuse_missing_fields(chosen.fields, there)
            if chosen.serves.kind == "field":
                refuse_missing_fields({chosen.serves.name: "netbox.serves"}, there, SERVICE)
    finally:
        netbox.close()
    if known is None or found.mirror != known:
        mirror.save(file, found.mirror)
    return found


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
