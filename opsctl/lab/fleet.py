"""What a lab consists of: its tenants and hosts, and what is needed to reach and to trust them.

A lab's hosts are ordinary hosts of the model with a fingerprint and an index. `demo()` is the fleet that the demo
takes over; `generic()` a fleet of any size for tests and measurements. Plans have no addresses; `placed()` gives them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from opsctl.errors import LabError, UnknownName, UsageError
from opsctl.lab.place import MOST_HOSTS
from opsctl.model import wire
from opsctl.model.gate import Gate
from opsctl.model.host import Account, Cluster, Host, Inventory, Organisation, OutLimit, Service, Site, Tenant, Window

AUTOMATION_USER = "opsctl"
# Approved by the lab's tenants; nothing of a lab has a way out, so none of these is ever reached.
TIME_SERVERS = ("0.se.pool.ntp.org", "1.se.pool.ntp.org", "ntp.netnod.se")
LOG_HOST = "log.lab:6514"


@dataclass(frozen=True, kw_only=True)
class LabHost(Host):
    """A host of a lab: `index` counts from 1 in the fleet, `fingerprint` (SHA256:...) was read from its disk.

    `vm`: a virtual machine with a kernel of its own, not a container.
    """

    index: int = 0
    fingerprint: str = ""
    vm: bool = False


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """A lab as it stands: tenants, hosts, and how to come to them as `user`. Paths are of this machine."""

    name: str
    tenants: tuple[Tenant, ...]
    hosts: tuple[LabHost, ...]
    subnet: str = ""
    identity_file: Path = Path()
    fingerprints_file: Path = Path()
    mirror: str = ""
    user: str = AUTOMATION_USER

    def host(self, name: str) -> LabHost:
        """A host by its name or `tenant.host`; raises UnknownName."""
        for host in self.hosts:
            if name in (host.name, host.key):
                return host
        known = ", ".join(host.name for host in self.hosts)
        raise UnknownName(f"the lab {self.name} has no host {name!r}", hint=f"hosts: {known}")

    def inventory(self) -> Inventory:
        """The fleet as the model's inventory."""
        return Inventory(tenants=self.tenants, hosts=self.hosts)

    def person(self, account: str) -> Path:
        """The private key of an approved human account."""
        return self.identity_file.parent / account

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Fleet:
        try:
            raw: dict[str, Any] = json.loads(text)
            tenants = tuple(_tenant(item) for item in raw["tenants"])
            hosts = tuple(_host(item) for item in raw["hosts"])
            paths = [Path(raw[name]) for name in ("identity_file", "fingerprints_file")]
            words = {name: str(raw[name]) for name in ("name", "subnet", "mirror", "user")}
        except (ValueError, KeyError, TypeError) as error:
            raise LabError(f"the lab's description cannot be read: {error}") from error
        return cls(
            name=words["name"],
            tenants=tenants,
            hosts=hosts,
            subnet=words["subnet"],
            identity_file=paths[0],
            fingerprints_file=paths[1],
            mirror=words["mirror"],
            user=words["user"],
        )


def _tenant(raw: dict[str, Any]) -> Tenant:
    parts: dict[str, Callable[..., object]] = {
        "organisations": Organisation, "sites": Site, "clusters": Cluster, "limits": OutLimit,
        "windows": Window, "accounts": Account,
    }  # fmt: skip
    made = {name: tuple(make(**_frozen(item)) for item in raw[name]) for name, make in parts.items()}
    made["gates"] = tuple(wire.from_document(Gate, item) for item in raw.get("gates", ()))
    return Tenant(**{**_frozen(raw), **made})


def _host(raw: dict[str, Any]) -> LabHost:
    return LabHost(**{**_frozen(raw), "services": tuple(Service(**_frozen(item)) for item in raw["services"])})


def _frozen(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}


# --- plans ------------------------------------------------------------------------------------------------------------


def demo() -> Fleet:
    """Ånge with two web hosts behind a load balancer, a database and a file host; Sundsvall with two hosts."""
    own, web = Service(name="opslab", port=8099), Service(name="http", port=80)
    files, database = Service(name="rsync", port=873), Service(name="postgresql", port=5432)
    monitoring = (Service(name="prometheus", port=9090), Service(name="alertmanager", port=9093))
    ange = {"tenant": "ange", "site": "ange-stadshus", "organisation": "kommunstyrelsen", "owner": "it@ange.example"}
    sundsvall = {"tenant": "sundsvall", "site": "sundsvall-dc", "organisation": "servicecenter"}
    sundsvall |= {"owner": "drift@sundsvall.example"}
    rows = (
        LabHost(name="ange-lb1", role="loadbalancer", ring="broad", services=(own, web), **_blank(ange)),
        LabHost(name="ange-web1", role="web", ring="early", cluster="ange-web", services=(own, web), **_blank(ange)),
        LabHost(name="ange-web2", role="web", ring="broad", cluster="ange-web", services=(own, web), **_blank(ange)),
        LabHost(
            name="ange-db1", role="database", ring="broad", criticality="critical", jump="ange-lb1",
            services=(own, database), **_blank(ange),
        ),
        LabHost(name="ange-file1", role="file", ring="canary", services=(own, files), **_blank(ange)),
        LabHost(
            name="sundsvall-mon1", role="monitoring", ring="early",
            services=(own, *monitoring), **_blank(sundsvall),
        ),
        LabHost(
            name="sundsvall-app1", role="application", ring="canary",
            services=(own,), **_blank(sundsvall),
        ),
    )  # fmt: skip
    return _numbered(rows)


def generic(count: int) -> Fleet:
    """`count` hosts of the role application, half of them Ånge's: host-01, host-02, ..."""
    if not 1 <= count <= MOST_HOSTS:
        raise UsageError(f"a lab holds 1 to {MOST_HOSTS} hosts, not {count}")
    rings = ("canary", "early", "broad", "broad")
    rows = [
        LabHost(
            name=f"host-{number:02d}",
            tenant="ange" if number <= (count + 1) // 2 else "sundsvall",
            role="application",
            ring=rings[number % 4],
            address="",
            platform="debian-12",
            services=(Service(name="opslab", port=8099),),
        )
        for number in range(1, count + 1)
    ]
    return _numbered(rows)


def with_machines(plan: Fleet | None, count: int) -> Fleet:
    """The plan, where there is one, and beside it `count` virtual machines of the role application: vm-01, ..."""
    hosts = plan.hosts if plan else ()
    if count < 0 or not 1 <= len(hosts) + count <= MOST_HOSTS:
        raise UsageError(f"a lab holds 1 to {MOST_HOSTS} hosts, not {len(hosts) + count}")
    machines = (
        LabHost(
            name=f"vm-{number:02d}",
            tenant="ange",
            role="application",
            ring="canary",
            address="",
            platform="debian-12",
            services=(Service(name="opslab", port=8099),),
            vm=True,
        )
        for number in range(1, count + 1)
    )
    return _numbered((*hosts, *machines))


def equal(tenant: Tenant, prefix: str, count: int) -> Fleet:
    """`count` hosts of the role application without a service, all of one tenant: PREFIX-01, PREFIX-02, ..."""
    rows = (
        LabHost(
            name=f"{prefix}-{number:02d}", tenant=tenant.name, role="application", ring="canary", address="",
            platform="debian-12", index=number,
        )
        for number in range(1, count + 1)
    )  # fmt: skip
    return Fleet(name="", tenants=(tenant,), hosts=tuple(rows))


def only(plan: Fleet, names: Iterable[str]) -> Fleet:
    """The plan with these hosts alone, and with the jump hosts that they need."""
    wanted = {plan.host(name).name for name in names}
    wanted |= {plan.host(host.jump).name for host in plan.hosts if host.name in wanted and host.jump}
    if not wanted:
        raise UsageError("a lab needs a host")
    return _numbered(tuple(host for host in plan.hosts if host.name in wanted))


def _blank(common: dict[str, str]) -> dict[str, Any]:
    return {**common, "address": "", "platform": "debian-12"}


def _numbered(rows: Iterable[LabHost]) -> Fleet:
    hosts = tuple(replace(host, index=index) for index, host in enumerate(rows, 1))
    names = {host.tenant for host in hosts}
    return Fleet(name="", tenants=tuple(t for t in _tenants(hosts) if t.name in names), hosts=hosts)


def _tenants(hosts: tuple[LabHost, ...]) -> tuple[Tenant, ...]:
    night = Window(name="natt", days=("tue", "thu"), start="22:00", end="05:00")
    clusters = tuple(dict.fromkeys(Cluster(name=host.cluster) for host in hosts if host.cluster))
    return (
        Tenant(
            name="ange",
            title="Ånge kommun",
            operator="sundsvall",
            organisations=(Organisation(name="kommunstyrelsen", title="Kommunstyrelseförvaltningen"),),
            sites=(Site(name="ange-stadshus", title="Ånge kommunhus"),),
            clusters=clusters,
            windows=(night,),
        ),
        Tenant(
            name="sundsvall",
            title="Sundsvalls kommun",
            operator="sundsvall",
            organisations=(Organisation(name="servicecenter", title="Servicecenter IT"),),
            sites=(Site(name="sundsvall-dc", title="Sundsvalls datorhall"),),
            windows=(night,),
        ),
    )


def placed(plan: Fleet, *, name: str, address: Callable[[int], str], subnet: str, mirror: str) -> Fleet:
    """The plan on its subnet: each host with its address, each tenant with what its hosts are held to."""
    sources = (f"{mirror}/debian", f"{mirror}/debian-security")
    hosts = tuple(replace(host, address=address(host.index)) for host in plan.hosts)
    tenants = tuple(
        replace(
            tenant, management_networks=(subnet,), ssh_groups=("ssh-login",), package_sources=sources,
            time_servers=TIME_SERVERS, log_host=LOG_HOST, log_retention_days=90,
        )
        for tenant in plan.tenants
    )  # fmt: skip
    return replace(plan, name=name, hosts=hosts, tenants=tenants, subnet=subnet, mirror=mirror)
