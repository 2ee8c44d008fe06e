"""A short reading of a host's health, taken before a change and compared after it; changes nothing.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl.
"""

from __future__ import annotations

import os
import socket
import subprocess
from typing import Any

# Above this, ports are the kernel's to hand out (ip(7), ip_local_port_range): they come and go and mean nothing.
FIRST_EPHEMERAL = 32768
LISTEN = "0A"  # proc(5), /proc/net/tcp: the state of a listening socket
SECONDS_TO_ANSWER = 3.0


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`ports`: tcp ports of the host's services, to be asked for an answer."""
    sockets = listening()
    return {
        "boot_id": boot_id(),
        "failed_units": failed_units(),
        "listening": sorted({port for _, port in sockets}),
        "answering": [port for port in arguments.get("ports", ()) if answers(port, sockets)],
        "reboot_required": os.path.exists("/run/reboot-required"),
        "starting": system_state() in ("initializing", "starting"),
    }


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as stream:
        return stream.read().strip()


def command(*words: str) -> str:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout


def system_state() -> str:
    return command("systemctl", "is-system-running").strip()


def failed_units() -> list[str]:
    lines = command("systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--no-pager").splitlines()
    return sorted(line.split()[0] for line in lines if line.strip())


def listening() -> set[tuple[str, int]]:
    """Address and port of every listening tcp socket below the ephemeral range, loopback included."""
    found = set()
    for name, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        try:
            with open(name) as stream:
                lines = stream.readlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            if fields[3] == LISTEN and int(port, 16) < FIRST_EPHEMERAL:
                found.add((readable(address, family), int(port, 16)))
    return found


def readable(address: str, family: int) -> str:
    """An address as proc(5) writes it (32-bit words in host order) -> its usual form."""
    words = [address[i : i + 8] for i in range(0, len(address), 8)]
    packed = b"".join(bytes.fromhex(word)[::-1] for word in words)
    return socket.inet_ntop(family, packed)


def answers(port: int, sockets: set[tuple[str, int]]) -> bool:
    """A connection to the port comes about, at the address where it listens."""
    for address in sorted(address for address, number in sockets if number == port):
        target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
        try:
            with socket.create_connection((target, port), timeout=SECONDS_TO_ANSWER):
                return True
        except OSError:
            continue
    return False
