"""What apt would install on this host, and whether dpkg is fit for it: one look, nothing is changed.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl. The truth is apt's own
simulation of the whole transaction (`apt-get -s`); the words are those of apt-get(8) with LC_ALL=C. With `refresh` the
package lists are fetched first, which (with apt's stamp of success) is the one thing that this script changes.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import time
from typing import Any

ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "LANGUAGE": "C",
    "HOME": "/root",
    "DEBIAN_FRONTEND": "noninteractive",
}
APT_GET = ("apt-get", "-o", "Debug::NoLocking=true", "-o", "APT::Get::Show-User-Simulation-Note=false")
# Inst NAME [OLD] (NEW ORIGIN, ORIGIN [ARCH]) ...; a new package has no [OLD].
INST = re.compile(r"^Inst (\S+) (?:\[(\S+)\] )?\((\S+) (.*?) ?\[\S+\]\)")
REMV = re.compile(r"^(?:Remv|Purg) (\S+)")
URI = re.compile(r"^'[^']*' \S+ (\d+)")
LISTS, STAMP = "/var/lib/apt/lists", "/var/lib/apt/periodic/update-success-stamp"
LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock")
# Whose update wants a reboot: the running copy stays in use until then.
REBOOTING = re.compile(r"^(linux-image-.*|.*-kernel|libc6|systemd|dbus|dbus-daemon)$")


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`refresh`: fetch the package lists first; `security_only`, `packages`: simulate these updates alone."""
    refreshed = refresh() if arguments.get("refresh") else None
    upgrade, kept_back = simulate("dist-upgrade")
    wanted = [package for package in upgrade["packages"] if package["security"]]
    asked = arguments.get("packages") or []
    transaction = upgrade
    if asked or arguments.get("security_only"):
        chosen = wanted if arguments.get("security_only") else upgrade["packages"]
        chosen = [package for package in chosen if package["installed"] and (not asked or is_one_of(package, asked))]
        names = ["%s=%s" % (package["name"], package["candidate"]) for package in chosen]
        transaction = (
            simulate("install", "--no-install-recommends", *names)[0] if names else {"packages": [], "removed": []}
        )
    return {
        "refreshed": refreshed,
        "packages": transaction["packages"],
        "removed": transaction["removed"],
        "architecture": run("dpkg", "--print-architecture").strip(),
        "unknown": unknown(asked),
        "pending": len(upgrade["packages"]),
        "pending_security": len(wanted),
        "kept_back": kept_back,
        "held": run("apt-mark", "showhold").split(),
        "download_bytes": download_bytes(transaction["packages"]),
        "free_bytes": shutil.disk_usage("/var/cache/apt").free,
        "boot_free_bytes": shutil.disk_usage("/boot").free,
        "reboot": reboot(transaction["packages"]),
        "dpkg": {"audit": audit(), "lock_holder": lock_holder()},
        "lists_age_seconds": lists_age(),
        "patchers": patchers(),
        "clock": time.time(),
    }


def run(*words: str, check: bool = False) -> str:
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, env=ENVIRONMENT, timeout=300, check=False
    )
    if check and done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise RuntimeError("%s: %s" % (" ".join(words[:2]), said[-1] if said else "exit %d" % done.returncode))
    return done.stdout.decode("utf-8", "replace")


def refresh() -> str:
    """Fetch the package lists; what went wrong, or empty."""
    words = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=60", "-o", "APT::Update::Error-Mode=any", "update")
    try:
        run(*words, check=True)
    except RuntimeError as error:
        return str(error)
    # With `Error-Mode=any` every list is good now, also where apt found nothing new and so left no trace of it.
    os.makedirs(os.path.dirname(STAMP), exist_ok=True)
    with open(STAMP, "a"):
        os.utime(STAMP)
    return ""


def simulate(*words: str) -> tuple[dict[str, Any], list[str]]:
    """The whole transaction of an apt-get command, and the packages that it keeps back."""
    text = run(*APT_GET, "-s", *words, check=True)
    packages, removed = [], []
    for line in text.splitlines():
        found = INST.match(line)
        if found:
            name, old, new, origins = found.groups()
            security = any("security" in origin.lower() for origin in origins.split(","))
            packages.append({"name": name, "installed": old or "", "candidate": new, "security": security})
        elif REMV.match(line):
            removed.append(line.split()[1])
    return {"packages": packages, "removed": removed}, kept_back(text)


def is_one_of(package: dict[str, Any], asked: list[str]) -> bool:
    return package["name"] in asked or package["name"].partition(":")[0] in asked


def unknown(asked: list[str]) -> list[dict[str, Any]]:
    """The names of `asked` that no installed package bears, each with installed ones that look like it."""
    if not asked:
        return []
    lines = run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\n").splitlines()
    # The second letter is the state (dpkg-query(1)): not installed, or only configuration files left.
    installed = sorted({line.partition("\t")[2] for line in lines if line[1:2] not in ("n", "c")})
    return [
        {"name": name, "like": difflib.get_close_matches(name.partition(":")[0], installed, 3)}
        for name in asked
        if name.partition(":")[0] not in installed
    ]


def kept_back(text: str) -> list[str]:
    """The indented lines below apt's heading."""
    names: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("The following packages have been kept back"):
            inside = True
        elif inside and line.startswith("  "):
            names += line.split()
        else:
            inside = False
    return names


def download_bytes(packages: list[dict[str, Any]]) -> int:
    if not packages:
        return 0
    names = ["%s=%s" % (package["name"], package["candidate"]) for package in packages]
    text = run(*APT_GET, "--print-uris", "-qq", "--no-install-recommends", "--allow-downgrades", "install", *names)
    return sum(int(found.group(1)) for found in map(URI.match, text.splitlines()) if found)


def reboot(packages: list[dict[str, Any]]) -> dict[str, Any]:
    names = []
    if os.path.exists("/run/reboot-required.pkgs"):
        with open("/run/reboot-required.pkgs") as stream:
            names = sorted(set(stream.read().split()))
    coming = sorted(package["name"] for package in packages if REBOOTING.match(package["name"].partition(":")[0]))
    return {"required": os.path.exists("/run/reboot-required"), "because_of": names, "coming": coming}


def audit() -> list[str]:
    """What dpkg --audit complains of: packages half installed, unpacked and never configured."""
    return [line.strip() for line in run("dpkg", "--audit").splitlines() if line.startswith(" ")]


def lock_holder() -> str:
    """The process that holds one of apt's locks, or empty. /proc/locks names device and inode (proc(5))."""
    inodes = {os.stat(path).st_ino: path for path in LOCKS if os.path.exists(path)}
    with open("/proc/locks") as stream:
        for line in stream:
            fields = line.split()
            if "->" in fields or len(fields) < 6:
                continue
            if int(fields[5].rpartition(":")[2]) in inodes and int(fields[4]) > 0:
                return described(int(fields[4]))
    return ""


def described(pid: int) -> str:
    """The program's name and its process: never its arguments, which may hold secrets and would be kept (proc(5))."""
    try:
        with open("/proc/%d/comm" % pid, "rb") as stream:
            name = stream.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""
    return "%s (process %d)" % (name or "a process", pid)


def lists_age() -> int | None:
    """Seconds since the package lists were last fetched; None where there are none."""
    at = lists_at()
    return None if at is None else int(max(0, time.time() - at))


def lists_at() -> float | None:
    """When the package lists were last fetched (seconds since 1970); None where there are none.

    The list files bear the mirror's times, and lists/partial moves with a failed update too. The folder moves when apt
    puts a new list in place; a success that found nothing new leaves only the stamp (Ansible's apt module reads both).
    The same text stands in pending.py and probe.py, the same rule in control PAT-04.
    """
    if not os.path.isdir(LISTS) or not any(name.endswith("Release") for name in os.listdir(LISTS)):
        return None
    return max(os.stat(path).st_mtime for path in (LISTS, STAMP) if os.path.exists(path))


def patchers() -> list[str]:
    """Other things that patch this host on their own: timers that are active, cron-apt."""
    units = ("apt-daily.timer", "apt-daily-upgrade.timer", "unattended-upgrades.service", "dnf-automatic.timer")
    active = run("systemctl", "is-active", *units).split()
    found = [unit for unit, state in zip(units, active) if state == "active"]  # noqa: B905 - Python 3.9
    return found + [path for path in ("/etc/cron.d/cron-apt",) if os.path.exists(path)]
