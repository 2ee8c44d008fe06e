"""`opsctl patch` and `opsctl provision` without a host: what is refused, what is shown, with which exit code."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsctl import config, content
from opsctl.cli.app import App
from opsctl.cli.main import run
from opsctl.errors import StalePlan
from opsctl.inventory import files, snapshot
from opsctl.model.rollout import HostPlan, HostState, LeftOut, PackageChange, Stage, Status
from opsctl.patch import run as patching
from opsctl.rollout import claims, ride
from opsctl.rollout import limits as limiting
from opsctl.rollout import plan as planning
from opsctl.rollout.journal import Journal
from opsctl.rollout.means import Means
from opsctl.state.leases import Leases
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
PACKAGE = PackageChange(name="openssl", before="3.0-1", after="3.0-2", security=True)


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
    assert run(["inventory", "sync", "--yes"]) == 0
    # Sockets need a short path, and pytest's is long.
    with tempfile.TemporaryDirectory(prefix="o-") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        yield folder


def keep(workspace: Path, *, minutes: int = 0, moved_inventory: bool = False) -> str:
    """A plan over both hosts, as `patch plan` would keep it; its id."""
    settings = config.load(workspace, {})
    inventory = files.load(settings)
    items = [HostPlan(host=host.key, packages=(PACKAGE,)) for host in inventory]
    pace = planning.Pace(limit=5)
    made = planning.freeze(
        planning.arrange(items, inventory, limiting.of(inventory), pace=pace),
        kind="patch", now=NOW + timedelta(minutes=minutes), made_by="anna",
        inventory_digest="moved" if moved_inventory else inventory.digest,
        content_digest=content.digest(), pace=pace, failure_budget=1,
    )  # fmt: skip
    with Store.open(settings.state) as store:
        Journal(store).add(made)
    return made.id


def begun(workspace: Path) -> str:
    """A rollout whose process was killed while it installed."""
    plan = keep(workspace)
    with Store.open(config.load(workspace, {}).state) as store:
        journal = Journal(store)
        state = journal.save_status(journal.load(plan), Status.RUNNING, NOW)
        journal.save_host(plan, HostState(host="ange.ange-web1", stage=Stage.INSTALLING, at=NOW))
        now = datetime.now(UTC)
        Leases(store).acquire(["ange.ange-web1"], claims.holder(state.plan), now, timedelta(minutes=15))
    return plan


def test_there_are_no_plans_at_first(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["patch", "status"]) == 0
    assert "no plans yet" in capsys.readouterr().err


FREEZE = "version: 1\nfreezes: [{name: always, days: [mon, tue, wed, thu, fri, sat, sun], reason: the election}]\n"


def test_a_start_within_a_freeze_is_refused_and_a_dry_run_says_so(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = keep(workspace)
    (workspace / "inventories/ange/calendar.yml").write_text(FREEZE)
    assert run(["patch", "start", plan, "--dry-run"]) == 0
    assert "it may not start now: ange.ange-web1 waits: freeze always until" in capsys.readouterr().err
    assert run(["patch", "start", plan, "--yes"]) == 3
    told = capsys.readouterr().err
    assert f"{plan} may not start now: ange.ange-web1 waits: freeze always until" in told
    assert "the election; and at no time within a year" in told
    assert "opsctl patch plan --emergency" in told
    with Store.open(config.load(workspace, {}).state) as store:
        assert Journal(store).load(plan).status is Status.PLANNED


def test_a_freeze_written_meanwhile_lets_nothing_new_start_and_the_rollout_pauses(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = begun(workspace)
    with Store.open(config.load(workspace, {}).state) as store:
        Journal(store).save_host(plan, HostState(host="ange.ange-web1", stage=Stage.PLANNED, at=NOW))
    (workspace / "inventories/ange/calendar.yml").write_text(FREEZE)
    with Store.open(config.load(workspace, {}).state) as store:
        inventory = files.load(config.load(workspace, {}))
        snapshot.save(store, plan, inventory, [host.key for host in inventory], NOW)
    assert run(["patch", "status", plan]) == 0
    assert "window left: 0 min (ange.ange-web1)" in capsys.readouterr().out
    assert run(["patch", "resume", plan, "--yes"]) == 5
    told = capsys.readouterr()
    assert "paused: ange.ange-web1, ange.ange-web2 wait: freeze always until" in told.err
    with Store.open(config.load(workspace, {}).state) as store:
        assert {one.stage for one in Journal(store).load(plan).hosts} == {Stage.PLANNED}


def test_a_broken_calendar_makes_no_plan_and_is_told_with_its_line(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "inventories/ange/calendar.yml").write_text("version: 1\nfreezes: [{name: a, days: [friday]}]\n")
    assert run(["patch", "plan"]) == 3
    assert "calendar.yml:2: days: 'friday' is not known" in capsys.readouterr().err
    capsys.readouterr()
    assert run(["patch", "status", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["rollouts"] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--emergency"], "--emergency takes --reason and --ticket"),
        (["--emergency", "--reason", "CVE"], "--emergency takes --reason and --ticket"),
        (["--reason", "CVE"], "--reason goes with --emergency"),
        (["--at", "2026-01-01 22:00"], "2026-01-01 21:00Z is over"),
        (["--at", "tonight"], "'tonight' is no moment"),
    ],
)
def test_an_emergency_without_its_reason_and_a_time_that_is_over_are_errors_of_the_command_line(
    workspace: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert run(["patch", "plan", *words]) == 2
    assert told in capsys.readouterr().err


def test_an_emergency_plan_stands_in_the_ledger_with_its_reason_and_ticket(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "inventories/ange/calendar.yml").write_text(FREEZE)
    assert run(["patch", "plan", "--emergency", "--reason", "CVE-2026-1", "--ticket", "INC7", "-o", "json"]) == 1
    made = json.loads(capsys.readouterr().out)["plan"]
    assert (made["emergency"], made["ticket"]) == ("CVE-2026-1", "INC7")
    assert run(["ledger", "log", "--verb", "patch plan", "-o", "json"]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert entries[0]["detail"]["emergency"] == "CVE-2026-1"
    assert entries[0]["detail"]["ticket"] == "INC7"


def test_an_unknown_plan_is_refused_by_name(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["start", "nope", "--yes"], ["resume", "nope", "--yes"], ["status", "nope"]):
        assert run(["patch", *words]) == 3
        assert "no plan or rollout is called 'nope'" in capsys.readouterr().err


def test_status_lists_plans_and_shows_one_with_its_hosts(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = keep(workspace)
    capsys.readouterr()
    assert run(["patch", "status", "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["outcome"] == "ok"
    assert [(one["id"], one["status"], one["hosts"]) for one in told["rollouts"]] == [(plan, "planned", 2)]
    assert run(["patch", "status", "latest", "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["host"], one["stage"]) for one in told["hosts"]] == [
        ("ange.ange-web1", "planned"), ("ange.ange-web2", "planned"),
    ]  # fmt: skip
    assert run(["patch", "status", plan]) == 0
    assert "1 canary" in capsys.readouterr().out


def test_a_sync_under_a_rollout_leaves_its_plan_alone_and_status_says_that_the_ground_has_moved(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = begun(workspace)
    capsys.readouterr()
    assert run(["patch", "status", plan, "-o", "json"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert before["inventory_moved"] is False
    source = workspace / "inventories/ange/source.yml"
    source.write_text(source.read_text().replace("role: web", "role: application"))
    assert run(["inventory", "sync", "--yes"]) == 0
    capsys.readouterr()
    assert run(["patch", "status", plan, "-o", "json"]) == 0
    after = json.loads(capsys.readouterr().out)
    assert after == {**before, "inventory_moved": True}
    (workspace / "inventories/ange/hosts.yml").write_text("nothing that can be read")
    assert run(["patch", "status", plan]) == 0
    assert "the inventory has changed since this was planned" in capsys.readouterr().err


def test_a_resume_says_once_that_the_ground_has_moved_and_works_from_the_copy_of_the_beginning(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = begun(workspace)
    with Store.open(config.load(workspace, {}).state) as store:
        inventory = files.load(config.load(workspace, {}))
        snapshot.save(store, plan, inventory, [host.key for host in inventory], NOW)
    (workspace / "inventories/ange/hosts.yml").write_text("nothing that can be read")
    capsys.readouterr()
    assert run(["patch", "resume", plan, "--yes"]) == 5, "its hosts do not answer, but they are known"
    assert capsys.readouterr().err.count("this rollout goes on as it was planned") == 1


def test_a_start_is_refused_when_the_inventory_moved_while_a_person_was_asked(workspace: Path) -> None:
    plan = keep(workspace)
    app = App(start=workspace)
    try:
        means = Means(
            inventory=app.inventory, transport=app.transport, store=app.store, ledger=app.ledger,
            settings=app.settings, who="anna", clock=app.now,
        )  # fmt: skip
        ready = ride.Ready(state=means.journal.load(plan), down=frozenset())
        (workspace / "inventories/ange/hosts.yml").write_text("version: 1\ntenant: ange\nhosts: []\n")
        entries = len(app.ledger.entries())
        with pytest.raises(StalePlan, match="the inventory has changed meanwhile"):
            ride.start(patching.RIDER, means, ready, lambda _step: None)
        assert means.journal.load(plan).status is Status.PLANNED
        assert snapshot.load(app.store, plan) is None
        assert len(app.ledger.entries()) == entries
    finally:
        app.close()


def test_a_resume_names_the_hosts_that_are_no_longer_ours_and_asks_them_nothing(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = begun(workspace)
    with Store.open(config.load(workspace, {}).state) as store:
        inventory = files.load(config.load(workspace, {}))
        snapshot.save(store, plan, inventory, [host.key for host in inventory], NOW)
        keys = [item.host for item in Journal(store).load(plan).plan.hosts]
    (workspace / "inventories/ange/hosts.yml").write_text("version: 1\ntenant: ange\nhosts: []\n")
    capsys.readouterr()
    assert run(["patch", "resume", plan, "--dry-run"]) == 0
    told = capsys.readouterr().err
    assert all(f"{key}: it is no longer in the inventory" in told for key in keys)
    assert run(["patch", "resume", plan, "--yes", "-o", "json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["outcome"] == "incomplete"
    assert {host["stage"] for host in answer["hosts"]} == {"skipped"}


def test_latest_is_the_newest_plan(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(workspace)
    newer = keep(workspace, minutes=5)
    capsys.readouterr()
    assert run(["patch", "status", "latest", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["rollout"]["id"] == newer


def test_a_killed_rollout_is_shown_as_stalled(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = keep(workspace)
    with Store.open(config.load(workspace, {}).state) as store:
        journal = Journal(store)
        journal.save_status(journal.load(plan), Status.RUNNING, NOW)
        journal.save_host(plan, HostState(host="ange.ange-web1", stage=Stage.INSTALLING, at=NOW))
    capsys.readouterr()
    assert run(["patch", "status", plan]) == 0
    out = capsys.readouterr().out
    assert "stalled: its process is gone" in out
    assert f"opsctl patch resume {plan}" in out


def test_a_resume_of_a_killed_rollout_says_that_it_is_stalled(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = begun(workspace)
    capsys.readouterr()
    assert run(["patch", "resume", plan, "--dry-run"]) == 0
    assert f"{plan}: stalled: its process is gone" in capsys.readouterr().out


def test_a_start_of_a_rollout_at_work_names_who_is_at_it(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = begun(workspace)
    with (
        Store.open(config.load(workspace, {}).state) as store,
        Journal(store).alone(plan, "anna, process 7"),
    ):
        for verb in ("start", "resume"):
            assert run(["patch", verb, plan, "--yes"]) == 4
            assert "at work: anna, process 7" in capsys.readouterr().err


def test_an_abort_frees_the_hosts_and_lists_those_in_the_middle(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, other = begun(workspace), keep(workspace, minutes=3)
    assert run(["patch", "start", other, "--yes"]) == 4
    told = capsys.readouterr().err
    assert "until" in told
    assert f"or resume it: opsctl patch resume {plan}, or end it for good: opsctl patch abort {plan}" in told
    assert run(["patch", "abort", plan, "--dry-run"]) == 0
    assert run(["patch", "abort", plan, "--yes"]) == 1
    assert "left as they are: ange.ange-web1 (installing)" in capsys.readouterr().err
    assert run(["patch", "resume", plan, "--yes"]) == 3
    assert run(["patch", "abort", plan, "--yes"]) == 3
    with Store.open(config.load(workspace, {}).state) as store:
        assert Journal(store).load(plan).status is Status.ABORTED
        assert Leases(store).held() == ()
        assert [entry.phase for entry in Ledger(store).entries(verb="patch abort")] == ["started", "finished"]


def test_an_abort_of_a_plan_that_touched_nothing_is_ok(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = keep(workspace)
    assert run(["patch", "abort", plan, "--yes", "-o", "json"]) == 0
    assert run(["patch", "start", plan, "--yes"]) == 3


def test_a_cluster_that_may_lose_nobody_is_never_green(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = config.load(workspace, {})
    alone = LeftOut(host="ange.ange-web1", reason=f"ange.web needs 2 of 2 in service{limiting.NEVER}", missed=True)
    made = planning.freeze(
        planning.Arrangement(waves=(), left_out=(alone,)), kind="patch", now=NOW, made_by="anna",
        inventory_digest=files.load(settings).digest, content_digest=content.digest(),
        pace=planning.Pace(limit=5), failure_budget=1,
    )  # fmt: skip
    with Store.open(settings.state) as store:
        Journal(store).add(made)
    assert run(["patch", "start", made.id, "--yes"]) == 1
    assert "change clusters: minimum in tenant.yml" in capsys.readouterr().err


def test_a_stale_plan_is_refused_before_any_host_is_asked(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = keep(workspace, moved_inventory=True)
    assert run(["patch", "start", plan, "--yes"]) == 3
    assert "the inventory has changed" in capsys.readouterr().err


def test_a_dry_run_shows_the_plan_and_starts_nothing(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = keep(workspace)
    assert run(["patch", "start", plan, "--dry-run"]) == 0
    assert "openssl" in capsys.readouterr().out
    with Store.open(config.load(workspace, {}).state) as store:
        assert Journal(store).load(plan).status is Status.PLANNED


def test_a_plan_without_a_host_because_none_answered_is_never_green(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["patch", "plan"]) == 1
    for words in (["--yes"], ["--dry-run"], ["--yes", "-o", "json"]):
        capsys.readouterr()
        assert run(["patch", "start", "latest", *words]) == 1
        shown = capsys.readouterr()
        assert "left out: ange.ange-web1 (unreachable: " in shown.err
        assert "opsctl doctor --hosts" in shown.err
    assert json.loads(shown.out)["outcome"] == "incomplete"


def test_a_dry_run_is_a_document_too(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = keep(workspace)
    capsys.readouterr()
    assert run(["patch", "start", plan, "--dry-run", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["id"] == plan


def test_a_check_of_hosts_that_do_not_answer_ends_with_1(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["provision", "--check", "-o", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["outcome"] == "incomplete"


def test_an_empty_plan_is_no_error_and_says_why_it_is_empty(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["patch", "plan", "--exclude", "ange-web*"]) == 0
    shown = capsys.readouterr()
    assert "is empty: excluded (--exclude) (2)" in shown.out + shown.err
    assert run(["patch", "plan", "--exclude", "ange-web1,ange-web2", "--ticket", "CHG-7", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["empty_because"] == "excluded (--exclude) (2)"
    assert told["plan"]["ticket"] == "CHG-7"
    assert told["plan"]["options"] == ["exclude=ange-web1,ange-web2"]


def test_an_explanation_is_told_for_people_and_programs(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["patch", "plan", "--exclude", "ange-web1", "--explain", "ange-web1"]) == 1
    assert "ange.ange-web1: left out: excluded (--exclude)" in capsys.readouterr().out
    assert (
        run(["patch", "plan", "--exclude", "ange-web1", "--explain", "ange-web2", "--ticket", "7", "-o", "json"]) == 1
    )
    told = json.loads(capsys.readouterr().out)["explained"]
    assert told["host"] == "ange.ange-web2"
    assert told["why"][0].startswith("left out: unreachable")


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        (["--limit", "ange-wbe1"], 3, "no host fits 'ange-wbe1'", "is it ange-web1 or ange-web2?"),
        (["--exclude", "ange-wbe1"], 3, "no host fits 'ange-wbe1'", "is it ange-web1 or ange-web2?"),
        (["--ring", "canari"], 3, "no host has the ring 'canari'", "is it canary?"),
        (["--role", "wbe"], 3, "no host has the role 'wbe'", "is it web?"),
        (["--tenant", "angee"], 3, "no tenant is called 'angee'", "is it ange?"),
        (["--explain", "ange-web3"], 3, "no host is called 'ange-web3'", "is it ange-web2 or ange-web1?"),
        (["--ring", "canary", "--explain", "ange-web2"], 3, "ange.ange-web2 is not among the selected hosts", ""),
        (["--package", "open ssl"], 3, "no package can be called 'open ssl'", "as dpkg writes it"),
        (["--package", ""], 3, "--package names no package", ""),
        (["--ticket", "a\x1b[1mb"], 2, "--ticket takes one line", ""),
    ],
)
def test_what_a_plan_cannot_be_made_of_is_named_with_the_nearest_match_and_nothing_is_kept(
    workspace: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str, hint: str
) -> None:
    capsys.readouterr()
    assert run(["patch", "plan", *words]) == code
    told = capsys.readouterr().err
    assert message in told
    assert hint in told
    assert run(["patch", "status", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["rollouts"] == []


def test_an_unknown_plan_is_named_with_the_nearest_one(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = keep(workspace)
    assert run(["patch", "start", plan[:-1] + "x", "--yes"]) == 3
    assert f"is it {plan}?" in capsys.readouterr().err


def test_a_start_without_a_terminal_wants_yes(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = keep(workspace)
    assert run(["patch", "start", plan]) == 2
    assert "--yes" in capsys.readouterr().err


def test_a_plan_that_has_not_begun_cannot_be_resumed(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = keep(workspace)
    assert run(["patch", "resume", plan, "--yes"]) == 3
    assert f"opsctl patch start {plan}" in capsys.readouterr().err


def test_hosts_that_do_not_answer_pause_a_rollout_as_unknown(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = keep(workspace)
    capsys.readouterr()
    assert run(["patch", "start", plan, "--yes", "--output", "json"]) == 5
    told = json.loads(capsys.readouterr().out)
    assert told["outcome"] == "stopped"
    assert [(one["stage"], one["last"]) for one in told["hosts"]] == [("unknown", "silenced"), ("planned", None)]
    assert run(["patch", "start", plan, "--yes"]) == 3
    assert f"opsctl patch resume {plan}" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [["patch", "plan"], ["patch", "pending"], ["provision", "--dry-run"]])
def test_hosts_that_do_not_answer_are_listed_and_the_exit_code_says_so(
    workspace: Path, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    capsys.readouterr()
    assert run(verb) == 1
    out = capsys.readouterr().out
    assert "ange.ange-web1" in out
    assert "unreachable" in out


@pytest.mark.parametrize("verb", [["patch", "plan"], ["patch", "pending"], ["provision", "--yes"]])
def test_a_selection_without_a_host_is_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    assert run([*verb, "--limit", "nobody"]) == 3
    assert "no host fits 'nobody'" in capsys.readouterr().err


def test_a_rehearsal_is_for_a_plan_that_is_there_and_has_not_begun(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["patch", "rehearse", "nope", "--yes"]) == 3
    plan = begun(workspace)
    assert run(["patch", "rehearse", plan, "--yes"]) == 3
    told = capsys.readouterr().err
    assert f"{plan} has begun before" in told
    assert "rehearse a plan before its start" in told


def test_hosts_that_do_not_answer_are_not_rehearsed_which_is_never_green(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opsctl.patch.rehearse.refuse_unless_fit", lambda: None)  # whatever this machine lacks
    plan = keep(workspace)
    assert run(["patch", "start", plan, "--dry-run"]) == 0
    assert "never rehearsed" in capsys.readouterr().out
    assert run(["patch", "rehearse", plan, "--dry-run", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["doubles"], [one["host"] for one in told["not_rehearsed"]]) == (
        [], ["ange.ange-web1", "ange.ange-web2"],
    )  # fmt: skip
    assert run(["patch", "rehearse", plan]) == 2
    capsys.readouterr()
    assert run(["patch", "rehearse", plan, "--yes", "-o", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["outcome"] == "incomplete"
    assert run(["patch", "start", plan, "--dry-run"]) == 0
    assert "incomplete (0 of 0 doubles well, 2 hosts without one)" in capsys.readouterr().out
