"""The hosts of some tenants as NetBox has them now: connect, check the mapping against NetBox, pull, sort out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opsctl.errors import ConfigError
from opsctl.inventory import pull as pulling
from opsctl.inventory import token as tokens
from opsctl.inventory.mapping import MAPPED, Rules, rules
from opsctl.inventory.netbox import NetBox, checked_address
from opsctl.inventory.pull import Filters, Pull
from opsctl.inventory.quarantine import Sorted, sort_out
from opsctl.inventory.record import TYPES
from opsctl.model.host import Host, Tenant

if TYPE_CHECKING:
    from opsctl.config import Settings


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What NetBox gave for the tenants. `whole`: it was asked for everything, records without a tenant of ours too."""

    found: Sorted
    version: str
    whole: bool


def take(
    settings: Settings,
    wanted: Sequence[str],
    tenants: Sequence[Tenant],
    *,
    before: Sequence[Host],
    others: Sequence[Host],
) -> Taken:
    """Raises ConfigError for what opsctl.yml says wrongly, SourceFailed for what NetBox does."""
    chosen = mapping_of(settings)
    address = checked_address(settings)
    pulled = [
        _pulled(settings, tenant, filters, chosen) for tenant, filters in scopes(settings, wanted, tenants, chosen)
    ]
    records = {record.key: record for one in pulled for record in one.records}
    regions = {slug: region for one in pulled for slug, region in one.regions.items()}
    found = sort_out(records.values(), chosen, tenants, regions, before=before, others=others, address=address)
    whole = len(wanted) == len(tenants) and not tokens.for_each_tenant(settings)
    return Taken(found=found, version=pulled[0].version, whole=whole)


def mapping_of(settings: Settings) -> Rules:
    """The mapping that opsctl.yml describes. Raises ConfigError."""
    texts = {name: settings.text(f"netbox.{name}") for name in (*MAPPED, "prefer")}
    lists = {name: settings.texts(f"netbox.{name}") for name in ("statuses", "tenants", "translate")}
    return rules(texts, lists)


def scopes(
    settings: Settings, wanted: Sequence[str], tenants: Sequence[Tenant], chosen: Rules
) -> list[tuple[str, Filters]]:
    """What to ask for: one tenant each where each has a token of its own, all at once elsewhere."""
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


def _pulled(settings: Settings, tenant: str, filters: Filters, chosen: Rules) -> Pull:
    netbox = NetBox.of(settings, tenant)
    try:
        if named := chosen.fields():
            refuse_missing_fields(named, pulling.custom_fields(netbox, netbox.server()))
        return pulling.pull(netbox, filters)
    finally:
        netbox.close()


def refuse_missing_fields(named: Mapping[str, str], there: Mapping[str, frozenset[str]]) -> None:
    """Raise ConfigError where the mapping names a custom field that neither devices nor virtual machines have."""
    usable = sorted(name for name, types in there.items() if types & TYPES.keys())
    for name, option in named.items():
        if name not in usable:
            listed = ", ".join(usable) or "none that devices or virtual machines have"
            raise ConfigError(f"{option}: NetBox has no custom field {name!r}", hint=f"it has: {listed}")
