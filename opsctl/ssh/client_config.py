"""The text of the generated ssh_config: one block a host, and the rules that hold for all of them.

The user's own and the machine's ssh configuration are never read: every ssh of ours starts with `-F` on this file.
See ssh_config(5). `ProxyJump` hands `-F` on to the inner ssh: a jump host's block, pin and shared connection hold too.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from opsctl.errors import ConfigError
from opsctl.model.host import Host, Inventory
from opsctl.ssh.hostkeys import Pins

_ALIAS = re.compile(r"[a-z0-9][a-z0-9-]*\.[a-z0-9][a-z0-9-]*")
_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
# ControlPath is a socket: 108 bytes in sun_path, and ssh appends 17 while it makes it.
LONGEST_FOLDER = 68
KEPT_OPEN = 120
KEEPALIVE, KEEPALIVES_MISSED = 10, 3


@dataclass(frozen=True, kw_only=True)
class Access:
    """How hosts are logged into: the account, its key file (None: the agent), and where our files lie."""

    user: str
    identity: Path | None
    known_hosts: Path
    sockets: Path
    connect_timeout: int


def text(inventory: Inventory, pins: Pins, access: Access, hosts: Iterable[Host]) -> str:
    """The ssh_config for these hosts and the jump hosts on their way.

    Raises ConfigError for a value that ssh could take for something else.
    """
    wanted = {step.key: step for host in hosts for step in (*inventory.jumps(host), host)}
    blocks = [_block(inventory, pins, access, host) for host in wanted.values()]
    return "".join(blocks) + _for_all(access)


def socket_of(inventory: Inventory, pins: Pins, access: Access, host: Host) -> Path:
    """The ControlPath of a host. Another address, account, way or pin is another socket: what was opened
    under an earlier trust is never used again, and two tenants with equal addresses never share one."""
    total = hashlib.sha256()
    for step in (*inventory.jumps(host), host):
        keys = sorted(pin.key.base64 for pin in pins.of(step.key))
        total.update("\0".join([step.key, step.address, str(step.port), access.user, *keys, ""]).encode())
    total.update(str(access.identity).encode())
    return access.sockets / total.hexdigest()[:20]


def _block(inventory: Inventory, pins: Pins, access: Access, host: Host) -> str:
    lines = [
        f"Host {alias(host)}",
        f"  HostName {_address(host)}",
        f"  HostKeyAlias {alias(host)}",
        f"  Port {host.port}",
        f"  ControlPath {quoted(str(socket_of(inventory, pins, access, host)))}",
    ]
    if jumps := inventory.jumps(host):
        lines.append(f"  ProxyJump {alias(jumps[-1])}")
    return "\n".join(lines) + "\n\n"


def _for_all(access: Access) -> str:
    return "\n".join(["Host *", *(f"  {line}" for line in _shared_lines(access))]) + "\n"


def _shared_lines(access: Access) -> Iterable[str]:
    if not _USER.fullmatch(access.user):
        raise ConfigError(f"ssh.user: {access.user!r} is not the name of an account")
    yield f"User {access.user}"
    if access.identity is not None:
        yield f"IdentityFile {quoted(str(access.identity))}"
        yield "IdentitiesOnly yes"
    yield from (
        "BatchMode yes",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "StrictHostKeyChecking yes",
        f"UserKnownHostsFile {quoted(str(access.known_hosts))}",
        "GlobalKnownHostsFile /dev/null",
        "UpdateHostKeys no",
        "VerifyHostKeyDNS no",
        "CheckHostIP no",
        "ForwardAgent no",
        "ForwardX11 no",
        "PermitLocalCommand no",
        "EscapeChar none",
        f"ConnectTimeout {access.connect_timeout}",
        f"ServerAliveInterval {KEEPALIVE}",
        f"ServerAliveCountMax {KEEPALIVES_MISSED}",
        # `session` alone says otherwise: the ssh that ssh starts for a jump host would become a second master.
        "ControlMaster no",
        f"ControlPersist {KEPT_OPEN}",
    )


def alias(host: Host) -> str:
    """`tenant.host`, or ConfigError when it could be read as a pattern or an option."""
    if not _ALIAS.fullmatch(host.key):
        raise ConfigError(f"{host.key!r} cannot be used as a name for ssh")
    return host.key


def _address(host: Host) -> str:
    try:
        return str(ipaddress.ip_address(host.address))
    except ValueError:
        if _ADDRESS.fullmatch(host.address):
            return host.address
    raise ConfigError(f"{host.key}: {host.address!r} is not an address")


def quoted(value: str) -> str:
    """A path as one word of ssh_config(5), with quotes, backslashes and %-tokens taken literally."""
    if "${" in value or any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise ConfigError(f"{value!r} cannot be used in ssh's configuration", hint="move or rename the folder or file")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
