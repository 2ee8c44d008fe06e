"""Rollouts that go on without a terminal, begin at a time, and are missed when their process is gone."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from opsctl import config
from opsctl.errors import ConfigError, Incomplete, Locked, Refused, StalePlan, UsageError
from opsctl.model.rollout import RolloutState, Stage, Status
from opsctl.rollout import alarming, detach, stop, watchdog, watchdog_units
from opsctl.rollout.journal import Journal
from opsctl.rollout.notice import Letter
from opsctl.rollout.notify import Delivery
from opsctl.rollout.standing import Standing
from opsctl.rollout.waiting import Waiting, begins_at, scheduled
from opsctl.state.appointments import Appointments
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests.unit.test_rollout_drive import START, STOCK, plan

SOON = START + timedelta(hours=2)


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


class Nights:
    """A clock that only sleeping moves on."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds * 60)


def waiting(store: Store, clock: Nights) -> Waiting:
    return Waiting(store=store, ledger=Ledger(store), who="erik", clock=clock, sleep=clock.sleep)


# --- as a unit, or as a process --------------------------------------------------------------------------------------


@pytest.fixture(name="workspace")
def _workspace(tmp_path: Path) -> Path:
    folder = tmp_path / 'drift 100% $HOME "söder"'
    (folder / ".state").mkdir(parents=True)
    (folder / "opsctl.yml").write_text("version: 1\n")
    return folder


def test_a_unit_runs_the_same_command_line_for_the_same_person_and_is_stopped_cleanly(workspace: Path) -> None:
    environ = {"PATH": "/bin", "OPSCTL_SSH_USER": "opsctl", "OPSCTL_NETBOX_TOKEN": "nbt_secret", "EDITOR": "vi"}
    words = ["/opt/opsctl", "-C", str(workspace), "patch", "start", "patch-1", "--yes"]
    argv = detach.unit_command("patch-1", words, who="anna as opsctl", environ=environ, root=True)
    options, _, command = " ".join(argv).partition(" -- ")
    assert argv[0] == "systemd-run"
    assert "--unit=opsctl-patch-1" in argv
    assert {"--collect", "--service-type=exec", "--property=KillMode=mixed", "--property=TimeoutStopSec=1h"} <= set(
        argv
    )
    assert "--setenv=SUDO_USER=anna" in argv
    assert "--setenv=OPSCTL_SSH_USER=opsctl" in argv
    assert "--user" not in argv
    assert "secret" not in options
    assert "EDITOR" not in options
    assert command.endswith("patch start patch-1 --yes")
    assert str(workspace).replace("$", "$$") in argv, "systemd expands no variable in it"
    other = detach.unit_command("patch-1", words, who="anna", environ={}, root=False)
    assert other[1] == "--user"


def test_elsewhere_it_is_a_process_in_a_session_of_its_own_with_a_log(
    workspace: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = workspace / "speak"
    script.write_text('#!/bin/sh\necho "args: $*"; ps -o sid= -p $$; echo token: $OPSCTL_NETBOX_TOKEN; exit 5\n')
    script.chmod(0o755)
    monkeypatch.setenv("OPSCTL_NETBOX_TOKEN", "nbt_secret")
    started = detach.launch(
        config.load(workspace, {}), Journal(store), "patch-1", ["patch", "start"], who="anna",
        program=(str(script),), systemd=False,
    )  # fmt: skip
    with pytest.raises(Exception, match="ended with 5") as stopped:
        detach.wait_until_begun(started, lambda: False, seconds=20)
    assert stopped.value.hint == f"read {store.folder}/rollouts/patch-1.log"  # type: ignore[attr-defined]
    said = (store.folder / "rollouts/patch-1.log").read_text().splitlines()
    assert said[0] == f"args: -C {workspace} patch start"
    assert said[1].strip() == started.name.removeprefix("process ") != str(os.getsid(0))
    assert said[2] == "token:"


def test_a_link_in_place_of_the_log_is_not_written_through(workspace: Path, store: Store, tmp_path: Path) -> None:
    log = Journal(store).file("patch-1", "log")
    log.symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        detach.launch(
            config.load(workspace, {}),
            Journal(store),
            "patch-1",
            ["patch"],
            who="anna",
            program=("/bin/true",),
            systemd=False,
        )
    assert not (tmp_path / "victim").exists()


def ended(code: int, words: str) -> detach.Detached:
    return detach.Detached(
        name="process 7", output="the log", alive=lambda: False, code=lambda: code, last_words=lambda: words
    )


@pytest.mark.parametrize(
    ("code", "error"), [(1, Incomplete), (3, Refused), (4, Locked), (130, Incomplete), (-9, Incomplete)]
)
def test_what_a_detached_process_died_of_is_told_with_the_same_exit_code(code: int, error: type[Exception]) -> None:
    words = "Z error: it no longer fits\n  what next: make a new plan\n"
    with pytest.raises(error, match=f"the detached process 7 ended with {code}: Z error: it no longer fits"):
        detach.wait_until_begun(ended(code, words), lambda: False, seconds=5)


def test_one_that_ended_well_before_anybody_looked_has_begun() -> None:
    assert detach.wait_until_begun(ended(0, ""), lambda: False, seconds=5)


# --- at a time -------------------------------------------------------------------------------------------------------


def test_a_plan_begins_at_the_time_asked_for_else_at_its_own_else_at_once(store: Store) -> None:
    made = plan(store).plan
    assert begins_at(made, None, START) is None
    assert begins_at(replace(made, start_at=SOON), None, START) == SOON
    assert begins_at(replace(made, start_at=SOON), None, SOON) is None
    assert begins_at(replace(made, start_at=SOON), SOON + timedelta(hours=1), START) == SOON + timedelta(hours=1)
    assert begins_at(made, START - timedelta(minutes=1), START) is None, "a detached start came a little late"
    for wrong in (START - timedelta(hours=1), START + timedelta(days=400)):
        with pytest.raises(UsageError, match="is over, or too far away"):
            begins_at(made, wrong, START)


def test_who_waits_is_seen_by_others_until_the_plan_begins(store: Store) -> None:
    state, clock = plan(store), Nights()
    with waiting(store, clock).until(state.plan, SOON):
        assert clock.now >= SOON
        (one,) = scheduled(store)
        assert (one.kept, one.appointment.starts, one.appointment.who) == (True, SOON, "erik")
        assert one.told.startswith("erik, process ")
        assert one.next == ""
        with pytest.raises(Locked, match="waits to start"), waiting(store, Nights()).until(state.plan, SOON):
            pass
        Journal(store).save_status(state, Status.RUNNING, SOON)
    assert scheduled(store) == []
    assert [entry.verb for entry in Ledger(store).entries()] == ["patch schedule"] * 2


def test_a_waiter_that_is_gone_leaves_the_appointment_and_is_missed(store: Store) -> None:
    state, clock = plan(store), Nights()
    with pytest.raises(KeyboardInterrupt), waiting(store, clock).until(state.plan, SOON):
        raise KeyboardInterrupt
    (one,) = scheduled(store)
    assert (one.kept, one.told) == (False, "nobody: the process that waited is gone")
    assert one.next == f"opsctl patch start {state.plan.id} --detach"
    assert watchdog.alarms([], [one], START) == (), "it may just be started anew"
    (alarm,) = watchdog.alarms([], [one], START + timedelta(minutes=5))
    assert alarm.kind == "missed"
    assert f"run opsctl patch start {state.plan.id} --detach" in str(alarm)


def test_a_start_that_was_refused_at_its_time_is_told_with_the_reason(store: Store) -> None:
    state = plan(store)
    with pytest.raises(StalePlan), waiting(store, Nights()).until(state.plan, SOON):
        raise StalePlan("it no longer fits: the inventory has changed")
    (one,) = scheduled(store)
    assert one.told == "it did not begin: it no longer fits: the inventory has changed"
    assert watchdog.alarms([], [one], START)[0].kind == "missed"


def test_a_plan_that_is_aborted_meanwhile_is_not_waited_for(store: Store) -> None:
    state, clock = plan(store), Nights()

    def abort(seconds: float) -> None:
        if Journal(store).load(state.plan.id).status is Status.PLANNED:
            Journal(store).save_status(state, Status.ABORTED, clock())
        clock.sleep(seconds)

    waits = replace(waiting(store, clock), sleep=abort)
    with pytest.raises(Refused, match="is aborted by now"), waits.until(state.plan, SOON):
        raise AssertionError
    assert scheduled(store) == []
    assert Appointments(store).of(state.plan.id) is not None


# --- the watchdog ----------------------------------------------------------------------------------------------------


def running(store: Store) -> RolloutState:
    state = plan(store)
    hosts = (replace(state.hosts[0], stage=Stage.INSTALLING, drained=True), *state.hosts[1:])
    return replace(state, status=Status.RUNNING, hosts=hosts)


def test_a_dead_process_is_told_with_what_is_drained_and_the_command(store: Store) -> None:
    look = Standing(state=running(store), now=SOON, beat=SOON - timedelta(minutes=7))
    (alarm,) = watchdog.alarms([look], [], SOON)
    assert str(alarm) == (
        f"{look.state.plan.id}: stalled, last seen alive 7 min ago, 1 drained (ange.app1); run opsctl patch resume "
        f"{look.state.plan.id} (docs/how-to/patch-night.md#go-on)"
    )


def test_a_frozen_process_is_told_with_what_holds_the_rollout(store: Store) -> None:
    look = Standing(state=running(store), now=SOON, busy="anna, process 7", beat=SOON - timedelta(minutes=7))
    (alarm,) = watchdog.alarms([look], [], SOON)
    assert (alarm.kind, "end the process that holds it (anna, process 7)" in alarm.next) == ("frozen", True)


def test_one_that_a_shutdown_of_its_machine_stopped_is_told_until_somebody_sees_to_it(store: Store) -> None:
    state = replace(running(store), status=Status.INTERRUPTED, reason=stop.FROM_OUTSIDE)
    (alarm,) = watchdog.alarms([Standing(state=state, now=SOON, beat=SOON - timedelta(minutes=7))], [], SOON)
    assert str(alarm) == (
        f"{state.plan.id}: interrupted: stopped by SIGTERM, as a shutdown of its machine sends it, last seen alive 7 "
        f"min ago, 1 drained (ange.app1); run opsctl patch resume {state.plan.id} (docs/how-to/patch-night.md#go-on)"
    )
    resumed = Standing(state=state, now=SOON, busy="anna, process 7", beat=SOON)
    by_hand = Standing(state=replace(state, reason=stop.BY_HAND), now=SOON)
    paused = Standing(state=replace(state, status=Status.PAUSED), now=SOON)
    assert watchdog.alarms([resumed, by_hand, paused], [], SOON) == ()


def test_what_lives_or_rests_is_no_alarm(store: Store) -> None:
    state = running(store)
    alive = Standing(state=state, now=SOON, busy="anna, process 7", beat=SOON)
    paused = Standing(state=replace(state, status=Status.PAUSED), now=SOON, beat=START)
    assert watchdog.alarms([alive, paused], [], SOON) == ()


def test_a_process_that_was_stopped_by_a_signal_no_longer_shows_its_heartbeat(store: Store) -> None:
    """The lock is held by a living process; only the heartbeat tells that it does nothing."""
    state, go = plan(store), threading.Event()
    with Journal(store).alone(state.plan.id, "anna, process 7") as beat:
        beat()
        first = Journal(store).last_beat(state.plan.id)
        go.wait(0.05)
        assert Journal(store).last_beat(state.plan.id) == first
        beat()
        last = Journal(store).last_beat(state.plan.id)
        assert first is not None
        assert last is not None
        assert last > first


# --- its units -------------------------------------------------------------------------------------------------------


def units(workspace: Path, **options: str) -> dict[str, str]:
    program = (shutil.which("true") or "/bin/true",)
    return dict(watchdog_units.units(config.load(workspace, options), program, minutes=5))


def test_the_units_watch_this_workspace_as_its_owner_and_may_write_the_store_alone(workspace: Path) -> None:
    service, timer = units(workspace).values()
    shown = str(workspace).replace("%", "%%").replace('"', '\\"')
    assert f"User={getpass.getuser()}" in service.splitlines()
    assert f'"-C" "{shown.replace("$", "$$")}" "patch" "watchdog"' in service
    assert f'ReadWritePaths="{shown}/.state"' in service
    assert "OnUnitInactiveSec=5min" in timer
    assert "OnBootSec=1min" in timer


def test_units_are_refused_where_they_would_lack_an_option_or_a_store(workspace: Path) -> None:
    with pytest.raises(ConfigError, match="OPSCTL_SSH_USER: set in this shell alone"):
        units(workspace, OPSCTL_SSH_USER="anna")
    (workspace / ".state").rmdir()
    with pytest.raises(Refused, match="is not there yet"):
        units(workspace)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_takes_the_units(workspace: Path, tmp_path: Path) -> None:
    for name, text in units(workspace).items():
        (tmp_path / name).write_text(text)
    files = [str(tmp_path / name) for name in units(workspace)]
    done = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if "opsctl-patch-watchdog" in line]
    assert told == []


# --- who is told -----------------------------------------------------------------------------------------------------


def test_an_alarm_is_told_to_whom_the_settings_name_once_an_hour(workspace: Path, store: Store) -> None:
    (workspace / "opsctl.yml").write_text(
        "version: 1\nnotify:\n  routes: ['event:stalled = on-call']\n  targets_command: [echo, 'on-call: json://127.0.0.1:9']\n"
    )
    state, sent = running(store), list[Letter]()
    Journal(store).save_host(state.plan.id, state.hosts[0])
    alarms = watchdog.alarms([Standing(state=state, now=SOON)], [], SOON)

    def send(addresses: tuple[str, ...], text: Letter, seconds: float) -> str:
        sent.append(text)
        return ""

    def tell(now: datetime) -> list[Delivery]:
        return alarming.tell(
            alarms, settings=config.load(workspace, {}), store=store, inventory=STOCK, now=now, send=send
        )  # fmt: skip

    assert [(one.target, one.why) for one in tell(SOON)] == [("on-call", "")]
    assert sent[0].title == f"opsctl: {state.plan.id} is stalled"
    assert f"run: opsctl patch resume {state.plan.id}" in sent[0].body
    assert "stalled, 1 drained (ange.app1)" in sent[0].body
    assert "ange.app1: still DRAINED" in sent[0].body
    assert tell(SOON + timedelta(minutes=59)) == []
    assert len(tell(SOON + timedelta(minutes=61))) == 1


def test_a_rollout_that_was_taken_up_and_dies_again_is_told_of_at_once(workspace: Path, store: Store) -> None:
    (workspace / "opsctl.yml").write_text(
        "version: 1\nnotify:\n  routes: ['event:stalled = on-call']\n  targets_command: [echo, 'on-call: json://127.0.0.1:9']\n"
    )

    def told(state: RolloutState, now: datetime) -> int:
        alarms = watchdog.alarms([Standing(state=state, now=now)], [], now)
        settings = config.load(workspace, {})
        made = alarming.tell(alarms, settings=settings, store=store, inventory=STOCK, now=now, send=lambda *_: "")
        return len(made)

    planned = Journal(store).load(running(store).plan.id)
    state = Journal(store).save_status(planned, Status.RUNNING, START)
    assert [told(state, SOON), told(state, SOON + timedelta(minutes=5))] == [1, 0]
    again = Journal(store).save_status(state, Status.RUNNING, SOON + timedelta(minutes=10))
    assert [told(again, SOON + timedelta(minutes=15)), told(again, SOON + timedelta(minutes=20))] == [1, 0]


def test_an_alarm_that_reached_nobody_is_told_again_at_the_next_look(workspace: Path, store: Store) -> None:
    (workspace / "opsctl.yml").write_text(
        "version: 1\nnotify:\n  routes: ['event:stalled = on-call']\n  targets_command: [echo, 'on-call: json://127.0.0.1:9']\n"
    )
    alarms = watchdog.alarms([Standing(state=running(store), now=SOON)], [], SOON)
    for _ in range(2):
        made = alarming.tell(
            alarms, settings=config.load(workspace, {}), store=store, inventory=STOCK, now=SOON,
            send=lambda addresses, text, seconds: "connection refused",
        )  # fmt: skip
        assert [one.why for one in made] == ["connection refused"]
