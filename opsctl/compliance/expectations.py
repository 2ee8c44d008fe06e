"""What the inventory expects of each host, in the form that the checks read.

A list that nobody gave is left out: the check that needs it ends in an error, never in a pass.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
from collections.abc import Iterable, Mapping

from opsctl.model.finding import Catalogue, Profile
from opsctl.model.host import Account, Host, Inventory


def document(
    hosts: Iterable[Host], inventory: Inventory, profile: Profile, catalogue: Catalogue
) -> dict[str, dict[str, object]]:
    """`hosts`: the lists of each host; `controls`: the values of each control, the profile's over the catalogue's."""
    values = {control.id: dict(control.values) for control in catalogue.controls if control.values}
    values |= {control.id: dict(control.values) for control in profile.controls}
    return {"hosts": {host.key: of_host(host, inventory) for host in hosts}, "controls": {**values}}


def of_host(host: Host, inventory: Inventory) -> Mapping[str, object]:
    tenant = inventory.tenant(host.tenant)
    found: dict[str, object] = {
        "ssh_port": host.port,
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
    if tenant.management_networks is not None:
        # Whoever comes through a jump host comes from its address.
        jumps = [_network(jump.address) for jump in inventory.jumps(host)[-1:]]
        found["management_networks"] = [*tenant.management_networks, *jumps]
    return found


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
