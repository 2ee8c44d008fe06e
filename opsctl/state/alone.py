"""One at a time: a file or folder that one process holds until it has ended, however it ends. The kernel lets go."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opsctl.errors import Locked


@contextmanager
def alone(path: Path, taken: str = "") -> Iterator[None]:
    """Hold the path. Where somebody else does, raise Locked, saying `taken`; without that, wait for them."""
    held = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (fcntl.LOCK_NB if taken else 0))
        except BlockingIOError:
            raise Locked(taken, hint="wait for it, then try again") from None
        yield
    finally:
        os.close(held)
