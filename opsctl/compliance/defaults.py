"""Which profile judges whose hosts where nobody names one: the tenant's own default, else `comply.profile`.

A tenant's default stands in its `tenant.yml`. It must judge every host of the tenant: one about some roles alone
would leave the others out of every report without a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from opsctl.compliance import profiles
from opsctl.config import Settings
from opsctl.documents import Problems, Section, read
from opsctl.errors import ConfigError
from opsctl.model.finding import Catalogue, Profile
from opsctl.model.host import Host, Inventory, Tenant
from opsctl.model.nearest import nearest

OPTION = "comply.profile"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Hosts that one profile, with the workspace's own bounds, judges.

    `why` it is this one: `--profile`, or file and line, or the setting.
    """

    profile: Profile
    hosts: tuple[Host, ...]
    why: str


def names(inventory: Inventory, settings: Settings) -> Mapping[str, str]:
    """The name of each tenant's profile. It may be one that is not there: `judged` refuses it."""
    usual = settings.text(OPTION)
    return {tenant.name: tenant.profile or usual for tenant in inventory.tenants}


def in_use(inventory: Inventory, settings: Settings) -> tuple[str, ...]:
    """Every profile that some tenant's hosts are judged by, `comply.profile` first."""
    usual = settings.text(OPTION)
    return tuple(sorted({*names(inventory, settings).values()}, key=lambda name: (name != usual, name))) or (usual,)


def of_host(name: str, inventory: Inventory, settings: Settings) -> str:
    """The profile of the tenant of a host, named with or without its tenant; of a host that is not known, the usual."""
    by_tenant = names(inventory, settings)
    found = {by_tenant[host.tenant] for host in inventory if name in (host.key, host.name)}
    return found.pop() if len(found) == 1 else settings.text(OPTION)


def judged(
    hosts: Iterable[Host], named: str | None, *, inventory: Inventory, settings: Settings, catalogue: Catalogue
) -> tuple[Judged, ...]:
    """The hosts under the profile that is `named`, or each tenant's under its own.

    Raises ConfigError with file:line for a tenant's default that cannot be used, and what `profiles` raises.
    """
    own, inventories = settings.own_content, settings.inventories
    chosen = tuple(hosts)
    if named:
        profile = _bounded(profiles.load(named, catalogue, own, inventories), settings, catalogue)
        return (Judged(profile=profile, hosts=profiles.hosts_of(profile, chosen, inventory), why="--profile"),)
    tenants = [inventory.tenant(name) for name in dict.fromkeys(host.tenant for host in chosen)]
    lines = _checked([tenant for tenant in tenants if tenant.profile], settings, catalogue)
    usual = settings.text(OPTION)
    found = []
    for name in dict.fromkeys(tenant.profile or usual for tenant in tenants):
        mine = [tenant.name for tenant in tenants if (tenant.profile or usual) == name]
        profile = _bounded(profiles.load(name, catalogue, own, inventories), settings, catalogue)
        of_it = profiles.hosts_of(profile, (host for host in chosen if host.tenant in mine), inventory)
        why = ", ".join(dict.fromkeys(lines.get(tenant, OPTION) for tenant in mine))
        found.append(Judged(profile=profile, hosts=of_it, why=why))
    return tuple(found)


def _bounded(profile: Profile, settings: Settings, catalogue: Catalogue) -> Profile:
    days = settings.number("comply.max_list_age_days")
    return profiles.tailor(profile, catalogue, "PAT-04", "max_age_days", days)


def _checked(tenants: Sequence[Tenant], settings: Settings, catalogue: Catalogue) -> dict[str, str]:
    """file:line of each tenant's default; raises ConfigError for those that cannot be used."""
    problems, lines = Problems(), dict[str, str]()
    known = profiles.names(settings.own_content, settings.inventories)
    for tenant in tenants:
        document = read(settings.inventories / tenant.name / "tenant.yml", Problems())
        lines[tenant.name] = document.line_of("profile")
        if tenant.profile not in known:
            allowed = nearest(tenant.profile, known) or f"one of: {', '.join(known)}"
            problems.note(lines[tenant.name], f"profile: no profile is called {tenant.profile!r}", allowed)
        else:
            profile = profiles.load(tenant.profile, catalogue, settings.own_content, settings.inventories)
            _refuse_narrow(tenant, profile, document, problems)
    problems.finish(ConfigError, "a tenant's profile is not usable")
    return lines


def _refuse_narrow(tenant: Tenant, profile: Profile, document: Section, problems: Problems) -> None:
    if profile.tenant not in ("", tenant.name):
        problems.note(document.line_of("profile"), f"profile: {profile.name} is {profile.tenant}'s own")
    if profile.some_hosts:
        problems.note(
            document.line_of("profile"),
            f"profile: {profile.name} is about hosts with {profile.some_hosts} alone",
            "a profile for every host of the tenant",
        )
