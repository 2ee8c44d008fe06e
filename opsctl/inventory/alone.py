"""One at a time: a file or folder that one process holds until it has ended, however it ends. The kernel lets go."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opsctl.errors import Locked


@contextmanager
def alone(path: Path, taken: str) -> Iterator[None]:
    """Hold the path. Raises Locked, saying `taken`, where somebody else does."""
    held = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(taken, hint="wait for it, then try again") from None
        yield
    finally:
        os.close(held)
