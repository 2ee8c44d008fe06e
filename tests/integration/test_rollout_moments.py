"""The control process is killed at random moments, seeded, over eight hosts. The long series: tests/soak."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from opsctl import lab
from tests.integration.rollouts import PatchSite, prepared, wait_for
from tests.integration.watcher import PACKAGE, newer, one_ring, source_off

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PatchSite]:
    with prepared(tmp_path_factory.mktemp("moments"), lab.generic(8)) as made:
        one_ring(made)
        yield made


@pytest.mark.parametrize("seed", range(8))
def test_killed_at_a_random_moment_a_resume_finishes_and_installs_nothing_twice(eight: PatchSite, seed: int) -> None:
    killed_at_random(eight, seed)


def killed_at_random(site: PatchSite, seed: int) -> None:
    """Kill after as many saved transitions, and so long after, as the seed says; each fourth time with restarts."""
    drawn = hashlib.sha256(str(seed).encode()).digest()
    restarts, hosts = seed % 4 == 0, tuple(host.name for host in site.fleet.hosts)
    saved = int.from_bytes(drawn[:4], "big") % (len(hosts) * (9 if restarts else 7))
    version = newer(site, seed)
    words = ("--package", PACKAGE, "--refresh", "--max-parallel", "20", "--reboot", "always" if restarts else "never")
    rollout = site.plan(*words)
    running = site.begin("patch", "start", rollout, "--yes")
    wait_for(lambda: running.poll() is not None or transitions(site, rollout) >= saved, f"{saved} transitions", 120)
    time.sleep(drawn[4] / 1000)
    running.kill()
    running.wait()
    with source_off(site):
        begun = site.answer("patch", "status", rollout)["rollout"]
        assert isinstance(begun, dict)
        if begun["status"] != "done":
            verb = "start" if begun["status"] == "planned" else "resume"
            assert site.answer("patch", verb, rollout, "--yes")["outcome"] == "ok"
    states = site.states(rollout)
    assert {host: state["stage"] for host, state in states.items()} == dict.fromkeys(hosts, "done")
    assert not any(state["drained"] for state in states.values())
    assert {host: site.version(host, PACKAGE) for host in hosts} == dict.fromkeys(hosts, version)
    assert {host: site.installs(host, rollout) for host in hosts} == dict.fromkeys(hosts, 1)
    assert site.leases() == ""


def transitions(site: PatchSite, rollout: str) -> int:
    with closing(sqlite3.connect(site.workspace / ".state" / "store.db")) as store:
        found = store.execute("SELECT COUNT(*) FROM rollout_log WHERE rollout = ? AND kind = 'stage'", (rollout,))
        return int(found.fetchone()[0])
