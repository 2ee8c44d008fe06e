"""Compliance: the checks on every host."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.bench.lab import fleet
from tests.bench.timing import HEAD, OPSCTL, answer, compared, show, timed


def run(options: argparse.Namespace) -> None:
    """`comply run` against plain `pytest --hosts=ssh://...` with the same checks, and what one check costs."""
    with fleet(options.hosts) as workspace:
        ours = partial(timed, [OPSCTL, "comply", "run"], cwd=workspace, accepted=(0, 1, 6))
        first = ours()
        theirs = partial(timed, _plain_pytest(workspace), cwd=workspace, accepted=(0, 1))
        a, b = [], []
        for _ in range(2):
            a.append(ours())
            b.append(theirs())
        listed = answer([OPSCTL, "comply", "controls", "--profile", "standard", "-o", "json"], workspace)
        controls = len(json.loads(listed)["controls"])
    name = f"{options.hosts} hosts, {controls} controls"
    rows: list[Sequence[object]] = [HEAD, compared(name, a, "plain pytest, ssh backend", b)]
    show("Compliance (median of 2, in turn; both over the shared connections)", rows)
    each = 1000 * statistics.median(took.wall for took in a) / (controls * options.hosts)
    print(f"  first run (learns the commands): {first.wall:.1f} s; then {each:.1f} ms a check and host")


def _plain_pytest(workspace: Path) -> list[str]:
    """The same checks under testinfra's own ssh backend, with the generated ssh_config and the same expectations."""
    from opsctl import config
    from opsctl.compliance import catalogue, expectations, profiles
    from opsctl.inventory import files
    from opsctl.ssh.hostkeys import Pins
    from opsctl.ssh.session import Transport

    settings = config.load(workspace, {})
    inventory, known = files.load(settings), catalogue.load()
    expected = expectations.document(inventory.hosts, inventory, profiles.load("standard", known), known)
    (workspace / "expectations.json").write_text(json.dumps(expected), encoding="utf-8")
    with Transport(inventory, Pins.load(settings.inventories), settings) as transport:
        ssh_config = str(transport.config_file)
    checks = str(catalogue.folder())
    return [
        *(sys.executable, "-m", "pytest", "-c", f"{checks}/pytest.ini", "-q", "--tb=no", "-p", "no:cacheprovider"),
        "--hosts=" + ",".join(f"ssh://{host.key}" for host in inventory.hosts),
        *("--sudo", "--ssh-config", ssh_config, "--opsctl-expectations", str(workspace / "expectations.json"), checks),
    ]
