"""The embedded fleet: how long it takes to come and go, and the memory of a host."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench.timing import OPSCTL, Took, answer, show, timed
from tests.integration.owned import lab_name

# A name of its own for each bench: none takes down what another measures.
NAME = lab_name()


def run(options: argparse.Namespace) -> None:
    """`lab up` and `lab down` for 7 (the demo's), 20 and 40 hosts, with the memory that each host takes."""
    rows: list[Sequence[object]] = [["hosts", "up s", "a host s", "memory a host MiB", "down s"]]
    for count in options.sizes:
        try:
            took, memory = _up(count), _memory()
            down = timed([OPSCTL, "lab", "down", "--name", NAME], cwd=Path("/"))
        finally:
            take_down()
        rows.append([count, f"{took.wall:.1f}", f"{took.wall / count:.2f}", f"{memory:.0f}", f"{down.wall:.1f}"])
    show("The lab, once its base exists", rows)


def _up(count: int) -> Took:
    return timed([OPSCTL, "lab", "up", "--name", NAME, *(() if count == 7 else ("--hosts", str(count)))], cwd=Path("/"))


def take_down() -> None:
    """Take the bench's lab down, whatever is left of it."""
    subprocess.run([OPSCTL, "lab", "down", "--name", NAME], check=False, capture_output=True)


def _memory() -> float:
    """MiB of the middle host."""
    hosts = json.loads(answer([OPSCTL, "lab", "status", "--name", NAME, "-o", "json"], Path("/")))["hosts"]
    return statistics.median(int(host["memory_bytes"]) for host in hosts) / 2**20


@contextmanager
def fleet(count: int) -> Iterator[Path]:
    """A lab of `count` hosts as found, with a workspace that trusts them; what it leaves in its runtime folder goes."""
    named = partial(tempfile.TemporaryDirectory, ignore_cleanup_errors=True)
    with named(prefix="opsctl-bench-") as folder, named(prefix="o-") as runtime:
        workspace = Path(folder) / "workspace"
        os.environ["XDG_RUNTIME_DIR"] = runtime
        try:
            _up(count)
            timed([OPSCTL, "init", str(workspace), "--lab", NAME], cwd=Path("/"))
            timed([OPSCTL, "inventory", "sync", "--yes"], cwd=workspace)
            approve = ("host", "approve", "--all", "--fingerprints", "handover/fingerprints", "--yes")
            timed([OPSCTL, *approve], cwd=workspace)
            yield workspace
        finally:
            take_down()
