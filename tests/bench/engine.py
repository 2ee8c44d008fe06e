"""The engine by itself: a rollout over many hosts that exist only here, through the real driver and a real store."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from opsctl.model.host import Host
from opsctl.model.rollout import HostPlan, HostState, Reference, Stage
from opsctl.patch.propose import Wish, propose
from opsctl.rollout import limits
from opsctl.rollout.change import Claim, Installed
from opsctl.rollout.execute import execute
from opsctl.rollout.journal import STAGE, Journal
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests.bench import plan
from tests.bench.timing import show

SIZES = (1_250, 2_500, 5_000)
HEALTHY = Reference(boot_id="1", failed_units=(), listening=(22, 80, 443), answering=(80, 443))


def run(_options: argparse.Namespace) -> None:
    """CPU for each saved transition, and the most memory that the process held; each size in a process of its own."""
    rows: list[Sequence[object]] = [["hosts", "transitions", "CPU ms each", "wall s", "memory MiB", "of it the run's"]]
    for size in SIZES:
        done = subprocess.run([sys.executable, "-m", "tests.bench.engine", str(size)], check=True, capture_output=True)
        told = json.loads(done.stdout)
        rows.append([
            f"{size:,}", f"{told['transitions']:,}", f"{told['cpu'] / told['transitions'] * 1000:.2f}",
            f"{told['wall']:.0f}", f"{told['memory']:.0f}", f"{told['grown']:.0f}",
        ])  # fmt: skip
    show("A rollout over simulated hosts, 30 packages each, in batches of at most 50", rows)


class Nothing:
    """Answers rollout.change.Change for hosts on which everything goes well."""

    together = False

    def precheck(self, host: Host, item: HostPlan, state: HostState, claim: Claim) -> Reference:
        return HEALTHY

    def drain(self, host: Host, item: HostPlan, claim: Claim) -> None:
        """No load balancer."""

    undrain = drain

    def prepare(self, hosts: Sequence[Host], claims: Mapping[str, Claim]) -> None:
        """Nothing for a batch."""

    def install(self, host: Host, item: HostPlan, state: HostState, claim: Claim) -> Installed:
        return Installed(reboot=True, boot_id="1")

    def reboot(self, host: Host, state: HostState, claim: Claim) -> None:
        """It is back at once."""

    def verify(self, host: Host, item: HostPlan, state: HostState) -> None:
        """It is well."""

    def health(self, hosts: Sequence[Host]) -> Mapping[str, Reference | str]:
        return {host.key: HEALTHY for host in hosts}


def rollout(size: int, folder: Path) -> dict[str, float]:
    stock = plan.fleet(size)
    now = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
    waiting = {host.key: plan.reading() for host in stock}
    wish = Wish(max_parallel=50, reboot="always")
    made = propose(stock, stock.hosts, waiting, wish, now=now, who="anna", content_digest="c")
    waiting.clear()
    with Store.open(folder) as store:
        state = Journal(store).add(made)
        before, began, since = memory(), time.process_time(), time.monotonic()
        end = execute(
            state, Nothing(), verb="patch start", who="anna", store=store, ledger=Ledger(store), inventory=stock,
            limits=limits.of(stock), clock=lambda: datetime.now(UTC), observe=lambda _progress: None,
        )  # fmt: skip
        cpu, wall = time.process_time() - began, time.monotonic() - since
        transitions = len(Journal(store).log.of(made.id, kind=STAGE))
        done = end.state.count(Stage.DONE)
    assert done == len(made.hosts) == size, f"{done} of {size} done: {end.state.reason}"
    return {"transitions": transitions, "cpu": cpu, "wall": wall, "memory": memory(), "grown": memory() - before}


def memory() -> float:
    """The most that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="opsctl-bench-") as place:
        json.dump(rollout(int(sys.argv[1]), Path(place)), sys.stdout)
