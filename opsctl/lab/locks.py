"""Locks between processes, whose files go away with what they guard.

A waiter may get the lock on a file that its last owner has just removed; so the lock counts only when the path
still leads to the file that is locked, and is tried again otherwise.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opsctl.errors import Locked, Refused

PATIENCE = 120.0


@contextmanager
def held(path: Path, *, what: str, patience: float = PATIENCE) -> Iterator[None]:
    """Holds the lock at `path`; raises Locked, naming `what`, when it is not had within `patience` seconds."""
    handle = _take(path, what, time.monotonic() + patience)
    try:
        yield
    finally:
        os.close(handle)


def _take(path: Path, what: str, until: float) -> int:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except PermissionError as error:
            raise Refused(f"{what}: only root can do that", hint="run it as root") from error
        except FileNotFoundError:
            continue  # its folder was removed this very moment
        if _locks(handle, path):
            return handle
        os.close(handle)
        if time.monotonic() > until:
            raise Locked(f"{what} is in use by another opsctl", hint="wait for it to end, then try again")
        time.sleep(0.05)


def _locks(handle: int, path: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(handle).st_ino == path.stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False
