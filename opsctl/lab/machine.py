"""What a machine needs before a lab can stand on it, and what all labs on it share."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from opsctl.errors import Refused
from opsctl.lab.network import in_range
from opsctl.lab.place import Place
from opsctl.model.host import Inventory, Tenant

# Each program with the Debian package that has it.
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
    "dpkg-deb": "dpkg-dev",
    "apt-ftparchive": "apt-utils",
    "gpg": "gnupg",
    "nsenter": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
}
# What a lab with virtual machines needs besides.
MACHINE_TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "mke2fs": "e2fsprogs"}
OWN_TENANTS = frozenset({"ange", "sundsvall"})
_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
_INSTANCES_A_HOST = 16
_INSTANCES_SPARE = 128
_KIB_A_HOST = 1 << 20


def refuse_unless_fit(*, user: int | None = None, path: str | None = None, machines: bool = False) -> None:
    """Raises Refused when labs cannot stand here: not root, or programs missing (with the packages to install).

    `machines`: the lab is to have virtual machines.
    """
    if (os.geteuid() if user is None else user) != 0:
        raise Refused("a lab boots real hosts: only root can do that", hint="run it as root, on a machine for trials")
    search = path or f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    tools = TOOLS | (MACHINE_TOOLS if machines else {})
    missing = sorted({package for tool, package in tools.items() if not shutil.which(tool, path=search)})
    if missing:
        raise Refused(f"not installed: {', '.join(missing)}", hint=f"apt-get install {' '.join(missing)}")


def room_for_hosts(meminfo: Path = Path("/proc/meminfo")) -> int:
    """How many hosts with a real host's packages half of the free memory holds: their disks lie in it."""
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    return int(lines.get("MemAvailable", "0 kB").split()[0]) // 2 // _KIB_A_HOST


def refuse_real_tenants(workspace: Inventory) -> None:
    """Raises Refused when a workspace has tenants that are neither examples nor those of a lab.

    For labs that people play with, from that workspace. A rehearsal's lab takes no subnet of the real hosts, and is
    known to no workspace but its own (docs/decisions/0026).
    """
    real = sorted(tenant.name for tenant in workspace.tenants if not _is_play(tenant, workspace))
    if real:
        raise Refused(
            f"this workspace holds real tenants ({', '.join(real)}): no lab beside them",
            hint="start the lab from a folder outside it, on a machine for trials",
        )


def _is_play(tenant: Tenant, workspace: Inventory) -> bool:
    """An example, or a tenant of which everything lies in the networks of labs."""
    if tenant.name.startswith("example-"):
        return True
    places = [*(host.address for host in workspace if host.tenant == tenant.name), *(tenant.management_networks or ())]
    return tenant.name in OWN_TENANTS and bool(places) and all(in_range(place) for place in places)


def labs(run: Path) -> frozenset[str]:
    """The names of all labs of this machine, whole or not."""
    with suppress(FileNotFoundError):
        return frozenset(entry.name for entry in os.scandir(run) if entry.is_dir())
    return frozenset()


def raise_inotify(place: Place, hosts: int) -> None:
    """Lets `hosts` systemds watch their files; the value before the first lab is kept. Under the common lock."""
    before = int(_INOTIFY.read_text())
    needed = _INSTANCES_SPARE + _INSTANCES_A_HOST * hosts
    if before >= needed:
        return
    if not place.inotify_before.exists():
        place.inotify_before.write_text(f"{before}\n")
    _INOTIFY.write_text(str(needed))


def put_inotify_back(place: Place) -> None:
    """Puts the value back when no other lab is left. Under the common lock."""
    if labs(place.run) - {place.name} or not place.inotify_before.exists():
        return
    _INOTIFY.write_text(place.inotify_before.read_text().strip())
    place.inotify_before.unlink()
