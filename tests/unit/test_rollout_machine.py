"""What may happen to a host in a rollout, in every order."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.model.rollout import RESTING, HostState, Reference, Stage, Status
from opsctl.rollout import machine
from opsctl.rollout.machine import Event, InvalidTransition, Kind, Step

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
PLANNED = HostState(host="ange.ange-web1", stage=Stage.PLANNED, at=NOW)
TROUBLE = st.sampled_from([None, None, None, None, Kind.FAILED, Kind.LOST])


def event(kind: Kind, **more: object) -> Event:
    return Event(kind=kind, at=NOW, **more)  # type: ignore[arg-type] # test shorthand


def walk(
    outcomes: list[Kind | None], *, drains: bool, reboot: bool, reconcile: bool = True
) -> list[tuple[Step | None, HostState]]:
    """A host driven by the machine alone; each outcome is what happens to the next step (None: it goes well)."""
    state, waiting = PLANNED, list(outcomes)
    seen: list[tuple[Step | None, HostState]] = []
    for _ in range(200):
        step = machine.next_step(state, drains=drains)
        if step is None:
            if reconcile and state.stage is Stage.UNKNOWN:
                state = machine.advance(state, event(Kind.RECONCILED))
                continue
            return [*seen, (None, state)]
        state = machine.begin(state, step, NOW)
        seen.append((step, state))
        trouble = waiting.pop(0) if waiting and step in machine.EFFECTS else None
        if trouble:
            state = machine.advance(state, event(trouble, reason="trouble"))
        else:
            state = machine.advance(state, event(machine.ended(step), reboot=reboot and step is Step.INSTALL))
        seen.append((step, state))
    raise AssertionError(f"no rest after 200 steps: {state}")


@given(st.lists(TROUBLE, max_size=30), st.booleans(), st.booleans())
def test_every_host_comes_to_rest_and_is_never_lost(outcomes: list[Kind | None], drains: bool, reboot: bool) -> None:
    seen = walk(outcomes, drains=drains, reboot=reboot)
    end = seen[-1][1]
    assert end.stage in RESTING
    assert all(state.host == PLANNED.host for _, state in seen)
    assert end.stage is not Stage.UNKNOWN


@given(st.lists(TROUBLE, max_size=30), st.booleans(), st.booleans())
def test_undrain_always_follows_drain(outcomes: list[Kind | None], drains: bool, reboot: bool) -> None:
    seen = walk(outcomes, drains=drains, reboot=reboot)
    end = seen[-1][1]
    if any(state.drained for _, state in seen):
        assert any(step is Step.UNDRAIN for step, _ in seen)
    # A host that is still drained says so, and only because its undrain was tried and failed.
    assert not end.drained or (end.stuck and end.stage is Stage.FAILED)


@given(st.lists(TROUBLE, max_size=30), st.booleans(), st.booleans())
def test_a_drained_host_is_marked_before_the_drain_begins(
    outcomes: list[Kind | None], drains: bool, reboot: bool
) -> None:
    for step, state in walk(outcomes, drains=drains, reboot=reboot):
        assert step is not Step.DRAIN or state.drained or state.stage is Stage.FAILED


@given(st.booleans(), st.booleans())
def test_without_trouble_every_host_is_done(drains: bool, reboot: bool) -> None:
    seen = walk([], drains=drains, reboot=reboot)
    stages = [state.stage for _, state in seen]
    assert stages[-1] is Stage.DONE
    assert (Stage.DRAINED in stages) is drains
    assert (Stage.UNDRAINED in stages) is drains
    assert (Stage.REBOOTING in stages) is reboot


@given(st.lists(TROUBLE, max_size=30), st.booleans(), st.booleans())
def test_a_failure_keeps_its_stage_and_reason(outcomes: list[Kind | None], drains: bool, reboot: bool) -> None:
    for _, state in walk(outcomes, drains=drains, reboot=reboot, reconcile=False):
        assert (state.stage in (Stage.FAILED, Stage.UNKNOWN)) == (state.last is not None)
        assert state.last is None or state.reason == "trouble"


@given(st.sampled_from(Stage), st.sampled_from(Kind), st.booleans())
def test_an_event_leads_to_a_state_or_is_refused_and_never_forgets_a_drain(
    stage: Stage, kind: Kind, drained: bool
) -> None:
    last = Stage.INSTALLING if stage in (Stage.FAILED, Stage.UNKNOWN) else None
    before = HostState(host="a.b", stage=stage, at=NOW, drained=drained, last=last)
    try:
        after = machine.advance(before, event(kind, reason="why"))
    except InvalidTransition:
        return
    assert after.drained == drained or kind in (Kind.DRAINING, Kind.UNDRAINED)
    assert before.stage is not Stage.DONE


def test_a_host_cannot_be_done_while_it_is_drained() -> None:
    drained = HostState(host="a.b", stage=Stage.VERIFIED, at=NOW, drained=True)
    with pytest.raises(InvalidTransition):
        machine.advance(drained, event(Kind.DONE))


@pytest.mark.parametrize("stage", [Stage.DONE, Stage.FAILED, Stage.SKIPPED])
def test_a_host_at_rest_cannot_be_skipped(stage: Stage) -> None:
    with pytest.raises(InvalidTransition):
        machine.advance(HostState(host="a.b", stage=stage, at=NOW), event(Kind.SKIPPED, reason="x"))


@pytest.mark.parametrize("stage", [s for s in Stage if s not in (Stage.DONE, Stage.FAILED, Stage.SKIPPED)])
def test_a_host_that_is_skipped_on_its_way_says_how_far_it_was_and_is_only_undrained(stage: Stage) -> None:
    lost = HostState(host="a.b", stage=stage, at=NOW, drained=True, last=Stage.BACK if stage is Stage.UNKNOWN else None)
    state = machine.advance(lost, event(Kind.SKIPPED, reason="not ours"))
    assert (state.stage, state.reason) == (Stage.SKIPPED, "not ours")
    assert state.last is (Stage.BACK if stage is Stage.UNKNOWN else stage)
    assert machine.next_step(state, drains=True) is Step.UNDRAIN
    assert machine.next_step(machine.advance(state, event(Kind.UNDRAINED)), drains=True) is None


def test_a_lost_host_goes_on_where_it_was_lost() -> None:
    reference = Reference(boot_id="b1")
    at = HostState(host="a.b", stage=Stage.INSTALLING, at=NOW, drained=True, reference=reference)
    lost = machine.advance(at, event(Kind.LOST, reason="no answer"))
    assert (lost.stage, lost.last, lost.drained) == (Stage.UNKNOWN, Stage.INSTALLING, True)
    assert machine.next_step(lost, drains=True) is None
    back = machine.advance(lost, event(Kind.RECONCILED))
    assert back == at
    assert machine.begin(back, Step.INSTALL, NOW) is back


def test_a_retry_begins_anew_with_the_next_attempt() -> None:
    failed = HostState(host="a.b", stage=Stage.FAILED, at=NOW, last=Stage.INSTALLING, reason="x")
    assert machine.advance(failed, event(Kind.RETRIED)) == HostState(host="a.b", stage=Stage.PLANNED, at=NOW, attempt=2)


def test_a_retry_is_refused_while_the_host_is_drained() -> None:
    failed = HostState(host="a.b", stage=Stage.FAILED, at=NOW, last=Stage.INSTALLING, drained=True)
    with pytest.raises(InvalidTransition):
        machine.advance(failed, event(Kind.RETRIED))


def test_an_aborted_rollout_never_runs_again() -> None:
    for status in Status:
        with pytest.raises(InvalidTransition):
            machine.move(Status.ABORTED, status)


def test_a_rollout_whose_process_died_can_run_again() -> None:
    assert machine.move(Status.RUNNING, Status.RUNNING) is Status.RUNNING
