"""What NetBox is told of a host: taken from the store as the verbs have left it, and nothing that is not known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsctl.inventory.push import FIELDS
from opsctl.model.host import Host
from opsctl.model.rollout import Batch, HostPlan, HostState, Plan, Stage, Status, Wave
from opsctl.overview import told
from opsctl.rollout.journal import Journal
from opsctl.state.store import Store

NOW = datetime(2026, 11, 22, 22, 0, tzinfo=UTC)
HOSTS = tuple(Host(name=f"web{n}", tenant="ange", address="", role="web", platform="debian-12") for n in (1, 2, 3))
PROBE = {"os": {"id": "debian", "version": "12", "name": "Debian GNU/Linux 12 (bookworm)"}}


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as store:
        yield store


def rollout(store: Store, name: str, stages: dict[str, Stage], at: datetime, kind: str = "patch") -> None:
    """A rollout of these hosts, saved step by step as the engine saves it, and come to its end."""
    batch = Batch(hosts=tuple(HostPlan(host=key) for key in stages))
    plan = Plan(
        id=name, hash="h", kind=kind, made_at=at - timedelta(hours=1), made_by="anna", inventory_digest="",
        content_digest="", waves=(Wave(ring="broad", batches=(batch,)),),
    )  # fmt: skip
    journal = Journal(store)
    running = journal.save_status(journal.add(plan), Status.RUNNING, at - timedelta(minutes=30))
    for key, stage in stages.items():
        journal.save_host(name, HostState(host=key, stage=Stage.INSTALLING, at=at - timedelta(minutes=5)))
        journal.save_host(name, HostState(host=key, stage=stage, at=at))
    journal.save_status(replace(running), Status.DONE, at + timedelta(minutes=10))


def test_a_host_of_which_nothing_is_known_is_not_told_of(store: Store) -> None:
    assert told.values(store, HOSTS) == {}


def test_all_six_values_are_told_when_they_are_known(store: Store) -> None:
    key = HOSTS[0].key
    store.put_fact(key, "probe", json.dumps(PROBE), NOW - timedelta(days=1))
    store.put_fact(key, "pending", json.dumps({"pending_security": 3}), NOW - timedelta(days=1))
    store.put_fact(key, "compliance", json.dumps({"counts": {"pass": 28, "fail": 2}}), NOW - timedelta(days=1))
    store.put_fact(key, "takeover", json.dumps({"step": "access"}), NOW - timedelta(days=1))
    store.saw({key: NOW})
    rollout(store, "patch-1", {key: Stage.DONE}, NOW - timedelta(hours=2))
    found = told.values(store, HOSTS)
    assert found == {
        key: {
            "opsctl_last_seen": "2026-11-22T22:00:00Z",
            "opsctl_os_release": "Debian GNU/Linux 12 (bookworm)",
            "opsctl_pending_security": 3,
            "opsctl_last_patched": "2026-11-22T20:00:00Z",
            "opsctl_compliance": "2 fail, 28 pass (2026-11-21)",
            "opsctl_takeover": "access",
        }
    }
    assert set(found[key]) == {field.name for field in FIELDS}


def test_last_patched_is_the_end_of_the_last_rollout_of_patches_that_went_well(store: Store) -> None:
    first, second, third = (host.key for host in HOSTS)
    rollout(store, "patch-1", {first: Stage.DONE, second: Stage.DONE}, NOW - timedelta(days=9))
    rollout(store, "patch-2", {first: Stage.DONE, second: Stage.FAILED, third: Stage.UNKNOWN}, NOW - timedelta(days=2))
    rollout(store, "provision-1", {first: Stage.DONE, third: Stage.DONE}, NOW, kind="provision")
    assert told.last_patched(store) == {first: NOW - timedelta(days=2), second: NOW - timedelta(days=9)}


def test_where_no_takeover_is_recorded_the_field_is_not_named(store: Store) -> None:
    store.saw({HOSTS[0].key: NOW})
    assert told.values(store, HOSTS) == {HOSTS[0].key: {"opsctl_last_seen": "2026-11-22T22:00:00Z"}}
