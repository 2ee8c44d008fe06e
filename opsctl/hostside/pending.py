"""What apt would install on this host, and whether dpkg is fit for it: one look, nothing is changed.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl. The truth is apt's own
simulation of the whole transaction (`apt-get -s`); the words are those of apt-get(8) with LC_ALL=C. With `refresh` the
package lists are fetched first, which (with apt's stamp of success) is the one thing that this script changes. What
cannot be found out is null, with its reason in `not_known`; pending_dnf.py gives the same answer where dnf is.
"""

from __future__ import annotations

import glob
import os
import re
import subprocess
import time
from typing import Any, Callable

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
KEPT_BACK = "The following packages have been kept back"
PHASED = "The following upgrades have been deferred due to phasing"
UPDATES, HISTORY = "/var/lib/dpkg/updates", "/var/log/apt/history.log"
LATEST = 3
KEPT, STATUS = "/var/lib/opsctl/kept", "/var/lib/dpkg/status"
# A line of `apt-cache policy` (apt-cache(8)) that begins what is known of one version.
VERSION_LINE = re.compile(r"^ (?:\*\*\*|   ) (\S+) -?\d+$")
DATE = re.compile(rb"^Date: (.+)$", re.MULTILINE)
# How mirrors write it; all else is left to email.utils, which takes longer to import than all this.
USUAL_DATE = re.compile(r"[A-Z][a-z]{2}, (\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}:\d{2}:\d{2}) (?:UTC|GMT|\+0000)")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LISTS, STAMP = "/var/lib/apt/lists", "/var/lib/apt/periodic/update-success-stamp"
LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock")
# Whose update wants a reboot: the running copy stays in use until then.
REBOOTING = re.compile(r"^(linux-image-.*|.*-kernel|libc6|systemd|dbus|dbus-daemon)$")


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`refresh`: fetch the package lists first; `security_only`, `packages`: simulate these updates alone.

    `planned` are the `{"name", "version"}` of a frozen plan: simulate exactly these, with `downgrade` also where they
    are older than what is installed. With `brief` nothing else is looked at but dpkg's health, what is installed of
    them, and where `mirrors` says so or they cannot be had the state of the mirrors.
    """
    brief = arguments.get("brief")
    not_known: list[dict[str, str]] = []

    def part(what: str, read: Callable[..., Any], *given: Any) -> Any:
        try:
            return read(*given)
        except Exception as error:  # noqa: BLE001 - the other parts are still worth having
            not_known.append({"what": what, "why": str(error) or type(error).__name__})
            return None

    def more(what: str, read: Callable[..., Any], *given: Any) -> Any:
        return None if brief else part(what, read, *given)

    refreshed = refresh() if arguments.get("refresh") else None
    age = part("age of the package lists", lists_age)
    found = more("transaction", whole_transaction, age)
    nothing: dict[str, Any] = {"packages": [], "removed": []}
    upgrade, text = found or (nothing, "")
    wanted = [package for package in upgrade["packages"] if package["security"]]
    asked = arguments.get("packages") or []
    transaction = upgrade
    if asked or arguments.get("security_only"):
        chosen = wanted if arguments.get("security_only") else upgrade["packages"]
        chosen = [package for package in chosen if package["installed"] and (not asked or is_one_of(package, asked))]
        names = ["%s=%s" % (package["name"], package["candidate"]) for package in chosen]
        transaction = simulate("install", "--no-install-recommends", *names)[0] if names else nothing
    planned, downgrade = arguments.get("planned") or [], arguments.get("downgrade")
    why = ""
    lacking: list[str] = []
    if planned:
        transaction, why = planned_transaction(planned, downgrade)
    if why:
        lacking = part("offered versions", not_offered, planned, downgrade) or []
    return {
        "planned_why": why,
        "not_offered": lacking,
        "installed": installed_versions(planned),
        "mirrors": part("state of the mirrors", mirrors) if not brief or why or arguments.get("mirrors") else None,
        "manager": "apt",
        "refreshed": refreshed,
        "packages": transaction["packages"],
        "removed": transaction["removed"],
        "architecture": "" if brief else run("dpkg", "--print-architecture").strip(),
        "unknown": unknown(asked),
        "pending": len(upgrade["packages"]) if found else None,
        "pending_security": len(wanted) if found else None,
        "kept_back": below(KEPT_BACK, text) if found else None,
        "phased": below(PHASED, text) if found else None,
        "held": more("held packages", lambda: run("apt-mark", "showhold", check=True).split()),
        "download_bytes": part("download size", download_bytes, transaction["packages"]) if found else None,
        "free_bytes": part("space for the download", free_bytes),
        "reboot": reboot(transaction["packages"]),
        "dpkg": {
            "audit": part("dpkg's health", audit),
            "interrupted": part("dpkg's journal", interrupted),
            "lock_holder": part("lock holder", lock_holder),
        },
        "lists_age_seconds": age,
        "history": more("last updates", history),
        "not_known": not_known,
    }


def command(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, env=ENVIRONMENT, timeout=300, check=False
    )


def run(*words: str, check: bool = False) -> str:
    done = command(*words)
    if check and done.returncode:
        raise RuntimeError("%s: %s" % (" ".join(words[:2]), last_line(done)))
    return done.stdout.decode("utf-8", "replace")


def last_line(done: subprocess.CompletedProcess[bytes]) -> str:
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return said[-1] if said else "exit %d" % done.returncode


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


def whole_transaction(age: int | None) -> tuple[dict[str, Any], str]:
    """All that apt would do. Raises where it would say "nothing" only because it has no lists to know from."""
    if age is None:
        raise LookupError("the package lists were never fetched")
    return simulate("dist-upgrade")


def simulate(*words: str) -> tuple[dict[str, Any], str]:
    """The whole transaction of an apt-get command, and all that apt said."""
    text = run(*APT_GET, "-s", *words, check=True)
    packages, removed = [], []
    for line in text.splitlines():
        found = INST.match(line)
        if found:
            name, old, new, origins = found.groups()
            security = any("security" in origin.lower() for origin in origins.split(","))
            packages.append(
                {"name": name, "installed": old or "", "candidate": new, "security": security, "origin": origins}
            )
        elif REMV.match(line):
            removed.append(line.split()[1])
    return {"packages": packages, "removed": removed}, text


def planned_transaction(planned: list[dict[str, str]], downgrade: Any) -> tuple[dict[str, Any], str]:
    """What apt would do for exactly these versions, or nothing and why it would not."""
    options = ("--no-install-recommends", *(("--allow-downgrades",) if downgrade else ()))
    try:
        return simulate("install", *options, *[spec(package, downgrade) for package in planned])[0], ""
    except RuntimeError as error:
        return {"packages": [], "removed": []}, str(error).partition(": ")[2] or str(error)


def spec(package: dict[str, str], downgrade: Any) -> str:
    """How apt is told of a version: the copy that an earlier installation kept, else by name from the mirror.

    The same text stands in install.py.
    """
    file_name = "%s_%s_*.deb" % (package["name"].partition(":")[0], package["version"].replace(":", "%3a"))
    copies = sorted(glob.glob(os.path.join(KEPT, file_name))) if downgrade else []
    return copies[0] if copies else "%s=%s" % (package["name"], package["version"])


def not_offered(planned: list[dict[str, str]], downgrade: Any) -> list[str]:
    """The packages whose planned version neither a mirror offers nor, for a downgrade, a kept copy holds."""
    sought = [package for package in planned if "=" in spec(package, downgrade)]
    offered: set[tuple[str, str]] = set()
    name = version = ""
    for line in run("apt-cache", "policy", *[package["name"] for package in sought], check=True).splitlines():
        found = VERSION_LINE.match(line)
        if line[:1].strip():
            name = line.rstrip(":")
        elif found:
            version = found.group(1)
        elif line.startswith("        ") and STATUS not in line:
            offered.add((name, version))
    return [package["name"] for package in sought if (package["name"], package["version"]) not in offered]


def installed_versions(planned: list[dict[str, str]]) -> list[dict[str, str]]:
    """The versions as they are now; a package that is not installed is not among them."""
    if not planned:
        return []
    form = "${Package}\t${Architecture}\t${db:Status-Status}\t${Version}\n"
    found: dict[str, str] = {}
    for line in run("dpkg-query", "-W", "-f=" + form, *[package["name"] for package in planned]).splitlines():
        fields = line.split("\t")
        if len(fields) == 4 and fields[2] == "installed":
            found[fields[0] + ":" + fields[1]] = fields[3]
            found.setdefault(fields[0], fields[3])
    names = [package["name"] for package in planned]
    return [{"name": name, "version": found[name]} for name in names if name in found]


def mirrors() -> list[dict[str, Any]]:
    """Each list's InRelease (or unsigned Release) as it lies here: whose it is by its file's name, hash and date."""
    import hashlib

    found = []
    for name in sorted(os.listdir(LISTS)):
        if name.endswith("Release") and not name.startswith("."):
            with open(os.path.join(LISTS, name), "rb") as stream:
                content = stream.read()
            date = DATE.search(content)
            found.append(
                {
                    "name": name.rpartition("_")[0],
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "date": iso(date.group(1).decode("ascii", "replace")) if date else None,
                }
            )
    return found


def iso(text: str) -> str | None:
    """The date of a Release file (RFC 5322, or with the zone as a word) in UTC."""
    usual = USUAL_DATE.fullmatch(text.strip())
    if usual and usual.group(2) in MONTHS:
        day, month, year, clock = usual.groups()
        return "%s-%02d-%02dT%s+00:00" % (year, MONTHS.index(month) + 1, int(day), clock)
    import email.utils

    parsed = email.utils.parsedate_tz(text)
    if parsed is None:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(email.utils.mktime_tz(parsed)))


def is_one_of(package: dict[str, Any], asked: list[str]) -> bool:
    return package["name"] in asked or package["name"].partition(":")[0] in asked


def unknown(asked: list[str]) -> list[dict[str, Any]]:
    """The names of `asked` that no installed package bears, each with installed ones that look like it."""
    if not asked:
        return []
    import difflib

    lines = run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\n").splitlines()
    # The second letter is the state (dpkg-query(1)): not installed, or only configuration files left.
    installed = sorted({line.partition("\t")[2] for line in lines if line[1:2] not in ("n", "c")})
    return [
        {"name": name, "like": difflib.get_close_matches(name.partition(":")[0], installed, 3)}
        for name in asked
        if name.partition(":")[0] not in installed
    ]


def below(heading: str, text: str) -> list[str]:
    """The names in the indented lines below one of apt's headings."""
    names: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith(heading):
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
    options = ("--print-uris", "-qq", "--no-install-recommends", "--allow-downgrades")
    text = run(*APT_GET, *options, "install", *names, check=True)
    return sum(int(found.group(1)) for found in map(URI.match, text.splitlines()) if found)


def free_bytes() -> int:
    """As df(1) shows it: what may still be written by those who are not root."""
    there = os.statvfs("/var/cache/apt")
    return there.f_bavail * there.f_frsize


def reboot(packages: list[dict[str, Any]]) -> dict[str, Any]:
    names = []
    if os.path.exists("/run/reboot-required.pkgs"):
        with open("/run/reboot-required.pkgs") as stream:
            names = sorted(set(stream.read().split()))
    coming = sorted(package["name"] for package in packages if REBOOTING.match(package["name"].partition(":")[0]))
    return {"required": os.path.exists("/run/reboot-required"), "because_of": names, "coming": coming}


def audit() -> list[str]:
    """What dpkg --audit complains of: packages half installed, unpacked and never configured."""
    done = command("dpkg", "--audit")
    if done.returncode > 1 or done.stderr:  # 1: it found something to complain of
        raise RuntimeError(last_line(done))
    return [line.strip() for line in done.stdout.decode("utf-8", "replace").splitlines() if line.startswith(" ")]


def interrupted() -> bool:
    """Whether dpkg was cut off: it folds these files into its database at each good end, and apt refuses to work."""
    return any(name.isdigit() for name in os.listdir(UPDATES))


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


def history() -> list[dict[str, Any]]:
    """The latest transactions of apt, newest first; its log names command lines too, which are never told."""
    import gzip

    found: list[dict[str, Any]] = []
    for path, opened in ((HISTORY, open), (HISTORY + ".1.gz", gzip.open)):
        if os.path.exists(path):
            with opened(path, "rt", encoding="utf-8", errors="replace") as stream:
                blocks = [block for block in stream.read().split("\n\n") if "Start-Date" in block]
            found += [one_transaction(block) for block in reversed(blocks)]
        if len(found) >= LATEST:
            break
    return found[:LATEST]


def one_transaction(block: str) -> dict[str, Any]:
    """One block of the history; its times are the host's own local ones. Without an end apt was cut off."""
    fields = dict(line.split(": ", 1) for line in block.strip().splitlines() if ": " in line)
    at = time.mktime(time.strptime(" ".join(fields["Start-Date"].split()), "%Y-%m-%d %H:%M:%S"))
    counts = {
        word: fields[name].count(" (") if name in fields else 0
        for word, name in (("upgraded", "Upgrade"), ("installed", "Install"), ("removed", "Remove"))
    }
    ended = "End-Date" in fields and "Error" not in fields
    return dict(counts, at=time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(at)), ended=ended)
