"""The demonstration: the whole job in one go."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.bench.lab import NAME, take_down
from tests.bench.timing import OPSCTL, show, timed


def run(_options: argparse.Namespace) -> None:
    """The whole demonstration, once its base exists."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            took = timed([OPSCTL, "demo", "--dir", folder, "--name", NAME], cwd=Path(folder))
        finally:
            take_down()
    show("The demonstration", [["wall s", "cpu s"], [f"{took.wall:.0f}", f"{took.cpu:.0f}"]])
