"""`opsctl patch pause|abort|skip` and what else on-call staff type, without a host."""

from __future__ import annotations

import json
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
