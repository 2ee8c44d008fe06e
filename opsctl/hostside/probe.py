"""A read-only look at a host, everything in one round trip.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl. What cannot be read is null,
never a guess; each part stands alone, so one broken file or command costs only its own part.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import socket
import subprocess
import time
from typing import Any, Callable

# File systems that are no storage of this host: made by the kernel, or another machine's (a dead NFS server would hang
# us). `/` is reported whatever it is.
_KERNEL = (
    "autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fusectl hugetlbfs mqueue nsfs "
    "overlay proc pstore ramfs rpc_pipefs securityfs squashfs sysfs tmpfs tracefs"
)
_REMOTE = "9p afs ceph cifs glusterfs nfs nfs4 smb3"
NOT_ITS_OWN = frozenset((_KERNEL + " " + _REMOTE).split(" "))
KERNEL_FOLDERS = ("/dev/", "/proc/", "/run/", "/sys/")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
LISTS, STAMP = "/var/lib/apt/lists", "/var/lib/apt/periodic/update-success-stamp"
STA_UNSYNC = 0x40  # adjtimex(2)


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """`units` to look at, `exporter_port` to ask, `updates`: whether to count pending updates (half a second)."""
    began = time.time()
    parts: dict[str, Callable[[], object]] = {
        "hostname": socket.gethostname,
        "os": os_release,
        "kernel": platform.release,
        "architecture": platform.machine,
        "python": platform.python_version,
        "boot_id": lambda: read("/proc/sys/kernel/random/boot_id").strip(),
        "uptime": uptime,
        "load": os.getloadavg,
        "cpus": lambda: len(os.sched_getaffinity(0)),
        "memory": memory,
        "filesystems": filesystems,
        "disks": disks,
        "system_state": lambda: run("systemctl", "is-system-running").strip(),
        "failed_units": failed_units,
        "units": lambda: units(arguments.get("units", ())),
        "listening": listening,
        "addresses": addresses,
        "virtualization": lambda: run("systemd-detect-virt").strip() or None,
        "reboot": reboot,
        "clock_synchronized": clock_synchronized,
        "exporter": lambda: exporter(arguments.get("exporter_port", 9100)),
        "updates": lambda: pending_updates() if arguments.get("updates", True) else None,
    }
    answer: dict[str, object] = {}
    faults: dict[str, str] = {}
    for name, part in parts.items():
        try:
            answer[name] = part()
        except Exception as error:  # noqa: BLE001 - the other parts are still worth having
            answer[name] = None
            faults[name] = "%s: %s" % (type(error).__name__, error)
    answer["faults"] = faults
    answer["clock"] = {"began": began, "ended": time.time()}
    return answer


def read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def run(*command: str) -> str:
    """What a command prints; its exit code is not asked for (is-system-running answers with it)."""
    done = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        timeout=20,
    )
    return done.stdout.decode("utf-8", "replace")


def os_release() -> dict[str, str]:
    values = {}
    for line in read("/etc/os-release").splitlines():
        name, separator, value = line.partition("=")
        if separator:
            values[name] = value.strip().strip("\"'")
    return {
        "id": values.get("ID", ""),
        "version": values.get("VERSION_ID", ""),
        "codename": values.get("VERSION_CODENAME", ""),
        "name": values.get("PRETTY_NAME", ""),
    }


def uptime() -> float:
    """Seconds since PID 1 started: the same as /proc/uptime on a machine, and right in a container too."""
    machine = float(read("/proc/uptime").split()[0])
    ticks = int(read("/proc/1/stat").rpartition(")")[2].split()[19])
    return machine - ticks / os.sysconf("SC_CLK_TCK")


def memory() -> dict[str, int | None]:
    """`installed` is what the machine has, the kernel's own share too; `limit` what this control group may use."""
    found = {}
    for line in read("/proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        found[name] = int(value.split()[0]) * 1024
    return {
        "total": found["MemTotal"],
        "available": found.get("MemAvailable", found["MemFree"]),
        "swap_total": found.get("SwapTotal", 0),
        "swap_free": found.get("SwapFree", 0),
        "installed": installed(),
        "limit": limit(),
    }


def installed(folder: str = "/sys/devices/system/memory") -> int | None:
    """All blocks of memory that are online (as lsmem(1) counts); null where the kernel does not list them."""
    if not os.path.exists(folder + "/block_size_bytes"):
        return None
    online = sum(
        read("%s/%s/online" % (folder, name)).strip() == "1"
        for name in os.listdir(folder)
        if re.match(r"memory\d+$", name)
    )
    return online * int(read(folder + "/block_size_bytes"), 16) or None


def limit(folder: str = "/sys/fs/cgroup") -> int | None:
    """What the control group at the root of our view may use; on a machine that is the machine, without a limit."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        if os.path.exists("%s/%s" % (folder, name)):
            said = read("%s/%s" % (folder, name)).strip()
            # v1 says "none" with the largest number of whole pages.
            return int(said) if said.isdigit() and int(said) < 1 << 60 else None
    return None


def disks(folder: str = "/sys/block") -> list[dict[str, Any]]:
    """The disks that the machine has: neither loop, RAM and mapped devices nor what can be taken out.

    A disk that is seen over several paths has one identity, and counts once.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(os.listdir(folder)):
        place = "%s/%s" % (folder, name)
        if not os.path.exists(place + "/device") or word(place + "/removable") == "1" or word(place + "/hidden") == "1":
            continue
        size = int(word(place + "/size") or 0) * 512  # sectors, whatever the disk's own are
        if size:
            identity = word(place + "/wwid") or word(place + "/device/wwid") or name
            found.setdefault(identity, {"name": name, "size": size})
    return list(found.values())


def word(path: str) -> str:
    """What a file of the kernel's says; empty where it cannot be read."""
    try:
        return read(path).strip()
    except OSError:
        return ""


def filesystems() -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for line in read("/proc/self/mounts").splitlines():
        device, mount, kind, options = [unescape(word) for word in line.split(" ")[:4]]
        if mount != "/" and (kind in NOT_ITS_OWN or mount.startswith(KERNEL_FOLDERS) or kind.startswith("fuse.")):
            continue
        try:
            space = os.statvfs(mount)
            identity = os.stat(mount).st_dev
        except OSError:
            continue
        if not space.f_blocks or (identity in found and len(found[identity]["mount"]) <= len(mount)):
            continue
        found[identity] = {
            "mount": mount,
            "device": device,
            "type": kind,
            "size": space.f_blocks * space.f_frsize,
            "available": space.f_bavail * space.f_frsize,
            "inodes": space.f_files,
            "inodes_free": space.f_favail,
            "read_only": "ro" in options.split(","),
        }
    return sorted(found.values(), key=lambda entry: entry["mount"])


def unescape(word: str) -> str:
    """/proc/mounts writes blanks, tabs, newlines and backslashes in octal (proc(5))."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), word)


def failed_units() -> list[str]:
    listed = run("systemctl", "list-units", "--state=failed", "--no-legend", "--plain", "--full", "--no-pager")
    return [line.split()[0] for line in listed.splitlines() if line.split()]


def units(names: list[str]) -> dict[str, str | None]:
    """State of each named unit: active, inactive, failed, ...; `not-found` where there is none."""
    if not names:
        return {}
    shown = run("systemctl", "show", "--no-pager", "-p", "Id,LoadState,ActiveState", "--", *names)
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in shown.split("\n\n")]
    if len(blocks) != len(names):
        raise ValueError("systemctl show told of %d units instead of %d" % (len(blocks), len(names)))
    return {
        name: "not-found" if blocks[place].get("LoadState") == "not-found" else blocks[place].get("ActiveState")
        for place, name in enumerate(names)
    }


def listening() -> list[tuple[str, int]]:
    """Listening TCP sockets: [address, port]; from /proc, so no tool is needed."""
    found = set()
    for path, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        if not os.path.exists(path):
            continue
        for line in read(path).splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                address, port = words[1].split(":")
                found.add((network_address(address, family), int(port, 16)))
    return sorted(found, key=lambda entry: (entry[1], entry[0]))


def network_address(text: str, family: int) -> str:
    """The kernel prints addresses as 32-bit words in the machine's byte order."""
    blob = b"".join(int(text[i : i + 8], 16).to_bytes(4, "little") for i in range(0, len(text), 8))
    return socket.inet_ntop(family, blob)


def addresses() -> list[str]:
    return [
        "%s/%s" % (entry["local"], entry["prefixlen"])
        for interface in json.loads(run("ip", "-j", "address", "show"))
        for entry in interface.get("addr_info", ())
        if entry.get("scope") == "global"
    ]


def reboot() -> dict[str, Any]:
    """Whether packages asked for a reboot, and which: Debian's /run/reboot-required."""
    packages = []
    if os.path.exists("/run/reboot-required.pkgs"):
        packages = sorted(set(read("/run/reboot-required.pkgs").split()))
    return {"required": os.path.exists("/run/reboot-required"), "packages": packages}


def clock_synchronized() -> bool | None:
    """What the kernel says of its own clock; null where that cannot be asked."""
    room = (ctypes.c_long * 64)()  # struct timex, with room to spare; modes = 0 only reads
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(room)) < 0:
        return None
    # struct timex: modes, offset, freq, maxerror, esterror, status
    return not ctypes.cast(room, ctypes.POINTER(ctypes.c_long))[5] & STA_UNSYNC


def exporter(port: int) -> dict[str, Any]:
    """Whether the node exporter answers on the host itself; the firewall may let only the monitoring host in."""
    known = {found for _, found in listening()}
    if port not in known:
        return {"port": port, "answers": False, "detail": "nothing listens on port %d" % port}
    own = [found for found, number in listening() if number == port]
    address = "127.0.0.1" if any(one in ("0.0.0.0", "::", "127.0.0.1") for one in own) else own[0]
    try:
        with socket.create_connection((address, port), timeout=3) as stream:
            stream.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
            first = stream.recv(64)
    except OSError as error:
        return {"port": port, "answers": False, "detail": str(error)}
    good = first.startswith(b"HTTP/1.") and b" 200 " in first
    return {"port": port, "answers": good, "detail": "" if good else first[:32].decode("ascii", "replace")}


def pending_updates() -> dict[str, Any]:
    """Pending updates as apt sees them with the lists it has: nothing is fetched, no lock is taken."""
    simulated = run("apt-get", "-s", "-q", "-o", "Debug::NoLocking=1", "dist-upgrade")
    if " newly installed, " not in simulated:  # the line of numbers that every simulation has
        raise RuntimeError("apt-get cannot simulate an upgrade")
    packages, security = [], []
    for line in simulated.splitlines():
        match = re.match(r"Inst (\S+) .*\((\S+) (.*)\)", line)
        if match:
            packages.append(match.group(1))
            if "security" in match.group(3).lower():
                security.append(match.group(1))
    return {"packages": packages, "security": security, "lists_at": lists_at()}


def lists_at() -> float | None:
    """When the package lists were last fetched (seconds since 1970); None where there are none.

    The list files bear the mirror's times, and lists/partial moves with a failed update too. The folder moves when apt
    puts a new list in place; a success that found nothing new leaves only the stamp (Ansible's apt module reads both).
    The same text stands in pending.py and probe.py, the same rule in control PAT-04.
    """
    if not os.path.isdir(LISTS) or not any(name.endswith("Release") for name in os.listdir(LISTS)):
        return None
    return max(os.stat(path).st_mtime for path in (LISTS, STAMP) if os.path.exists(path))
