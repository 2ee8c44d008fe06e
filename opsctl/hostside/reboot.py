"""Restarts the host, unless it has been restarted already: the boot id that the caller saw decides.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl. The restart comes a second after
the answer, so that the answer still arrives.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

FENCE = "/var/lib/opsctl/fence.json"


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`boot_id`: the boot to end; in any other one nothing is done. `ask`: only tell the boot id.

    `claimant`, `installation`, `token`: the claim that install.py left here; under another one nothing is done.
    """
    with open("/proc/sys/kernel/random/boot_id") as stream:
        now = stream.read().strip()
    if arguments.get("ask") or now != arguments["boot_id"]:
        return {"boot_id": now, "restarting": False}
    why = other_claim(arguments)
    if why:
        return {"boot_id": now, "restarting": False, "refused": why}
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
    # A unit of this name exists already where the restart was asked for a moment ago; later on nothing starts any more.
    if done.returncode and "already" not in done.stderr and not going_down():
        raise RuntimeError("systemd-run: " + done.stderr.strip())
    return {"boot_id": now, "restarting": True}


def going_down() -> bool:
    """Whether this boot is ending already (systemctl(1), is-system-running)."""
    asked = subprocess.run(["systemctl", "is-system-running"], capture_output=True, text=True, timeout=30, check=False)
    return asked.stdout.strip() == "stopping"


def other_claim(arguments: dict[str, Any]) -> str:
    """Why this host is not the caller's any more, or empty."""
    try:
        with open(FENCE) as stream:
            last = json.load(stream)
    except (FileNotFoundError, ValueError):
        return ""
    ours = all(last.get(name, "") == arguments.get(name, "") for name in ("claimant", "installation"))
    if ours and last["token"] <= arguments["token"]:
        return ""
    claim = (last["claimant"], last.get("installation", ""), last["token"])
    return "a newer claim on this host exists: %s (%s), fence %d" % claim
