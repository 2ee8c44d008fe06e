"""The driver against hosts that exist only here: order, saving before effects, crashes at every point, stops."""

from __future__ import annotations

import fcntl
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from opsctl.errors import HostFailed, Incomplete, Interrupted, Locked, StalePlan, Stopped, Unreachable
from opsctl.model.host import Cluster, Host, Inventory, OutLimit, Tenant
from opsctl.model.rollout import HostPlan, HostState, LeftOut, Reference, RolloutState, Stage, Status
from opsctl.rollout import limits as limiting
from opsctl.rollout import plan as planning
from opsctl.rollout.asking import Asking
from opsctl.rollout.change import Claim, Installed
from opsctl.rollout.claims import Claims
from opsctl.rollout.drive import Driver
from opsctl.rollout.execute import Ended, execute, outcome_of, raise_unless_ok
from opsctl.rollout.journal import Journal
from opsctl.rollout.parts import Drivers, Progress
from opsctl.rollout.resume import Taken, no_longer_ours, take_up
from opsctl.state.leases import Leases
from opsctl.state.ledger import Ledger
from opsctl.state.store import Cell, Store

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
BALANCER = "ange.lb1"
FLEET = (
    Host(name="app1", tenant="ange", address="192.0.2.5", role="application", platform="debian-12", ring="canary"),
    Host(name="web1", tenant="ange", address="192.0.2.1", role="web", platform="debian-12", cluster="web"),
    Host(name="web2", tenant="ange", address="192.0.2.2", role="web", platform="debian-12", cluster="web"),
    Host(name="lb1", tenant="ange", address="192.0.2.3", role="loadbalancer", platform="debian-12"),
)
STOCK = Inventory(
    tenants=(Tenant(name="ange", title="Ånge kommun", clusters=(Cluster(name="web", minimum=1),)),),
    hosts=FLEET,
    digest="d",
)
BALANCERS = {"ange.web1": BALANCER, "ange.web2": BALANCER}


class Killed(BaseException):
    """The process dies here."""


@dataclass
class World:
    """What is true on the hosts, whatever the control node believes."""

    installs: dict[str, int] = field(default_factory=dict)
    boots: dict[str, int] = field(default_factory=dict)
    rebooted_for: set[str] = field(default_factory=set)
    drained: set[str] = field(default_factory=set)
    log: list[tuple[str, str]] = field(default_factory=list)
    most_out: int = 0
    guard: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class FakeChange:
    """Answers the Change Protocol from a World; `trouble` says what a step on a host raises, and how often."""

    world: World
    together: bool = False
    reboots: frozenset[str] = frozenset({"ange.web1"})
    trouble: dict[tuple[str, str], list[Exception]] = field(default_factory=dict)
    after: Callable[[str, str], None] = lambda step, host: None
    sick: set[str] = field(default_factory=set)

    def _step(self, step: str, host: str) -> None:
        self.world.log.append((step, host))
        waiting = self.trouble.get((step, host))
        if waiting:
            raise waiting.pop(0)

    def _boot(self, host: str) -> str:
        return f"{host}-boot{self.world.boots.get(host, 1)}"

    def precheck(self, host: Host, item: HostPlan, state: HostState, claim: Claim) -> Reference:
        self._step("precheck", host.key)
        return Reference(boot_id=self._boot(host.key), answering=(80,))

    def drain(self, host: Host, item: HostPlan, claim: Claim) -> None:
        self.world.drained.add(host.key)
        self.world.most_out = max(self.world.most_out, len(self.world.drained))
        self._step("drain", host.key)
        self.after("drain", host.key)

    def prepare(self, hosts: Sequence[Host], claims: Mapping[str, Claim]) -> None:
        for host in hosts:
            self.world.installs[host.key] = 1
        self._step("prepare", ",".join(host.key for host in hosts))
        self.after("prepare", "")

    def install(self, host: Host, item: HostPlan, state: HostState, claim: Claim) -> Installed:
        with self.world.guard:
            if not self.together and host.key not in self.world.installs:
                self._step("install", host.key)
                self.world.installs[host.key] = self.world.installs.get(host.key, 0) + 1
        self.after("install", host.key)
        return Installed(reboot=host.key in self.reboots, boot_id=self._boot(host.key))

    def reboot(self, host: Host, state: HostState, claim: Claim) -> None:
        assert state.reference is not None
        with self.world.guard:
            if self._boot(host.key) == state.reference.boot_id:
                self._step("reboot", host.key)
                self.world.boots[host.key] = self.world.boots.get(host.key, 1) + 1
        self.after("reboot", host.key)

    def verify(self, host: Host, item: HostPlan, state: HostState) -> None:
        self._step("verify", host.key)

    def undrain(self, host: Host, item: HostPlan, claim: Claim) -> None:
        self._step("undrain", host.key)
        self.world.drained.discard(host.key)
        self.after("undrain", host.key)

    def health(self, hosts: Sequence[Host]) -> Mapping[str, Reference | str]:
        return {host.key: Reference(boot_id="b", answering=() if host.key in self.sick else (80,)) for host in hosts}


class DyingJournal(Journal):
    """A journal whose process dies just before or just after its n-th write."""

    def __init__(self, store: Store, die_at: int, *, before: bool) -> None:
        super().__init__(store)
        self.writes, self.die_at, self.before = 0, die_at, before

    def save_host(self, rollout_id: str, state: HostState) -> None:
        self.writes += 1
        if self.writes == self.die_at and self.before:
            raise Killed
        if self.writes > self.die_at:
            raise Killed
        super().save_host(rollout_id, state)
        if self.writes == self.die_at:
            raise Killed

    def save_status(self, state: RolloutState, to: Status, at: datetime, *, reason: str = "") -> RolloutState:
        if self.writes >= self.die_at:
            raise Killed
        return super().save_status(state, to, at, reason=reason)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def plan(
    store: Store,
    *,
    budget: int = 1,
    parallel: int = 5,
    hosts: Sequence[Host] = FLEET,
    stock: Inventory = STOCK,
    **more: Any,
) -> RolloutState:
    balancers = BALANCERS
    items = [HostPlan(host=h.key, drain_through=balancers.get(h.key, "")) for h in hosts]
    pace = planning.Pace(limit=parallel)
    found = planning.arrange(items, stock, limiting.of(stock, balancers=balancers), pace=pace)
    return Journal(store).add(
        planning.freeze(
            found, kind="patch", now=START, made_by="anna", inventory_digest="d", content_digest="c", pace=pace,
            failure_budget=budget, **more,
        )
    )  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def drive(
    store: Store,
    state: RolloutState,
    change: FakeChange,
    *,
    journal: Journal | None = None,
    stop: threading.Event | None = None,
    down: frozenset[str] = frozenset(),
    gone: frozenset[str] = frozenset(),
    alerting: Callable[[], frozenset[str]] = frozenset,
    closed: Callable[[HostPlan], str] = lambda item: "",
    keeps: Callable[[Sequence[HostPlan]], datetime | None] = lambda items: None,
    stock: Inventory = STOCK,
    observe: Callable[[Progress], None] = lambda progress: None,
    **more: Any,
) -> RolloutState:
    parts = Drivers(
        journal=journal or Journal(store), leases=Leases(store), change=change, inventory=stock,
        limits=limiting.of(stock, balancers=BALANCERS), clock=more.pop("clock", None) or Clock(), observe=observe,
        stop=stop or threading.Event(), down=down, gone=gone, alerting=alerting, closed=closed,
        keeps=keeps, **more,
    )  # fmt: skip
    driver = Driver(state, parts)
    with driver.alone("anna, process 1"):
        return driver.run()


def stages(state: RolloutState) -> dict[str, Stage]:
    return {host.host.partition(".")[2]: host.stage for host in state.hosts}


ALL_DONE = dict.fromkeys(("app1", "web1", "web2", "lb1"), Stage.DONE)


def test_a_rollout_without_trouble_ends_done_with_no_lease_and_nothing_drained(store: Store) -> None:
    world = World()
    end = drive(store, plan(store), FakeChange(world))
    assert (end.status, stages(end)) == (Status.DONE, ALL_DONE)
    assert world.installs == dict.fromkeys([h.key for h in FLEET], 1)
    assert world.drained == set()
    assert world.most_out == 1
    assert Leases(store).held() == ()
    assert Journal(store).load(end.plan.id) == end


def test_every_effect_is_in_the_store_before_it_begins(store: Store) -> None:
    state = plan(store)
    seen: list[tuple[str, str, Stage, bool]] = []

    def look(step: str, host: str) -> None:
        saved = {one.host: one for one in Journal(store).load(state.plan.id).hosts}
        if host in saved:
            seen.append((step, host, saved[host].stage, saved[host].drained))

    drive(store, state, FakeChange(World(), after=look))
    expected = {"drain": (Stage.PRECHECKED, True), "install": Stage.INSTALLING, "reboot": Stage.REBOOTING}
    for step, _, stage, drained in seen:
        assert step == "undrain" or expected[step] in ((stage, drained), stage)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("before", [True, False])
def test_killed_at_every_saved_state_and_resumed_it_ends_as_if_nothing_had_happened(
    tmp_path: Path, before: bool, together: bool
) -> None:
    deaths = 0
    for die_at in range(1, 60):
        with Store.open(tmp_path / f"{die_at}") as store:
            world, state = World(), plan(store)
            journal = DyingJournal(store, die_at, before=before)
            try:
                end = drive(store, state, FakeChange(world, together=together), journal=journal)
            except Killed:
                deaths += 1
                Leases(store).acquire(["ange.web1"], f"rollout {state.plan.id} of anna", START, timedelta(minutes=15))
                taken = take_up(Journal(store).load(state.plan.id), now=START)
                end = drive(store, taken.state, FakeChange(world, together=together))
            assert (end.status, stages(end)) == (Status.DONE, ALL_DONE)
            assert world.installs == dict.fromkeys([h.key for h in FLEET], 1)
            assert world.boots == {"ange.web1": 2}
            assert world.drained == set()
            assert world.most_out <= 1
            assert Leases(store).held() == ()
    assert 20 < deaths < 59, "every write of the rollout was a point of death, and the last runs had none"


def test_a_failed_host_halts_the_rollout_and_the_rest_stays_untouched(store: Store) -> None:
    world = World()
    change = FakeChange(world, trouble={("install", "ange.app1"): [HostFailed("ange.app1", "postinst failed")]})
    end = drive(store, plan(store), change)
    assert end.status is Status.HALTED
    assert stages(end) == {
        "app1": Stage.FAILED, "web1": Stage.PLANNED, "web2": Stage.PLANNED, "lb1": Stage.PLANNED,
    }  # fmt: skip
    assert "failure budget" in end.reason
    assert Leases(store).held() == ()


def test_a_failed_host_is_put_back_into_service(store: Store) -> None:
    world = World()
    change = FakeChange(world, trouble={("install", "ange.web1"): [HostFailed("ange.web1", "no space left")]})
    end = drive(store, plan(store), change)
    web1 = next(s for s in end.hosts if s.host == "ange.web1")
    assert (web1.stage, web1.drained, web1.reason) == (Stage.FAILED, False, "installing: no space left")
    assert world.drained == set()


def test_with_budget_left_the_other_hosts_go_on_but_never_the_last_of_a_cluster(store: Store) -> None:
    change = FakeChange(World(), trouble={("install", "ange.web1"): [HostFailed("ange.web1", "broken")]})
    end = drive(store, plan(store, budget=3), change)
    assert stages(end)["lb1"] is Stage.DONE
    assert stages(end)["web2"] is Stage.PRECHECKED
    assert end.status is Status.PAUSED
    assert "ange.web2 waits: ange.web needs 1 of 2 in service, and ange.web1 is out" in end.reason


def test_a_member_waits_while_the_other_is_known_to_be_down(store: Store) -> None:
    state = plan(store, hosts=FLEET[1:2])
    end = drive(store, state, FakeChange(World()), down=frozenset({"ange.web2"}))
    assert (end.status, stages(end)) == (Status.PAUSED, {"web1": Stage.PRECHECKED})


def fleet_of(*names: str, together: str = "", **more: object) -> Inventory:
    """Application hosts of one tenant; `together`: the cluster that all of them form."""
    hosts = tuple(
        Host(name=n, tenant="ange", address="192.0.2.9", role="app", platform="debian-12", cluster=together)
        for n in names
    )
    tenant = Tenant(name="ange", title="Ånge kommun", **more)  # type: ignore[arg-type] # test shorthand
    return Inventory(tenants=(tenant,), hosts=hosts, digest="d")


@pytest.mark.parametrize("together", [False, True])
def test_a_batch_that_lost_its_allowance_meanwhile_takes_one_host_instead_of_two(store: Store, together: bool) -> None:
    stock = fleet_of("a", "b", "c", limits=(OutLimit(role="app", max_out=2),))
    state = plan(store, stock=stock, hosts=stock.hosts[:2])
    change = FakeChange(World(), together=together, reboots=frozenset())
    end = drive(store, state, change, stock=stock, alerting=lambda: frozenset({"ange.c"}))
    assert set(stages(end).values()) == {Stage.DONE}
    begun = change.world.log.index(("prepare" if together else "install", "ange.b"))
    assert change.world.log.index(("verify", "ange.a")) < begun


def test_a_primary_waits_for_a_member_that_failed(store: Store) -> None:
    stock = fleet_of("a", "b", "c", together="db", clusters=(Cluster(name="db", minimum=0, primary="a"),))
    change = FakeChange(World(), trouble={("install", "ange.b"): [HostFailed("ange.b", "x")]})
    end = drive(store, plan(store, stock=stock, hosts=stock.hosts, budget=3), change, stock=stock)
    assert stages(end) == {"b": Stage.FAILED, "c": Stage.DONE, "a": Stage.PRECHECKED}
    assert end.reason == "ange.a waits: it is its cluster's primary and comes after ange.b, not done yet"


def test_what_does_not_start_before_its_window_ends_waits_and_is_done_when_it_opens(store: Store) -> None:
    change, night_is_over = FakeChange(World()), set[str]()
    change.after = lambda step, host: night_is_over.add(host) if (step, host) == ("install", "ange.app1") else None
    state = plan(store)
    end = drive(store, state, change, closed=lambda item: "outside its window; next 22:00" if night_is_over else "")
    assert stages(end) == {**dict.fromkeys(ALL_DONE, Stage.PLANNED), "app1": Stage.DONE}
    assert end.status is Status.PAUSED
    assert end.reason == "ange.web1, ange.web2, ange.lb1 wait: outside its window; next 22:00"
    assert Leases(store).held() == ()
    taken = take_up(Journal(store).load(state.plan.id), now=START)
    assert stages(drive(store, taken.state, change)) == ALL_DONE


def test_no_ring_goes_before_an_earlier_one_whose_window_is_closed(store: Store) -> None:
    world = World()
    end = drive(store, plan(store), FakeChange(world), closed=lambda item: "frozen" if "app1" in item.host else "")
    assert (end.status, world.log) == (Status.PAUSED, [])
    assert end.reason == (
        "ange.app1 waits: frozen; ange.web1, ange.web2, ange.lb1 wait: an earlier ring has not had its turn (ange.app1)"
    )


def test_a_host_in_the_middle_is_finished_and_undrained_whatever_the_calendar_says(store: Store) -> None:
    world, state = World(), plan(store, hosts=FLEET[1:2])
    journal = DyingJournal(store, 6, before=False)
    with pytest.raises(Killed):
        drive(store, state, FakeChange(world), journal=journal)
    assert world.drained == {"ange.web1"}
    taken = take_up(Journal(store).load(state.plan.id), now=START)
    end = drive(store, taken.state, FakeChange(world), closed=lambda item: "frozen")
    assert (end.status, stages(end), world.drained) == (Status.DONE, {"web1": Stage.DONE}, set())


def test_many_hosts_that_wait_for_the_same_are_counted(store: Store) -> None:
    stock = fleet_of(*"abcdefg")
    state = plan(store, stock=stock, hosts=stock.hosts)
    end = drive(store, state, FakeChange(World()), stock=stock, closed=lambda item: "frozen")
    assert end.reason == "ange.a, ange.b, ange.c, ange.d, ange.e and 2 more wait: frozen"


def test_a_second_rollout_within_the_limit_of_a_role_is_refused(store: Store) -> None:
    stock = fleet_of("a", "b", "c", limits=(OutLimit(role="app", max_out=2),))
    first, second = (plan(store, stock=stock, hosts=stock.hosts[n : n + 1]) for n in (0, 1))
    limits = limiting.of(stock)
    with Claims(first.plan, Leases(store), limits, Clock()).held(), pytest.raises(Locked) as refused:
        drive(store, second, FakeChange(World()), stock=stock)
    assert "limit:role app of ange is held by rollout" in refused.value.message


def test_lost_contact_pauses_and_a_resume_goes_on_with_the_same_host(store: Store) -> None:
    world = World()
    change = FakeChange(world, trouble={("install", "ange.web1"): [Unreachable("ange.web1", "no answer")]})
    end = drive(store, plan(store), change)
    web1 = next(s for s in end.hosts if s.host == "ange.web1")
    assert (end.status, web1.stage, web1.last, web1.drained) == (
        Status.PAUSED, Stage.UNKNOWN, Stage.INSTALLING, True,
    )  # fmt: skip
    end = drive(store, take_up(Journal(store).load(end.plan.id), now=START).state, change)
    assert (end.status, stages(end)) == (Status.DONE, ALL_DONE)
    assert world.installs["ange.web1"] == 1
    assert world.drained == set()


def test_a_host_that_is_sick_after_its_batch_halts_the_rollout(store: Store) -> None:
    end = drive(store, plan(store), FakeChange(World(), sick={"ange.app1"}))
    assert end.status is Status.HALTED
    assert "ange.app1: tcp 80 no longer answers" in end.reason
    assert stages(end)["web1"] is Stage.PLANNED


def test_an_undrain_that_fails_is_tried_again_and_then_told(store: Store) -> None:
    world = World()
    change = FakeChange(world, trouble={("undrain", "ange.web1"): [HostFailed("ange.lb1", "x") for _ in range(9)]})
    end = drive(store, plan(store), change)
    web1 = next(s for s in end.hosts if s.host == "ange.web1")
    assert (web1.stage, web1.drained, web1.stuck) == (Stage.FAILED, True, True)
    assert world.log.count(("undrain", "ange.web1")) == 2
    change.trouble.clear()
    end = drive(store, take_up(Journal(store).load(end.plan.id), now=START).state, change)
    assert world.drained == set()
    web1 = next(s for s in end.hosts if s.host == "ange.web1")
    assert (web1.stage, web1.drained, web1.reason, web1.notes) == (Stage.DONE, False, "", ())
    assert (end.status, stages(end)) == (Status.DONE, ALL_DONE)


def test_a_host_that_failed_otherwise_says_when_it_is_undrained_and_stays_failed(store: Store) -> None:
    said: list[str] = []
    change = FakeChange(
        World(),
        trouble={
            ("install", "ange.web1"): [HostFailed("ange.web1", "postinst failed")],
            ("undrain", "ange.web1"): [HostFailed("ange.lb1", "x")],
        },
    )
    end = drive(store, plan(store), change)
    taken = take_up(Journal(store).load(end.plan.id), now=START)
    assert taken.left == ("ange.web1",)
    end = drive(store, taken.state, change, observe=lambda p: said.append(f"{p.host}: {p.text}"))
    web1 = next(s for s in end.hosts if s.host == "ange.web1")
    assert (web1.stage, web1.drained, web1.notes) == (Stage.FAILED, False, ())
    assert "ange.web1: undrained; it stays failed" in said


def test_leaving_at_once_says_what_is_drained_and_what_is_under_way(store: Store) -> None:
    world = World()

    def leave(progress: Progress) -> None:
        if (progress.host, progress.text) == ("ange.web1", "installing"):
            raise KeyboardInterrupt

    state = plan(store)
    with pytest.raises(Interrupted) as left:
        drive(store, state, FakeChange(world), observe=leave)
    told = "left at once; still drained: ange.web1; at work on the host: ange.web1 (installing)"
    assert left.value.message == told
    assert left.value.hint == f"opsctl patch resume {state.plan.id}"
    saved = Journal(store).load(state.plan.id)
    assert (saved.status, saved.reason) == (Status.INTERRUPTED, told)
    assert Leases(store).held() == ()
    end = drive(store, take_up(Journal(store).load(state.plan.id), now=START).state, FakeChange(world))
    assert (end.status, stages(end), world.drained) == (Status.DONE, ALL_DONE, set())


def test_a_halt_with_failed_hosts_names_both_ways_on(store: Store) -> None:
    change = FakeChange(World(), trouble={("install", "ange.app1"): [HostFailed("ange.app1", "postinst failed")]})
    end = drive(store, plan(store), change)
    line = f"opsctl patch resume {end.plan.id}"
    with pytest.raises(Stopped) as stopped:
        raise_unless_ok(end)
    ways = f"{line} --retry tries the failed hosts again; {line} leaves them as they are"
    assert stopped.value.hint == f"{ways}; read docs/how-to/patch-night.md#a-host-failed"


def test_a_stop_lets_drained_hosts_finish_and_starts_nothing_new(store: Store) -> None:
    world, stop = World(), threading.Event()
    change = FakeChange(world, after=lambda step, host: stop.set() if step == "drain" else None)
    end = drive(store, plan(store), change, stop=stop)
    assert end.status is Status.INTERRUPTED
    assert world.drained == set()
    assert stages(end)["web1"] is Stage.DONE
    assert stages(end)["web2"] is Stage.PLANNED
    end = drive(store, take_up(Journal(store).load(end.plan.id), now=START).state, FakeChange(world))
    assert (end.status, stages(end)) == (Status.DONE, ALL_DONE)
    assert set(world.installs.values()) == {1}


def test_a_second_process_on_the_same_rollout_is_refused(store: Store) -> None:
    state = plan(store)
    journal = Journal(store)
    with journal.alone(state.plan.id, "anna, process 7"), pytest.raises(Locked, match="anna, process 7"):
        drive(store, state, FakeChange(World()))
    assert journal.at_work(state.plan.id) == ""


def test_somebody_who_only_looks_at_a_rollout_keeps_nobody_from_it(store: Store) -> None:
    """`patch status` holds the lock for a moment to see whether it is free."""
    state = plan(store)
    with Journal(store).alone(state.plan.id, "anna"):
        pass
    with (store.folder / f"rollouts/{state.plan.id}.lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.02, lambda: fcntl.flock(looking, fcntl.LOCK_UN)).start()
        assert drive(store, state, FakeChange(World())).status is Status.DONE


def test_a_rollout_that_somebody_else_ran_meanwhile_is_not_run_once_more(store: Store) -> None:
    """Two people look at the same plan; the second one says yes only after the first one's run is over."""
    world, read_before = World(), plan(store)
    drive(store, read_before, FakeChange(world))
    with pytest.raises(StalePlan, match="meanwhile: it is done"):
        drive(store, read_before, FakeChange(world))
    assert world.installs == dict.fromkeys([h.key for h in FLEET], 1)
    assert world.boots == {"ange.web1": 2}
    assert Leases(store).held() == ()


def test_a_resume_that_meets_a_lock_changes_nothing(store: Store) -> None:
    """Failures are acknowledged by a resume that begins, not by one that comes too late."""
    change = FakeChange(World(), trouble={("install", "ange.app1"): [HostFailed("ange.app1", "postinst failed")]})
    halted = drive(store, plan(store), change)
    taken = take_up(halted, now=START, retry=True)
    Leases(store).acquire(["ange.lb1"], "rollout other of erik", START, timedelta(hours=1))
    with pytest.raises(Locked, match="rollout other of erik"):
        drive(store, taken.state, change)
    assert Journal(store).load(halted.plan.id) == halted


def test_a_resume_of_what_somebody_else_has_resumed_meanwhile_changes_nothing(store: Store) -> None:
    change = FakeChange(World(), trouble={("install", "ange.app1"): [HostFailed("ange.app1", "postinst failed")]})
    halted = drive(store, plan(store), change)
    theirs = drive(store, take_up(halted, now=START).state, change)
    with pytest.raises(StalePlan, match="meanwhile"):
        drive(store, take_up(halted, now=START, retry=True).state, change)
    assert Journal(store).load(halted.plan.id) == theirs


def asking(store: Store) -> Asking:
    return Asking(store=store, ledger=Ledger(store), who="erik", clock=Clock())


class DyingStore(Store):
    """The process dies where leases would be given back."""

    def write(self, statement: str, values: Sequence[Cell] = ()) -> int:
        if statement.startswith("DELETE FROM leases"):
            raise Killed
        return super().write(statement, values)


def test_an_abort_that_is_killed_can_be_done_once_more_and_frees_the_hosts(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        state = Journal(store).save_status(plan(store), Status.RUNNING, START)
        Leases(store).acquire(["ange.web1"], f"rollout {state.plan.id} of anna", START, timedelta(hours=1))
    with DyingStore.open(tmp_path) as store, pytest.raises(Killed):
        asking(store).abort(state)
    with Store.open(tmp_path) as store:
        found = Journal(store).load(state.plan.id)
        assert asking(store).abort(found).state.status is Status.ABORTED
        assert Leases(store).held() == ()


def test_an_abort_of_what_somebody_else_ran_meanwhile_takes_nothing_from_them(store: Store) -> None:
    state = plan(store)
    halted = drive(store, state, FakeChange(World(), sick={"ange.app1"}))
    Leases(store).acquire(["ange.web1"], f"rollout {state.plan.id} of anna", START, timedelta(hours=1))
    with pytest.raises(StalePlan, match=f"it is {halted.status}"):
        asking(store).abort(state)
    assert len(Leases(store).held()) == 1


def test_a_rollout_that_meets_a_lock_leaves_no_trace(store: Store) -> None:
    """Somebody takes a host after we looked whether it is free: no plan, no entry and no copy are left behind."""
    balancers = limiting.of(STOCK, balancers=BALANCERS)
    found = planning.arrange([HostPlan(host="ange.app1")], STOCK, balancers, pace=planning.Pace(limit=1))
    made = planning.freeze(
        found, kind="provision", now=START, made_by="anna", inventory_digest="d", content_digest="c",
        pace=planning.Pace(limit=1), failure_budget=1,
    )  # fmt: skip
    kept: list[str] = []

    def attempt() -> Ended:
        return execute(
            Journal(store).unsaved(made), FakeChange(World()), verb="provision", who="anna", store=store,
            ledger=Ledger(store), inventory=STOCK, limits=balancers, clock=Clock(), observe=lambda step: None,
            keep=lambda: kept.append("copy"),
        )  # fmt: skip

    (lease,) = Leases(store).acquire(["ange.app1"], "rollout other of erik", START, timedelta(hours=1))
    with pytest.raises(Locked):
        attempt()
    assert (Journal(store).all(), Ledger(store).entries(), kept) == ([], [], [])
    Leases(store).release([lease])
    assert attempt().state.status is Status.DONE
    assert (len(Journal(store).all()), len(Ledger(store).entries()), kept) == (1, 2, ["copy"])


def test_a_link_in_place_of_a_rollouts_lock_is_not_written_through(store: Store, tmp_path: Path) -> None:
    state = plan(store)
    (tmp_path / "victim").write_text("precious")
    (store.folder / "rollouts").mkdir()
    (store.folder / f"rollouts/{state.plan.id}.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        drive(store, state, FakeChange(World()))
    assert (tmp_path / "victim").read_text() == "precious"


def test_an_overlapping_rollout_is_refused_with_who_holds_the_host(store: Store) -> None:
    state = plan(store)
    Leases(store).acquire(["ange.lb1"], "rollout other of erik", START, timedelta(hours=1))
    with pytest.raises(Locked, match="rollout other of erik"):
        drive(store, state, FakeChange(World()))
    assert [lease.name for lease in Leases(store).held()] == ["ange.lb1"]


def test_a_load_balancer_that_another_rollout_works_on_is_not_drained_through(store: Store) -> None:
    """A restart of it would put the drained hosts back into service."""
    web = plan(store, hosts=FLEET[1:2])
    Leases(store).acquire([BALANCER], "rollout other of erik", START, timedelta(hours=1))
    with pytest.raises(Locked, match=r"ange\.lb1 is held by rollout other of erik"):
        drive(store, web, FakeChange(World()))


def test_a_drain_is_made_in_the_name_of_the_claim_on_the_load_balancer(store: Store) -> None:
    claims: list[Claim] = []

    class Looking(FakeChange):
        def drain(self, host: Host, item: HostPlan, claim: Claim) -> None:
            claims.append(claim)
            super().drain(host, item, claim)

    Leases(store).release(Leases(store).acquire([BALANCER], "earlier", START, timedelta(hours=1)))
    drive(store, plan(store, hosts=FLEET[1:2]), Looking(World()))
    floor = Leases(store).origin()
    assert [claim.token for claim in claims] == [floor + 2], "the second lease on it; the host's own is its first"


def test_a_batch_with_one_effect_prepares_its_hosts_at_once(store: Store) -> None:
    world = World()
    end = drive(store, plan(store), FakeChange(world, together=True))
    assert end.status is Status.DONE
    assert [host for step, host in world.log if step == "prepare"] == [
        "ange.app1", "ange.web1", "ange.web2", "ange.lb1",
    ] or all(step != "install" for step, _ in world.log)  # fmt: skip


def test_a_retry_takes_failed_hosts_up_again_and_a_plain_resume_leaves_them(store: Store) -> None:
    change = FakeChange(World(), trouble={("install", "ange.app1"): [HostFailed("ange.app1", "postinst failed")]})
    end = drive(store, plan(store), change)
    plain = take_up(Journal(store).load(end.plan.id), now=START)
    assert plain.left == ("ange.app1",)
    again = take_up(Journal(store).load(end.plan.id), now=START, retry=True)
    assert isinstance(again, Taken)
    end = drive(store, again.state, change)
    assert (end.status, stages(end)) == (Status.DONE, ALL_DONE)
    assert next(s for s in end.hosts if s.host == "ange.app1").attempt == 2


# --- hosts that are no longer ours at a resume ----------------------------------------------------------------------


def resumed(store: Store, state: RolloutState, change: FakeChange, gone: Mapping[str, str]) -> RolloutState:
    taken = take_up(Journal(store).load(state.plan.id), now=START, retry=True, gone=gone)
    return drive(store, taken.state, change, gone=frozenset(gone))


def stopped(store: Store, change: FakeChange) -> RolloutState:
    """A rollout that halted at its first host; nothing else was touched."""
    change.trouble[("install", "ange.app1")] = [HostFailed("ange.app1", "postinst failed")]
    return drive(store, plan(store), change)


def test_a_resume_skips_hosts_that_are_no_longer_ours_and_finishes_the_others(store: Store) -> None:
    world = World()
    change = FakeChange(world)
    halted, gone = stopped(store, change), dict.fromkeys(("ange.web1", "ange.web2"), "it is no longer in the inventory")
    world.log.clear()
    end = resumed(store, halted, change, gone)
    assert (end.status, stages(end)) == (Status.DONE, {**ALL_DONE, "web1": Stage.SKIPPED, "web2": Stage.SKIPPED})
    assert end.hosts[2].reason == gone["ange.web2"]
    assert {host for _, host in world.log} == {"ange.app1", "ange.lb1"}
    with pytest.raises(Incomplete, match=r"2 of 4 hosts done; remaining: ange\.web1, ange\.web2") as incomplete:
        raise_unless_ok(end)
    assert "opsctl patch plan" in incomplete.value.hint


def test_a_host_that_was_skipped_counts_as_out_of_service(store: Store) -> None:
    """Nobody knows how it is; its cluster may lose no other member."""
    change = FakeChange(World())
    halted = stopped(store, change)
    taken = take_up(halted, now=START, retry=True, gone={"ange.web1": "it is no longer managed"})
    end = drive(store, taken.state, change, gone=frozenset({"ange.web1"}))
    assert (end.status, stages(end)["web2"]) == (Status.PAUSED, Stage.PRECHECKED)
    assert "ange.web1 is out" in end.reason


def test_a_failed_host_that_is_no_longer_ours_is_not_tried_again(store: Store) -> None:
    change = FakeChange(World())
    halted = stopped(store, change)
    end = resumed(store, halted, change, {"ange.app1": "its approved key has changed"})
    assert (end.status, stages(end)) == (Status.DONE, {**ALL_DONE, "app1": Stage.FAILED})


def test_a_drained_host_that_is_no_longer_ours_is_put_back_into_service_and_else_left_alone(store: Store) -> None:
    world = World()
    change = FakeChange(world, trouble={("install", "ange.web1"): [Unreachable("ange.web1", "no answer")]})
    paused = drive(store, plan(store, hosts=FLEET[1:3]), change)
    assert world.drained == {"ange.web1"}
    world.log.clear()
    end = resumed(store, paused, change, {"ange.web1": "it is no longer managed"})
    assert [step for step, host in world.log if host == "ange.web1"] == ["undrain"]
    assert (stages(end)["web1"], world.drained) == (Stage.SKIPPED, set())


def test_a_load_balancer_that_is_no_longer_ours_is_not_touched(store: Store) -> None:
    world = World()
    change = FakeChange(world, trouble={("install", "ange.web1"): [Unreachable("ange.web1", "no answer")]})
    paused = drive(store, plan(store, hosts=FLEET[1:3]), change)
    world.log.clear()
    end = resumed(store, paused, change, {BALANCER: "it is no longer managed"})
    assert world.log == []
    assert (end.status, end.reason) == (Status.HALTED, "still drained: ange.web1")
    assert set(stages(end).values()) == {Stage.SKIPPED}
    assert end.hosts[0].notes == ("still drained: its load balancer ange.lb1: it is no longer managed",)
    back = resumed(store, end, change, {})
    assert (back.status, world.drained, stages(back)["web1"]) == (Status.DONE, set(), Stage.SKIPPED)


def test_who_is_still_ours_is_told_by_the_written_inventory_and_the_approved_keys(store: Store) -> None:
    made = plan(store, hosts=FLEET[:3]).plan
    then = {key: frozenset({"SHA256:old"}) for key in ("ange.app1", "ange.web1", "ange.web2", BALANCER)}
    now = {**then, "ange.web1": frozenset({"SHA256:new"})}
    retired = replace(FLEET[3], status="decommissioning")
    written = replace(STOCK, hosts=(FLEET[1], FLEET[2], retired))
    assert no_longer_ours(made, written, then, now.__getitem__) == {
        "ange.app1": "it is no longer in the inventory",
        "ange.web1": "its approved key has changed since the rollout began",
        BALANCER: f"it is no longer managed: {retired.why_not_managed}",
    }
    assert no_longer_ours(made, STOCK, {}, now.__getitem__) == {}, "a rollout whose keys were not kept"


def test_a_rollout_that_is_over_cannot_be_taken_up(store: Store) -> None:
    from opsctl.errors import Refused

    end = drive(store, plan(store), FakeChange(World()))
    with pytest.raises(Refused, match="is done"):
        take_up(Journal(store).load(end.plan.id), now=START)


def test_states_in_the_store_read_back_as_they_were(store: Store) -> None:
    state = plan(store)
    journal = Journal(store)
    one = HostState(
        host="ange.app1", stage=Stage.UNKNOWN, at=START, last=Stage.REBOOTING, reason="no answer", reboot=True,
        reference=Reference(boot_id="b", listening=(22,)), notes=("kept /etc/x",), started_at=START,
    )  # fmt: skip
    journal.save_host(state.plan.id, one)
    assert journal.load(state.plan.id).hosts[0] == one
    assert replace(journal.load(state.plan.id), hosts=()) == replace(state, hosts=())


def test_hosts_that_did_not_answer_at_the_plan_keep_a_rollout_from_being_ok(store: Store) -> None:
    end = drive(store, plan(store), FakeChange(World()))
    assert outcome_of(end) == "ok"
    away = replace(end, plan=replace(end.plan, left_out=(LeftOut(host="ange.db1", reason="timed out", missed=True),)))
    assert outcome_of(away) == "incomplete"
    with pytest.raises(Incomplete, match=r"4 of 4 hosts done; left out: ange\.db1 \(timed out\)"):
        raise_unless_ok(away)


def test_a_claim_names_the_control_node_and_its_store(store: Store) -> None:
    state = plan(store)
    claiming = Claims(state.plan, Leases(store), limiting.of(STOCK), Clock())
    with claiming.held() as held:
        node, _, origin = held["ange.web1"].installation.rpartition("/")
    assert node == socket.gethostname()
    assert int(origin) == Leases(store).origin() > 0
