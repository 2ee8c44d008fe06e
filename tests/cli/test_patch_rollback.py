"""`opsctl patch rollback` without a host: what is refused, and that nothing is kept of a plan that holds nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opsctl import config
from opsctl.cli.main import run
from opsctl.inventory import files, snapshot
from opsctl.model.rollout import HostState, Stage, Status
from opsctl.rollout.journal import Journal
from opsctl.state.store import Store
from tests.cli.test_patch import NOW, begun, keep, workspace

__all__ = ["workspace"]
Told = pytest.CaptureFixture[str]


def opened(workspace: Path) -> Store:
    return Store.open(config.load(workspace, {}).state)


def done(workspace: Path) -> str:
    plan = begun(workspace)
    with opened(workspace) as store:
        journal = Journal(store)
        state = journal.load(plan)
        inventory = files.load(config.load(workspace, {}))
        snapshot.save(store, plan, inventory, [host.key for host in inventory], NOW)
        for host in state.hosts:
            journal.save_host(plan, HostState(host=host.host, stage=Stage.DONE, at=NOW))
        journal.save_status(journal.load(plan), Status.DONE, NOW)
    return plan


def test_a_plan_that_never_began_and_a_rollout_that_may_go_on_are_refused(workspace: Path, capsys: Told) -> None:
    plan = keep(workspace)
    assert run(["patch", "rollback", plan, "--yes"]) == 3
    assert "has changed nothing: it is planned" in capsys.readouterr().err
    with opened(workspace) as store:
        Journal(store).save_status(Journal(store).load(plan), Status.RUNNING, NOW)
    assert run(["patch", "rollback", plan, "--yes"]) == 3
    assert f"opsctl patch abort {plan}" in capsys.readouterr().err


def test_hosts_that_do_not_answer_are_named_before_anything_begins_and_nothing_is_kept(
    workspace: Path, capsys: Told
) -> None:
    plan = done(workspace)
    # The written inventory may be broken: a recovering verb works from the rollout's own copy.
    (workspace / "inventories/ange/hosts.yml").write_text("version: 1\nno sense\n")
    capsys.readouterr()
    assert run(["patch", "rollback", plan, "--dry-run", "-o", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["outcome"] == "incomplete"
    assert told["plan"]["rollback_of"] == plan
    assert {one["host"] for one in told["plan"]["left_out"]} == {"ange.ange-web1", "ange.ange-web2"}
    assert all(one["reason"].startswith("unreachable") for one in told["plan"]["left_out"])
    assert run(["patch", "rollback", plan, "--yes"]) == 1
    assert "nothing was done (nothing can be put back)" in capsys.readouterr().err
    with opened(workspace) as store:
        assert [one.plan.id for one in Journal(store).all("patch")] == [plan]


def test_a_host_that_the_rollout_did_not_have_is_refused_by_name(workspace: Path, capsys: Told) -> None:
    plan = done(workspace)
    assert run(["patch", "rollback", plan, "--limit", "ange-web9", "--dry-run"]) == 3
    assert "ange-web9" in capsys.readouterr().err
