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
    """`os_release` as `debian-12`, `architecture`, and of what dpkg has the whole and the `broken` ones.

    `packages` is one text, a line `NAME TAB ARCHITECTURE TAB VERSION` each, sorted: hosts that are alike give the same.
    """
    rows = [line.split("\t") for line in run("dpkg-query", "-W", "-f=" + FORM).splitlines()]
    there = [row for row in rows if len(row) == 4 and row[3] not in GONE]
    return {
        "os_release": os_release(),
        "architecture": run("dpkg", "--print-architecture").strip(),
        "packages": "".join(sorted("\t".join(row[:3]) + "\n" for row in there if row[3] == "installed")),
        "broken": sorted(row[0] for row in there if row[3] != "installed"),
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
