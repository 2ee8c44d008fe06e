"""Tries TCP ports of other hosts from this one: how the monitoring host shows what its firewall neighbours let in.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl.
"""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def main(arguments: dict[str, Any]) -> dict[str, list[str]]:
    """For each [address, port] of `targets`: an empty text when it answered HTTP, else why not."""
    seconds = arguments.get("seconds", 2)
    with ThreadPoolExecutor(max_workers=16) as pool:
        return {"faults": list(pool.map(lambda target: fault(target[0], target[1], seconds), arguments["targets"]))}


def fault(address: str, port: int, seconds: float) -> str:
    try:
        with socket.create_connection((address, port), timeout=seconds) as stream:
            stream.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return "" if stream.recv(64).startswith(b"HTTP/1.") else "no HTTP answer"
    except OSError as error:
        return str(error) or type(error).__name__
