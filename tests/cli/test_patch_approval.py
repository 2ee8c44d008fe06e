"""`opsctl patch approve`: who may, what is refused, and what does not begin without it."""

from __future__ import annotations

import json
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsctl import config, content
from opsctl.cli.app import App
from opsctl.cli.main import run
from opsctl.inventory import files
from opsctl.model.rollout import HostPlan, HostState, Stage, Status
from opsctl.rollout import approval
from opsctl.rollout import limits as limiting
from opsctl.rollout import plan as planning
from opsctl.rollout.journal import Journal
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests.cli.test_patch import NOW, PACKAGE, workspace

__all__ = ["workspace"]
Told = pytest.CaptureFixture[str]


@pytest.fixture
def keys(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keys of anna, who plans, and of bo, both operators; that of cia is nobody's."""
    folder = tmp_path / "keys"
    folder.mkdir()
    for name in ("anna", "bo", "cia"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    lines = [f"{name} {(folder / name).with_suffix('.pub').read_text().strip()}" for name in ("anna", "bo")]
    (workspace / "inventories/operators").write_text("\n".join(lines) + "\n")
    with (workspace / "inventories/ange/tenant.yml").open("a") as file:
        file.write("approval: [broad]\n")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(App, "who", "bo")
    return folder


def keep(workspace: Path, *, emergency: str = "") -> str:
    settings = config.load(workspace, {})
    inventory = files.load(settings)
    pace = planning.Pace(limit=5)
    items = [HostPlan(host=host.key, packages=(PACKAGE,)) for host in inventory]
    arranged = planning.arrange(items, inventory, limiting.of(inventory), pace=pace)
    made = planning.freeze(
        arranged, kind="patch", now=NOW, made_by="anna", inventory_digest=inventory.digest, pace=pace,
        content_digest=content.digest(), failure_budget=1, emergency=emergency,
        approval=planning.approval_rings(arranged.waves, inventory),
    )  # fmt: skip
    with Store.open(settings.state) as store:
        Journal(store).add(made)
    return made.id


def opened(workspace: Path) -> Store:
    return Store.open(config.load(workspace, {}).state)


def test_a_start_without_a_second_person_is_refused_and_says_who_may_and_how(
    workspace: Path, keys: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A plan of more than a week is not worth a start any more, and nobody is reminded of it.
    monkeypatch.setattr(App, "now", lambda _: NOW + timedelta(hours=1))
    plan = keep(workspace)
    assert run(["patch", "start", plan, "--dry-run"]) == 0
    assert "it may not start: ring broad needs a second person: nobody has approved it" in capsys.readouterr().err
    assert run(["patch", "start", plan, "--yes"]) == 3
    told = capsys.readouterr().err
    assert f"{plan} may not start: ring broad needs a second person: nobody has approved it" in told
    assert f"who may: bo: opsctl patch approve {plan}" in told
    assert run([]) == 0
    assert (
        f"is not started; a second person must approve it\n      opsctl patch approve {plan}" in capsys.readouterr().out
    )
    with opened(workspace) as store:
        assert Journal(store).load(plan).status is Status.PLANNED


def test_approved_by_a_second_person_it_begins_and_ledger_and_status_say_by_whom(
    workspace: Path, keys: Path, capsys: Told
) -> None:
    plan = keep(workspace)
    assert run(["patch", "approve", plan, "--key", str(keys / "bo")]) == 2  # nobody there to ask
    assert run(["patch", "approve", plan, "--key", str(keys / "bo"), "--yes", "-o", "json"]) == 0
    assert run(["patch", "status", plan]) == 0
    assert "approved by bo (SHA256:" in capsys.readouterr().out
    with opened(workspace) as store:
        acts = [one for one in Ledger(store).entries() if one.verb == "patch approve"]
        assert {one.detail["person"] for one in acts if one.phase == "started"} == {"bo"}
        assert "BEGIN SSH SIGNATURE" in str(acts[0].detail["signature"])
    assert run(["patch", "start", plan, "--yes"]) == 5  # it began: the hosts of this test never answer
    with opened(workspace) as store:
        assert Journal(store).load(plan).started_at is not None


@pytest.mark.parametrize(
    ("who", "key", "told"),
    [
        ("anna", "bo", "anna planned"),  # her own login, whoever's key she has
        ("anna as opsctl", "bo", "anna as opsctl planned"),
        ("bo", "anna", "anna planned it"),  # her key, from another login
        ("bo", "cia", "is nobody's of"),
    ],
)
def test_neither_the_planner_nor_a_stranger_can_approve(
    workspace: Path, keys: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch, who: str, key: str, told: str
) -> None:
    plan = keep(workspace)
    monkeypatch.setattr(App, "who", who)
    assert run(["patch", "approve", plan, "--key", str(keys / key), "--yes"]) == 3
    assert told in capsys.readouterr().err
    with opened(workspace) as store:
        assert approval.given(store, Journal(store).load(plan).plan) == ()


def test_the_planners_key_under_another_name_is_still_the_planners(workspace: Path, keys: Path, capsys: Told) -> None:
    with (workspace / "inventories/operators").open("a") as file:
        file.write(f"deputy {(keys / 'anna.pub').read_text()}")
    assert run(["patch", "approve", keep(workspace), "--key", str(keys / "anna"), "--yes"]) == 3
    assert "a second person must approve it" in capsys.readouterr().err


def test_signed_on_another_machine_by_the_printed_command_it_can_be_handed_in(
    workspace: Path, keys: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = keep(workspace)
    assert run(["patch", "approve", plan, "--dry-run", "-o", "json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["message"].endswith("\n")
    line = captured.err[captured.err.index("printf") : captured.err.index(" and here:")]
    line = line.replace("~/.ssh/id_ed25519", shlex.quote(str(keys / "bo")))
    subprocess.run(["sh", "-c", line], check=True, cwd=workspace)
    monkeypatch.setattr(App, "who", "anna")  # the signature is bo's, whoever hands it in
    assert run(["patch", "approve", plan, "--signature", f"{plan}.sig", "--yes"]) == 0
    with opened(workspace) as store:
        (one,) = approval.given(store, Journal(store).load(plan).plan)
        assert (one.person, one.handed_in_by) == ("bo", "anna")


def test_a_signature_over_another_plan_is_refused(workspace: Path, keys: Path, capsys: Told) -> None:
    with opened(workspace) as store:
        other = approval.message(Journal(store).load(keep(workspace)).plan).replace("patch-", "patch-9")
    words = ["ssh-keygen", "-Y", "sign", "-n", "opsctl", "-f", str(keys / "bo")]
    made = subprocess.run(words, input=other, capture_output=True, text=True, check=True).stdout
    (workspace / "other.sig").write_text(made)
    assert run(["patch", "approve", "latest", "--signature", "other.sig", "--yes"]) == 3
    assert "incorrect signature" in capsys.readouterr().err


def test_an_approval_whose_key_is_revoked_since_no_longer_counts(workspace: Path, keys: Path, capsys: Told) -> None:
    plan = keep(workspace)
    assert run(["patch", "approve", plan, "--key", str(keys / "bo"), "--yes"]) == 0
    (workspace / "inventories/operators.revoked").write_text((keys / "bo.pub").read_text())
    capsys.readouterr()
    assert run(["patch", "start", plan, "--yes"]) == 3
    assert "the approval of bo no longer counts" in capsys.readouterr().err


def test_a_resume_before_the_ring_has_begun_is_refused_without(workspace: Path, keys: Path, capsys: Told) -> None:
    plan = keep(workspace)
    with opened(workspace) as store:
        journal = Journal(store)
        state = journal.save_status(journal.load(plan), Status.RUNNING, NOW)
        journal.save_host(plan, HostState(host="ange.ange-web1", stage=Stage.DONE, at=NOW))
        journal.save_status(state, Status.PAUSED, NOW)
    assert run(["patch", "resume", plan, "--yes"]) == 3
    assert "ring broad needs a second person" in capsys.readouterr().err
    with opened(workspace) as store:
        # In the middle of the ring before it: that one is finished, and the rest waits.
        Journal(store).save_host(plan, HostState(host="ange.ange-web1", stage=Stage.INSTALLED, at=NOW))
    assert run(["patch", "resume", plan, "--yes"]) == 5
    with opened(workspace) as store:
        stages = {one.host: one.stage for one in Journal(store).load(plan).hosts}
        assert stages["ange.ange-web1"] is not Stage.INSTALLED
        assert stages["ange.ange-web2"] is Stage.PLANNED


def test_an_emergency_begins_without_and_its_approval_is_open_and_then_overdue(
    workspace: Path, keys: Path, capsys: Told
) -> None:
    plan = keep(workspace, emergency="CVE-2027-0001 is exploited")
    assert run(["patch", "start", plan, "--yes"]) == 5  # it began: the hosts of this test never answer
    capsys.readouterr()
    assert run(["patch", "status", plan]) == 0
    assert "APPROVAL OPEN: it may follow until" in capsys.readouterr().out
    assert run([]) == 0
    assert "APPROVAL OPEN: it may follow until" in (told := capsys.readouterr().out)
    assert f"opsctl patch approve {plan}" in told
    with opened(workspace) as store:
        state = Journal(store).load(plan)
        later = approval.of(store, state, datetime.now(UTC) + timedelta(hours=25))
        assert str(later).startswith("APPROVAL OVERDUE since")
    assert run(["patch", "approve", plan, "--key", str(keys / "bo"), "--yes"]) == 0
    capsys.readouterr()
    assert run([]) == 0
    assert "APPROVAL" not in capsys.readouterr().out


def test_a_ring_that_the_tenant_does_not_have_is_a_fault(workspace: Path, capsys: Told) -> None:
    with (workspace / "inventories/ange/tenant.yml").open("a") as file:
        file.write("approval: [brod]\n")
    assert run(["inventory", "check"]) == 3
    assert "approval: 'brod' is no ring of this tenant" in capsys.readouterr().out
