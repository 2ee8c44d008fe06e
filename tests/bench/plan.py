"""Planning a large fleet: what patch plan costs once the hosts have answered."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

from opsctl.model.host import Cluster, Host, Inventory, OutLimit, Site, Tenant
from opsctl.patch.condition import DpkgHealth, RebootNeed
from opsctl.patch.pending import Pending, PendingPackage
from opsctl.patch.propose import Wish, propose
from opsctl.rollout import limits
from tests.bench.timing import show

HOSTS, CLUSTERS, SITES, PACKAGES, RUNS = 10_000, 500, 20, 30, 5
RINGS = ("canary", "early", "broad")
ROLES = ("web", "application", "database", "cache")


def run(_options: argparse.Namespace) -> None:
    """Inventory and readings to a frozen plan with its hash; every tenth cluster has a primary, limits on top."""
    stock = fleet()
    waiting = {host.key: reading() for host in stock}
    wish = Wish(max_parallel=50, reboot="if-required")
    now = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)

    def plan() -> object:
        return propose(stock, stock.hosts, waiting, wish, now=now, who="anna", content_digest="c")

    made = propose(stock, stock.hosts, waiting, wish, now=now, who="anna", content_digest="c")
    rows = [
        ["what", "seconds (median)", "slowest"],
        ["the limits of the inventory", *_measured(lambda: limits.of(stock))],
        ["the whole plan, with its hash", *_measured(plan)],
    ]
    batches = sum(1 for _ in made.batches())
    show(
        f"Planning {len(stock):,} hosts in {CLUSTERS} clusters, {PACKAGES} packages each: {len(made.hosts):,} planned "
        f"in {batches} batches, {len(made.left_out):,} left out (CPU, {RUNS} runs)",
        rows,
    )


def _measured(act: Callable[[], object]) -> list[str]:
    took = []
    for _ in range(RUNS):
        began = time.process_time()
        act()
        took.append(time.process_time() - began)
    return [f"{statistics.median(took):.2f}", f"{max(took):.2f}"]


def fleet(count: int = HOSTS) -> Inventory:
    """One municipality; the members of a cluster lie in different rings, as in real life, its primary in the last."""
    clusters = count * CLUSTERS // HOSTS
    hosts = tuple(
        Host(
            name=f"h{n:05}", tenant="sundsvall", address="192.0.2.1", role=ROLES[n % clusters % len(ROLES)],
            platform="debian-12" if n % 3 else "debian-13", site=f"hall-{n % SITES}", cluster=f"c{n % clusters}",
            ring=RINGS[n * len(RINGS) // count],
        )
        for n in range(count)
    )  # fmt: skip
    last = count - clusters
    stated = tuple(
        Cluster(name=f"c{n}", minimum=count // clusters - 2, primary="" if n % 10 else f"h{last + n:05}")
        for n in range(clusters)
    )
    limits_ = (
        *(OutLimit(site=f"hall-{n}", max_out_percent=10) for n in range(SITES)),
        *(OutLimit(role=role, max_out=20) for role in ROLES),
    )
    sites = tuple(Site(name=f"hall-{n}") for n in range(SITES))
    tenant = Tenant(name="sundsvall", title="Sundsvall", clusters=stated, limits=limits_, sites=sites)
    return Inventory(tenants=(tenant,), hosts=hosts, digest="d")


def reading() -> Pending:
    """What a host answers: every reading has values of its own, as those of real hosts have."""
    packages = tuple(
        PendingPackage(name=f"package-{n}", installed=f"1.{n}-1", candidate=f"1.{n}-1+deb12u1", security=n % 2 == 0)
        for n in range(PACKAGES)
    )
    return Pending(
        packages=packages, removed=(), pending=PACKAGES, pending_security=PACKAGES // 2, kept_back=(), held=(),
        download_bytes=1, free_bytes=2, reboot=RebootNeed(required=False, because_of=(), coming=()),
        dpkg=DpkgHealth(audit=(), lock_holder=""), lists_age_seconds=60, patchers=(),
    )  # fmt: skip
