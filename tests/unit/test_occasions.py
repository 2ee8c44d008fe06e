"""What a rollout tells of itself, and what its log keeps: driven for real, on hosts that exist only here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from opsctl.errors import HostFailed
from opsctl.model.rollout import RolloutState, Status
from opsctl.rollout import limits as limiting
from opsctl.rollout.execute import Ended, execute
from opsctl.rollout.journal import GATE, NOTIFIED, STAGE, STATUS, Journal
from opsctl.rollout.notice import Notice, Occasion
from opsctl.rollout.notify import Delivery
from opsctl.rollout.telling import note
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests.unit.test_rollout_drive import BALANCERS, START, STOCK, Clock, FakeChange, World, plan

FAILED: dict[tuple[str, str], list[Exception]] = {("install", "ange.web1"): [HostFailed("ange.web1", "no space left")]}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def run(store: Store, state: RolloutState, change: FakeChange) -> tuple[Ended, list[Notice]]:
    told: list[Notice] = []
    ended = execute(
        state, change, verb="patch start", who="anna", store=store, ledger=Ledger(store), inventory=STOCK,
        limits=limiting.of(STOCK, balancers=BALANCERS), clock=Clock(), observe=lambda step: None, tell=told.append,
    )  # fmt: skip
    return ended, told


def test_a_rollout_tells_its_beginning_each_ring_and_its_end(store: Store) -> None:
    _, told = run(store, plan(store), FakeChange(World()))
    assert [one.occasion for one in told] == [Occasion.START, Occasion.GATE, Occasion.GATE, Occasion.END]
    assert [one.subject.partition(": ")[2].partition(" ")[2] for one in told] == [
        "begins", "ring canary passed its gates", "ring broad passed its gates", "is done",
    ]  # fmt: skip
    assert told[1].lines == ("wave 1 of 2", "next: ring broad")
    assert [about.host for about in told[1].hosts] == ["ange.app1"]


def test_a_halt_is_told_as_a_failure_with_the_reason_and_the_next_command(store: Store) -> None:
    state = plan(store)
    ended, told = run(store, state, FakeChange(World(), trouble=dict(FAILED)))
    assert ended.state.status is Status.HALTED
    assert [one.occasion for one in told] == [Occasion.START, Occasion.GATE, Occasion.FAILURE]
    assert f"opsctl patch resume {state.plan.id} --retry" in told[-1].lines[-1]
    assert told[-1].whole[0].startswith("why: failure budget: 1 failed")
    assert {about.host: about.text for about in told[-1].hosts}["ange.web1"] == "installing: no space left"


def test_a_rollout_that_breaks_off_is_told_too(store: Store) -> None:
    change = FakeChange(World(), trouble={("precheck", "ange.app1"): [ZeroDivisionError()]})
    with pytest.raises(ZeroDivisionError):
        run(store, (state := plan(store)), change)
    told: list[Notice] = []
    change = FakeChange(World(), trouble={("precheck", "ange.app1"): [ZeroDivisionError()]})
    with pytest.raises(ZeroDivisionError):
        execute(
            Journal(store).load(state.plan.id), change, verb="patch resume", who="anna", store=store,
            ledger=Ledger(store), inventory=STOCK, limits=limiting.of(STOCK, balancers=BALANCERS), clock=Clock(),
            observe=lambda step: None, tell=told.append,
        )  # fmt: skip
    assert [one.occasion for one in told] == [Occasion.START, Occasion.FAILURE]
    assert told[0].subject.endswith("goes on")
    assert told[1].whole == ("why: ZeroDivisionError",)


def test_the_log_keeps_every_stage_gate_and_status_in_order(store: Store) -> None:
    state = plan(store)
    run(store, state, FakeChange(World()))
    log = Journal(store).log
    web1 = [str(line.detail["stage"]) for line in log.of(state.plan.id, kind=STAGE, host="ange.web1")]
    assert web1 == [
        "leased", "silenced", "prechecked", "prechecked", "drained", "installing", "installed", "rebooting", "back",
        "verified", "undrained", "done",
    ]  # fmt: skip
    assert [line.detail["status"] for line in log.of(state.plan.id, kind=STATUS)] == ["running", "done"]
    gates = log.of(state.plan.id, kind=GATE)
    assert [(line.detail["wave"], line.detail["batch"], line.detail["answer"]) for line in gates] == [
        (w, b, "pass") for w, b, _, _ in state.plan.batches()
    ]
    everything = log.of(state.plan.id)
    assert [line.seq for line in everything] == list(range(1, len(everything) + 1))
    assert [line.at for line in everything] == sorted(line.at for line in everything)


def test_an_attempt_to_tell_somebody_stands_in_the_log(store: Store) -> None:
    state = plan(store)
    note(store, Delivery(target="hook", occasion="end", rollout=state.plan.id, at=START, why="it answered 500"))
    [line] = Journal(store).log.of(state.plan.id, kind=NOTIFIED)
    assert (line.host, line.detail) == ("", {"target": "hook", "occasion": "end", "why": "it answered 500"})
