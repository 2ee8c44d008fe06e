"""What a machine needs before a lab can stand on it, and what all labs on it share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from opsctl.errors import Refused
from opsctl.lab.place import Place

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
    "mount": "mount",
}
OWN_TENANTS = frozenset({"ange", "sundsvall"})
_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
_INSTANCES_A_HOST = 16
_INSTANCES_SPARE = 128


def refuse_unless_fit(*, user: int | None = None, path: str | None = None) -> None:
    """Raises Refused when labs cannot stand here: not root, or programs missing (with the packages to install)."""
    if (os.geteuid() if user is None else user) != 0:
        raise Refused("a lab boots real hosts: only root can do that", hint="run it as root, on a machine for trials")
    search = path or f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool, path=search)})
    if missing:
        raise Refused(f"not installed: {', '.join(missing)}", hint=f"apt-get install {' '.join(missing)}")


def refuse_real_tenants(tenants: Iterable[str], *, labs_own: bool = False) -> None:
    """Raises Refused when the workspace has tenants that are neither examples nor, where `labs_own`, a lab's."""
    real = [name for name in tenants if not name.startswith("example-") and not (labs_own and name in OWN_TENANTS)]
    if real:
        raise Refused(
            f"this workspace holds real tenants ({', '.join(sorted(real))}): no lab beside them",
            hint="start the lab from another folder, or on another machine",
        )


def labs(place: Place) -> frozenset[str]:
    """The names of all labs of this machine, whole or not."""
    with suppress(FileNotFoundError):
        return frozenset(entry.name for entry in os.scandir(place.run) if entry.is_dir())
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
    if labs(place) - {place.name} or not place.inotify_before.exists():
        return
    _INOTIFY.write_text(place.inotify_before.read_text().strip())
    place.inotify_before.unlink()
