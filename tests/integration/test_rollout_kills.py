"""The driver killed again and again, at every state and at random moments: each time taken up, and all ends well."""

from __future__ import annotations

import hashlib
import signal
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial

import pytest

from opsctl import lab
from tests.integration.rollouts import FIXED, ORDER, OWN, Site, prepared, reached, wait_for

pytestmark = pytest.mark.lab

HOSTS = ("ange-file1", "ange-lb1", "ange-web1", "ange-web2", "sundsvall-app1")
PATCHED = ("sundsvall-app1", "ange-file1", "ange-web1", "ange-web2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with prepared(tmp_path_factory.mktemp("kills"), lab.only(lab.demo(), HOSTS)) as made:
        yield made


@pytest.fixture
def site(whole: Site) -> Site:
    whole.fresh()
    return whole


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with prepared(tmp_path_factory.mktemp("moments"), lab.generic(8)) as made:
        yield made


def go_on(site: Site, rollout: str) -> subprocess.Popen[bytes]:
    begun = site.answer("patch", "status", rollout)["rollout"]
    assert isinstance(begun, dict)
    return site.begin("patch", "start" if begun["status"] == "planned" else "resume", rollout, "--yes")


def all_well(site: Site, rollout: str, hosts: Sequence[str]) -> None:
    """Every host done and patched, installed once, restarted, drained nowhere; nobody holds anything."""
    assert site.stages(rollout) == dict.fromkeys(hosts, "done")
    assert not any(state["drained"] for state in site.states(rollout).values())
    for host in hosts:
        assert [site.version(host, name) for name in OWN] == [FIXED] * len(OWN)
        assert site.installs(host) == 1
        assert site.inside(host, "dpkg --audit; test -e /run/reboot-required || echo none") == "none"
    assert site.leases() == ""


@pytest.mark.parametrize("host", ["sundsvall-app1", "ange-web1"])
def test_killed_at_each_state_of_a_host_a_rollout_over_four_ends_as_if_nothing_had_happened(
    site: Site, host: str
) -> None:
    """The first host of a batch of two, and one behind a load balancer; the source is away from the first kill on."""
    rollout = site.plan("--limit", ",".join(PATCHED), "--max-parallel", "2")
    sources = [(path, path.with_suffix(".away")) for path in site.workspace.glob("inventories/*/source.yml")]
    try:
        for stage in ORDER.split():
            running = go_on(site, rollout)
            wait_for(partial(reached, site, rollout, host, stage), f"{host} is {stage}", 120)
            running.send_signal(signal.SIGKILL)
            running.wait()
            told = site.answer("patch", "status", rollout)["rollout"]
            assert isinstance(told, dict)
            assert told["stalled"] is True
            for path, away in sources:
                if path.exists():
                    path.rename(away)
        running = go_on(site, rollout)
        running.wait(timeout=200)
        assert running.returncode == 0, site.said
    finally:
        for path, away in sources:
            if away.exists():
                away.rename(path)
    all_well(site, rollout, PATCHED)


def test_killed_at_eight_random_moments_a_rollout_over_eight_hosts_ends_well(eight: Site) -> None:
    killed_at_random(eight, "1", kills=8)


def killed_at_random(site: Site, seed: str, *, kills: int) -> None:
    """Kill the driver so many times, each at a moment that the seed names, then let it come to its end."""
    site.fresh()
    hosts = tuple(host.name for host in site.fleet.hosts)
    rollout = site.plan("--max-parallel", "4")
    for number in range(kills):
        moment = int(hashlib.sha256(f"{seed} {number}".encode()).hexdigest()[:4], 16) / 0xFFFF
        running = go_on(site, rollout)
        try:
            running.wait(timeout=0.5 + 6 * moment)
            break
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            running.wait()
    else:
        running = go_on(site, rollout)
        running.wait(timeout=300)
    assert running.returncode == 0, f"seed {seed}:\n{site.said}"
    all_well(site, rollout, hosts)
