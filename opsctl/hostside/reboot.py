"""Restarts the host, unless it has been restarted already: the boot id that the caller saw decides.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl. The restart comes a second after
the answer, so that the answer still arrives.
"""

from __future__ import annotations

import subprocess
from typing import Any

NO_BUS = "Failed to connect to bus"


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`boot_id`: the boot to end, through the fence; in any other one nothing is done. `ask`: only tell the boot id."""
    with open("/proc/sys/kernel/random/boot_id") as stream:
        now = stream.read().strip()
    if arguments.get("ask") or now != arguments["boot_id"]:
        return {"boot_id": now, "restarting": False}
    unit = "opsctl-reboot-" + now[:8]
    words = [
        "systemd-run",
        "--unit=" + unit,
        "--collect",
        "--quiet",
        "--no-block",
        "sh",
        "-c",
        "sleep 1; systemctl reboot",
    ]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode and NO_BUS in done.stderr:
        # Most likely it is going down already, and nobody is left to ask; the caller sees the next boot, or asks again.
        return {"boot_id": now, "restarting": False}
    # A unit of this name exists already where the restart was asked for a moment ago; later on nothing starts any more.
    if done.returncode and "already" not in done.stderr and not going_down():
        raise RuntimeError("systemd-run: " + done.stderr.strip())
    return {"boot_id": now, "restarting": True}


def going_down() -> bool:
    """Whether this boot is ending already (systemctl(1), is-system-running)."""
    asked = subprocess.run(["systemctl", "is-system-running"], capture_output=True, text=True, timeout=30, check=False)
    return asked.stdout.strip() == "stopping"
