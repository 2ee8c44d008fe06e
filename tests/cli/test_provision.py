"""`opsctl provision` and its verbs without a host: what is refused, what is shown, with which exit code."""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsctl import config, content
from opsctl.cli.app import App
from opsctl.cli.main import run
from opsctl.errors import Refused
from opsctl.inventory import files, snapshot
from opsctl.model.rollout import HostPlan, HostState, Plan, Stage, Status
from opsctl.provision import foreseen, variables
from opsctl.provision.foreseen import Foreseen, TaskChange
from opsctl.provision.run import refuse_unapproved
from opsctl.rollout import claims
from opsctl.rollout import limits as limiting
from opsctl.rollout import plan as planning
from opsctl.rollout.journal import Journal
from opsctl.state.leases import Leases
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
HOST = "ange.ange-web1"
EMPTY = Plan(
    id="provision-1", hash="h", kind="provision", made_at=NOW, made_by="anna", inventory_digest="d", content_digest="c",
    waves=(),
)  # fmt: skip


def own_address() -> str:
    """An address at which connections fail at once: this machine's own, or, without a network, one without a way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))  # sends nothing; only asks which address would be used
        except OSError:
            return "203.0.113.1"
        return str(probe.getsockname()[0])


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace with two hosts that nobody will ever reach."""
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    monkeypatch.setenv("OPSCTL_SSH_CONNECT_TIMEOUT", "1")
    folder = tmp_path / "drift"
    assert run(["init", str(folder), "--tenant", "ange=Ånge kommun"]) == 0
    (folder / "inventories/ange/source.yml").write_text(
        "version: 1\ntenant: ange\nhosts:\n"
        f"  - {{name: ange-web1, address: {own_address()}, port: 1, role: web, platform: debian-12, ring: canary}}\n"
        f"  - {{name: ange-web2, address: {own_address()}, port: 2, role: web, platform: debian-12}}\n"
    )
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    with tempfile.TemporaryDirectory(prefix="o-") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        assert run(["inventory", "sync", "--yes"]) == 0
        yield folder


def keep(workspace: Path, *, alter: bool = False, approval: tuple[str, ...] = (), read: str = "") -> Plan:
    """A plan over both hosts, as `provision plan` would keep it."""
    settings = config.load(workspace, {})
    inventory = files.load(settings)
    pace = planning.Pace(limit=5, growing=True)
    made = planning.freeze(
        planning.arrange(
            [HostPlan(host=host.key, changes=1, foreseen="0" * 64) for host in inventory],
            inventory, limiting.of(inventory), pace=pace,
        ),
        kind="provision", now=NOW, made_by="anna", inventory_digest=inventory.digest,
        content_digest=content.digest(), pace=pace, failure_budget=1, approval=approval, variables_digest=read,
    )  # fmt: skip
    with Store.open(settings.state) as store:
        Journal(store).add(replace(made, failure_budget=9) if alter else made)
        tasks = (TaskChange(task="Write the rules \x1b[2J", role="firewall", diff="+drop\n"),)
        foreseen.keep(store, made, [Foreseen(host=HOST, digest="0" * 64, tasks=tasks)], NOW)
        snapshot.save(store, made.id, inventory, [host.key for host in inventory], NOW)
    return made


def begun(workspace: Path, *, read: str = "") -> Plan:
    """A provisioning whose process was killed while its first host installed."""
    made = keep(workspace, read=read)
    with Store.open(config.load(workspace, {}).state) as store:
        journal = Journal(store)
        journal.save_status(journal.load(made.id), Status.RUNNING, NOW)
        journal.save_host(made.id, HostState(host=HOST, stage=Stage.INSTALLING, at=NOW))
        Leases(store).acquire([HOST], claims.holder(made), datetime.now(UTC), timedelta(minutes=15))
    return made


@pytest.mark.parametrize("words", [["--limit", "ange-web1", "plan"], ["--yes", "apply", "latest"], ["--check", "plan"]])
def test_an_option_before_a_verb_is_refused_for_it_would_be_lost(
    workspace: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run(["provision", *words]) == 2
    told = capsys.readouterr().err
    assert f"{words[0]} before" in told
    assert "write it after: opsctl provision" in told


def test_a_verb_that_is_none_is_no_short_way(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["provision", "aply"]) == 2
    assert "Did you mean 'apply'" in capsys.readouterr().err


def test_the_verbs_of_one_kind_know_no_rollout_of_the_other(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = keep(workspace)
    capsys.readouterr()
    assert run(["patch", "status", made.id]) == 3
    assert run(["provision", "apply", "nope", "--yes"]) == 3
    told = capsys.readouterr().err
    assert f"no plan or rollout is called {made.id!r}" in told
    assert "no plan or rollout is called 'nope'" in told
    assert "opsctl provision status" in told


def test_what_a_plan_foresees_is_shown_task_by_task_without_terminal_codes(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = keep(workspace)
    capsys.readouterr()
    assert run(["provision", "diff", "latest", "ange-web1"]) == 0
    out = capsys.readouterr().out
    assert "ange.ange-web1: Write the rules \\x1b[2J\n+drop" in out
    assert run(["provision", "diff", made.id, "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["hosts"]
    assert [(one["host"], one["tasks"][0]["diff"]) for one in found] == [(HOST, "+drop\n")]
    assert run(["provision", "diff", made.id, "ange-web2"]) == 3
    assert "foresees nothing of a host 'ange-web2'" in capsys.readouterr().err


def test_a_plan_that_was_altered_or_whose_inventory_moved_is_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = keep(workspace, alter=True)
    assert run(["provision", "apply", made.id, "--yes"]) == 3
    assert "the plan itself was altered in the store" in capsys.readouterr().err
    source = workspace / "inventories/ange/source.yml"
    source.write_text(source.read_text().replace("ring: canary", "ring: early"))
    assert run(["inventory", "sync", "--yes"]) == 0
    assert run(["provision", "apply", made.id, "--yes"]) == 3
    told = capsys.readouterr().err
    assert "ange.ange-web1: ring canary -> early" in told
    assert "make a new plan: opsctl provision plan" in told


def test_a_plan_that_has_not_begun_is_not_resumed_but_applied(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = keep(workspace)
    assert run(["provision", "resume", made.id, "--yes"]) == 3
    assert f"opsctl provision apply {made.id}" in capsys.readouterr().err


def test_a_killed_provisioning_says_that_it_stalled_holds_its_hosts_and_can_be_aborted(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = begun(workspace)
    capsys.readouterr()
    assert run(["provision", "status", made.id]) == 0
    out = capsys.readouterr().out
    assert "stalled: its process is gone" in out
    assert f"to go on: opsctl provision resume {made.id}" in out
    assert run(["provision", "apply", made.id, "--yes"]) == 3
    assert f"opsctl provision resume {made.id}" in capsys.readouterr().err
    assert run(["provision", "abort", made.id, "--yes"]) == 1
    told = capsys.readouterr().err
    assert f"ange.ange-web1 (installing); opsctl provision resume {made.id} would finish them" in told
    assert "for what is left: opsctl provision plan" in told
    with Store.open(config.load(workspace, {}).state) as store:
        assert (Journal(store).load(made.id).status, Leases(store).held()) == (Status.ABORTED, ())


def test_a_resume_asks_each_host_anew_and_one_that_is_away_stays_unknown(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = begun(workspace)
    capsys.readouterr()
    assert run(["provision", "resume", made.id, "--yes", "-o", "json"]) == 5
    told = json.loads(capsys.readouterr().out)
    assert (told["hosts"][0]["host"], told["hosts"][0]["stage"]) == (HOST, "unknown")


def test_a_plan_without_a_terminal_wants_yes(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = keep(workspace)
    assert run(["provision", "apply", made.id]) == 2
    assert "--yes" in capsys.readouterr().err


def test_a_provisioning_is_paused_and_a_host_skipped_as_in_a_patch_rollout(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = begun(workspace)
    assert run(["provision", "skip", "ange-web2", "--reason", "it is being moved", "--yes"]) == 0
    assert run(["provision", "pause", made.id, "--reason", "the owner called", "--yes"]) == 0
    capsys.readouterr()
    assert run(["provision", "status", made.id, "--exit-code", "-o", "json"]) == 5
    told = json.loads(capsys.readouterr().out)
    assert told["rollout"]["status"] == "paused"
    assert {one["host"]: one["stage"] for one in told["hosts"]} == {HOST: "installing", "ange.ange-web2": "skipped"}
    assert run(["provision", "skip", "ange-web1", "--reason", "no", "--yes"]) == 3


FREEZE = "version: 1\nfreezes: [{name: always, days: [mon, tue, wed, thu, fri, sat, sun], reason: the election}]\n"


def test_a_plan_is_not_applied_within_a_freeze_and_a_dry_run_says_so(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = keep(workspace)
    (workspace / "inventories/ange/calendar.yml").write_text(FREEZE)
    assert run(["provision", "apply", made.id, "--dry-run"]) == 0
    assert "it may not start now: ange.ange-web1 waits: freeze always until" in capsys.readouterr().err
    assert run(["provision", "apply", made.id, "--yes"]) == 3
    assert "opsctl provision plan --emergency --reason TEXT --ticket TEXT" in capsys.readouterr().err


def test_hosts_that_do_not_answer_make_a_plan_incomplete_and_are_named(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["provision", "plan", "-o", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["outcome"] == "incomplete"
    assert [one["host"] for one in told["plan"]["left_out"]] == [HOST, "ange.ange-web2"]
    assert told["empty_because"].startswith("unreachable: ")


def test_a_ring_that_wants_a_second_person_begins_only_with_their_signature(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("anna", "bo"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    lines = [f"{name} {(tmp_path / name).with_suffix('.pub').read_text().strip()}" for name in ("anna", "bo")]
    (workspace / "inventories/operators").write_text("\n".join(lines) + "\n")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(App, "who", "bo")
    made = keep(workspace, approval=("broad",))
    assert run(["provision", "apply", made.id, "--yes"]) == 3
    told = capsys.readouterr().err
    assert "ring broad needs a second person" in told
    assert f"who may: bo: opsctl provision approve {made.id}" in told
    assert run(["provision", "approve", made.id, "--key", str(tmp_path / "anna"), "--yes"]) == 3
    assert "anna planned it" in capsys.readouterr().err
    assert run(["provision", "approve", made.id, "--key", str(tmp_path / "bo"), "--yes"]) == 0
    assert f"{made.id} is approved by bo" in capsys.readouterr().out
    assert run(["provision", "status", made.id, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["approval"]["word"] == "given"
    assert run(["provision", "apply", made.id, "--yes"]) != 3, "it begins, and finds that its hosts are away"
    with Store.open(config.load(workspace, {}).state) as store:
        assert Ledger(store).entries(verb="provision approve")[0].detail["person"] == "bo"


def test_without_a_saved_plan_nobody_could_approve_so_the_short_way_is_refused() -> None:
    made = replace(EMPTY, approval=("broad",))
    with pytest.raises(Refused, match="ring broad needs a second person: not without a saved plan"):
        refuse_unapproved(made)
    refuse_unapproved(replace(made, emergency="CVE-2027-0001 is exploited"))
    refuse_unapproved(EMPTY)


def test_a_resume_is_refused_where_variables_moved_and_says_which_and_how_to_go_on_all_the_same(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = begun(workspace, read=variables.digest({}))
    assert run(["provision", "resume", made.id, "--dry-run"]) == 0
    assert "changed since" not in capsys.readouterr().err
    (workspace / "inventories/ange/host_vars").mkdir()
    (workspace / "inventories/ange/host_vars/ange-web1.yml").write_text("ssh_max_auth_tries: 5\n")
    assert run(["provision", "resume", made.id, "--dry-run"]) == 0
    assert "ange/host_vars/ange-web1.yml is new" in capsys.readouterr().err
    assert run(["provision", "resume", made.id, "--yes"]) == 3
    told = capsys.readouterr().err
    assert f"{made.id} no longer fits: ange/host_vars/ange-web1.yml is new" in told
    assert f"opsctl provision resume {made.id} --accept-moved" in told
    assert run(["provision", "resume", made.id, "--accept-moved", "--yes"]) == 5, "its host is away"
    with Store.open(config.load(workspace, {}).state) as store:
        entry = Ledger(store).entries(verb="provision resume")[0]
    assert entry.detail["accepted"] == "ange/host_vars/ange-web1.yml is new"


def test_what_was_begun_at_once_is_resumed_with_the_variables_as_they_are(workspace: Path) -> None:
    made = begun(workspace)
    (workspace / "inventories/ange/host_vars").mkdir()
    (workspace / "inventories/ange/host_vars/ange-web1.yml").write_text("ssh_max_auth_tries: 5\n")
    assert run(["provision", "resume", made.id, "--yes"]) == 5, "its host is away"
