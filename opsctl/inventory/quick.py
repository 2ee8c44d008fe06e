"""Python's cycle collection stands still while thousands of hosts are made: it would only look at them again and again.

Hosts hold no cycles, so nothing is kept that would have gone; what works for hours is no place for it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick() -> Iterator[None]:
    """Works without cycle collection: among the objects of 5,000 hosts it would be half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
