"""What dnf would install on this host, in the same words as pending.py where apt is: one look, nothing is changed.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl. Reads only what dnf has fetched
already (`-C`), so it waits for no mirror; with `refresh` the lists are fetched first. The formats are those of dnf 4
(RHEL 8 and 9) with LC_ALL=C: dnf(8), dnf-updateinfo, needs-restarting(1). What cannot be found out is null, with its
reason in `not_known`.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import time
from typing import Any, Callable

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "LANGUAGE": "C", "HOME": "/root"}
CACHE = "/var/cache/dnf"
LOCKS = ("/var/cache/dnf/*.pid", "/var/lib/dnf/*.pid", "/var/run/dnf.pid")
HELD = "/etc/dnf/plugins/versionlock.list"
INSTALLED = "%{NAME}.%{ARCH} %{EPOCHNUM}:%{VERSION}-%{RELEASE} %{INSTALLTIME}\\n"
# NAME.ARCH EVR REPOSITORY; long ones go on in the next lines, set in further.
UPDATE = re.compile(r"^(\S+)\.(\S+)\s+(\S+)\s+(\S+)$")
ROW = re.compile(r"^(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+([\d.]+) ([kMG]?)$")
ADVISORY = re.compile(r"^\S+\s+\S+\s+(\S+)-(\d+:)?([^-\s]+-[^-\s]+)\.([^.\s]+)$")
SIZES = {"": 1, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30}
REBOOTING = re.compile(r"^(kernel(-core|-uek.*|-rt.*)?|glibc|linux-firmware|systemd|dbus(-broker|-daemon)?)$")
# What dnf installs beside the old version (installonlypkgs of dnf.conf(5)); rpm keeps several keys.
SEVERAL = re.compile(r"^(kernel(-core|-modules(-core|-extra)?|-devel|-uek.*|-rt.*)?|gpg-pubkey)(\.|$)")


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`refresh`: fetch the package lists first; `security_only`: what a security upgrade alone would do."""
    not_known: list[dict[str, str]] = []

    def part(what: str, read: Callable[..., Any], *given: Any) -> Any:
        try:
            return read(*given)
        except Exception as error:  # noqa: BLE001 - the other parts are still worth having
            not_known.append({"what": what, "why": str(error) or type(error).__name__})
            return None

    refreshed = refresh() if arguments.get("refresh") else None
    installed = part("installed packages", lambda: installed_packages(run("rpm", "-qa", "--qf", INSTALLED)))
    advised = part("security updates", lambda: advisories(dnf("updateinfo", "list", "--security")))
    offered = part("pending updates", lambda: updates(dnf("check-update", good=(0, 100))))
    words = ("upgrade", "--assumeno") + (("--security",) if arguments.get("security_only") else ())
    rows = part("transaction", lambda: transaction(dnf(*words, quiet=False, good=(0, 1))))
    known = installed is not None and advised is not None and offered is not None and rows is not None
    packages = described(rows["packages"], installed or {}, advised or set()) if known and rows else []
    return {
        "manager": "dnf",
        "refreshed": refreshed,
        "packages": packages,
        "removed": rows["removed"] if known and rows else [],
        "pending": len(offered) if known else None,
        "pending_security": sum((one[0], one[2]) in advised for one in offered) if known else None,
        "kept_back": left_behind(offered, packages) if known and not arguments.get("security_only") else None,
        "phased": [],
        "held": part("held packages", held),
        "download_bytes": rows["bytes"] if known and rows else None,
        "free_bytes": part("space for the download", lambda: shutil.disk_usage("/var/cache").free),
        "reboot": part("reboot", reboot, packages) or {"required": False, "because_of": [], "coming": []},
        "dpkg": {
            "audit": None if installed is None else doubles(installed),
            "interrupted": False,
            "lock_holder": part("lock holder", lock_holder),
        },
        "lists_age_seconds": part("age of the package lists", lists_age),
        "history": None if installed is None else last_change(installed),
        "not_known": not_known,
    }


def command(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, env=ENVIRONMENT, timeout=300, check=False
    )


def run(*words: str, good: tuple[int, ...] = (0,)) -> str:
    done = command(*words)
    if done.returncode not in good:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise RuntimeError("%s: %s" % (" ".join(words[:3]), said[-1] if said else "exit %d" % done.returncode))
    return done.stdout.decode("utf-8", "replace")


def dnf(*words: str, quiet: bool = True, good: tuple[int, ...] = (0,)) -> str:
    return run("dnf", "-C", *(("-q",) if quiet else ()), *words, good=good)


def refresh() -> str:
    """Fetch the package lists; what went wrong, or empty."""
    try:
        run("dnf", "-q", "makecache")
    except RuntimeError as error:
        return str(error)
    return ""


def installed_packages(text: str) -> dict[str, list[tuple[str, int]]]:
    """NAME.ARCH -> versions with the times of their installation; several of a kernel, else one."""
    found: dict[str, list[tuple[str, int]]] = {}
    for line in text.splitlines():
        name, version, at = line.split()
        found.setdefault(name, []).append((without_zero(version), int(at)))
    return found


def without_zero(version: str) -> str:
    """dnf leaves out an epoch of 0, rpm's EPOCHNUM writes it."""
    return version[2:] if version.startswith("0:") else version


def whole_lines(text: str, indent: int) -> list[str]:
    """Lines as they were before dnf folded them: what is set in further than `indent` belongs to the line before."""
    found: list[str] = []
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        if found and found[-1] and line.strip() and depth > indent:
            found[-1] += " " + line.strip()
        else:
            found.append(line.strip())
    return found


def updates(text: str) -> list[tuple[str, str, str]]:
    """Name, architecture and version of each line of check-update; those that only obsolete others are no updates."""
    found = []
    for line in whole_lines(text.partition("Obsoleting Packages")[0], 0):
        match = UPDATE.match(line)
        if match:
            found.append((match.group(1), match.group(2), match.group(3)))
    return found


def advisories(text: str) -> set[tuple[str, str]]:
    """Name and version of each package with a security advisory."""
    matches = filter(None, map(ADVISORY.match, text.splitlines()))
    return {(match.group(1), without_zero((match.group(2) or "") + match.group(3))) for match in matches}


def transaction(text: str) -> dict[str, Any]:
    """The tables of `upgrade --assumeno`. Raises where dnf ended without either a table or "Nothing to do"."""
    if "Nothing to do." in text:
        return {"packages": [], "removed": [], "bytes": 0}
    if "Transaction Summary" not in text:
        said = text.strip().splitlines()
        raise RuntimeError("dnf upgrade: %s" % (said[-1] if said else "no answer"))
    packages, removed, size, section = [], [], 0.0, ""
    for line in whole_lines(text.partition("Transaction Summary")[0], 1):
        match = ROW.match(line.partition(" replacing ")[0].strip())
        if line.endswith(":"):
            section = line
        elif match and section.startswith("Removing"):
            removed.append(match.group(1))
        elif match and section.startswith(("Installing", "Upgrading", "Downgrading")):
            name, arch, version, repository, count, unit = match.groups()
            packages.append((name, arch, version, repository))
            size += float(count) * SIZES[unit]
    return {"packages": packages, "removed": removed, "bytes": int(size)}


def described(
    rows: list[tuple[str, ...]], installed: dict[str, list[tuple[str, int]]], advised: set[tuple[str, str]]
) -> list[dict[str, Any]]:
    """The rows as packages from version to version; a kernel is installed beside the old one, and so is new."""
    return [
        {
            "name": name,
            "installed": "" if SEVERAL.match(name) else installed.get(name + "." + arch, [("", 0)])[-1][0],
            "candidate": version,
            "security": (name, version) in advised,
            "origin": repository,
        }
        for name, arch, version, repository in rows
    ]


def left_behind(offered: list[tuple[str, str, str]], packages: list[dict[str, Any]]) -> list[str]:
    """What is offered and yet not in the transaction."""
    return sorted({one[0] for one in offered} - {package["name"] for package in packages})


def held() -> list[str]:
    """Lines of dnf's versionlock; none where the plugin has no list."""
    if not os.path.exists(HELD):
        return []
    with open(HELD, encoding="utf-8", errors="replace") as stream:
        return [line.strip() for line in stream if line.strip() and not line.startswith("#")]


def doubles(installed: dict[str, list[tuple[str, int]]]) -> list[str]:
    """Packages in two versions, of which there should be one: what a transaction that was cut off leaves behind."""
    return sorted(
        "%s is installed %d times" % (name, len(versions))
        for name, versions in installed.items()
        if len(versions) > 1 and not SEVERAL.match(name)
    )


def lock_holder() -> str:
    """The program whose process stands in one of dnf's lock files, or empty."""
    for path in [path for pattern in LOCKS for path in glob.glob(pattern)]:
        with open(path) as stream:
            pid = stream.read().strip()
        if pid.isdigit() and os.path.exists("/proc/%s/comm" % pid):
            with open("/proc/%s/comm" % pid) as stream:
                return "%s (process %s)" % (stream.read().strip() or "a process", pid)
    return ""


def reboot(packages: list[dict[str, Any]]) -> dict[str, Any]:
    """needs-restarting -r: 0 no, 1 yes with the packages as `  * NAME`."""
    coming = sorted({package["name"] for package in packages if REBOOTING.match(package["name"])})
    text = run("needs-restarting", "-r", good=(0, 1))
    names = re.findall(r"^\s+\* (\S+)", text, re.MULTILINE)
    if not names and "should not be necessary" not in text and "No core libraries" not in text:
        raise RuntimeError("needs-restarting gave no answer")
    return {"required": bool(names), "because_of": names, "coming": coming}


def lists_age() -> int | None:
    """Seconds since the oldest list was fetched; None where there is none."""
    found = [os.stat(path).st_mtime for path in glob.glob(CACHE + "/*/repodata/repomd.xml")]
    return int(max(0, time.time() - min(found))) if found else None


def last_change(installed: dict[str, list[tuple[str, int]]]) -> list[dict[str, Any]]:
    """When a package was last installed; rpm does not say what else there was."""
    at = max((at for versions in installed.values() for _, at in versions), default=None)
    if at is None:
        return []
    said = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(at))
    return [{"at": said, "upgraded": None, "installed": None, "removed": None, "ended": True}]
