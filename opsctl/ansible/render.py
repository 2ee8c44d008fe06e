"""Hosts -> the inventory of one run: just these hosts, and just the variables of their own tenants.

Groups of a host `ange.ange-web1` with role web and ring early:

    ange, ange__role_web, ange__ring_early      carry the tenant's variables; no other tenant's host is in them
    role_web, ring_early                        for a playbook's `hosts:`; carry none

Files of a tenant, later ones win: group_vars/all.yml, group_vars/ROLE.yml, group_vars/RING.yml, host_vars/HOST.yml.
They are people's and may hold templates and vaulted values. What the inventory says (`inventory_...`) is foreign: each
string is marked `!unsafe`, so Ansible never templates it. It comes last of all, in a file of its own in host_vars: a
wholly vaulted file, into which we cannot look, changes none of it and adds nothing to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from itertools import pairwise
from pathlib import Path

import yaml

from opsctl.config import Settings
from opsctl.documents import Problems, read
from opsctl.errors import InventoryError
from opsctl.model.host import Host, Inventory

INVENTORY_FILE = "inventory.yml"
LAST_FILE = "zz-inventory.yml"  # Ansible reads the files of a folder in the order of their names, and the last one wins
MONITORING_ROLE = "monitoring"
_VAULTED = re.compile(rb"\$ANSIBLE_VAULT;")
# What a host may lack; see foreign_variables.
_OPTIONAL = (
    "inventory_accounts", "inventory_ssh_groups", "inventory_management_networks", "inventory_package_sources",
    "inventory_time_servers", "inventory_log_host", "inventory_log_retention_days",
    "inventory_address6", "inventory_region", "inventory_tags", "inventory_custom", "inventory_context",
)  # fmt: skip
_OURS = ("ansible_", "inventory_", "opsctl_")
_ROLE_RANK, _RING_RANK = 10, 20  # ansible_group_priority: a ring's variables win over a role's


def write_inventory(into: Path, hosts: Sequence[Host], inventory: Inventory, settings: Settings) -> tuple[Path, ...]:
    """Write the run's inventory into its private folder; the tenants' variable files in use.

    Raises InventoryError for variable files that must not be used.
    """
    links = variable_files(hosts, settings.inventories)
    refuse_connection_variables(links.values())
    for link, file in links.items():
        (into / link).parent.mkdir(parents=True, exist_ok=True)
        (into / link).symlink_to(file.resolve())
    for host in hosts:
        (folder := into / "host_vars" / host.key).mkdir(parents=True, exist_ok=True)
        (folder / LAST_FILE).write_text(_as_yaml(last_word(host, inventory)), encoding="utf-8")
    (into / INVENTORY_FILE).write_text(_as_yaml(_grouped(hosts, {host.key: {} for host in hosts})), encoding="utf-8")
    return tuple(links.values())


def inventory_text(hosts: Sequence[Host], inventory: Inventory, *, reach: bool = False) -> str:
    """The inventory as Ansible's YAML: every host with its `inventory_` variables, then its groups.

    `reach`: for runs that are not ours, with the address and port that our own runs take from our ssh_config.
    """
    described = {host.key: foreign_variables(host, inventory) for host in hosts}
    if reach:
        described = {host.key: {**reach_variables(host), **described[host.key]} for host in hosts}
    return _as_yaml(_grouped(hosts, described))


def _grouped(hosts: Sequence[Host], described: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    groups: dict[str, dict[str, object]] = {}
    for host in hosts:
        for group, rank in groups_of(host).items():
            entry = groups.setdefault(group, {"hosts": {}})
            members = entry["hosts"]
            assert isinstance(members, dict)
            members[host.key] = {}
            if rank:
                entry["vars"] = {"ansible_group_priority": rank}
    return {"all": {"hosts": dict(described), "children": groups}}


def _as_yaml(document: Mapping[str, object]) -> str:
    return yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def last_word(host: Host, inventory: Inventory) -> dict[str, object]:
    """All that can be said of a host: what nobody gave is undefined, whatever other files say."""
    given = foreign_variables(host, inventory)
    return {name: given.get(name, f"{{{{ undef(hint='{name}: nobody gave it') }}}}") for name in (*given, *_OPTIONAL)}


def reach_variables(host: Host) -> dict[str, object]:
    """Where Ansible finds the host; the address was checked when it came in."""
    return {"ansible_host": _unsafe(host.address), "ansible_port": host.port} if host.address else {}


def groups_of(host: Host) -> dict[str, int]:
    """The groups of a host, with the rank of those whose variables need one."""
    return {
        host.tenant: 0,
        f"{host.tenant}__role_{host.role}": _ROLE_RANK,
        f"{host.tenant}__ring_{host.ring}": _RING_RANK,
        f"role_{host.role}": 0,
        f"ring_{host.ring}": 0,
    }


def foreign_variables(host: Host, inventory: Inventory) -> dict[str, object]:
    """What inventory and tenant say of a host. A list that nobody gave is absent: the role that needs it refuses."""
    tenant = inventory.tenant(host.tenant)
    lists = {
        "inventory_accounts": tenant.accounts
        and [
            {"name": a.name, "keys": list(a.keys), "groups": list(a.groups), "automation": a.automation}
            for a in tenant.accounts
        ],
        "inventory_ssh_groups": tenant.ssh_groups,
        "inventory_management_networks": tenant.management_networks,
        "inventory_package_sources": tenant.package_sources,
        "inventory_time_servers": tenant.time_servers,
    }
    variables: dict[str, object] = {
        "inventory_name": host.name,
        "inventory_tenant": host.tenant,
        "inventory_address": host.address,
        "inventory_port": host.port,
        "inventory_role": host.role,
        "inventory_ring": host.ring,
        "inventory_platform": host.platform,
        "inventory_site": host.site,
        "inventory_cluster": host.cluster,
        "inventory_owner": host.owner,
        "inventory_services": [
            {"name": s.name, "port": s.port, "protocol": s.protocol, "url": s.url, "serves": list(s.serves)}
            for s in host.services
        ],
        "inventory_jump_addresses": jump_addresses(host, inventory),
        "inventory_jump_targets": jump_targets(host, inventory),
        "inventory_monitoring_addresses": monitoring_addresses(host, inventory),
    }
    # What NetBox adds, where it does: data for roles, each string of it unsafe.
    variables |= {
        name: value
        for name, value in {
            "inventory_log_host": tenant.log_host,
            "inventory_log_retention_days": tenant.log_retention_days,
            "inventory_address6": host.address6,
            "inventory_region": host.region,
            "inventory_tags": list(host.tags),
            "inventory_custom": json.loads(host.custom) if host.custom else None,
            "inventory_context": json.loads(host.context) if host.context else None,
        }.items()
        if value
    }
    variables |= {name: list(value) for name, value in lists.items() if value is not None}
    return {name: _unsafe(value) for name, value in variables.items()}


def jump_targets(host: Host, inventory: Inventory) -> list[str]:
    """`address:port` of every host that is reached through this one: what its sshd may forward to (PermitOpen)."""
    targets: set[str] = set()
    for other in inventory:
        if not other.managed:
            continue
        path = (*inventory.jumps(other), other)
        for here, following in pairwise(path):
            if here == host:
                address = f"[{following.address}]" if ":" in following.address else following.address
                targets.add(f"{address}:{following.port}")
    return sorted(targets)


def jump_addresses(host: Host, inventory: Inventory) -> list[str]:
    """Where a host's jump host comes from, unless the management networks hold it already."""
    networks = [ip_network(text, strict=False) for text in inventory.tenant(host.tenant).management_networks or ()]
    return [
        jump.address
        for jump in inventory.jumps(host)[-1:]
        if not any(ip_address(jump.address) in network for network in networks)
    ]


def monitoring_addresses(host: Host, inventory: Inventory) -> list[str]:
    """The monitoring hosts that watch a host: its own tenant's and its operator's."""
    tenant = inventory.tenant(host.tenant)
    watching = {tenant.name, tenant.operator}
    return sorted({h.address for h in inventory if h.role == MONITORING_ROLE and h.tenant in watching})


def variable_files(hosts: Iterable[Host], inventories: Path) -> dict[str, Path]:
    """Where each tenant's variable files go in the run's folder: `group_vars/GROUP/FILE` -> the file itself."""
    problems = Problems()
    links: dict[str, Path] = {}
    for host in hosts:
        folder = inventories / host.tenant
        if host.role == host.ring and (file := _file(folder / "group_vars" / host.role)):
            problems.note(
                str(file), f"{host.role!r} is a role and a ring: it is not clear which is meant", "rename one"
            )
        wanted = {
            f"group_vars/{host.tenant}/all.yml": folder / "group_vars" / "all",
            f"group_vars/{host.tenant}__role_{host.role}/role.yml": folder / "group_vars" / host.role,
            f"group_vars/{host.tenant}__ring_{host.ring}/ring.yml": folder / "group_vars" / host.ring,
            f"host_vars/{host.key}/host.yml": folder / "host_vars" / host.name,
        }
        links |= {link: file for link, stem in wanted.items() if (file := _file(stem))}
    problems.finish(InventoryError)
    return links


def _file(stem: Path) -> Path | None:
    for suffix in (".yml", ".yaml"):
        if (file := stem.with_name(stem.name + suffix)).is_file():
            return file
    return None


def refuse_connection_variables(files: Iterable[Path]) -> None:
    """How a host is reached and who it is comes from opsctl alone, never from a tenant's variables."""
    problems = Problems()
    for file in dict.fromkeys(files):
        text = file.read_bytes().strip(b"-\n\r\t ")
        if not text or text.startswith(b"$ANSIBLE_VAULT;"):
            continue
        section = read(file, problems)
        if section.has("<<"):
            problems.note(section.line_of("<<"), "a merge key could bring any variable", "write the values out")
        for key in filter(lambda key: key.startswith(_OURS), section.keys()):
            problems.note(section.line_of(key), f"{key} cannot be set here", "opsctl sets it for each run")
    problems.finish(InventoryError, "variable files of a tenant are not usable")


def holds_vaulted(files: Iterable[Path]) -> bool:
    """Whether one of the files holds a value that needs the vault's password."""
    return any(_VAULTED.search(file.read_bytes()) for file in files)


class _Unsafe(str):
    """A string that Ansible must never template."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes `_Unsafe` as `!unsafe`; no anchors, which would tie hosts to each other."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _represent_unsafe(dumper: yaml.SafeDumper, value: _Unsafe) -> yaml.ScalarNode:
    return dumper.represent_scalar("!unsafe", str(value), style='"')


_Dumper.add_representer(_Unsafe, _represent_unsafe)


def _unsafe(value: object) -> object:
    if isinstance(value, str):
        return _Unsafe(value)
    if isinstance(value, Mapping):
        return {_Unsafe(key): _unsafe(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_unsafe(inner) for inner in value]
    return value
