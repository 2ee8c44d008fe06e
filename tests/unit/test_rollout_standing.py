"""What a person is told who looks at a rollout: where it is, what blocks it, why a host waits, what a shift leaves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from opsctl.errors import HostFailed, Incomplete, OpsctlError, Stopped, Unreachable
from opsctl.model.rollout import HostState, LeftOut, RolloutState, Stage, Status
from opsctl.rollout import limits as limiting
from opsctl.rollout import past, runbook, shift, shown, standing
from opsctl.rollout.follow import changes, follow
from opsctl.rollout.journal import STAGE, Journal
from opsctl.rollout.standing import Standing
from opsctl.rollout.why import Why, story, told, why
from opsctl.state.store import Store
from opsctl.state.wishes import Kind, Wish
from tests.house.repository import ROOT
from tests.unit.test_rollout_drive import BALANCERS, FLEET, START, STOCK, FakeChange, World, drive, plan

LIMITS = limiting.of(STOCK, balancers=BALANCERS)


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def look(state: RolloutState, **more: object) -> Standing:
    return Standing(state=state, now=START + timedelta(minutes=30), **more)  # type: ignore[arg-type] # test shorthand


def as_if(state: RolloutState, status: Status, reason: str = "", **stages: Stage) -> RolloutState:
    """The rollout with some hosts in other stages."""
    hosts = tuple(
        replace(h, stage=to, started_at=START, last=Stage.INSTALLING if to is Stage.FAILED else None)
        if (to := stages.get(h.host.partition(".")[2]))
        else h
        for h in state.hosts
    )
    return replace(state, status=status, reason=reason, hosts=hosts, started_at=START)


def asked(state: RolloutState, name: str, **more: object) -> Why:
    return why(look(state, **more), f"ange.{name}", LIMITS)


def test_every_section_that_messages_name_is_there() -> None:
    text = (ROOT / runbook.PAGE).read_text(encoding="utf-8")
    titles = re.findall(r"(?m)^#+ (.+)$", text)
    there = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(runbook.SECTIONS) <= there


@pytest.mark.parametrize(
    ("reason", "section"),
    [
        ("failure budget: 1 failed, 1 halts (a)", runbook.FAILED),
        ("ange.web2 waits: ring broad needs a second person: nobody has approved it", runbook.APPROVAL),
        ("health: ange.app1: tcp 80 no longer answers", runbook.FAILED),
        ("failure budget of wave broad: 1 failed, 1 halts (a)", runbook.FAILED),
        ("gate page failed: https://e.example answers 503, not 200", runbook.GATE),
        ("gate page gave no answer: https://e.example: no connection", runbook.NO_ANSWER),
        ("health could not be read: a: no answer", runbook.NO_ANSWER),
        ("monitoring does not answer: a is not silenced: Alertmanager at x: no connection", runbook.MONITORING),
        ("wave canary soaks until 2026-11-22 04:00:00Z; the next wave: outside its window", runbook.SOAK),
        ("still drained: a", runbook.DRAINED),
        ("contact lost, state unknown: a", runbook.UNKNOWN),
        ("a waits: ange.web needs 1 of 2 in service, and b is out", runbook.WAITS),
        ("a waits: it is its cluster's primary and comes after b, not done yet", runbook.WAITS),
        ("a waits: outside its window sunday", runbook.WINDOW),
        ("a waits: freeze outage until Mon", runbook.WINDOW),
        ("pause asked by erik: phones", runbook.PAUSED),
        ("something that nobody foresaw", runbook.GO_ON),
    ],
)
def test_each_reason_to_stop_has_its_section(store: Store, reason: str, section: str) -> None:
    assert runbook.of_rollout(replace(plan(store), status=Status.PAUSED, reason=reason)) == section


def test_a_running_rollout_says_where_it_is_and_what_is_next(store: Store) -> None:
    state = as_if(plan(store), Status.RUNNING, app1=Stage.DONE, web1=Stage.INSTALLING)
    lines = standing.told(look(state, busy="anna, process 7", left="43 min (ange.web2)"))
    assert lines[0].endswith(": running")
    assert lines[1].startswith("wave 2 of 2 (")
    assert lines[1].endswith("; 1 of 4 hosts done")
    assert "at work: anna, process 7" in lines
    assert "window left: 43 min (ange.web2)" in lines
    assert any(line.startswith("next: wave 2") for line in lines)
    assert not any(line.startswith(("to go on", "read", "blocks")) for line in lines)


def test_what_blocks_is_said_with_where_to_read_and_the_next_command(store: Store) -> None:
    change = FakeChange(World(), trouble={("install", "ange.app1"): [Unreachable("ange.app1", "no answer")]})
    state = drive(store, plan(store), change)
    lines = standing.told(look(state, kept=START + timedelta(hours=2)))
    assert "blocks: paused: contact lost, state unknown: ange.app1" in lines
    assert "blocks: nobody knows the state of ange.app1" in lines
    assert "its hosts are kept from others until 2026-11-22 05:00:00Z" in lines
    assert f"to go on: opsctl patch resume {state.plan.id}" in lines
    assert "read: docs/how-to/patch-night.md#a-host-is-unknown" in lines


def test_where_a_person_decides_each_command_stands_on_a_line_of_its_own(store: Store) -> None:
    state = as_if(plan(store), Status.HALTED, "failure budget: 1 failed, 1 halts", app1=Stage.FAILED)
    resume = f"to go on: opsctl patch resume {state.plan.id}"
    ways = [line for line in standing.told(look(state)) if line.startswith("to go on")]
    assert ways == [f"{resume} --retry tries the failed hosts again", f"{resume} leaves them as they are"]


def test_what_happened_to_a_host_says_once_that_it_is_drained(store: Store) -> None:
    state = drive(store, plan(store), FakeChange(World()))
    found = [line.split("Z ")[1] for line in story(Journal(store).log.of(state.plan.id, kind=STAGE, host="ange.web1"))]
    assert {"drained", "installing, drained", "undrained"} <= set(found)
    assert "drained, drained" not in found


def test_an_empty_plan_says_why_in_a_line_that_can_be_read(store: Store) -> None:
    reason = "current; held: " + ", ".join(f"package{number}" for number in range(40))
    made = replace(plan(store).plan, waves=(), left_out=(LeftOut(host="ange.web1", reason=reason),))
    assert re.fullmatch(r"current; held: package0, .{60,140} \.\.\. \(1\)", shown.why_empty(made))


def test_a_wish_that_its_process_has_not_seen_yet_is_told(store: Store) -> None:
    state = as_if(plan(store), Status.RUNNING)
    wish = Wish(rollout=state.plan.id, seq=1, kind=Kind.PAUSE, who="erik", at=START)
    assert standing.blocks(look(state, busy="anna", wishes=(wish,))) == (
        "pause asked by erik (its process has not looked yet)",
    )
    assert "pause asked by erik (not carried out)" in standing.blocks(look(state, wishes=(wish,)))


def test_a_process_that_shows_no_sign_of_life_is_told_as_frozen(store: Store) -> None:
    state = as_if(plan(store), Status.RUNNING)
    silent = look(state, busy="anna, process 7", beat=START)
    assert silent.frozen
    assert standing.told(silent)[0].endswith("frozen: its process was last seen alive 30 min ago")
    assert not look(state, busy="anna", beat=START + timedelta(minutes=29)).frozen
    assert not look(state, beat=START).frozen, "a dead one is stalled"


@pytest.mark.parametrize(
    ("status", "busy", "error", "said"),
    [
        (Status.RUNNING, "anna", None, ""),
        (Status.PLANNED, "", None, ""),
        (Status.RUNNING, "", Incomplete, "stalled"),
        (Status.PAUSED, "", Stopped, "paused"),
        (Status.HALTED, "", Stopped, "halted"),
        (Status.INTERRUPTED, "", Stopped, "interrupted"),
        (Status.ABORTED, "", Stopped, "aborted"),
        (Status.DONE, "", Incomplete, "0 of 4 hosts done"),
    ],
)
def test_a_look_ends_as_the_rollout_stands(
    store: Store, status: Status, busy: str, error: type[OpsctlError] | None, said: str
) -> None:
    state = as_if(plan(store), status)
    if error is None:
        standing.raise_by_standing(look(state, busy=busy))
        return
    with pytest.raises(error, match=said):
        standing.raise_by_standing(look(state, busy=busy))


def test_a_small_screen_shows_who_is_under_way_and_in_trouble_first(store: Store) -> None:
    state = as_if(plan(store), Status.RUNNING, app1=Stage.DONE, web1=Stage.INSTALLING, lb1=Stage.FAILED)
    rows, hidden = standing.watched(look(state, busy="anna"), 2)
    assert [row[1] for row in rows] == ["ange.web1", "ange.lb1"]
    assert hidden == "and 2 more hosts that are done or wait"
    assert "30 min" in str(rows[0][3])
    assert standing.watched(look(state), 99)[1] == ""


# --- why -----------------------------------------------------------------------------------------------------------


def test_a_host_waits_for_the_batches_before_it_and_for_its_window(store: Store) -> None:
    state = as_if(plan(store), Status.RUNNING, app1=Stage.INSTALLING)
    found = asked(state, "web1", busy="anna", closed=lambda item: "outside its window; next 22:00")
    assert found.place.startswith("wave 2")
    assert found.because[0] == "wave 1 (canary), batch 1 comes before: ange.app1 (installing)"
    assert "it may not start now: outside its window; next 22:00" in found.because
    assert found.next == f"opsctl patch attach {state.plan.id}"
    assert found.read == ""


def test_a_host_waits_for_its_cluster_and_for_a_rollout_that_halted(store: Store) -> None:
    state = as_if(plan(store), Status.HALTED, "failure budget: 1 failed", app1=Stage.DONE, web1=Stage.FAILED)
    found = asked(state, "web2")
    assert "the rollout is halted: failure budget: 1 failed" in found.because
    assert "ange.web needs 1 of 2 in service, and ange.web1 is out" in found.because
    assert found.read.endswith("#a-host-failed")
    assert found.next.startswith(f"opsctl patch resume {state.plan.id} --retry")


def test_a_failed_host_says_at_what_and_where_to_read(store: Store) -> None:
    change = FakeChange(World(), trouble={("install", "ange.app1"): [HostFailed("ange.app1", "postinst failed")]})
    state = drive(store, plan(store), change)
    found = asked(state, "app1")
    assert found.because == ("it failed when it was installing: installing: postinst failed",)
    assert (found.read.partition("#")[2], found.next) == (
        runbook.FAILED, f"mend it, then: opsctl patch resume {state.plan.id} --retry",
    )  # fmt: skip
    assert list(told(found)) == ["rollout", "place", "stage", "because", "read", "next"]


def test_an_unknown_host_is_neither_failed_nor_done(store: Store) -> None:
    change = FakeChange(World(), trouble={("verify", "ange.app1"): [Unreachable("ange.app1", "no answer")]})
    found = asked(drive(store, plan(store), change), "app1")
    assert found.because[0].startswith("contact was lost when it was ")
    assert "a resume asks the host itself" in found.because[1]
    assert found.read.endswith("#a-host-is-unknown")


def test_a_host_under_way_whose_process_is_gone_says_so(store: Store) -> None:
    state = as_if(plan(store), Status.RUNNING, app1=Stage.INSTALLING)
    found = asked(state, "app1")
    assert "nothing goes on with it: the rollout is stalled: its process is gone" in found.because
    assert "an installation that had begun goes on by itself on the host" in found.because
    assert found.next == f"opsctl patch resume {state.plan.id}"


def test_a_plan_that_has_not_begun_says_how_and_a_host_left_out_why(store: Store) -> None:
    state = plan(store)
    assert asked(state, "app1").because[0] == "the rollout has not begun"
    assert asked(state, "app1").next == f"opsctl patch start {state.plan.id}"
    away = replace(state, plan=replace(state.plan, left_out=(LeftOut(host="ange.db1", reason="current"),)))
    assert (asked(away, "db1").stage, asked(away, "db1").because) == ("left out", ("current",))


# --- following -----------------------------------------------------------------------------------------------------


def test_following_tells_each_step_once_in_the_order_of_time_and_ends_when_the_rollout_rests(store: Store) -> None:
    state = plan(store)
    later = as_if(state, Status.RUNNING, app1=Stage.INSTALLING)
    over = replace(as_if(state, Status.DONE, app1=Stage.DONE), hosts=(
        HostState(host="ange.app1", stage=Stage.DONE, at=START, started_at=START), *state.hosts[1:]))  # fmt: skip
    looks = iter([look(later, busy="anna"), look(later, busy="anna"), look(over)])
    seen = list(follow(lambda: next(looks), lambda: None))
    assert len(seen) == 3
    said, before = [], None
    for one in seen:
        said += [f"{step.host}: {step.text}" for step in changes(before, one.state)]
        before = one.state
    assert said == [
        f": {state.plan.id}: running", "ange.app1: installing", "ange.app1: done", f": {state.plan.id}: done",
    ]  # fmt: skip


# --- what was ------------------------------------------------------------------------------------------------------


def test_history_tells_when_by_whom_with_which_outcome_and_how_long(store: Store) -> None:
    end = drive(store, plan(store), FakeChange(World()))
    (entry,) = [past.of_rollout(one, "", START) for one in Journal(store).all("patch")]
    assert (entry["outcome"], entry["by"], entry["done"], entry["hosts"]) == ("ok", "anna", 4, 4)
    assert entry["seconds"] == int((end.ended_at - end.started_at).total_seconds())  # type: ignore[operator]
    (mine,) = past.of_host([end], "ange.web1")
    assert (mine["stage"], mine["attempt"]) == ("done", 1)
    assert past.host_row(mine, past.took)[5] == f"{mine['seconds']} s"
    assert past.outcome(as_if(end, Status.RUNNING), "") == "stalled"


def test_a_shift_report_puts_decisions_first_and_drops_what_a_newer_rollout_took_up(store: Store) -> None:
    change = FakeChange(World(), trouble={("install", "ange.app1"): [Unreachable("ange.app1", "no answer")]})
    paused = drive(store, plan(store), change)
    since = START - timedelta(hours=1)
    found = shift.report([look(paused, kept=START + timedelta(hours=2))], since, START)
    (decision,) = found.decisions
    assert decision.told == "paused: contact lost, state unknown: ange.app1; kept from others until 2026-11-22 05:00Z"
    assert (decision.next, decision.read) == (
        f"opsctl patch resume {paused.plan.id}", "docs/how-to/patch-night.md#a-host-is-unknown",
    )  # fmt: skip
    assert [one.told for one in found.unknown] == ["ange.app1"]
    assert [title for title, _ in shift.parts(found)] == ["Decide", "Nobody knows", "Open"]
    every = dict.fromkeys(("app1", "web1", "web2", "lb1"), Stage.DONE)
    over = replace(as_if(paused, Status.DONE, **every), ended_at=START)
    newer = replace(over, plan=replace(over.plan, id="patch-newer"))
    found = shift.report([look(newer), look(paused)], since, START)
    assert (found.unknown, [one.rollout for one in found.done]) == ((), ["patch-newer"])


def test_a_shift_without_anything_is_empty_and_what_ended_before_it_is_not_told(store: Store) -> None:
    end = drive(store, plan(store, hosts=FLEET[:1]), FakeChange(World()))
    found = shift.report([look(end)], START + timedelta(hours=5), START + timedelta(hours=6))
    assert list(shift.parts(found)) == []
