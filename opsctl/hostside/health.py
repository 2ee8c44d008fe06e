"""A short reading of a host's health, taken before a change and compared after it; changes nothing.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import subprocess
from typing import Any

# Above this, ports are the kernel's to hand out (ip(7), ip_local_port_range): they come and go and mean nothing.
FIRST_EPHEMERAL = 32768
LISTEN = "0A"  # proc(5), /proc/net/tcp: the state of a listening socket
SECONDS_TO_ANSWER = 3.0


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`ports`: tcp ports of the host's services, to be asked for an answer; `http`: those to be asked over HTTP, each
    with `port`, `host`, `path` and `tls`."""
    sockets = listening()
    return {
        "boot_id": boot_id(),
        "failed_units": failed_units(),
        "listening": sorted({port for _, port in sockets}),
        "answering": [port for port in arguments.get("ports", ()) if answers(port, sockets)],
        "running": running(),
        "http": sorted({one["port"] for one in arguments.get("http", ()) if answers_http(one, sockets)}),
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


def running() -> list[str]:
    """The services that run and are there to stay (systemd.unit(5), systemctl(1)).

    Not those that something else starts and that end by themselves: transient ones, oneshots, static ones, and where
    they are not enabled those of a socket, a timer or a name on the bus.
    """
    asked = ("Id", "SubState", "UnitFileState", "Type", "Transient", "TriggeredBy", "BusName")
    said = command("systemctl", "show", "--no-pager", "--property=" + ",".join(asked), "*.service")
    found = []
    for block in said.split("\n\n"):
        unit = dict(line.partition("=")[::2] for line in block.splitlines())
        here = unit.get("SubState") == "running" and unit.get("Transient") != "yes" and unit.get("Type") != "oneshot"
        state = unit.get("UnitFileState", "")
        by_hand = state in ("disabled", "linked") and not unit.get("TriggeredBy") and not unit.get("BusName")
        if here and (state in ("enabled", "enabled-runtime", "generated") or by_hand):
            found.append(unit["Id"])
    return sorted(found)


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


def answers_http(asked: dict[str, Any], sockets: set[tuple[str, int]]) -> bool:
    """The service answers over HTTP, and not with an error of its own (5xx: RFC 9110, 15.6)."""
    for address in sorted(address for address, number in sockets if number == asked["port"]):
        target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
        if status_of(target, asked) in range(100, 500):
            return True
    return False


def status_of(target: str, asked: dict[str, Any]) -> int:
    """The status of one GET, or 0 where there is none. It is this host itself: its certificate proves nothing."""
    if asked["tls"]:
        trust = ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        seeker: http.client.HTTPConnection = http.client.HTTPSConnection(
            target, asked["port"], timeout=SECONDS_TO_ANSWER, context=trust
        )
    else:
        seeker = http.client.HTTPConnection(target, asked["port"], timeout=SECONDS_TO_ANSWER)
    try:
        seeker.request("GET", asked["path"], headers={"Host": asked["host"], "User-Agent": "opsctl"})
        return seeker.getresponse().status
    except (OSError, http.client.HTTPException, ValueError):
        return 0
    finally:
        seeker.close()
