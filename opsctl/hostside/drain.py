"""Takes a server out of an HAProxy on this host, or puts it back, through the runtime socket.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl. Source of the words: HAProxy
management guide, sections 9.1 (`show stat`: pxname, svname, scur, status) and 9.3 (`set server BACKEND/NAME state`).
"""

from __future__ import annotations

import csv
import io
import os
import socket
import time
from typing import Any

SOCKETS = ("/run/haproxy/admin.sock", "/var/run/haproxy.sock", "/var/lib/haproxy/stats")


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`server`: its name in the backends; `action`: drain or ready. With `ask`, through the fence, it is only asked
    for; without, waited for up to `seconds`.

    A drained server finishes its sessions; those left after `seconds` are told of, not cut.
    """
    name, action = arguments["server"], arguments["action"]
    path = arguments.get("socket") or next((path for path in SOCKETS if os.path.exists(path)), "")
    if not path:
        return {"ok": False, "why": "no HAProxy runtime socket at " + ", ".join(SOCKETS)}
    if not servers(path, name):
        return {"ok": False, "why": "no backend has a server called " + name}
    return ask_for(path, name, action) if arguments.get("ask") else wait_for(path, name, action, arguments["seconds"])


def ask_for(path: str, name: str, action: str) -> dict[str, Any]:
    for row in servers(path, name):
        said = ask(path, "set server %s/%s state %s" % (row["pxname"], name, action)).strip()
        if said:
            return {"ok": False, "why": "HAProxy: " + said}
    return {"ok": True, "why": ""}


def wait_for(path: str, name: str, action: str, seconds: float) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        rows = servers(path, name)
        if rows and all(reached(row, action) for row in rows):
            return {"ok": True, "why": "", **told(rows)}
        if time.monotonic() > deadline:
            return {"ok": False, "why": "not %s after %g s: %s" % (action, seconds, told(rows)), **told(rows)}
        time.sleep(0.1)


def reached(row: dict[str, str], action: str) -> bool:
    if action == "drain":
        return row["status"].startswith(("DRAIN", "MAINT", "DOWN")) and row["scur"] in ("", "0")
    return row["status"].startswith(("UP", "no check"))


def told(rows: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "status": {"%s/%s" % (row["pxname"], row["svname"]): row["status"] for row in rows},
        "sessions": sum(int(row["scur"] or 0) for row in rows),
    }


def servers(path: str, name: str) -> list[dict[str, str]]:
    text = ask(path, "show stat").lstrip("# ")
    return [row for row in csv.DictReader(io.StringIO(text)) if row["svname"] == name]


def ask(path: str, line: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(10)
        stream.connect(path)
        stream.sendall(line.encode() + b"\n")
        answer = b""
        while True:
            piece = stream.recv(65536)
            if not piece:
                return answer.decode("utf-8", "replace")
            answer += piece
