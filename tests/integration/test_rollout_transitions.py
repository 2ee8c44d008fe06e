"""The control process is killed before and after the saved transition of each state, over four hosts.

Two of the hosts are drained through a fifth. "Before" kills a process that cannot save the state, once the host itself
shows that the effect of the step is complete; "after" kills the next process as soon as the state is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from opsctl import lab
from tests.integration.rollouts import PatchSite, prepared, wait_for
from tests.integration.watcher import PACKAGE, hold, kill, newer, one_ring, server, source_off

pytestmark = pytest.mark.lab

BALANCER = "ange-lb1"
HOSTS = ("ange-file1", "ange-web1", "ange-web2", "sundsvall-app1")
# The saved state that a state follows: stages, and whether the host is drained there (None: either).
BEFORE: dict[str, tuple[tuple[str, ...], bool | None]] = {
    "leased": (("planned",), None),
    "silenced": (("leased",), None),
    "prechecked": (("silenced",), None),
    "drained": (("prechecked",), True),
    "installing": (("drained",), None),
    "installed": (("installing",), None),
    "rebooting": (("installed",), None),
    "back": (("rebooting",), None),
    "verified": (("installed",), None),
    "undrained": (("verified",), True),
    "done": (("verified", "undrained"), False),
}
RESTARTS = ("rebooting", "back")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PatchSite]:
    with prepared(tmp_path_factory.mktemp("transitions"), lab.only(lab.demo(), (*HOSTS, BALANCER))) as made:
        one_ring(made)
        yield made


@pytest.mark.parametrize("stage", BEFORE)
def test_killed_before_and_after_a_state_is_saved_a_resume_finishes_and_installs_nothing_twice(
    site: PatchSite, stage: str
) -> None:
    version = newer(site, list(BEFORE).index(stage))
    words = ("--reboot", "always" if stage in RESTARTS else "never")
    rollout = site.plan("--limit", ",".join(HOSTS), "--package", PACKAGE, "--refresh", "--max-parallel", "9", *words)
    boots = {host: site.boot(host) for host in HOSTS}
    running = site.begin("patch", "start", rollout, "--yes")
    stages, drained = BEFORE[stage]
    held = hold(site, rollout, stages, drained=drained)
    if held.stage in stages:
        wait_for(shown_by_host(site, rollout, stage, held.host, boots), f"{held.host} is {stage}", 25)
    kill(running, held)
    with source_off(site):
        running = site.begin("patch", "resume", rollout, "--yes")
        kill(running, hold(site, rollout, (stage,)))
        told = site.answer("patch", "status", rollout)["rollout"]
        assert isinstance(told, dict)
        assert told["stalled"] is True
        assert site.answer("patch", "resume", rollout, "--yes")["outcome"] == "ok"
    states = site.states(rollout)
    assert {host: state["stage"] for host, state in states.items()} == dict.fromkeys(HOSTS, "done")
    assert not any(state["drained"] for state in states.values())
    assert [server(site, BALANCER, host) for host in ("ange-web1", "ange-web2")] == ["UP", "UP"]
    assert {host: site.version(host, PACKAGE) for host in HOSTS} == dict.fromkeys(HOSTS, version)
    assert {host: site.installs(host, rollout) for host in HOSTS} == dict.fromkeys(HOSTS, 1)
    assert [host for host in HOSTS if (site.boot(host) != boots[host]) is not (stage in RESTARTS)] == []
    assert site.leases() == ""


def shown_by_host(site: PatchSite, rollout: str, stage: str, host: str, boots: dict[str, str]) -> Callable[[], bool]:
    """Whether the host itself shows that the step which leads to this state is complete."""
    shown: dict[str, Callable[[], bool]] = {
        "drained": lambda: server(site, BALANCER, host) in ("DRAIN", "MAINT"),
        "installed": lambda: there(site, host, f"/var/lib/opsctl/install/{rollout}/exit"),
        "back": lambda: site.up_again(host, boots[host]),
        "undrained": lambda: server(site, BALANCER, host) == "UP",
    }
    return shown.get(stage, lambda: True)


def there(site: PatchSite, host: str, path: str) -> bool:
    return lab.execute(site.fleet.name, host, ["test", "-e", path]).returncode == 0
