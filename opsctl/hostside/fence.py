"""The one way to an effect on this host: under a lock, in the name of a claim that the host accepts.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl. A claim is `claimant` (the
workspace), `installation` (its store on its control node), `token` (the fencing token of the lease on this host) and
`claim_seconds`; with `held` nobody else's may stand here, however old. The last one accepted stands in
/var/lib/opsctl/fence.json.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
import types
from typing import Any

BASE = "/var/lib/opsctl"
ANOTHER = "another installation of opsctl works on this host: %s, %s; this is %s"
SHAPE: dict[str, tuple[type, ...]] = {"claimant": (str,), "token": (int,), "at": (int, float)}
MEND = "once nobody else works here: rm %s/fence.json" % BASE
CLAIM_SECONDS = 900  # how long a claim holds against another installation; a lease of opsctl is as long
LOCK_SECONDS = 30  # how long to wait for an effect of somebody else to end
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}


class Refuse(Exception):
    """The host does not do it, and why; becomes the answer `{"refused": why}`."""


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`claim`; then `script`, the text of another script, whose main is called with `arguments` under the lock.

    With `afterwards` its function of this name is called with these, and with what main answered, once the lock is let
    go: to look and to wait hold back nobody. Without a script the claim is only left.
    """
    answer = module = None
    os.makedirs(BASE, 0o700, exist_ok=True)
    with open(os.path.join(BASE, "lock"), "w") as lock:
        try:
            wait_for(lock)
            pass_with(arguments["claim"])
        except Refuse as error:
            return {"refused": str(error), "answer": None}
        if arguments.get("script"):
            module = loaded(arguments["script"])
        if module and "arguments" in arguments:
            answer = module.main(arguments["arguments"])
    if module and "afterwards" in arguments:
        answer = module.afterwards(arguments["afterwards"], answer)
    return {"refused": "", "answer": answer}


def wait_for(lock: Any) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Refuse("another effect on this host has not ended within %d s" % LOCK_SECONDS) from None
            time.sleep(0.1)


def loaded(script: str) -> Any:
    module = types.ModuleType("opsctl_effect")
    sys.modules["opsctl_effect"] = module
    exec(compile(script, "<opsctl effect>", "exec"), module.__dict__)
    return module


def pass_with(given: dict[str, Any]) -> None:
    """Only the newest claim on this host may change it: a driver that was thawed after another took over is refused.

    Tokens of two installations do not say who works here now: while one's claim is young or its work goes on, the
    other waits. Young is told by this host's clock alone, which may be wrong, but is the same for both.
    """
    if not given.get("claimant") or not given.get("token"):
        raise Refuse("nobody's: an effect on this host needs a claim")
    now = time.time()
    mine = {"claimant": given["claimant"], "installation": given.get("installation", "")}
    claim = {**mine, "token": given["token"], "at": now, "seconds": given.get("claim_seconds", CLAIM_SECONDS)}
    last = standing() or {**claim, "token": 0}
    if last["claimant"] == claim["claimant"] and claim["token"] < last["token"]:
        raise Refuse("a newer claim on this host exists (fence %d, this is %d)" % (last["token"], claim["token"]))
    if {**last, **mine} != last and given.get("held"):
        raise Refuse("the claim on this host was lost meanwhile: since then %s was at work here" % named(last))
    if {**last, **mine} != last:
        until = last["at"] + last.get("seconds", CLAIM_SECONDS)
        # A clock that was set back makes no claim old; one from a far future would bind for ever.
        if abs(now - last["at"]) < until - last["at"]:
            when = time.strftime("until %Y-%m-%d %H:%M:%SZ at most", time.gmtime(until))
            raise Refuse(ANOTHER % (named(last), when, named(claim)))
        if installing():
            raise Refuse(ANOTHER % (named(last), "its installation still runs", named(claim)))
    keep(claim)


def standing() -> dict[str, Any] | None:
    try:
        with open(os.path.join(BASE, "fence.json"), encoding="utf-8") as stream:
            found: Any = json.load(stream)
    except FileNotFoundError:
        return None
    except ValueError:
        found = None
    if not isinstance(found, dict) or any(not isinstance(found.get(name), kind) for name, kind in SHAPE.items()):
        # Not nobody's: an old driver that was thawed would pass.
        raise Refuse("whose claim stands on this host cannot be read; " + MEND)
    claim: dict[str, Any] = found
    return claim


def keep(claim: dict[str, Any]) -> None:
    """A file that is whole or not there, also after a power cut."""
    path = os.path.join(BASE, "fence.json")
    with open(path + ".part", "w", encoding="utf-8") as stream:
        json.dump(claim, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.chmod(path + ".part", 0o600)
    os.replace(path + ".part", path)


def named(claim: dict[str, Any]) -> str:
    return "%s (%s)" % (claim["claimant"], claim.get("installation") or "unknown store")


def installing() -> bool:
    """Whether an installation of opsctl is under way here (install.py names its units so)."""
    words = ["systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating", "opsctl-install-*"]
    asked = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, env=ENVIRONMENT, check=False)
    return bool(asked.stdout.strip())
