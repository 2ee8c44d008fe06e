"""`opsctl patch pause|abort|skip` and what else on-call staff type, without a host."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsctl import config
from opsctl.cli.main import run
from opsctl.inventory import files, snapshot
from opsctl.model.rollout import HostState, Stage, Status
from opsctl.rollout.journal import Journal
from opsctl.state.leases import Leases
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from opsctl.state.wishes import Kind, Wishes
from tests.cli.test_patch import NOW, begun, keep, workspace
from tests.cli.test_patch_report import targets
from tests.unit.receivers import web_server

__all__ = ["workspace"]
FIRST, SECOND = "ange.ange-web1", "ange.ange-web2"


def opened(workspace: Path) -> Store:
    return Store.open(config.load(workspace, {}).state)


def killed(workspace: Path) -> str:
    """A rollout whose process was killed, with its copy of the inventory."""
    plan = begun(workspace)
    with opened(workspace) as store:
        inventory = files.load(config.load(workspace, {}))
        snapshot.save(store, plan, inventory, [host.key for host in inventory], NOW)
    return plan


def test_a_pause_of_a_stalled_rollout_keeps_its_hosts_and_status_says_until_when(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = killed(workspace)
    assert run(["patch", "pause", plan, "--reason", "the phones are down", "--dry-run"]) == 0
    assert run(["patch", "pause", plan]) == 2
    capsys.readouterr()
    assert run(["patch", "pause", plan, "--reason", "the phones are down", "--yes", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rollout"]["status"] == "paused"
    assert told["rollout"]["reason"].startswith("pause asked by ")
    assert told["rollout"]["reason"].endswith(": the phones are down")
    until = datetime.fromisoformat(told["kept_until"])
    assert timedelta(hours=7, minutes=59) < until - datetime.now(UTC) <= timedelta(hours=8)
    assert run(["patch", "status", plan]) == 0
    assert f"its hosts are kept from others until {until:%Y-%m-%d %H:%M}" in capsys.readouterr().out
    with opened(workspace) as store:
        assert {lease.name for lease in Leases(store).held()} >= {FIRST, SECOND}
    assert run(["patch", "pause", plan, "--yes"]) == 3
    assert "is paused already" in capsys.readouterr().err


@pytest.mark.parametrize(("verb", "subject"), [("abort", "was aborted"), ("pause", "is paused")])
def test_a_stop_of_a_rollout_whose_process_is_dead_is_told_to_whom_its_steps_are_told(
    workspace: Path, capsys: pytest.CaptureFixture[str], verb: str, subject: str
) -> None:
    with web_server() as web:
        targets(workspace, f"hook: json://127.0.0.1:{web.port}/\n", "tenant:ange = hook")
        plan = killed(workspace)
        run(["patch", verb, plan, "--reason", "the phones are down", "--yes"])
    (told,) = web.posts
    assert f"{plan} {subject}" in told["title"]
    assert "the phones are down" in told["message"]
    assert "notification to hook: sent" in capsys.readouterr().err


def test_nobody_is_told_that_a_plan_of_which_nobody_has_heard_was_taken_back(workspace: Path) -> None:
    with web_server() as web:
        targets(workspace, f"hook: json://127.0.0.1:{web.port}/\n", "tenant:ange = hook")
        assert run(["patch", "abort", keep(workspace), "--yes"]) == 0
    assert web.posts == []


def test_a_rollout_at_work_is_asked_to_pause_or_abort_and_the_answer_says_how_to_follow_it(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = killed(workspace)
    with opened(workspace) as store, Journal(store).alone(plan, "anna, process 7"):
        for verb in ("pause", "abort"):
            looking = threading.Thread(target=see_next, args=(workspace, plan))
            looking.start()
            assert run(["patch", verb, plan, "--yes", "-o", "json"]) == 0
            looking.join()
            shown = capsys.readouterr()
            assert json.loads(shown.out)["asked"]["kind"] == verb
            assert json.loads(shown.out)["rollout"]["status"] == "running"
            assert f"ledger: {Ledger(store).head()}" in shown.err
        assert [wish.kind for wish in Wishes(store).open(plan)] == [Kind.PAUSE, Kind.ABORT]


def see_next(workspace: Path, plan: str) -> None:
    """What the process at work does at its glance."""
    deadline = time.monotonic() + 20
    with opened(workspace) as store:
        while not (unseen := [wish for wish in Wishes(store).open(plan) if wish.seen is None]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        Wishes(store).saw(unseen[0], datetime.now(UTC))


def test_a_host_is_skipped_by_its_name_in_the_newest_rollout_that_has_it(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = keep(workspace)
    assert run(["patch", "skip", "ange-web2"]) == 2
    assert run(["patch", "skip", "ange-web2", "--reason", " ", "--yes"]) == 2
    assert run(["patch", "skip", "ange-web2", "--reason", "disk", "--yes"]) == 0
    with opened(workspace) as store:
        second = Journal(store).load(plan).hosts[1]
        assert (second.stage, second.reason.endswith("for ange.ange-web2: disk")) == (Stage.SKIPPED, True)
        assert [entry.verb for entry in Ledger(store).entries(host=SECOND)][-1] == "patch skip"
    capsys.readouterr()
    assert run(["patch", "skip", "ange-web2", "--reason", "disk", "--yes"]) == 3
    assert "ange.ange-web2 cannot be skipped: it is skipped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["skip", "ange-wbe1", "--reason", "x", "--yes"], "no rollout has a host 'ange-wbe1'"),
        (["skip", "ange-wbe1", "latest", "--reason", "x", "--yes"], "has no host 'ange-wbe1'"),
        (["skip", "ange-web1", "nope", "--reason", "x", "--yes"], "no plan or rollout is called 'nope'"),
        (["pause", "nope", "--yes"], "no plan or rollout is called 'nope'"),
        (["abort", "nope", "--yes"], "no plan or rollout is called 'nope'"),
        (["pause", "latset", "--yes"], "is it latest?"),
        (["status", "ange-web1"], "a host is asked after with: opsctl patch why ange-web1"),
    ],
)
def test_an_unknown_host_or_rollout_is_named_and_the_nearest_one_offered(
    workspace: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    keep(workspace)
    assert run(["patch", *words]) == 3
    shown = capsys.readouterr().err
    assert told in shown
    assert "ange-wbe1" not in told or "is it ange-web1" in shown


def test_a_plan_cannot_be_paused_and_a_host_under_way_not_be_skipped(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = keep(workspace)
    assert run(["patch", "pause", plan, "--yes"]) == 3
    assert "has not begun" in capsys.readouterr().err
    with opened(workspace) as store:
        Journal(store).save_status(Journal(store).load(plan), Status.RUNNING, NOW)
        Journal(store).save_host(plan, HostState(host=FIRST, stage=Stage.INSTALLING, at=NOW))
    assert run(["patch", "skip", "ange-web1", "--reason", "x", "--yes"]) == 3
    assert "it is installing: what has begun is finished" in capsys.readouterr().err


def test_what_is_over_is_answered_with_the_command_that_a_person_can_type(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = keep(workspace)
    with opened(workspace) as store:
        journal = Journal(store)
        running = journal.save_status(journal.load(plan), Status.RUNNING, NOW)
        journal.save_host(plan, HostState(host=FIRST, stage=Stage.FAILED, at=NOW, reason="no space left"))
        journal.save_status(running, Status.PAUSED, NOW, reason="pause asked by anna")
    assert run(["patch", "pause", plan, "--yes"]) == 3
    assert f"opsctl patch resume {plan}, or end it for good: opsctl patch abort {plan}" in capsys.readouterr().err
    assert run(["patch", "abort", plan, "--yes"]) == 0
    capsys.readouterr()
    for verb in ("start", "resume"):
        assert run(["patch", verb, plan, "--yes"]) == 3
        assert "make a new plan: opsctl patch plan\n" in capsys.readouterr().err


# --- looking -------------------------------------------------------------------------------------------------------


def test_status_says_where_a_rollout_is_what_blocks_it_what_is_next_and_the_command(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = killed(workspace)
    capsys.readouterr()
    assert run(["patch", "status", plan]) == 0
    out = capsys.readouterr().out
    assert f"{plan}: stalled: its process is gone" in out
    assert "wave 1 of 2 (canary), batch 1 of 1; 0 of 2 hosts done" in out
    assert "blocks: stalled: its process is gone" in out
    assert f"next: wave 2 (broad), batch 1: {SECOND}" in out
    assert f"to go on: opsctl patch resume {plan}" in out
    assert "read: docs/how-to/patch-night.md#go-on" in out
    assert run(["patch", "status", plan, "--exit-code"]) == 1
    assert "stalled: its process is gone" in capsys.readouterr().err
    assert run(["patch", "status", plan, "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["go_on"] == f"opsctl patch resume {plan}"
    assert told["blocks"] == ["stalled: its process is gone"]


def test_what_rests_is_watched_once_as_dated_lines_and_the_exit_code_says_how_it_stands(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = killed(workspace)
    assert run(["patch", "pause", plan, "--yes"]) == 0
    capsys.readouterr()
    assert run(["patch", "status", "--watch"]) == 5
    shown = capsys.readouterr()
    assert f"Z {plan}: paused: pause asked by" in shown.out
    assert "error: paused: pause asked by" in shown.err
    assert run(["patch", "attach", plan]) == 5


@pytest.mark.parametrize("words", [["attach", "latest"], ["status", "--watch"]])
def test_who_looks_on_can_leave_without_stopping_anything(
    workspace: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest, words: list[str]
) -> None:
    plan = killed(workspace)
    # What is started in the background by a shell may not be interrupted.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with opened(workspace) as store, Journal(store).alone(plan, "anna, process 7"):
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(1.0, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
        assert run(["patch", *words]) == 130
        assert Journal(store).at_work(plan) == "anna, process 7"
    shown = capsys.readouterr()
    assert f"you left; {plan} is not stopped by that" in shown.err
    assert f"opsctl patch pause {plan}" in shown.err
    assert f"{FIRST}: installing" in shown.out


def test_what_has_not_begun_cannot_be_followed(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = keep(workspace)
    assert run(["patch", "attach", plan]) == 3
    assert f"{plan} has not begun: there is nothing to follow" in capsys.readouterr().err


def test_why_tells_what_a_host_waits_for_and_what_to_type(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = killed(workspace)
    capsys.readouterr()
    assert run(["patch", "why", "ange-web2"]) == 0
    out = capsys.readouterr().out
    assert "wave 1 (canary), batch 1 comes before: ange.ange-web1 (installing)" in out
    assert f"opsctl patch resume {plan}" in out
    assert run(["patch", "why", "ange-web1", plan, "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["host"], told["rollout"]) == (FIRST, plan)
    assert told["read"] == "docs/how-to/patch-night.md#go-on"
    assert told["log"] == []
    assert "no way to it" in told["log_missing"] or told["log_missing"]
    assert run(["patch", "why", "ange-web1", "--offline"]) == 0
    assert "its log could not be fetched" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["why", "ange-wbe1"], ["history", "ange-wbe1"], ["attach", "nope"], ["why", "ange-web1", "nope"],
              ["status", "nope", "--watch"], ["retry", "--failed", "nope"]]
)  # fmt: skip
def test_a_look_at_what_is_not_there_names_it(
    workspace: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    keep(workspace)
    capsys.readouterr()
    assert run(["patch", *words]) == 3
    told = capsys.readouterr().err
    assert "is it ange-web1" in told or "'nope'" in told


def test_without_any_rollout_every_look_says_so(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["patch", "status", "--watch"]) == 3
    assert run(["patch", "retry", "--failed"]) == 3
    assert run(["patch", "why", "ange-web1"]) == 3
    assert run(["patch", "history"]) == 0
    assert run(["patch", "shift-report"]) == 0
    shown = capsys.readouterr()
    told = shown.err
    assert "there is no rollout yet" in told
    assert "no rollout has a failed host" in told
    assert "Nothing happened, and nothing is open." in shown.out


def test_history_lists_every_rollout_and_those_of_one_host(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, newer = killed(workspace), keep(workspace, minutes=5)
    capsys.readouterr()
    assert run(["patch", "history", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["history"]
    assert [(one["rollout"], one["outcome"]) for one in found] == [(newer, "planned"), (plan, "stalled")]
    assert run(["patch", "history", "ange-web1"]) == 0
    out = capsys.readouterr().out
    assert "installing" in out
    assert plan in out


def test_a_retry_wants_failed_hosts_and_is_the_same_as_resume_with_retry(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = killed(workspace)
    assert run(["patch", "retry"]) == 2
    with opened(workspace) as store:
        Journal(store).save_host(plan, HostState(host=FIRST, stage=Stage.FAILED, last=Stage.INSTALLING, at=NOW))
    capsys.readouterr()
    assert run(["patch", "retry", "--failed", "--dry-run"]) == 0
    assert plan in capsys.readouterr().out
    assert run(["patch", "retry", "--failed", "--yes", "-o", "json"]) == 5, "its hosts do not answer"
    told = json.loads(capsys.readouterr().out)
    assert (told["hosts"][0]["stage"], told["hosts"][0]["attempt"]) == ("unknown", 2)


def test_a_shift_report_says_which_decisions_are_wanted(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = killed(workspace)
    capsys.readouterr()
    assert run(["patch", "shift-report"]) == 0
    out = capsys.readouterr().out
    assert f"Decide:\n  {plan}: stalled: its process is gone" in out
    assert f"\n      opsctl patch resume {plan}\n      docs/how-to/patch-night.md#go-on\n" in out
    assert run(["patch", "shift-report", "--since", "2026-11-22 02:00", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["rollout"] for one in told["decisions"]] == [plan]
    assert told["since"].startswith("2026-11-22T01:00:00")


# --- without a terminal, at a time -----------------------------------------------------------------------------------


def ends(workspace: Path, plan: str) -> None:
    """Wait until no process is at a rollout that has begun."""
    deadline = time.monotonic() + 60
    with opened(workspace) as store:
        journal = Journal(store)
        while journal.load(plan).status is Status.PLANNED or journal.at_work(plan):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_detached_start_goes_on_by_itself_and_is_followed_from_elsewhere(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = keep(workspace)
    assert run(["patch", "start", plan, "--detach"]) == 2, "nobody is there to ask"
    capsys.readouterr()
    assert run(["patch", "start", plan, "--detach", "--yes", "-o", "json"]) == 0
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert (told["rollout"], told["begun"]) == (plan, True)
    assert "warning: ssh.identity is empty" in shown.err
    assert f"opsctl patch attach {plan}" in shown.err
    assert run(["patch", "attach", plan]) == 5, "its hosts do not answer"
    assert f"{FIRST}: unknown" in capsys.readouterr().out
    log = Path(told["log"]).read_text()
    assert f"Z {FIRST}: unknown: " in log
    assert f"ange-web1{' ':>3}" in log or FIRST in log
    with opened(workspace) as store:
        assert Journal(store).load(plan).status is Status.PAUSED
    assert run(["patch", "resume", plan, "--detach", "--yes"]) == 0
    ends(workspace, plan)
    with opened(workspace) as store:
        assert [entry.outcome for entry in Ledger(store).entries(verb="patch resume")] == ["", "stopped"]


def test_a_detached_start_that_is_refused_says_why_with_its_exit_code(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = keep(workspace, moved_inventory=True)
    assert run(["patch", "start", plan, "--detach", "--yes"]) == 3
    assert "the inventory has changed" in capsys.readouterr().err


def test_a_start_at_a_time_is_listed_and_called_off_by_an_abort(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, starts = keep(workspace), datetime.now(UTC) + timedelta(hours=3)
    assert run(["patch", "scheduled"]) == 0
    assert "nothing is scheduled" in capsys.readouterr().err
    assert run(["patch", "start", plan, "--detach", "--at", f"{starts:%Y-%m-%dT%H:%M}+00:00", "--yes"]) == 0
    capsys.readouterr()
    assert run(["patch", "scheduled", "-o", "json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["scheduled"]
    assert (one["rollout"], one["starts"], one["kept"], one["hosts"]) == (plan, f"{starts:%Y-%m-%dT%H:%M}:00Z", True, 2)
    assert run(["patch", "status", plan]) == 0
    assert f"{plan}: waits to start at {starts:%Y-%m-%d %H:%M}Z" in capsys.readouterr().out
    assert run([]) == 0
    assert f"patch {plan} begins at {starts:%Y-%m-%d %H:%M}Z: " in capsys.readouterr().out
    assert run(["patch", "start", plan, "--detach", "--at", f"{starts:%Y-%m-%dT%H:%M}+00:00", "--yes"]) == 4
    assert run(["patch", "abort", plan, "--yes"]) == 0
    deadline = time.monotonic() + 30
    with opened(workspace) as store:
        while Journal(store).waiter(plan):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    capsys.readouterr()
    assert run(["patch", "scheduled", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["scheduled"] == []


def test_a_waiter_that_was_killed_is_missed_by_everybody_who_looks(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, starts = keep(workspace), datetime.now(UTC) + timedelta(hours=3)
    assert run(["patch", "start", plan, "--detach", "--at", f"{starts:%Y-%m-%dT%H:%M}+00:00", "--yes"]) == 0
    with opened(workspace) as store:
        runner = Journal(store).waiter(plan)
        os.kill(int(runner.partition("process ")[2].partition(",")[0]), signal.SIGKILL)
        deadline = time.monotonic() + 30
        while Journal(store).waiter(plan):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        store.write("UPDATE appointments SET made = ?", ("2026-11-22T00:00:00.000000Z",))
    capsys.readouterr()
    assert run(["patch", "scheduled"]) == 0
    out = capsys.readouterr().out
    assert "nobody: the process that waited is gone" in out
    assert f"opsctl patch start {plan} --detach" in out
    assert run(["patch", "watchdog"]) == 1
    assert "nobody: the process that waited is gone; run opsctl patch start" in capsys.readouterr().err
    assert run([]) == 0
    assert "the process that waited is gone" in capsys.readouterr().out


def test_a_start_at_a_time_begins_it_then_with_everything_read_anew(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, starts = keep(workspace), datetime.now(UTC) + timedelta(seconds=3)
    assert run(["patch", "start", plan, "--at", starts.isoformat(), "--yes"]) == 5, "it began; its hosts do not answer"
    with opened(workspace) as store:
        began = Journal(store).load(plan).started_at
        assert began is not None
        assert began >= starts.replace(microsecond=0)
    capsys.readouterr()
    assert run(["patch", "scheduled", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["scheduled"] == []


def test_a_start_at_a_time_within_a_freeze_or_that_is_over_is_refused_at_once(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, starts = keep(workspace), datetime.now(UTC) + timedelta(days=2)
    (workspace / "inventories/ange/calendar.yml").write_text(
        f"version: 1\nfreezes: [{{name: move, from: {starts.date()}, to: {starts.date() + timedelta(days=1)}}}]\n"
    )
    words = ["patch", "start", plan, "--detach", "--yes", "--at"]
    assert run([*words, f"{starts.date()} 12:00"]) == 3
    assert f"{plan} may not start at {starts.date()} 11:00Z: " in capsys.readouterr().err
    assert run([*words, "2026-01-01 12:00"]) == 2
    assert "2026-01-01 11:00Z is over" in capsys.readouterr().err


# --- the watchdog ----------------------------------------------------------------------------------------------------


def test_the_watchdog_tells_a_dead_process_with_what_is_drained_and_the_command(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["patch", "watchdog"]) == 0
    assert "0 at work, 0 to see to" in capsys.readouterr().out
    plan = killed(workspace)
    with opened(workspace) as store:
        drained = HostState(host=FIRST, stage=Stage.INSTALLING, at=NOW, drained=True)
        Journal(store).save_host(plan, drained)
        with Journal(store).alone(plan, "anna, process 7"):
            assert run(["patch", "watchdog"]) == 0
            old = time.time() - 3600
            os.utime(Journal(store).file(plan, "lock"), (old, old))
            assert run(["patch", "watchdog"]) == 1
            assert "frozen, last seen alive 60 min ago" in capsys.readouterr().err
    assert run(["patch", "watchdog"]) == 1
    told = capsys.readouterr().err
    assert f"{plan}: stalled, last seen alive " in told
    assert f"1 drained ({FIRST}); run opsctl patch resume {plan}" in told
    assert run(["patch", "watchdog", "-o", "json"]) == 1
    (alarm,) = json.loads(capsys.readouterr().out)["alarms"]
    assert (alarm["rollout"], alarm["kind"], alarm["drained"]) == (plan, "stalled", [FIRST])
    assert run([]) == 0
    assert f"was killed; drained: {FIRST}" in capsys.readouterr().out


def test_the_watchdogs_units_are_shown_and_written_where_it_is_told(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(workspace)
    monkeypatch.delenv("OPSCTL_SSH_CONNECT_TIMEOUT")
    capsys.readouterr()
    assert run(["patch", "watchdog", "--units", "--minutes", "3"]) == 0
    shown = capsys.readouterr()
    assert "OnUnitInactiveSec=3min" in shown.out
    assert "nothing was written" in shown.err
    there = tmp_path / "units"
    there.mkdir()
    assert run(["patch", "watchdog", "--into", str(there)]) == 2, "nobody is there to ask"
    assert run(["patch", "watchdog", "--into", str(there), "--yes"]) == 0
    names = sorted(path.name for path in there.iterdir())
    assert names == [f"opsctl-patch-watchdog-drift.{kind}" for kind in ("service", "timer")]
    assert f"systemctl enable --now {names[1]}" in capsys.readouterr().err


# --- on a terminal ---------------------------------------------------------------------------------------------------


def on_a_terminal(workspace: Path, term: str, *words: str) -> tuple[int, str]:
    """What a terminal of 80 columns gets to see, and the exit code."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    running = subprocess.Popen(
        [sys.executable, "-m", "opsctl", "-C", str(workspace), *words],
        stdin=slave, stdout=slave, stderr=slave, env={**environ, "TERM": term, "NO_COLOR": "1"},
    )  # fmt: skip
    os.close(slave)
    seen = b""
    with contextlib.suppress(OSError):  # how the end of a pseudo-terminal is told
        while data := os.read(master, 65536):
            seen += data
    os.close(master)
    return running.wait(timeout=120), seen.decode()


def test_a_watch_on_a_terminal_keeps_to_its_width_and_uses_no_colour(workspace: Path) -> None:
    plan = killed(workspace)
    assert run(["patch", "pause", plan, "--reason", "the phones are down", "--yes"]) == 0
    code, seen = on_a_terminal(workspace, "xterm-256color", "patch", "status", "--watch")
    assert code == 5
    assert re.search(r"\x1b\[[0-9;]*3[0-7]m", seen) is None, "no colour"
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-JL-Za-z]", "", seen).partition("error: ")[0]
    lines = re.split(r"\r|\n|\x1b\[2K", drawn)  # each erased line is drawn anew
    assert max(map(len, lines)) <= 80
    screen = "\n".join(lines)
    for told in ("batch", f"1.1     {FIRST}", "installing", f"to go on: opsctl patch resume {plan}", "read: docs/"):
        assert told in screen


def test_a_terminal_that_cannot_draw_gets_dated_lines(workspace: Path) -> None:
    plan = killed(workspace)
    assert run(["patch", "pause", plan, "--yes"]) == 0
    code, seen = on_a_terminal(workspace, "dumb", "patch", "status", "--watch")
    assert code == 5
    assert "\x1b" not in seen
    assert f"Z {FIRST}: installing" in seen
