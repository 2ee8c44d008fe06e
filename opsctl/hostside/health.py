"""Short readings of a host's health, taken before a change and compared after it; they change nothing.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl.
"""

from __future__ import annotations

import re
import socket
import subprocess
import time
from typing import Any

# Above this, ports are the kernel's to hand out (ip(7), ip_local_port_range): they come and go and mean nothing.
FIRST_EPHEMERAL = 32768
LISTEN = "0A"  # proc(5), /proc/net/tcp: the state of a listening socket
SECONDS_TO_ANSWER = 3.0
AT_MOST = 20.0  # seconds after which no further reading begins: who asked is not kept waiting
LONGEST_LINE = 65536
HEADERS = "Accept-Encoding: identity\r\nUser-Agent: opsctl\r\nConnection: close"
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: |\r|\n)")
ASKED_OF_UNITS = ("Id", "ActiveState", "SubState", "UnitFileState", "Type", "Transient", "TriggeredBy", "BusName")


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`readings`, oldest first: as many as `times` says (one), with `pause` seconds between them.

    `ports`: tcp ports of the host's services, to be asked for an answer; `http`: those to be asked over HTTP, each with
    `port`, `host`, `path` and `tls`. `boot`: tell also whether the host is still starting.
    """
    began, readings = time.monotonic(), [reading(arguments)]
    while len(readings) < arguments.get("times", 1) and time.monotonic() - began < AT_MOST:
        time.sleep(arguments.get("pause", 0))
        readings.append(reading(arguments))
    return {"readings": readings}


def reading(arguments: dict[str, Any]) -> dict[str, Any]:
    sockets, found = listening(), units()
    return {
        "boot_id": boot_id(),
        "failed_units": sorted(unit["Id"] for unit in found if unit["ActiveState"] == "failed"),
        "listening": sorted({port for _, port in sockets}),
        "answering": [port for port in arguments.get("ports", ()) if answers(port, sockets)],
        "running": sorted(unit["Id"] for unit in found if is_there_to_stay(unit)),
        "http": sorted({one["port"] for one in arguments.get("http", ()) if answers_http(one, sockets)}),
        "starting": system_state() in ("initializing", "starting") if arguments.get("boot") else None,
    }


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as stream:
        return stream.read().strip()


def command(*words: str) -> str:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout


def system_state() -> str:
    return command("systemctl", "is-system-running").strip()


def units() -> list[dict[str, str]]:
    """Every unit that runs or has failed, of whatever type, with what is asked of it (systemctl(1), show)."""
    # A systemd that does not know `--state` here shows all units: what they are is looked at in any case.
    asked = ("--state=running,failed", "--property=" + ",".join(ASKED_OF_UNITS))
    blocks = command("systemctl", "show", "--no-pager", *asked, "*").split("\n\n")
    found = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]
    return [dict(dict.fromkeys(ASKED_OF_UNITS, ""), **unit) for unit in found if unit.get("Id")]


def is_there_to_stay(unit: dict[str, str]) -> bool:
    """A service that runs and is there to stay (systemd.unit(5)).

    Not one that something else starts and that ends by itself: a transient one, a oneshot, a static one, and where it
    is not enabled one of a socket, a timer or a name on the bus.
    """
    if not unit["Id"].endswith(".service") or unit["SubState"] != "running":
        return False
    state = unit["UnitFileState"]
    by_hand = state in ("disabled", "linked") and not unit["TriggeredBy"] and not unit["BusName"]
    stays = state in ("enabled", "enabled-runtime", "generated") or by_hand
    return stays and unit["Transient"] != "yes" and unit["Type"] != "oneshot"


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
    """The status of one GET, or 0 where there is none. It is this host itself: its certificate proves nothing.

    Without http.client: to import it takes longer than all else that is looked at here.
    """
    words = (asked["path"], asked["host"])
    if any(not "!" <= letter <= "~" for word in words for letter in word):
        return 0
    question = "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n" % (*words, HEADERS)
    try:
        with socket.create_connection((target, asked["port"]), timeout=SECONDS_TO_ANSWER) as plain:
            if not asked["tls"]:
                return answered(plain, question)
            with over_tls(plain, target) as stream:
                return answered(stream, question)
    except (OSError, ValueError):  # ssl's errors are OSErrors
        return 0


def over_tls(plain: socket.socket, target: str) -> socket.socket:
    import ssl

    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    return trust.wrap_socket(plain, server_hostname=target)


def answered(stream: socket.socket, question: str) -> int:
    """The status of the answer (RFC 9112, 4); its first line is all that is read."""
    stream.sendall(question.encode("ascii"))
    said, deadline = b"", time.monotonic() + SECONDS_TO_ANSWER
    while b"\n" not in said and len(said) < LONGEST_LINE and time.monotonic() < deadline:
        piece = stream.recv(LONGEST_LINE)
        if not piece:
            break
        said += piece
    found = STATUS_LINE.match(said)
    return int(found.group(1)) if found else 0
