"""Bare `opsctl`: what runs, what waits, and in which order it should be taken up."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsctl import config
from opsctl.config import Settings
from opsctl.inventory import sync
from opsctl.model import wire
from opsctl.model.rollout import Batch, HostPlan, HostState, Plan, Stage, Status, Wave
from opsctl.overview import site, workspace
from opsctl.patch.condition import DpkgHealth, RebootNeed
from opsctl.patch.pending import Pending
from opsctl.rollout.journal import Journal
from opsctl.state.leases import Leases
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
SOURCE = "version: 1\ntenant: ange\nhosts:\n  - {name: web1, address: 192.0.2.11, role: web, platform: debian-12}\n"
PIN = "web1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampleX\n"
HOST = "ange.web1"
PROBE = {
    "reboot": {"required": False, "packages": []},
    "updates": {"packages": [], "security": [], "lists_at": NOW.timestamp()},
}


@pytest.fixture(name="settings")
def _settings(tmp_path: Path) -> Settings:
    """A workspace with a tenant and its source, never synced."""
    workspace.make(tmp_path, [workspace.tenant_of("ange=Ånge kommun")])
    (tmp_path / "inventories/ange/source.yml").write_text(SOURCE)
    return config.load(tmp_path, {})


@pytest.fixture(name="store")
def _store(settings: Settings) -> Iterator[Store]:
    """The store of a workspace in which everything is done: synced, trusted, seen and checked."""
    with Store.open(settings.state) as store:
        sync.write(sync.plan(settings), Ledger(store), "anna", lambda: NOW)
        (settings.inventories / "ange/pins").write_text(PIN)
        store.put_fact(HOST, "probe", json.dumps(PROBE), NOW)
        store.put_fact(HOST, "compliance", "{}", NOW)
        provisioned(store)
        yield store


def provisioned(store: Store) -> None:
    """A provisioning of the host that came to its end yesterday."""
    journal, at = Journal(store), NOW - timedelta(hours=20)
    done = replace(plan("provision"), id="20261121-1", made_at=at)
    running = journal.save_status(journal.add(done), Status.RUNNING, at)
    journal.save_host(done.id, HostState(host=HOST, stage=Stage.DONE, at=at))
    journal.save_status(running, Status.DONE, at)


def waiting(settings: Settings, now: datetime = NOW) -> list[str]:
    return [f"{one.what} -> {one.command}" for one in site.look(settings, now).waiting]


def pending(security: int) -> str:
    """A reading of what waits, as `patch pending` remembers it."""
    return wire.dumps(
        Pending(
            packages=(), removed=(), pending=security, pending_security=security, kept_back=(), held=(),
            download_bytes=0, free_bytes=0, reboot=RebootNeed(required=False, because_of=(), coming=()),
            dpkg=DpkgHealth(audit=(), lock_holder=""), lists_age_seconds=0, patchers=(),
        )
    )  # fmt: skip


def plan(kind: str = "patch") -> Plan:
    batch = Batch(hosts=(HostPlan(host=HOST),))
    return Plan(
        id="20261122-1", hash="h", kind=kind, made_at=NOW, made_by="anna", inventory_digest="", content_digest="",
        waves=(Wave(ring="broad", batches=(batch,)),),
    )  # fmt: skip


def test_an_empty_workspace_asks_for_a_tenant(tmp_path: Path) -> None:
    workspace.make(tmp_path)
    assert "no tenant yet" in waiting(config.load(tmp_path, {}))[0]


def test_a_tenant_without_hosts_asks_for_hosts(settings: Settings) -> None:
    (settings.inventories / "ange/source.yml").write_text("version: 1\ntenant: ange\nhosts: []\n")
    assert "write them into" in waiting(settings)[0]


def test_a_source_that_says_something_new_asks_for_a_sync(settings: Settings) -> None:
    found = site.look(settings, NOW)
    assert found.waiting[0].what == "the source has changed: 1 added"
    assert found.next == "opsctl inventory sync"


@pytest.mark.usefixtures("store")
def test_a_source_that_was_only_touched_asks_for_nothing(settings: Settings) -> None:
    (settings.inventories / "ange/source.yml").write_text(SOURCE.replace("version: 1\n", "# as before\nversion: 1\n"))
    assert waiting(settings) == []


def test_a_missing_source_and_one_with_faults_ask_for_a_check(settings: Settings) -> None:
    (settings.inventories / "ange/source.yml").write_text("nonsense")
    assert "the source has faults" in waiting(settings)[0]
    (settings.inventories / "ange/source.yml").unlink()
    assert "is missing" in waiting(settings)[0]


@pytest.mark.usefixtures("store")
def test_a_broken_inventory_comes_first(settings: Settings) -> None:
    (settings.inventories / "ange/tenant.yml").write_text("version: 1\nname: ange\ncolour: blue\n")
    found = site.look(settings, NOW)
    assert found.waiting[0].what == "the inventory is not usable: 1 fault"
    assert found.next == "opsctl inventory check"


@pytest.mark.usefixtures("store")
def test_when_all_is_done_nothing_waits(settings: Settings) -> None:
    found = site.look(settings, NOW)
    assert (found.hosts, found.managed, found.tenants, found.waiting, found.running) == (1, 1, ("ange",), (), ())
    assert found.next == "opsctl monitor status"


@pytest.mark.usefixtures("store")
def test_hosts_without_a_key_are_named_with_the_file_that_was_handed_over(settings: Settings) -> None:
    (settings.inventories / "ange/pins").unlink()
    assert waiting(settings) == [
        "1 host without an approved key: ange.web1 -> opsctl host approve --all --fingerprints FILE"
    ]
    (settings.workspace / "handover").mkdir()
    (settings.workspace / "handover/fingerprints").write_text("")
    assert waiting(settings)[0].endswith("--fingerprints handover/fingerprints")


@pytest.mark.usefixtures("store")
def test_what_is_known_grows_old(settings: Settings) -> None:
    assert "not seen for a day" in waiting(settings, NOW + timedelta(days=2))[0]
    assert "not checked for a month" in waiting(settings, NOW + timedelta(days=40))[1]


def test_open_findings_wait_for_a_person(settings: Settings, store: Store) -> None:
    store.put_fact(HOST, "compliance", json.dumps({"run": "r1", "counts": {}, "failed": ["SSH-01"]}), NOW)
    assert waiting(settings) == ["1 host with open findings: ange.web1 -> opsctl comply report --to reports"]


def test_security_updates_and_a_needed_reboot_wait(settings: Settings, store: Store) -> None:
    updates = {"packages": ["openssl"], "security": ["openssl"], "lists_at": NOW.timestamp()}
    probe = {"updates": updates, "reboot": {"required": True, "packages": []}}
    store.put_fact(HOST, "probe", json.dumps(probe), NOW)
    assert waiting(settings) == [
        "1 host waiting for security updates: ange.web1 -> opsctl patch plan",
        "1 host in need of a reboot: ange.web1 -> opsctl patch plan",
    ]


def test_the_newer_of_two_readings_counts_and_a_patched_host_waits_no_longer(settings: Settings, store: Store) -> None:
    store.put_fact(HOST, "pending", pending(3), NOW + timedelta(minutes=1))
    assert waiting(settings) == ["1 host waiting for security updates: ange.web1 -> opsctl patch plan"]
    journal, later = Journal(store), NOW + timedelta(minutes=2)
    running = journal.save_status(journal.add(plan()), Status.RUNNING, later)
    journal.save_host(plan().id, HostState(host=HOST, stage=Stage.DONE, at=later))
    journal.save_status(running, Status.DONE, later)
    assert waiting(settings) == []


def test_a_host_that_any_verb_was_in_contact_with_was_seen(settings: Settings, store: Store) -> None:
    later = NOW + timedelta(days=2)
    assert "not seen for a day" in waiting(settings, later)[0]
    store.saw({HOST: later})
    assert waiting(settings, later) == []


def test_what_a_host_said_before_it_was_provisioned_is_void(settings: Settings, store: Store) -> None:
    updates: dict[str, object] = {"packages": [], "security": [], "lists_at": None}
    store.put_fact(HOST, "probe", json.dumps(PROBE | {"updates": updates}), NOW - timedelta(hours=21))
    assert waiting(settings) == ["1 host not looked at since provisioning: ange.web1 -> opsctl monitor status"]
    store.put_fact(HOST, "probe", json.dumps(PROBE), NOW)
    assert waiting(settings) == []


def test_a_host_without_package_lists_waits_for_them(settings: Settings, store: Store) -> None:
    updates: dict[str, object] = {"packages": [], "security": [], "lists_at": None}
    store.put_fact(HOST, "probe", json.dumps(PROBE | {"updates": updates}), NOW)
    assert waiting(settings) == ["1 host without package lists: ange.web1 -> opsctl patch plan --refresh"]


def test_what_a_plan_covers_waits_for_its_start_and_no_second_plan(settings: Settings, store: Store) -> None:
    store.put_fact(HOST, "pending", pending(3), NOW + timedelta(seconds=1))
    Journal(store).add(plan())
    expected = "patch plan 20261122-1 for 1 host is not started -> opsctl patch start 20261122-1"
    assert waiting(settings) == [expected]
    assert expected not in waiting(settings, NOW + timedelta(days=8))


def test_a_new_host_waits_to_be_provisioned(settings: Settings, store: Store) -> None:
    source = SOURCE + SOURCE.partition("hosts:\n")[2].replace("web1", "web2").replace(".11", ".12")
    (settings.inventories / "ange/source.yml").write_text(source)
    sync.write(sync.plan(settings), Ledger(store), "anna", lambda: NOW)
    assert "1 host never provisioned: ange.web2 -> opsctl provision" in waiting(settings)


def test_a_provisioning_that_stopped_is_forgotten_after_a_later_good_one(settings: Settings, store: Store) -> None:
    journal = Journal(store)
    earlier = replace(plan("provision"), id="20261120-1", made_at=NOW - timedelta(days=2))
    state = journal.save_status(journal.add(earlier), Status.RUNNING, NOW)
    journal.save_host(earlier.id, HostState(host=HOST, stage=Stage.FAILED, at=NOW, last=Stage.INSTALLING))
    journal.save_status(state, Status.HALTED, NOW, reason="ange.web1 failed")
    assert waiting(settings) == []
    latest = replace(plan("provision"), made_at=NOW)
    journal.save_status(journal.save_status(journal.add(latest), Status.RUNNING, NOW), Status.HALTED, NOW)
    assert waiting(settings) == ["provision 20261122-1 is halted -> opsctl provision status 20261122-1"]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), "patch plan 20261122-1 for 1 host is not started -> opsctl patch start 20261122-1"),
        ((Status.RUNNING,), "patch 20261122-1 was killed -> opsctl patch status 20261122-1"),
        ((Status.RUNNING, Status.PAUSED), "patch 20261122-1 is paused: because -> opsctl patch status 20261122-1"),
        ((Status.RUNNING, Status.HALTED), "patch 20261122-1 is halted: because -> opsctl patch status 20261122-1"),
        ((Status.RUNNING, Status.DONE), ""),
    ],
)
def test_a_rollout_that_stands_still_waits(
    settings: Settings, store: Store, steps: tuple[Status, ...], expected: str
) -> None:
    journal = Journal(store)
    state = journal.add(plan())
    for status in steps:
        state = journal.save_status(state, status, NOW, reason="" if status is Status.RUNNING else "because")
    assert waiting(settings) == ([expected] if expected else [])


@pytest.mark.parametrize(("stage", "word"), [(Stage.FAILED, "failed"), (Stage.UNKNOWN, "unknown or still drained")])
def test_hosts_that_a_rollout_lost_or_broke_wait(settings: Settings, store: Store, stage: Stage, word: str) -> None:
    journal = Journal(store)
    state = journal.save_status(journal.add(plan()), Status.RUNNING, NOW)
    journal.save_status(state, Status.DONE, NOW)
    journal.save_host(plan().id, HostState(host=HOST, stage=stage, at=NOW, last=Stage.INSTALLING))
    assert waiting(settings) == [f"patch 20261122-1: {word}: ange.web1 -> opsctl patch status 20261122-1"]


def test_a_rollout_at_work_runs_and_does_not_wait(settings: Settings, store: Store) -> None:
    journal = Journal(store)
    journal.save_status(journal.add(plan()), Status.RUNNING, NOW)
    Leases(store).acquire([HOST], "anna on control1", NOW, timedelta(minutes=5))
    with journal.alone("20261122-1", "anna on control1 (pid 42)"):
        found = site.look(settings, NOW)
    assert found.running == (
        "patch 20261122-1: 0 of 1 host done, by anna on control1 (pid 42)",
        "anna on control1 holds ange.web1",
    )
    assert found.waiting == ()


def test_an_act_that_was_killed_waits(settings: Settings, store: Store) -> None:
    with Ledger(store).act("provision", [HOST], {}, "anna", lambda: NOW):
        what = "provision by anna at 2026-11-22 10:00 UTC has not ended: at work, or killed"
        assert waiting(settings) == [f"{what} -> opsctl ledger log --verb 'provision'"]
    assert waiting(settings) == []


def test_a_killed_act_is_settled_by_a_later_one_of_its_family(settings: Settings, store: Store) -> None:
    ledger = Ledger(store)
    with (
        ledger.act("patch refresh", [HOST], {}, "anna", lambda: NOW),
        ledger.act("comply", [], {}, "anna", lambda: NOW),
    ):
        with ledger.act("patch start", [], {}, "anna", lambda: NOW) as later:
            later.outcome = "incomplete"
        assert len(waiting(settings)) == 2
        with ledger.act("patch start", [], {}, "anna", lambda: NOW):
            pass
        assert [text.partition(" ")[0] for text in waiting(settings)] == ["comply"]


def test_a_killed_rollout_is_told_by_its_state_and_not_by_its_act_too(settings: Settings, store: Store) -> None:
    journal, detail = Journal(store), {"rollout": "20261122-1"}
    state = journal.save_status(journal.add(plan()), Status.RUNNING, NOW)
    with Ledger(store).act("patch start", [HOST], detail, "anna", lambda: NOW):
        assert waiting(settings) == ["patch 20261122-1 was killed -> opsctl patch status 20261122-1"]
        journal.save_status(state, Status.DONE, NOW)
        assert waiting(settings) == []


def test_a_workspace_is_found_upwards(tmp_path: Path) -> None:
    below = tmp_path / "a/b"
    below.mkdir(parents=True)
    assert not site.in_workspace(below)
    (tmp_path / "opsctl.yml").write_text("version: 1\n")
    assert site.in_workspace(below)
