"""Hosts that a municipality already has in an Ansible inventory and a known_hosts file, as a source of ours. Pure.

Nothing is trusted by this: the keys become a list of fingerprints that names where they come from, and a person
approves them with `opsctl host approve --all --fingerprints`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from opsctl.ansible.foreign import Foreign
from opsctl.inventory.hostfile import PLATFORM
from opsctl.inventory.mapping import Unusable, host_name
from opsctl.inventory.words import address_fault
from opsctl.model.host import Host
from opsctl.ssh import fingerprints

_WORD = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """The hosts that can be taken over, and by their foreign name those that cannot, with the reason."""

    hosts: tuple[Host, ...]
    left: Mapping[str, str]
    known_as: Mapping[str, tuple[str, ...]]


def adopt(foreign: Foreign, tenant: str, *, platform: str, role: str, roles: Sequence[str] = ()) -> Adopted:
    """`roles` are the groups that say a host's role; one that is in none of them has `role`."""
    assert PLATFORM.fullmatch(platform), platform
    found: dict[str, Host] = {}
    left: dict[str, str] = {}
    known_as: dict[str, tuple[str, ...]] = {}
    for given, variables in foreign.hosts.items():
        try:
            host = _host(given, variables, tenant, platform, _role(given, foreign, roles) or role)
        except Unusable as reason:
            left[given] = str(reason)
            continue
        if host.key in found:
            left[given] = f"the name {host.name} is there twice"
            continue
        found[host.key] = host
        known_as[host.key] = tuple(dict.fromkeys((given.lower(), host.name, host.address)))
    return Adopted(hosts=tuple(found[key] for key in sorted(found)), left=left, known_as=known_as)


def _host(given: str, variables: Mapping[str, object], tenant: str, platform: str, role: str) -> Host:
    address = str(variables.get("ansible_host", given))
    try:
        address = str(ipaddress.ip_address(address))
    except ValueError:
        raise Unusable(f"ansible_host {address!r} is not an address: write the address that ssh connects to") from None
    if what := address_fault(address):
        raise Unusable(f"address {address} {what}")
    port = str(variables.get("ansible_port", 22))
    if not re.fullmatch(r"\d{1,5}", port) or not 1 <= int(port) <= 65535:
        raise Unusable(f"ansible_port {port!r} is not a port")
    return Host(name=host_name(given), tenant=tenant, address=address, role=role, platform=platform, port=int(port))


def _role(given: str, foreign: Foreign, roles: Sequence[str]) -> str:
    within = [group for group in roles if given in foreign.groups.get(group, ())]
    if len(within) > 1:
        raise Unusable(f"it is in several of the groups that say a role: {', '.join(within)}")
    name = within[0].lower().replace("_", "-") if within else ""
    if name and not _WORD.fullmatch(name):
        raise Unusable(f"the group {within[0]!r} cannot be a role's name")
    return name


def fingerprint_lines(adopted: Adopted, known_hosts: str, where: str) -> tuple[str, ...]:
    """`tenant.host SHA256:... (kind)` for each key of our hosts in a known_hosts text (sshd(8)), hashed names too.

    A revoked key is nobody's, whatever other line has it.
    """
    lines = [
        f"# Taken from {where}.",
        "# Compare with the owner's own list; then: opsctl host approve --all --fingerprints FILE",
    ]
    entries = [entry.split() for entry in known_hosts.splitlines()]
    revoked = {words[3] for words in entries if len(words) > 3 and words[0] == "@revoked"}
    for words in entries:
        # Marked lines (@revoked, @cert-authority) are no host's key.
        if len(words) < 3 or words[0].startswith(("#", "@")) or words[2] in revoked:
            continue
        for host in adopted.hosts:
            if _names(words[0], adopted.known_as[host.key], host.port):
                try:
                    lines.append(f"{host.key} {fingerprints.of_key(words[2])}")
                except ValueError:
                    continue
    return tuple(dict.fromkeys(lines))


def _names(field: str, known_as: Iterable[str], port: int) -> bool:
    wanted = [f"[{name}]:{port}" if port != 22 else name for name in known_as]
    if field.startswith("|1|"):
        return any(_hashed(field, name) for name in wanted)
    return bool({name.lower() for name in field.split(",")} & set(wanted))


def _hashed(field: str, name: str) -> bool:
    """HashKnownHosts: |1|salt|HMAC-SHA1 of the name, keyed with the salt."""
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in field.removeprefix("|1|").split("|"))
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)
