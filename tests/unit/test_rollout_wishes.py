"""What persons ask of a rollout from another terminal, at work or not, and what it keeps while it stands still."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsctl.errors import HostFailed, Locked, Refused, StalePlan, Stopped, Unreachable
from opsctl.model.host import Host
from opsctl.model.rollout import RolloutState, Stage, Status
from opsctl.rollout import claims
from opsctl.rollout import limits as limiting
from opsctl.rollout.asking import PATIENCE, Asked, Asking
from opsctl.rollout.execute import outcome_of, raise_unless_ok
from opsctl.rollout.journal import Journal
from opsctl.rollout.resume import take_up
from opsctl.state.leases import Leases
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from opsctl.state.wishes import Kind, Wishes
from tests.unit.test_rollout_drive import (
    ALL_DONE,
    BALANCERS,
    FLEET,
    START,
    STOCK,
    DyingJournal,
    FakeChange,
    Killed,
    World,
    drive,
    plan,
    stages,
)

LIMITS = limiting.of(STOCK, balancers=BALANCERS)
LATER = START + timedelta(hours=3)


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def asking(store: Store, patience: float = PATIENCE) -> Asking:
    return Asking(
        store=store, ledger=Ledger(store), who="erik", clock=lambda: datetime.now(UTC), reason="phones are down",
        patience=patience,
    )  # fmt: skip


def pause(store: Store, state: RolloutState) -> Asked:
    return asking(store).pause(state, LIMITS, lambda: datetime.now(UTC) + timedelta(hours=3))


def at(step: str, host: str, do: Callable[[], object]) -> Callable[[str, str], None]:
    """Something that happens once, while a step of a host is under way."""
    done = threading.Event()

    def look(now: str, key: str) -> None:
        if (now, key) == (step, host) and not done.is_set():
            done.set()
            do()

    return look


def asked_while(store: Store, state: RolloutState, kind: Kind, step: str, host: str, target: str = "") -> RolloutState:
    """A rollout of which something is asked in the middle of a step."""
    change, younger = FakeChange(World()), START + timedelta(hours=1)
    wishes = Wishes(store)
    change.after = at(
        step,
        host,
        lambda: wishes.ask(state.plan.id, kind, who="erik", at=younger, host=target, reason="phones are down"),
    )
    end = drive(store, state, change, keeps=lambda items: LATER)
    assert change.world.drained == set()
    return end


def wait_for_a_wish(store: Store, state: RolloutState) -> None:
    deadline = time.monotonic() + 60
    while not Wishes(store).of(state.plan.id):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_pause_finishes_what_is_under_way_starts_nothing_new_and_keeps_the_hosts(store: Store) -> None:
    end = asked_while(store, plan(store), Kind.PAUSE, "install", "ange.web1")
    assert (end.status, end.reason) == (Status.PAUSED, "pause asked by erik: phones are down")
    assert (stages(end)["web1"], stages(end)["web2"]) == (Stage.DONE, Stage.PLANNED)
    held = Leases(store).held()
    assert {lease.expires for lease in held} == {LATER}
    assert {lease.name for lease in held} >= {host.key for host in FLEET}
    assert claims.kept_until(end.plan, Leases(store), START) == LATER
    assert Wishes(store).open(end.plan.id) == ()


def test_nobody_else_takes_the_hosts_of_a_paused_rollout_before_they_expire_by_themselves(store: Store) -> None:
    end = asked_while(store, plan(store), Kind.PAUSE, "install", "ange.web1")
    leases = Leases(store)
    with pytest.raises(Locked, match=f"held by rollout {end.plan.id} of anna"):
        leases.acquire(["ange.web2"], "rollout other of erik", LATER - timedelta(seconds=1), timedelta(hours=1))
    leases.acquire(["ange.web2"], "rollout other of erik", LATER, timedelta(hours=1))


def test_a_paused_rollout_goes_on_to_its_end_and_leaves_no_lease(store: Store) -> None:
    end = asked_while(store, plan(store), Kind.PAUSE, "drain", "ange.web1")
    assert stages(end)["web1"] is Stage.DONE
    end = drive(store, take_up(Journal(store).load(end.plan.id), now=START).state, FakeChange(World()))
    assert (end.status, stages(end)) == (Status.DONE, ALL_DONE)
    assert Leases(store).held() == ()


def test_a_halted_rollout_keeps_its_hosts_too_and_one_whose_window_is_over_keeps_none(store: Store) -> None:
    change = FakeChange(World(), trouble={("install", "ange.app1"): [HostFailed("ange.app1", "postinst failed")]})
    end = drive(store, plan(store), change, keeps=lambda items: LATER)
    assert (end.status, {lease.expires for lease in Leases(store).held()}) == (Status.HALTED, {LATER})
    taken = take_up(Journal(store).load(end.plan.id), now=START, retry=True).state
    change.trouble[("install", "ange.app1")] = [HostFailed("ange.app1", "postinst failed")]
    end = drive(store, taken, change, keeps=lambda items: START)
    assert (end.status, Leases(store).held()) == (Status.HALTED, ())


def test_an_abort_of_a_running_rollout_finishes_and_undrains_what_is_under_way_and_frees_all(store: Store) -> None:
    end = asked_while(store, plan(store), Kind.ABORT, "drain", "ange.web1")
    assert (end.status, end.reason) == (Status.ABORTED, "abort asked by erik: phones are down")
    assert (stages(end)["web1"], stages(end)["web2"]) == (Stage.DONE, Stage.PLANNED)
    assert Leases(store).held() == ()
    assert outcome_of(end) == "stopped"
    with pytest.raises(Stopped, match="aborted: abort asked by erik"):
        raise_unless_ok(end)
    with pytest.raises(Refused, match="is aborted"):
        take_up(end, now=START)


def test_an_abort_goes_before_a_pause_and_before_a_halt(store: Store) -> None:
    state, change = plan(store), FakeChange(World())
    change.trouble[("verify", "ange.app1")] = [HostFailed("ange.app1", "sick")]

    def both() -> None:
        for kind in (Kind.PAUSE, Kind.ABORT):
            Wishes(store).ask(state.plan.id, kind, who="erik", at=START + timedelta(hours=1))

    change.after = at("install", "ange.app1", both)
    end = drive(store, state, change)
    assert end.status is Status.ABORTED
    assert end.reason.startswith("abort asked by erik; failure budget: 1 failed")
    assert {wish.answer for wish in Wishes(store).of(state.plan.id)} == {"the rollout is aborted"}


def test_a_wish_that_comes_when_nothing_is_left_changes_nothing(store: Store) -> None:
    state = plan(store, hosts=FLEET[:1])
    end = asked_while(store, state, Kind.PAUSE, "install", "ange.app1")
    assert (end.status, Leases(store).held()) == (Status.DONE, ())
    assert [wish.answer for wish in Wishes(store).of(state.plan.id)] == ["the rollout is done"]


def test_a_host_is_skipped_in_a_running_rollout_with_the_reason(store: Store) -> None:
    end = asked_while(store, plan(store), Kind.SKIP, "install", "ange.app1", "ange.web1")
    assert (end.status, stages(end)) == (Status.DONE, {**ALL_DONE, "web1": Stage.SKIPPED})
    web1 = next(s for s in end.hosts if s.host == "ange.web1")
    assert web1.reason == "skip asked by erik for ange.web1: phones are down"
    assert outcome_of(end) == "incomplete"


def test_a_host_under_way_is_not_skipped_and_the_wish_says_why(store: Store) -> None:
    state = plan(store)
    end = asked_while(store, state, Kind.SKIP, "drain", "ange.web1", "ange.web1")
    assert (end.status, stages(end)) == (Status.DONE, ALL_DONE)
    (wish,) = Wishes(store).of(state.plan.id)
    assert wish.answer.startswith("not skipped: it is ")


@pytest.mark.parametrize("die_at", range(2, 18, 4))
def test_an_abort_is_not_lost_when_its_process_is_killed_and_a_resume_only_finishes_what_is_in_the_middle(
    store: Store, die_at: int
) -> None:
    state, world = plan(store), World()
    with pytest.raises(Killed):
        drive(store, state, FakeChange(world), journal=DyingJournal(store, die_at, before=False))
    Wishes(store).ask(state.plan.id, Kind.ABORT, who="erik", at=START)
    begun = {h.host for h in Journal(store).load(state.plan.id).hosts if not h.untouched}
    end = drive(store, take_up(Journal(store).load(state.plan.id), now=START).state, FakeChange(world))
    assert end.status is Status.ABORTED
    assert {h.host for h in end.hosts if not h.untouched} == begun
    assert {h.stage for h in end.hosts if not h.untouched} <= {Stage.DONE}
    assert (world.drained, Leases(store).held()) == (set(), ())


def test_a_resume_goes_over_a_pause_that_was_asked_of_a_process_which_died(store: Store) -> None:
    state, world = plan(store), World()
    with pytest.raises(Killed):
        drive(store, state, FakeChange(world), journal=DyingJournal(store, 6, before=False))
    Wishes(store).ask(state.plan.id, Kind.PAUSE, who="erik", at=START - timedelta(minutes=1))
    end = drive(store, take_up(Journal(store).load(state.plan.id), now=START).state, FakeChange(world))
    assert (end.status, stages(end)) == (Status.DONE, ALL_DONE)
    assert [wish.answer for wish in Wishes(store).of(state.plan.id)] == ["over: it was resumed"]


def test_without_a_process_a_pause_is_done_at_once_and_claims_the_hosts(store: Store) -> None:
    state = Journal(store).save_status(plan(store), Status.RUNNING, START)
    done = pause(store, state)
    assert (done.wish, done.state.status) == (None, Status.PAUSED)
    assert {lease.name for lease in Leases(store).held()} >= {host.key for host in FLEET}
    assert [entry.verb for entry in Ledger(store).entries()] == ["patch pause"] * 2
    with pytest.raises(Refused, match="is paused already"):
        pause(store, done.state)


def test_a_pause_does_not_take_hosts_that_somebody_else_holds_by_now(store: Store) -> None:
    state = Journal(store).save_status(plan(store), Status.RUNNING, START)
    Leases(store).acquire(["ange.web1"], "rollout other of karin", datetime.now(UTC), timedelta(hours=1))
    with pytest.raises(Locked, match="rollout other of karin"):
        pause(store, state)
    assert Journal(store).load(state.plan.id).status is Status.RUNNING


def test_a_plan_is_not_paused_and_what_is_over_takes_no_wish(store: Store) -> None:
    state = plan(store)
    with pytest.raises(Refused, match="has not begun"):
        pause(store, state)
    end = drive(store, state, FakeChange(World()))
    with pytest.raises(Refused, match="is done"):
        pause(store, end)
    with pytest.raises(Refused, match="is done"):
        asking(store).abort(end)
    with pytest.raises(Refused, match="is done"):
        asking(store).skip(end, "ange.web1")


def test_a_host_of_which_nobody_knows_is_skipped_without_a_process_and_the_others_go_on(store: Store) -> None:
    change = FakeChange(World(), trouble={("verify", "ange.app1"): [Unreachable("ange.app1", "no answer")]})
    paused = drive(store, plan(store), change)
    assert (paused.status, stages(paused)["app1"]) == (Status.PAUSED, Stage.UNKNOWN)
    skipped = asking(store).skip(paused, "ange.app1").state
    assert stages(skipped)["app1"] is Stage.SKIPPED
    end = drive(store, take_up(skipped, now=START).state, change)
    assert (end.status, stages(end)) == (Status.DONE, {**ALL_DONE, "app1": Stage.SKIPPED})


def test_a_host_that_was_given_up_in_the_middle_counts_as_out_of_service(store: Store) -> None:
    change = FakeChange(World(), trouble={("verify", "ange.web1"): [Unreachable("ange.web1", "no answer")]})
    paused = drive(store, plan(store), change)
    skipped = asking(store).skip(paused, "ange.web1").state
    end = drive(store, take_up(skipped, now=START).state, change)
    assert (end.status, stages(end)["web2"]) == (Status.PAUSED, Stage.PRECHECKED)


def test_a_host_is_skipped_in_a_plan_that_has_not_begun(store: Store) -> None:
    skipped = asking(store).skip(plan(store), "ange.web2").state
    end = drive(store, skipped, FakeChange(World()))
    assert (end.status, stages(end)) == (Status.DONE, {**ALL_DONE, "web2": Stage.SKIPPED})


def test_what_was_done_or_failed_is_not_skipped(store: Store) -> None:
    change = FakeChange(World(), trouble={("install", "ange.web1"): [HostFailed("ange.web1", "x")]})
    end = drive(store, plan(store), change)
    with pytest.raises(Refused, match=r"ange\.web1 cannot be skipped: it has failed"):
        asking(store).skip(end, "ange.web1")
    with pytest.raises(Refused, match=r"ange\.app1 cannot be skipped: it is done"):
        asking(store).skip(end, "ange.app1")


def test_a_process_at_work_is_asked_and_its_answer_awaited(store: Store) -> None:
    state, said, terminals = plan(store), list[Asked](), list[threading.Thread]()

    def from_another_terminal() -> None:
        terminals.append(threading.Thread(target=lambda: said.append(pause(store, Journal(store).load(state.plan.id)))))
        terminals[0].start()
        wait_for_a_wish(store, state)

    change = FakeChange(World(), after=at("install", "ange.app1", from_another_terminal))
    end = drive(store, state, change)
    terminals[0].join()
    assert end.status is Status.PAUSED
    assert said[0].wish is None or said[0].wish.seen is not None
    assert [wish.answer for wish in Wishes(store).of(state.plan.id)] == ["the rollout is paused"]


def test_a_process_that_dies_before_it_has_seen_the_wish_leaves_it_to_whoever_asked(store: Store) -> None:
    state, said = Journal(store).save_status(plan(store), Status.RUNNING, START), list[Asked]()
    with Journal(store).alone(state.plan.id, "anna, process 7"):
        terminal = threading.Thread(target=lambda: said.append(asking(store).abort(state)))
        terminal.start()
        wait_for_a_wish(store, state)
    terminal.join()
    assert (said[0].wish, said[0].state.status) == (None, Status.ABORTED)
    assert [wish.answer for wish in Wishes(store).of(state.plan.id)] == ["done at once: no process was at it any more"]


def test_a_process_that_does_not_look_for_long_is_said_to_have_been_asked(store: Store) -> None:
    state = Journal(store).save_status(plan(store), Status.RUNNING, START)
    with Journal(store).alone(state.plan.id, "anna, process 7"):
        done = asking(store, patience=0.2).abort(state)
    assert done.wish is not None
    assert (done.wish.seen, done.state.status) == (None, Status.RUNNING)
    assert len(Wishes(store).open(state.plan.id)) == 1


def test_an_abort_of_what_moved_while_a_person_was_asked_is_refused(store: Store) -> None:
    state = plan(store)
    drive(store, state, FakeChange(World(), sick={"ange.app1"}))
    with pytest.raises(StalePlan, match="it is halted"):
        asking(store).abort(state)


def test_a_process_at_work_shows_that_it_lives(store: Store) -> None:
    state, beats = plan(store), list[datetime | None]()
    assert Journal(store).last_beat(state.plan.id) is None
    change = FakeChange(World(), after=lambda step, host: beats.append(Journal(store).last_beat(state.plan.id)))
    drive(store, state, change)
    last = Journal(store).last_beat(state.plan.id)
    assert beats[0] is not None
    assert last is not None
    assert last >= beats[0]


STEPS = ("drain", "install", "reboot", "undrain")


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(
        st.tuples(st.sampled_from(list(Kind)), st.sampled_from(STEPS), st.sampled_from(FLEET), st.sampled_from(FLEET)),
        max_size=4,
    )
)
def test_whatever_is_wished_whenever_each_host_is_left_whole_and_a_paused_rollout_can_be_finished(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[Kind, str, Host, Host]]
) -> None:
    with Store.open(tmp_path_factory.mktemp("wished")) as store:
        state, world, younger = plan(store), World(), START + timedelta(hours=1)
        wishes, waiting = Wishes(store), list(asked)

        def wish(step: str, host: str) -> None:
            for one in [one for one in waiting if (one[1], one[2].key) == (step, host)]:
                waiting.remove(one)
                wishes.ask(state.plan.id, one[0], who="erik", at=younger, host=one[3].key, reason="x")

        end = drive(store, state, FakeChange(world, after=wish), keeps=lambda items: LATER)
        kinds = {wish.kind for wish in wishes.of(state.plan.id)}
        assert end.status in {Status.DONE, *({Status.PAUSED} if Kind.PAUSE in kinds else ()),
                              *({Status.ABORTED} if Kind.ABORT in kinds else ())}  # fmt: skip
        assert {host.stage for host in end.hosts if not host.untouched} <= {Stage.DONE}
        assert bool(Leases(store).held()) == (end.status is Status.PAUSED)
        if end.status is Status.PAUSED:
            end = drive(store, take_up(Journal(store).load(end.plan.id), now=START).state, FakeChange(world))
            assert {host.stage for host in end.hosts} <= {Stage.DONE, Stage.SKIPPED}
        assert world.drained == set()
        assert set(world.installs.values()) <= {1}
        assert Leases(store).held() == ()
