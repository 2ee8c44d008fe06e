"""Everything that dpkg has on this host, and what the host is: one look, nothing is changed.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl. The words are those of
dpkg-query(1) and os-release(5).
"""

from __future__ import annotations

import subprocess
from typing import Any

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
FORM = "${Package}\\t${Architecture}\\t${Version}\\t${db:Status-Status}\\n"
GONE = ("not-installed", "config-files")
OS_RELEASE = "/etc/os-release"


def main(_arguments: dict[str, Any]) -> dict[str, Any]:
    """`os_release` as `debian-12`, `architecture`, `packages` that are whole, and the names of those that are not."""
    rows = [line.split("\t") for line in run("dpkg-query", "-W", "-f=" + FORM).splitlines()]
    there = [row for row in rows if len(row) == 4 and row[3] not in GONE]
    return {
        "os_release": os_release(),
        "architecture": run("dpkg", "--print-architecture").strip(),
        "packages": [
            {"name": name, "architecture": architecture, "version": version}
            for name, architecture, version, state in there
            if state == "installed"
        ],
        "broken": sorted(name for name, _, _, state in there if state != "installed"),
    }


def run(*words: str) -> str:
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, env=ENVIRONMENT, timeout=100, check=True
    )
    return done.stdout.decode("utf-8", "replace")


def os_release() -> str:
    said = {}
    with open(OS_RELEASE, encoding="utf-8", errors="replace") as stream:
        for line in stream:
            key, _, value = line.strip().partition("=")
            said[key] = value.strip("'\"")
    return "%s-%s" % (said.get("ID", "?"), said.get("VERSION_ID", "?"))
