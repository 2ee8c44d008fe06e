"""The private folder of one run: 0700, in memory only, and gone afterwards.

Ansible writes rendered files into it, so it lies on a tmpfs: /dev/shm, else the runtime folder where that is one. The
run holds a lock on its folder; a folder that nobody holds is what a killed run left, and the next run removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from opsctl.config import Settings
from opsctl.errors import Refused

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - owner and mode are checked
MOUNTS = Path("/proc/self/mounts")


@contextmanager
def private_folder(settings: Settings, *, bases: tuple[Path, ...] = ()) -> Iterator[Path]:
    """A new private folder; removed at the end, with what killed runs left. Raises Refused without a tmpfs."""
    base = _base(bases or (SHARED_MEMORY, settings.runtime.parent.parent))
    home = base / f"opsctl-{os.geteuid()}-{settings.id}"
    folder, lock = _claimed(home)
    try:
        remove_remains(home)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        with suppress(OSError):  # another run is in it
            home.rmdir()


def _claimed(home: Path) -> tuple[Path, int]:
    """A new folder and the lock on it; made once more where another run's tidying took it before it was locked."""
    for _ in range(100):
        with suppress(FileNotFoundError):
            folder = Path(tempfile.mkdtemp(prefix="run-", dir=_ours(home)))
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder, lock
            os.close(lock)
    raise Refused(f"{home} vanishes again and again")


def remove_remains(home: Path) -> int:
    """Remove the folders whose run is gone; how many there were."""
    removed = 0
    for folder in sorted(home.glob("run-*")):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # gone meanwhile, or not a folder of ours
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
        except BlockingIOError:
            pass  # its run goes on
        finally:
            os.close(lock)
    return removed


def _base(candidates: tuple[Path, ...]) -> Path:
    for folder in candidates:
        if folder.is_dir() and os.access(folder, os.W_OK) and _in_memory(folder):
            return folder
    names = ", ".join(str(folder) for folder in candidates)
    raise Refused(
        f"no folder in memory for the private files of a run: none of {names} is a writable tmpfs",
        hint="mount a tmpfs at /dev/shm",
    )


def _in_memory(folder: Path) -> bool:
    """True on tmpfs: the longest mount point above the folder decides (proc_mounts(5))."""
    best, kind = "", ""
    for line in MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
        point, found = line.split()[1:3]
        inside = folder == Path(point) or Path(point) in folder.parents
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind in ("tmpfs", "ramfs")


def _ours(folder: Path) -> Path:
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
        raise Refused(f"{folder} is not a private folder of this user", hint=f"remove it: rm -r {folder}")
    return folder
