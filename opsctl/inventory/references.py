"""Do the hosts fit their tenants and each other: rings, sites, windows, clusters, jump hosts, addresses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from opsctl.documents import NAME, Problems
from opsctl.errors import UnknownName
from opsctl.inventory.hostfile import Located
from opsctl.inventory.tenantfile import TenantFile
from opsctl.model.handling import NO_BALANCER
from opsctl.model.host import BALANCER_ROLE, Host, Inventory, Tenant


def check_references(tenants: Sequence[TenantFile], hosts: Sequence[Located], problems: Problems) -> None:
    """Note every reference that leads nowhere, every circle of jump hosts and every address that two hosts claim."""
    before = len(problems.found)
    by_name = {entry.tenant.name: entry.tenant for entry in tenants}
    keys = frozenset(located.host.key for located in hosts)
    inhabited = {located.host.tenant for located in hosts}
    for entry in tenants:
        # Before the first sync there is nothing that a tenant could name.
        if entry.tenant.name in inhabited:
            mine = [located.host for located in hosts if located.host.tenant == entry.tenant.name]
            _check_tenant(entry, mine, keys, problems)
    fronts: dict[str, set[str]] = {}
    for located in hosts:
        if located.host.role == BALANCER_ROLE:
            fronts.setdefault(located.host.tenant, set()).add(located.host.name)
    for located in hosts:
        _check_host(located, by_name[located.host.tenant], keys)
        _check_balancer(located, fronts.get(located.host.tenant, ()))
        _check_served(located, by_name.keys())
    if len(problems.found) == before:
        _check_circles([entry.tenant for entry in tenants], hosts)
    _check_addresses(hosts)


def _check_tenant(entry: TenantFile, hosts: Sequence[Host], keys: frozenset[str], problems: Problems) -> None:
    """What tenant.yml names must be there: a limit that fits no host would hold nobody back."""
    tenant = entry.tenant
    for site in tenant.sites:
        if site.jump and not _is_host(site.jump, tenant.name, keys):
            problems.note(entry.lines[site], f"jump: no host is called {site.jump!r}", _jump_rule(keys))
    for cluster in tenant.clusters:
        members = sorted(host.name for host in hosts if host.cluster == cluster.name)
        if cluster.primary and cluster.primary not in members:
            told = f"primary: {cluster.primary!r} is no member of {cluster.name}"
            problems.note(entry.lines[cluster], told, _known(members, "the cluster has no host"))
    for limit in tenant.limits:
        if not any(limit.covers(host) for host in hosts):
            problems.note(entry.lines[limit], f"limits: no host fits {limit.name}", "role and site as in hosts.yml")
    _check_handling(entry, hosts, problems)


def _check_handling(entry: TenantFile, hosts: Sequence[Host], problems: Problems) -> None:
    """A host, role or balancer that is not there would leave a drain out without a word."""
    fronts = sorted(host.name for host in hosts if host.role == BALANCER_ROLE)
    for one in entry.tenant.handling:
        if not any(one.covers(host.name, host.role) for host in hosts):
            told = f"handling: {one.name} fits no host"
            problems.note(entry.lines[one], told, "role and host as in hosts.yml")
        if one.balancer not in ("", NO_BALANCER, *fronts):
            told = f"handling: {one.name}: no host with role {BALANCER_ROLE} is called {one.balancer!r}"
            problems.note(entry.lines[one], told, _known([*fronts, NO_BALANCER]))


def _check_balancer(located: Located, fronts: Collection[str]) -> None:
    if located.host.balancer not in ("", NO_BALANCER, *fronts):
        told = f"balancer: no host with role {BALANCER_ROLE} is called {located.host.balancer!r}"
        located.section.wrong("balancer", told, _known([*sorted(fronts), NO_BALANCER]))


def _check_host(located: Located, tenant: Tenant, keys: frozenset[str]) -> None:
    host, section = located.host, located.section
    for key, value, known in (
        ("ring", host.ring, tenant.rings),
        ("organisation", host.organisation, [o.name for o in tenant.organisations]),
        ("site", host.site, [s.name for s in tenant.sites]),
        ("cluster", host.cluster, [c.name for c in tenant.clusters]),
    ):
        # Which sites and clusters there are, NetBox knows; tenant.yml says more of those that need it.
        if host.record and key in ("site", "cluster"):
            continue
        # A host that is not managed is in no rollout: its ring does not matter.
        if value and value not in known and (section.has(key) or host.managed):
            section.wrong(key, f"{key}: {value!r} is not in tenant.yml", _known(known))
    windows = [window.name for window in tenant.windows]
    for window in host.windows:
        if window not in windows:
            section.wrong("windows", f"windows: {window!r} is not in tenant.yml", _known(windows))
    if host.jump and not _is_host(host.jump, host.tenant, keys):
        section.wrong("jump", f"jump: no host is called {host.jump!r}", _jump_rule(keys))


def _check_served(located: Located, tenants: Collection[str]) -> None:
    for service in located.host.services:
        for name in service.serves:
            if name not in tenants and NAME.fullmatch(name):
                located.section.wrong(
                    "services", f"serves: {service.name} is for {name!r}, and there is no such tenant",
                    _known(sorted(tenants)),
                )  # fmt: skip


def _known(names: Iterable[str], none: str = "tenant.yml lists none") -> str:
    listed = ", ".join(names)
    return f"known: {listed}" if listed else none


def _is_host(name: str, tenant: str, keys: frozenset[str]) -> bool:
    return f"{tenant}.{name}" in keys or name in keys


def _jump_rule(keys: frozenset[str]) -> str:
    return "a host of this tenant, or TENANT.HOST" if keys else "there is no host yet"


def _check_circles(tenants: Sequence[Tenant], hosts: Sequence[Located]) -> None:
    whole = Inventory(tenants=tuple(tenants), hosts=tuple(located.host for located in hosts))
    for located in hosts:
        try:
            whole.jumps(located.host)
        except UnknownName as error:
            located.section.wrong("jump", error.message, "follow the jumps: they must end at a host without one")


def _check_addresses(hosts: Sequence[Located]) -> None:
    """One address and port on one network is one host."""
    taken: dict[tuple[str, ...], Located] = {}
    for located in hosts:
        host = located.host
        if not (claim := host.claim):
            continue
        if claim in taken:
            other = taken[claim]
            located.section.wrong(
                "address",
                f"address: {host.address} port {host.port} is also {other.host.name}'s",
                f"see {other.section.line_of('address')}",
            )
        taken.setdefault(claim, located)
