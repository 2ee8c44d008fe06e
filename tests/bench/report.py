"""Building reports: a fleet of a thousand hosts with every control of the catalogue, from generated data."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

from opsctl.compliance import record
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests import runs
from tests.bench.timing import OPSCTL, answer, show, timed

HOSTS = 1_000
# The pages by themselves, for which the goal stands (20 s, 500 MiB); and all that opsctl can write, in one go.
FORMS = ("html", "html,pdf,json,csv,junit,oscal")


def run(options: argparse.Namespace) -> None:
    """`comply report` of one run, form by form; every row reads the run from the store again."""
    with tempfile.TemporaryDirectory(prefix="opsctl-bench-report-") as name:
        workspace = Path(name) / "workspace"
        answer([OPSCTL, "init", str(workspace)], Path(name))
        # In a process of its own: what this one holds would count as the memory of each command that it starts.
        with get_context("spawn").Pool(1) as pool:
            controls = pool.apply(keep, (workspace, HOSTS))
        rows: list[Sequence[object]] = [["form", "language", "wall s", "cpu s", "most memory MiB", "files", "MB"]]
        for form in FORMS:
            out = Path(name) / form
            command = [OPSCTL, "comply", "report", "run-1", "--format", form, "--lang", "sv", "--to", str(out)]
            took = timed(command, cwd=workspace)
            files = [file for file in out.rglob("*") if file.is_file()]
            size = sum(file.stat().st_size for file in files) / 1e6
            shown = [f"{took.wall:.1f}", f"{took.cpu:.1f}", f"{took.memory:.0f}", len(files), f"{size:.0f}"]
            rows.append([form, "sv", *shown])
    show(f"Reports of {HOSTS} hosts x {controls} controls", rows)


def keep(workspace: Path, hosts: int) -> int:
    """A run in the store of a workspace, entered in its ledger; how many controls it has."""
    found = runs.fleet(hosts)
    opened = Store.open(workspace / ".state")
    with opened as store, Ledger(store).act("comply", [], {}, "bench", lambda: found.ended) as act:
        record.keep(store, "run-1", record.to_document("run-1", found, "1:00"), found)
        act.detail |= record.entered(store, "run-1")
    return len(found.scope.controls)
