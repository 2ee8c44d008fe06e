"""Where the store may lie: a local file system, closed to strangers, with room left.

SQLite's write-ahead log needs shared memory and honest locks, which network file systems do not give
(sqlite.org/wal.html, "does not work over a network filesystem").
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from opsctl.errors import StoreError

FOLDER_MODE = 0o2770  # setgid: what one operator writes, the group can write
FILE_MODE = 0o660
LITTLE_SPACE = 1024 * 1024

NETWORK = frozenset({
    "nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "ceph", "glusterfs", "lustre", "beegfs", "orangefs",
    "pvfs2", "davfs", "coda", "9p",
})  # fmt: skip
# Of FUSE only these are known to be local; sshfs, s3fs, rclone and the next one are not.
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.bindfs", "fuse.mergerfs", "fuse.ntfs-3g"})


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A mounted file system: its mount point and its type as /proc/mounts writes it."""

    point: str
    kind: str

    @property
    def is_network(self) -> bool:
        if self.kind.startswith("fuse."):
            return self.kind not in _LOCAL_FUSE
        return self.kind in NETWORK


def mount_of(path: str, mounts: str) -> Mount:
    """The mount that holds an absolute, resolved path; `mounts` is the text of /proc/mounts."""
    found = Mount(point="/", kind="unknown")
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        # A later line of the same point covers the earlier one.
        if inside and len(point) >= len(found.point):
            found = Mount(point=point, kind=fields[2])
    return found


def current_mount(path: Path) -> Mount:
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        mounts = ""
    return mount_of(str(path.resolve()), mounts)


def free_bytes(path: Path) -> int:
    """Bytes that this user can still write on the file system of `path`."""
    space = os.statvfs(path)
    return space.f_bavail * space.f_frsize


def to_disk(path: Path) -> None:
    """What was written into the file, or renamed within the folder, is there after a power cut, too."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def describe_space(path: Path) -> str:
    """For messages: the file system of a path and how much of it is free."""
    mount = current_mount(path)
    free = free_bytes(path)
    size = f"{free // 1024} KiB" if free < 10 * LITTLE_SPACE else f"{free // LITTLE_SPACE} MiB"
    return f"{mount.point} ({mount.kind}, {size} free)"


def prepare_folder(folder: Path) -> Path:
    """The store's folder, made where it is missing: local, and closed to everybody but owner and group.

    A folder that holds something else is never closed: a slip in state.path must not take /var/lib from the machine.
    """
    mount = current_mount(folder)
    if mount.is_network:
        raise StoreError(
            f"{folder} lies on a network file system ({mount.kind} at {mount.point}): two control nodes, or one after "
            "a break in the network, could damage the store",
            hint="set state.path to a folder on a local disk, e.g. /var/lib/opsctl/NAME",
        )
    try:
        made = not folder.is_dir()
        folder.mkdir(mode=0o770, parents=True, exist_ok=True)
        mode = stat.S_IMODE(folder.stat().st_mode)
        if made:
            folder.chmod(FOLDER_MODE)
        elif mode & 0o007:
            _refuse_other_use(folder)
            folder.chmod(mode & ~0o007)
    except PermissionError as error:
        raise StoreError(
            f"{folder} cannot be made private to owner and group: {error.strerror}", hint=f"chmod 2770 {folder}"
        ) from error
    except OSError as error:
        raise StoreError(f"the store's folder {folder} cannot be made: {error.strerror}") from error
    return folder


def _refuse_other_use(folder: Path) -> None:
    names = {entry.name for entry in folder.iterdir()}
    if names and not any(name.startswith("store.") for name in names):
        raise StoreError(
            f"{folder} is open to everybody and holds no store but other things: it is not made private",
            hint="set state.path to a folder of its own, e.g. /var/lib/opsctl/NAME",
        )


def private_file(path: Path) -> None:
    """Make a file for owner and group where it is missing; SQLite gives its -wal and -shm the same mode.

    A link is refused: in a folder of a group it could lead root's writing anywhere. A file that exists is not opened:
    closing it again would drop the locks that this process holds on it, and SQLite's with them (fcntl(2), advisory
    record locking; sqlite.org/howtocorrupt.html, 2.2).
    """
    try:
        with suppress(FileExistsError):
            made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
            os.close(made)
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            _close_to_strangers(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {error.strerror}") from error


def _close_to_strangers(handle: int) -> None:
    """The mode of a file that is only known by its place: O_PATH takes no lock and drops none (open(2))."""
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP) if stat.S_ISLNK(status.st_mode) else "it is no file")
    if status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) != FILE_MODE:
        Path(f"/proc/self/fd/{handle}").chmod(FILE_MODE)
