"""What the inventory expects of each host, in the form that the checks read.

A list that nobody gave is left out: the check that needs it ends in an error, never in a pass.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from opsctl.ansible.render import monitoring_addresses
from opsctl.compliance.records import Record
from opsctl.model.finding import Catalogue, Profile
from opsctl.model.host import Account, Host, Inventory


def document(
    hosts: Iterable[Host],
    inventory: Inventory,
    profile: Profile,
    catalogue: Catalogue,
    records: Mapping[str, Mapping[str, Record]] | None = None,
) -> dict[str, dict[str, object]]:
    """`hosts`: the lists of each host; `controls`: the values of each control, the profile's over the catalogue's.

    `records`: what the control side knows of each host, by host and name.
    """
    chosen = tuple(hosts)
    values = {control.id: dict(control.values) for control in catalogue.controls if control.values}
    values |= {control.id: dict(control.values) for control in profile.controls}
    known = records or {}
    return {
        "hosts": {host.key: of_host(host, inventory) for host in chosen},
        "controls": {**values},
        "records": {
            host.key: {name: record.document() for name, record in known.get(host.key, {}).items()} for host in chosen
        },
    }


def of_host(host: Host, inventory: Inventory) -> Mapping[str, object]:
    tenant = inventory.tenant(host.tenant)
    found: dict[str, object] = {
        "ssh_port": host.port,
        "role": host.role,
        "addresses": [_bare(address) for address in (host.address, host.address6) if address],
        "site_names": sorted({name for service in host.services if (name := urlsplit(service.url).hostname or "")}),
        "monitoring_addresses": monitoring_addresses(host, inventory),
        "services": [f"{service.protocol}/{service.port}" for service in host.services],
        "jump_for": sorted(h.key for h in inventory if host in inventory.jumps(h)),
    }
    if tenant.accounts is not None:
        found["accounts"] = [account.name for account in tenant.accounts]
        found["keys"] = {account.name: list(_fingerprints(account)) for account in tenant.accounts}
        found["automation_accounts"] = [account.name for account in tenant.accounts if account.automation]
    if tenant.ssh_groups is not None:
        found["ssh_groups"] = list(tenant.ssh_groups)
    if tenant.package_sources is not None:
        found["package_sources"] = list(tenant.package_sources)
    if tenant.time_servers is not None:
        found["time_servers"] = list(tenant.time_servers)
    if tenant.log_host:
        found["log_host"] = tenant.log_host
    if tenant.log_retention_days is not None:
        found["log_retention_days"] = tenant.log_retention_days
    if tenant.management_networks is not None:
        # Whoever comes through a jump host comes from its address.
        jumps = [_network(jump.address) for jump in inventory.jumps(host)[-1:]]
        found["management_networks"] = [*tenant.management_networks, *jumps]
    return found


def _bare(address: str) -> str:
    """As ss(8) and databases write it."""
    return str(ipaddress.ip_address(address))


def _network(address: str) -> str:
    return str(ipaddress.ip_network(address))


def _fingerprints(account: Account) -> tuple[str, ...]:
    return tuple(fingerprint(line) for line in account.keys)


def fingerprint(line: str) -> str:
    """SHA256:... of an OpenSSH public key line, as `ssh-keygen -lf` prints it; options before the key are skipped."""
    for word in line.split():
        try:
            blob = base64.b64decode(word, validate=True)
        except (binascii.Error, ValueError):
            continue
        # The key's own name stands in it, after its length (RFC 4253, 6.6).
        if len(blob) > 24 and blob[:3] == b"\0\0\0":
            return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return f"unreadable key: {line[:40]}"
