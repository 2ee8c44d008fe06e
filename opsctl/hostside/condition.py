"""What else matters before a host is patched, whichever its package manager: kernel, services, /boot, other patchers.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl; nothing is changed. Comes after
the script that read the transaction and looks at the packages in that answer. What cannot be found out is null, with
its reason in `not_known`.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from typing import Any, Callable, Iterator

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
PROC, BOOT, DPKG = "/proc", "/boot", "/var/lib/dpkg/info"
CONTAINER = "/run/systemd/container"  # systemd writes it where it runs in one (systemd's container interface)
NEEDRESTART = "/usr/sbin/needrestart"
# Units that install, fetch or hold the lock on their own; cron-apt has no unit.
AT_SHUTDOWN = "unattended-upgrades.service"
PATCHERS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    AT_SHUTDOWN,
    "packagekit.service",
    "dnf-automatic.timer",
    "dnf-automatic-install.timer",
    "dnf-automatic-download.timer",
    "yum-cron.service",
)
CRON_PATCHERS = ("/etc/cron.d/cron-apt",)
UNIT = re.compile(r"/([^/]+\.service)(?:/|$)")
SHIPPED_UNIT = re.compile(r"(?:/usr)?/lib/systemd/system/([^/]+\.service)")
# Only code counts: a log or a cache that was replaced wants no restart.
CODE = ("/usr/", "/lib", "/bin/", "/sbin/", "/opt/")
DELETED = " (deleted)"
KERNEL_IMAGE = re.compile(r"^(?:linux-image-(?:unsigned-)?\d|kernel-core$|kernel-uek-core$)")


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`before`: the answers of the scripts before this one; `packages` of the first are those that would change."""
    packages = [package for one in arguments.get("before", {}).values() for package in one.get("packages") or []]
    not_known: list[dict[str, str]] = []

    def part(what: str, read: Callable[..., Any], *given: Any) -> Any:
        try:
            return read(*given)
        except Exception as error:  # noqa: BLE001 - the other parts are still worth having
            not_known.append({"what": what, "why": str(error) or type(error).__name__})
            return None

    needs = part("needrestart", needrestart) if os.path.exists(NEEDRESTART) else None
    code = part("code in use", code_in_use)
    return {
        "kernel": {"running": platform.release(), "newest": part("newest kernel", newest_kernel, needs)},
        "services": {
            "stale": needs["services"] if needs else None if code is None else stale(code),
            "touched": None if code is None else part("services of these packages", touched, code, packages),
            "source": "needrestart" if needs else "maps",
        },
        "boot": {
            "free_bytes": part("space of /boot", lambda: shutil.disk_usage(BOOT).free),
            "needed_bytes": part("need of /boot", boot_need, packages),
        },
        "patchers": part("other patchers", patchers),
        "not_known": not_known,
    }


def run(*words: str) -> str:
    """What a command prints; its exit code is not asked for (is-active answers with it)."""
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, env=ENVIRONMENT, timeout=100, check=False
    )
    return done.stdout.decode("utf-8", "replace")


# --- the kernel ------------------------------------------------------------------------------------------------------


def newest_kernel(needs: dict[str, Any] | None) -> str:
    """The newest installed kernel of the flavour that runs. Raises where this host has none of its own."""
    if os.path.exists(CONTAINER):
        raise LookupError("a container runs the kernel of its machine")
    if needs and needs["kernel"]:
        return str(needs["kernel"])
    running = platform.release()
    found = [version for version in kernels() if flavour(version) == flavour(running)]
    if not found:
        raise LookupError("%s holds no kernel like the one that runs (%s)" % (BOOT, running))
    return max(found, key=by_number)


def kernels() -> list[str]:
    prefix = "vmlinuz-"
    return [name[len(prefix) :] for name in os.listdir(BOOT) if name.startswith(prefix) and "rescue" not in name]


def flavour(version: str) -> str:
    """`cloud-amd64` of 6.1.0-37-cloud-amd64; empty where the name has none (RHEL)."""
    found = re.search(r"-([a-z][a-z0-9-]*)$", version)
    return found.group(1) if found else ""


def by_number(version: str) -> list[tuple[int, int, str]]:
    """For sorting: runs of digits by their value, the rest by letter."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"\d+|[^\d.]+", version)]


def boot_need(packages: list[dict[str, Any]]) -> int:
    """What the kernels of this transaction will take in /boot: each as much as the largest that is there."""
    count = sum(bool(KERNEL_IMAGE.match(package["name"])) for package in packages)
    if not count:
        return 0
    sizes: dict[str, int] = {}
    for entry in os.scandir(BOOT):
        for version in kernels():
            if version in entry.name and entry.is_file():
                sizes[version] = sizes.get(version, 0) + entry.stat().st_size
    if not sizes:
        raise LookupError("%s holds no kernel whose size could be gone by" % BOOT)
    return count * max(sizes.values())


# --- services --------------------------------------------------------------------------------------------------------


def needrestart() -> dict[str, Any]:
    """What needrestart(1) lists in batch mode; it restarts nothing (`-r l`)."""
    found: dict[str, list[str]] = {}
    for line in run(NEEDRESTART, "-b", "-r", "l").splitlines():
        name, _, value = line.partition(": ")
        found.setdefault(name, []).append(value.strip())
    if "NEEDRESTART-VER" not in found:
        raise RuntimeError("needrestart gave no list")
    return {
        "services": sorted(set(found.get("NEEDRESTART-SVC", []))),
        "kernel": found.get("NEEDRESTART-KEXP", [""])[0],
    }


def code_in_use() -> dict[str, set[str]]:
    """Path of each file that a service has mapped as code -> the services; `PATH (deleted)` where it was replaced."""
    found: dict[str, set[str]] = {}
    for name in filter(str.isdigit, os.listdir(PROC)):
        try:
            service = service_of(read("%s/%s/cgroup" % (PROC, name)))
            mapped = set(code_of(read("%s/%s/maps" % (PROC, name)))) if service else set()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        for path in mapped:
            found.setdefault(path, set()).add(service)
    return found


def service_of(cgroups: str) -> str:
    """The service in /proc/PID/cgroup (cgroups(7)); empty for sessions and kernel threads."""
    found = UNIT.search(cgroups.replace("\n", "/\n/"))
    return found.group(1) if found else ""


def code_of(maps: str) -> Iterator[str]:
    """Paths of the executable mappings (proc(5): address, permissions, offset, device, inode, path)."""
    for line in maps.splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and "x" in fields[1] and fields[5].startswith(CODE):
            yield fields[5]


def stale(code: dict[str, set[str]]) -> list[str]:
    """Services that run on with code that is no longer on the disk: only a restart brings the new one."""
    return sorted({service for path, users in code.items() if path.endswith(DELETED) for service in users})


def touched(code: dict[str, set[str]], packages: list[dict[str, Any]]) -> list[str]:
    """Services that use code of the packages that would change, or whose unit file is in one of them."""
    names = {os.path.basename(path) for path in code}
    running = {service for users in code.values() for service in users}
    found: set[str] = set()
    for path in files_of([package["name"] for package in packages if package["installed"]]):
        unit = SHIPPED_UNIT.fullmatch(path)
        if unit and unit.group(1) in running:
            found.add(unit.group(1))
        if os.path.basename(path) in names:
            found |= code.get(path, set()) | code.get(os.path.realpath(path), set())
    return sorted(found)


def files_of(packages: list[str]) -> Iterator[str]:
    """The files of installed packages: dpkg's own lists, or rpm's answer."""
    if not packages:
        return
    if not os.path.isdir(DPKG):
        yield from run("rpm", "-ql", *packages).splitlines()
        return
    lists = {name for name in os.listdir(DPKG) if name.endswith(".list")}
    for package in packages:
        plain = package.partition(":")[0]
        for name in lists:
            if name == plain + ".list" or name.startswith(plain + ":"):
                yield from read("%s/%s" % (DPKG, name)).splitlines()


def read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()


# --- others ----------------------------------------------------------------------------------------------------------


def installs_at_shutdown() -> bool:
    """Unless told so, Debian's service only lets a run of the timer's end before the host goes down."""
    told = run("apt-config", "dump", "--format", "%v", "Unattended-Upgrade::InstallOnShutdown")
    return told.strip().lower() in ("true", "yes", "on", "1", "enable", "with")


def patchers() -> list[str]:
    """Other things that are set to patch this host on their own."""
    states = run("systemctl", "is-active", *PATCHERS).split()
    if len(states) != len(PATCHERS):
        raise RuntimeError("systemctl told of %d units instead of %d" % (len(states), len(PATCHERS)))
    active = [unit for unit, state in zip(PATCHERS, states) if state in ("active", "activating")]  # noqa: B905 - 3.9
    if AT_SHUTDOWN in active and not installs_at_shutdown():
        active.remove(AT_SHUTDOWN)
    return active + [path for path in CRON_PATCHERS if os.path.exists(path)]
