"""The labs of tests carry the number of the process that brought them up: what a killed one left is found by it."""

from __future__ import annotations

import functools
import os
import re
import secrets
from pathlib import Path

from opsctl import lab
from opsctl.lab import machine
from opsctl.lab.place import RUN

_OWNED = re.compile(r"t(\d+)-[0-9a-f]+")


def lab_name() -> str:
    """A name that no other lab has, for one that this process brings up and takes down."""
    return f"t{os.getpid()}-{secrets.token_hex(3)}"


@functools.cache  # once in each process
def take_down_orphans() -> None:
    """Take down the labs of test runs that were killed without a chance to do it themselves."""
    for name in machine.labs(RUN):
        found = _OWNED.fullmatch(name)
        if found and not Path("/proc", found[1]).exists():
            lab.down(name)
