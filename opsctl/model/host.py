"""Tenants, their hosts, and the inventory that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from opsctl.errors import NothingMatches, UnknownName
from opsctl.model.gate import Gate
from opsctl.model.handling import Handling
from opsctl.model.nearest import nearest

CRITICALITIES = ("low", "normal", "high", "critical")
DEFAULT_RINGS = ("canary", "early", "broad")
# The role of hosts with an HAProxy in front of others.
BALANCER_ROLE = "loadbalancer"
MANAGED_FAMILIES = ("debian", "ubuntu", "rhel")


@dataclass(frozen=True, kw_only=True)
class Service:
    """Something that a host answers for: a port, and where residents or colleagues find it.

    `serves` are the tenants that it is for; empty: that of its host alone.
    """

    name: str
    port: int
    protocol: str = "tcp"
    url: str = ""
    serves: tuple[str, ...] = ()

    def __str__(self) -> str:
        served = f"for {' and '.join(self.serves)}" if self.serves else ""
        return " ".join(filter(None, (self.name, f"{self.protocol}/{self.port}", self.url, served)))


@dataclass(frozen=True, kw_only=True)
class Host:
    """One server. `address` is where ssh connects to; names are unique within a tenant.

    `record` is its record in NetBox (`virtual-machine/12`); `stale` says why it is kept as it was although that record
    cannot be used now.
    """

    name: str
    tenant: str
    address: str
    role: str
    platform: str
    port: int = 22
    ring: str = "broad"
    organisation: str = ""
    site: str = ""
    cluster: str = ""
    windows: tuple[str, ...] = ()
    owner: str = ""
    criticality: str = "normal"
    services: tuple[Service, ...] = ()
    jump: str = ""
    # How it is handled while it is changed, where that is said of it alone (model/handling.py).
    reboot: str = ""
    balancer: str = ""
    status: str = "active"
    # What NetBox adds. `vm_cluster` is the hypervisors that carry it; `custom` and `context` are JSON objects.
    address6: str = ""
    region: str = ""
    vm_cluster: str = ""
    tags: tuple[str, ...] = ()
    custom: str = ""
    context: str = ""
    record: str = ""
    stale: str = ""

    @property
    def key(self) -> str:
        """`tenant.host`: unique over all tenants; the name that pins, ssh, store and ledger use."""
        return f"{self.tenant}.{self.name}"

    @property
    def claim(self) -> tuple[str, ...]:
        """What no other host may claim too, empty without an address: other sites, and other jump hosts, may use an
        address again."""
        return (self.tenant, self.site, self.jump, self.address, str(self.port)) if self.address else ()

    @property
    def family(self) -> str:
        """The platform without its version: debian-12 -> debian."""
        return self.platform.partition("-")[0]

    @property
    def managed(self) -> bool:
        """False for what opsctl shows but never touches: Windows, appliances, hosts that are not active."""
        return self.family in MANAGED_FAMILIES and self.status == "active"

    @property
    def why_not_managed(self) -> str:
        if self.family not in MANAGED_FAMILIES:
            return f"platform {self.platform} is not managed by opsctl"
        return "" if self.managed else f"status {self.status}"


@dataclass(frozen=True, kw_only=True)
class Organisation:
    """An administration or company of a municipality."""

    name: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Site:
    """A place with servers; `jump` names the host through which its hosts are reached."""

    name: str
    title: str = ""
    jump: str = ""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Hosts that carry one service together; fewer than `minimum` in service is an outage.

    `primary` names the member that leads, as a database's primary: it is changed after all the others.
    """

    name: str
    minimum: int = 1
    primary: str = ""


@dataclass(frozen=True, kw_only=True)
class OutLimit:
    """At most so many hosts of a role, of a site, or of a role at a site are out of service at once.

    Where number and percentage are both given, the smaller one holds.
    """

    role: str = ""
    site: str = ""
    max_out: int | None = None
    max_out_percent: int | None = None

    @property
    def name(self) -> str:
        """`role web`, `site hall` or `role web at site hall`."""
        parts = (f"role {self.role}" if self.role else "", f"site {self.site}" if self.site else "")
        return " at ".join(filter(None, parts))

    def covers(self, host: Host) -> bool:
        return self.role in ("", host.role) and self.site in ("", host.site)

    def may_be_out(self, count: int) -> int:
        """How many of `count` hosts may be out at once: always one, or nothing could ever be changed."""
        most = count if self.max_out is None else self.max_out
        return max(1, most if self.max_out_percent is None else min(most, count * self.max_out_percent // 100))


@dataclass(frozen=True, kw_only=True)
class Window:
    """A recurring maintenance window in local time: days are mon..sun, `start` and `end` HH:MM."""

    name: str
    days: tuple[str, ...]
    start: str
    end: str
    zone: str = "Europe/Stockholm"


@dataclass(frozen=True, kw_only=True)
class Account:
    """An approved account: the keys (OpenSSH public key lines) that open it; exactly one is the automation's."""

    name: str
    keys: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    automation: bool = False


@dataclass(frozen=True, kw_only=True)
class PatchPolicy:
    """Within how many days a security update is to be installed; on critical hosts sooner, where that is said."""

    security_days: int
    critical_days: int | None = None

    def days(self, *, critical: bool) -> int:
        return self.critical_days if critical and self.critical_days is not None else self.security_days


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A package mirror of a tenant's hosts that has snapshots: an address with {time} or {date} in it."""

    mirror: str
    snapshot: str

    @property
    def name(self) -> str:
        return self.mirror


@dataclass(frozen=True, kw_only=True)
class MappingsConfirmed:
    """Who confirmed which requirements the controls support, on which day (YYYY-MM-DD), for which catalogue."""

    by: str
    on: str
    catalogue_sha256: str


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """A municipality, with the lists that its hosts are held to. None means that nobody gave the list.

    `profile`: by which one its hosts are judged where nobody names another; empty: by `comply.profile`.
    `log_host`: NAME or NAME:PORT of the central log host; empty: nobody gave it.
    `failure_budget` and `wave_budget`: failed hosts that halt a rollout, over all of it and in one wave: `2` or `5%`.
    """

    name: str
    title: str
    operator: str = ""
    organisations: tuple[Organisation, ...] = ()
    sites: tuple[Site, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    limits: tuple[OutLimit, ...] = ()
    rings: tuple[str, ...] = DEFAULT_RINGS
    windows: tuple[Window, ...] = ()
    gates: tuple[Gate, ...] = ()
    failure_budget: str = ""
    wave_budget: str = ""
    handling: tuple[Handling, ...] = ()
    management_networks: tuple[str, ...] | None = None
    accounts: tuple[Account, ...] | None = None
    ssh_groups: tuple[str, ...] | None = None
    package_sources: tuple[str, ...] | None = None
    time_servers: tuple[str, ...] | None = None
    log_host: str = ""
    log_retention_days: int | None = None
    patch_policy: PatchPolicy | None = None
    approval: tuple[str, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    mappings_confirmed: MappingsConfirmed | None = None
    profile: str = ""


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """A record that cannot be used: kept out of every act, kept in every count. `tenant` may be empty: none of ours."""

    tenant: str
    record: str
    reason: str
    name: str = ""
    link: str = ""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """All tenants with their hosts, in a fixed order, and the hash of what they were read from."""

    tenants: tuple[Tenant, ...] = ()
    hosts: tuple[Host, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    digest: str = ""

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts)

    def __len__(self) -> int:
        return len(self.hosts)

    @cached_property
    def _by_key(self) -> dict[str, Host]:
        return {host.key: host for host in self.hosts}

    @cached_property
    def _by_tenant(self) -> dict[str, Tenant]:
        return {tenant.name: tenant for tenant in self.tenants}

    def tenant(self, name: str) -> Tenant:
        try:
            return self._by_tenant[name]
        except KeyError:
            known = f"tenants: {', '.join(sorted(self._by_tenant)) or 'none yet'}"
            hint = " ".join(filter(None, (nearest(name, self._by_tenant), known)))
            raise UnknownName(f"no tenant is called {name!r}", hint=hint) from None

    def host(self, name: str) -> Host:
        """A host by `tenant.host`, or by its bare name where only one tenant has it."""
        if name in self._by_key:
            return self._by_key[name]
        found = [host for host in self.hosts if host.name == name]
        if len(found) == 1:
            return found[0]
        if found:
            keys = ", ".join(host.key for host in found)
            raise UnknownName(f"{name!r} is the name of {len(found)} hosts", hint=f"say which: {keys}")
        hint = self._nearest_host(name) or "opsctl inventory list shows every host"
        raise UnknownName(f"no host is called {name!r}", hint=hint)

    def _nearest_host(self, name: str) -> str:
        return nearest(name, self._by_key if "." in name else {host.name for host in self.hosts})

    def named(self, words: Iterable[str]) -> tuple[Host, ...]:
        """The hosts that names, `tenant.host` or shell patterns fit, comma-separated; each word must fit one."""
        given = tuple(words)
        patterns = tuple(word for item in given for word in item.split(",") if word)
        if given and not patterns:
            raise NothingMatches("the limit names no host")
        for pattern in patterns:
            if not any(_fits(host, pattern) for host in self.hosts):
                raise NothingMatches(f"no host fits {pattern!r}", hint=self._nearest_host(pattern))
        return tuple(host for host in self.hosts if any(_fits(host, pattern) for pattern in patterns))

    def jumps(self, host: Host) -> tuple[Host, ...]:
        """The hosts to go through to reach `host`, outermost first; the host's own `jump` wins over its site's."""
        path: list[Host] = []
        current = host
        while name := current.jump or self._site_jump(current):
            current = self._by_key.get(f"{current.tenant}.{name}") or self.host(name)
            if current == host or current in path:
                raise UnknownName(f"the jump hosts of {host.key} form a circle")
            path.insert(0, current)
        return tuple(path)

    def _site_jump(self, host: Host) -> str:
        tenant = self._by_tenant.get(host.tenant)
        for site in tenant.sites if tenant else ():
            if site.name == host.site and site.jump not in ("", host.name, host.key):
                return site.jump
        return ""

    def select(
        self,
        *,
        tenants: Iterable[str] = (),
        limit: Iterable[str] = (),
        roles: Iterable[str] = (),
        rings: Iterable[str] = (),
        managed_only: bool = True,
    ) -> tuple[Host, ...]:
        """The hosts that fit every given criterion, in the inventory's order.

        `limit` takes names, `tenant.host` and shell patterns; a word that fits no host at all is an error, and so is
        an empty selection: zero hosts is never green. An empty word (a script's unset variable) never means all hosts.
        """
        wanted = tuple(tenants)
        for name in wanted:
            self.tenant(name)
        limits = tuple(limit)
        named = {host.key for host in self.named(limits)}
        role_set, ring_set = frozenset(roles), frozenset(rings)
        for what, given, known in (
            ("role", role_set, {host.role for host in self.hosts}),
            ("ring", ring_set, {host.ring for host in self.hosts}),
        ):
            for word in sorted(given - known):
                raise NothingMatches(f"no host has the {what} {word!r}", hint=nearest(word, known))
        chosen = tuple(
            host
            for host in self.hosts
            if (not wanted or host.tenant in wanted)
            and (not limits or host.key in named)
            and (not role_set or host.role in role_set)
            and (not ring_set or host.ring in ring_set)
            and (host.managed or not managed_only)
        )
        if not chosen:
            raise NothingMatches("no host matches the selection; nothing was done")
        return chosen


def _fits(host: Host, pattern: str) -> bool:
    return fnmatchcase(host.name, pattern) or fnmatchcase(host.key, pattern)
