"""`opsctl patch pause|abort|skip` and what else on-call staff type, without a host."""

from __future__ import annotations

import json
import signal
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


def test_attach_can_be_left_without_stopping_anything(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = killed(workspace)
    with opened(workspace) as store, Journal(store).alone(plan, "anna, process 7"):
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(1.0, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
        assert run(["patch", "attach", plan]) == 130
        assert Journal(store).at_work(plan) == "anna, process 7"
    shown = capsys.readouterr()
    assert f"you left; {plan} is not stopped by that" in shown.err
    assert f"opsctl patch pause {plan}" in shown.err
    assert f"{FIRST}: installing" in shown.out


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
