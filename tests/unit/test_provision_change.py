"""Provisioning as a change: what becomes of a host after its batch's run, by Ansible's word and by its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from opsctl import config
from opsctl.errors import HostFailed, Locked, Unreachable
from opsctl.model.host import Host, Inventory
from opsctl.model.rollout import HostPlan, HostState, Stage
from opsctl.model.run import HostRecap, PlaybookRun, RunEvent, TaskEnded, TaskOutcome, TaskStarted, recaps
from opsctl.provision.change import ProvisionChange
from opsctl.rollout.change import Claim, Installed
from opsctl.rollout.fence import Fence, Pace
from opsctl.ssh.session import Transport

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
HOST = Host(name="web1", tenant="ange", address="192.0.2.1", role="web", platform="debian-12")
ITEM = HostPlan(host=HOST.key)
STATE = HostState(host=HOST.key, stage=Stage.INSTALLING, at=NOW)
SETTINGS = config.Settings(workspace=Path(), values={option.name: option.default for option in config.OPTIONS})
CLAIM = Claim(rollout="provision-1", token=1)


@dataclass
class FakeTransport:
    """A host that lets us in, or does not, and whose guard answers as told."""

    guard: object = field(default_factory=lambda: {"state": "confirmed"})
    open: bool = True
    fence: str = ""
    lost: str = ""
    log: list[str] = field(default_factory=list)

    def forget(self, host: Host) -> None:
        self.log.append("forget")

    def fresh(self, host: Host) -> None:
        self.log.append("fresh")
        if not self.open:
            raise Unreachable(host.key, "connection refused")

    def run(self, host: Host, script: str, arguments: dict[str, object], *, timeout: float) -> object:
        """The host's fence, which lets through whom it knows."""
        claim, words = arguments["claim"], arguments["arguments"]
        assert isinstance(claim, dict)
        assert isinstance(words, dict)
        assert claim["held"]
        self.log.append(f"{words['action']} {words['token']} under {claim['token']}")
        return {"refused": self.fence, "answer": self.guard}

    def run_all(self, hosts: Sequence[Host], script: str, arguments: object, *, timeout: float) -> dict[str, object]:
        return {host.key: {"refused": self.lost, "answer": None} for host in hosts}


def played(outcome: TaskOutcome | None, message: str = "") -> PlaybookRun:
    """A run that ended with one task on the host; None: the run was cut off before the host's end was known."""
    events: list[TaskEnded | HostRecap] = []
    if outcome is not None:
        events.append(TaskEnded(at=NOW, host=HOST.key, task="Write", outcome=outcome, message=message))
        trouble = int(outcome == "failed"), int(outcome == "unreachable")
        changed = int(outcome == "changed")
        events.append(
            HostRecap(at=NOW, host=HOST.key, ok=1, changed=changed, failed=trouble[0], unreachable=trouble[1])
        )
    return PlaybookRun(
        playbook="provision", hosts=(HOST.key,), check=False, started=NOW, ended=NOW, exit_code=0,
        events=tuple(events), recaps=recaps(events),
    )  # fmt: skip


def install(transport: FakeTransport, run: PlaybookRun, kept: list[PlaybookRun] | None = None) -> Installed:
    given: dict[str, object] = {}

    def play(playbook: str, hosts: Sequence[Host], **more: object) -> PlaybookRun:
        given.update(more)
        return run

    change = ProvisionChange(
        cast(Transport, transport), Inventory(hosts=(HOST,)),
        SETTINGS,
        keep=(kept if kept is not None else []).append, play=play,
    )  # fmt: skip
    change.prepare([HOST], {HOST.key: CLAIM})
    words = {"claimant": "", "installation": "", "token": 1, "claim_seconds": 900.0, "held": True}
    assert given["extra_vars"] == {
        "guard_seconds": 600, "guard_token": "provision-1", "guard_claims": {HOST.key: words},
    }  # fmt: skip
    return change.install(HOST, ITEM, STATE, CLAIM)


def test_a_good_host_is_entered_anew_before_its_change_is_confirmed() -> None:
    transport, kept = FakeTransport(), list[PlaybookRun]()
    assert install(transport, played("changed"), kept).notes == ("1 changed",)
    assert transport.log == ["forget", "fresh", "confirm provision-1 under 1"]
    assert len(kept) == 1


def test_a_host_whose_guard_never_rose_is_as_good() -> None:
    assert install(FakeTransport(guard={"state": "idle"}), played("ok")).notes == ("0 changed",)


def test_a_failed_host_is_never_confirmed() -> None:
    transport = FakeTransport()
    with pytest.raises(HostFailed, match="Write: no such group"):
        install(transport, played("failed", "no such group"))
    assert transport.log == []


@pytest.mark.parametrize("outcome", ["unreachable", None])
def test_a_host_whose_end_is_not_known_is_neither_good_nor_failed(outcome: TaskOutcome | None) -> None:
    with pytest.raises(Unreachable):
        install(FakeTransport(), played(outcome, "timed out"))


def test_a_host_that_locked_us_out_is_not_confirmed() -> None:
    transport = FakeTransport(open=False)
    with pytest.raises(Unreachable, match="connection refused"):
        install(transport, played("changed"))
    assert transport.log == ["forget", "fresh"]


def test_a_host_that_another_one_took_over_is_not_confirmed() -> None:
    with pytest.raises(HostFailed, match="claim was lost"):
        install(FakeTransport(fence="the claim was lost"), played("changed"))


def test_a_run_whose_claim_is_lost_is_stopped_at_its_next_event() -> None:
    transport = FakeTransport()

    def play(playbook: str, hosts: Sequence[Host], *, on_event: Callable[[RunEvent], None], **more: object) -> None:
        transport.lost = "the claim was lost"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            on_event(TaskStarted(at=NOW, task="Write"))
            time.sleep(0.01)

    kept = list[PlaybookRun]()
    fence = Fence(cast(Transport, transport), "site", pace=Pace(every=0.01))
    change = ProvisionChange(
        cast(Transport, transport), Inventory(hosts=(HOST,)), SETTINGS, keep=kept.append,
        play=cast(Callable[..., PlaybookRun], play), fence=fence,
    )  # fmt: skip
    with pytest.raises(Locked, match=r"ange\.web1: the claim was lost"):
        change.prepare([HOST], {HOST.key: CLAIM})
    assert kept == []


def test_what_the_host_undid_in_an_earlier_run_says_nothing_of_this_one() -> None:
    install(FakeTransport(guard={"state": "restored", "token": "provision-20261121-030000-abcdef"}), played("ok"))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"state": "restored"}, "undid the change"),
        ({"state": "refused"}, "another run"),
        ({"state": "armed"}, "its guard answers"),
        ("nonsense", "its guard answers"),
    ],
)
def test_a_change_that_cannot_be_confirmed_has_failed(answer: object, why: str) -> None:
    with pytest.raises(HostFailed, match=why):
        install(FakeTransport(guard=answer), played("changed"))
