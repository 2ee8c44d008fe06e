"""Silences around a rollout, against a silencer that exists only here: when they are made, kept and lifted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from opsctl.errors import HostFailed, Unreachable
from opsctl.model.host import Host
from opsctl.model.rollout import Stage, Status
from opsctl.monitor.remote import MonitoringSilent
from opsctl.rollout.journal import Journal
from opsctl.rollout.resume import take_up
from opsctl.state.leases import Leases
from opsctl.state.store import Store
from tests.unit.test_rollout_drive import (
    ALL_DONE,
    START,
    DyingJournal,
    FakeChange,
    Killed,
    World,
    drive,
    fleet_of,
    plan,
    stages,
)


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


@dataclass
class Alertmanager:
    """Host -> until when it is silenced; `down`: it does not answer."""

    silenced: dict[str, datetime] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    down: bool = False

    def _answer(self) -> None:
        if self.down:
            raise MonitoringSilent("Alertmanager at https://am.example: no connection")

    def put(self, host: Host, until: datetime) -> None:
        self._answer()
        self.log.append(("put", host.key))
        self.silenced[host.key] = until

    def renew(self, hosts: Sequence[Host], until: datetime) -> None:
        self._answer()
        for host in hosts:
            self.log.append(("renew", host.key))
            self.silenced[host.key] = until

    def lift(self, hosts: Iterable[str] | None = None) -> None:
        self._answer()
        for key in list(self.silenced) if hosts is None else hosts:
            self.log.append(("lift", key))
            self.silenced.pop(key, None)


def test_each_host_is_silenced_before_it_is_read_and_no_silence_is_left(store: Store) -> None:
    manager, world = Alertmanager(), World()
    unsilenced: list[tuple[str, str]] = []

    def look(step: str, host: str) -> None:
        if host and host not in manager.silenced and step != "undrain":
            unsilenced.append((step, host))

    end = drive(store, plan(store), FakeChange(world, after=look), silencer=manager)
    assert (end.status, stages(end)) == (Status.DONE, ALL_DONE)
    assert unsilenced == []
    assert [host for act, host in manager.log if act == "put"] == [h for step, h in world.log if step == "precheck"]
    assert manager.silenced == {}


def test_a_silence_never_outlives_the_lease_of_its_host(store: Store) -> None:
    manager = Alertmanager()
    late: list[str] = []

    def look(step: str, host: str) -> None:
        leases = {one.name: one.expires for one in Leases(store).held()}
        late.extend(key for key, until in manager.silenced.items() if until > leases[key])

    drive(store, plan(store), FakeChange(World(), after=look), silencer=manager)
    assert late == []


def test_where_alertmanager_is_silent_nothing_is_touched_and_it_pauses(store: Store) -> None:
    manager, change = Alertmanager(down=True), FakeChange(World())
    state = plan(store)
    end = drive(store, state, change, silencer=manager)
    assert (end.status, change.world.log) == (Status.PAUSED, [])
    assert end.reason.startswith("monitoring does not answer: ange.app1 is not silenced: Alertmanager at")
    assert stages(end) == {**dict.fromkeys(ALL_DONE, Stage.PLANNED), "app1": Stage.LEASED}
    manager.down = False
    again = take_up(Journal(store).load(state.plan.id), now=START).state
    assert stages(drive(store, again, change, silencer=manager)) == ALL_DONE


def test_the_alert_of_a_failed_host_speaks_at_once(store: Store) -> None:
    manager = Alertmanager()
    at_undrain: list[bool] = []
    change = FakeChange(World(), trouble={("install", "ange.web1"): [HostFailed("ange.web1", "no space left")]})
    change.after = lambda step, host: at_undrain.append(host in manager.silenced) if step == "undrain" else None
    end = drive(store, plan(store), change, silencer=manager)
    assert end.status is Status.HALTED
    assert at_undrain == [False]
    assert manager.silenced == {}


def test_a_lost_host_stays_silenced_while_the_pause_keeps_its_lease(store: Store) -> None:
    manager, until = Alertmanager(), START + timedelta(hours=2)
    change = FakeChange(World(), trouble={("install", "ange.web1"): [Unreachable("ange.web1", "no answer")]})
    end = drive(store, plan(store), change, silencer=manager, keeps=lambda items: until)
    assert end.status is Status.PAUSED
    assert manager.silenced == {"ange.web1": until}


def test_without_kept_leases_a_pause_leaves_no_silence(store: Store) -> None:
    manager = Alertmanager()
    change = FakeChange(World(), trouble={("install", "ange.web1"): [Unreachable("ange.web1", "no answer")]})
    drive(store, plan(store), change, silencer=manager)
    assert manager.silenced == {}


@pytest.mark.parametrize("die_at", range(2, 26, 3))
def test_killed_and_resumed_no_host_in_the_middle_goes_on_unsilenced(store: Store, die_at: int) -> None:
    manager, world, state = Alertmanager(), World(), plan(store)
    with pytest.raises(Killed):
        drive(store, state, FakeChange(world), silencer=manager, journal=DyingJournal(store, die_at, before=False))
    manager.silenced.clear()  # long ago: each has ended by itself
    unsilenced: list[tuple[str, str]] = []

    def look(step: str, host: str) -> None:
        if host and host not in manager.silenced:
            unsilenced.append((step, host))

    taken = take_up(Journal(store).load(state.plan.id), now=START)
    end = drive(store, taken.state, FakeChange(world, after=look), silencer=manager)
    assert (end.status, stages(end), unsilenced, manager.silenced) == (Status.DONE, ALL_DONE, [], {})


def test_a_drained_host_is_finished_also_where_alertmanager_is_silent_at_the_resume(store: Store) -> None:
    manager, world, state = Alertmanager(), World(), plan(store)
    change = FakeChange(world)

    def die(step: str, host: str) -> None:
        if (step, host) == ("install", "ange.web1"):
            raise Killed

    change.after = die
    with pytest.raises(Killed):
        drive(store, state, change, silencer=manager)
    assert world.drained == {"ange.web1"}
    manager.down, change.after = True, lambda step, host: None
    end = drive(store, take_up(Journal(store).load(state.plan.id), now=START).state, change, silencer=manager)
    assert (end.status, world.drained, stages(end)["web1"]) == (Status.PAUSED, set(), Stage.DONE)
    assert end.reason.startswith("monitoring does not answer")
    assert stages(end)["web2"] is Stage.PLANNED


def test_a_silence_that_cannot_be_lifted_stops_nothing_and_is_told_once(store: Store) -> None:
    manager = Alertmanager()
    said: list[str] = []

    def look(step: str, host: str) -> None:
        manager.down = step == "install" and host == "ange.lb1"

    end = drive(
        store, plan(store), FakeChange(World(), after=look), silencer=manager, observe=lambda one: said.append(one.text)
    )
    assert (end.status, stages(end)) == (Status.DONE, ALL_DONE)
    assert len([text for text in said if text.startswith("silences: ")]) == 1


def test_alerts_that_nobody_can_tell_keep_hosts_in_service_and_pause(store: Store) -> None:
    answers = iter([frozenset[str]()])

    def alerting() -> frozenset[str]:
        found = next(answers, None)
        if found is None:
            raise MonitoringSilent("Prometheus at https://p.example: no connection")
        return found

    change = FakeChange(World())
    end = drive(store, plan(store), change, alerting=alerting)
    assert end.status is Status.PAUSED
    assert end.reason == "monitoring does not answer: Prometheus at https://p.example: no connection"
    assert stages(end)["app1"] is Stage.DONE
    assert not {"drain", "install"} & {step for step, host in change.world.log if host != "ange.app1"}


def test_alerts_that_are_told_again_while_others_work_hold_nobody_up(store: Store) -> None:
    asked = 0

    def alerting() -> frozenset[str]:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise MonitoringSilent("Prometheus restarts")
        return frozenset()

    stock = fleet_of("a", "b")
    change = FakeChange(World(), reboots=frozenset())
    end = drive(store, plan(store, stock=stock, hosts=stock.hosts), change, stock=stock, alerting=alerting)
    assert (end.status, stages(end)) == (Status.DONE, {"a": Stage.DONE, "b": Stage.DONE})
    assert asked > 2
