"""Start-up: what each command costs before it does anything."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from functools import partial
from pathlib import Path

from tests.bench.timing import BIN, HEAD, OPSCTL, compared, pairwise, show, timed


def run(_options: argparse.Namespace) -> None:
    """`opsctl --help` against `ansible-playbook --help`; `inventory list` against `ansible-inventory --list`."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = _example(Path(folder))
        plain = workspace / "hosts.ini"
        plain.write_text("\n".join(f"host{i} ansible_host=192.0.2.{i}" for i in range(1, 8)) + "\n")
        ansible = [str(BIN / "ansible-inventory"), "-i", str(plain), "--list"]
        rows = [HEAD]
        for name, ours, instead in (
            ("opsctl --help", [OPSCTL, "--help"], [str(BIN / "ansible-playbook"), "--help"]),
            ("opsctl inventory list", [OPSCTL, "inventory", "list"], ansible),
            ("opsctl (bare)", [OPSCTL], ansible),
        ):
            a, b = pairwise(partial(timed, ours, cwd=workspace), partial(timed, instead, cwd=workspace), 7)
            rows.append([str(x) for x in compared(name, a, Path(instead[0]).name, b)])
        show("Start-up (median of 7, in turn)", rows)


def _example(folder: Path) -> Path:
    here = Path(__file__).resolve().parents[2]
    shutil.copytree(here / "inventories", folder / "inventories")
    shutil.copy(here / "opsctl.yml", folder / "opsctl.yml")
    return folder
