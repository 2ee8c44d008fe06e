"""What the control side hands in for controls that no host can answer for, and what it says where it cannot."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from opsctl import config
from opsctl.compliance import expectations
from opsctl.compliance.records import Record, of_inventory
from opsctl.model.finding import Catalogue, Profile
from opsctl.model.host import Host, Inventory, Service, Tenant
from opsctl.model.rollout import Batch, HostPlan, HostState, Plan, Stage, Status, Wave
from opsctl.monitor.alerts import Labels
from opsctl.monitor.remote import MonitoringSilent, Remote
from opsctl.monitor.samples import Sample, samples
from opsctl.rollout import records
from opsctl.rollout.journal import Journal
from opsctl.state.store import Store

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
WEB = Host(
    name="web1", tenant="ange", address="192.0.2.11", role="web", platform="debian-12", owner="it@ange.example",
    custom='{"restore_tested": "2026-10-01"}',
    services=(Service(name="site", port=443, url="https://www.ange.example/"),),
)  # fmt: skip
DB = replace(WEB, name="db1", address="192.0.2.12", custom="", services=())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "state") as opened:
        yield opened


def settings(tmp_path: Path, **given: str) -> config.Settings:
    text = "version: 1\nworkspace: {id: t}\n" + "".join(f"{name}: {value}\n" for name, value in given.items())
    (tmp_path / config.FILE).write_text(text)
    tmp_path.chmod(0o700)
    return config.load(tmp_path, {})


def gathered(tmp_path: Path, store: Store, control: str, name: str, **given: str) -> dict[str, Record]:
    found = records.gather((WEB, DB), (control,), settings(tmp_path, **given), store, NOW)
    return {key: each[name] for key, each in found.items()}


def test_the_inventory_tells_what_the_host_is_and_when_restoring_was_tried() -> None:
    found = of_inventory(WEB, NOW)
    assert json.loads(found["inventory"].text) == {
        "name": "web1", "address": "192.0.2.11", "platform": "debian-12", "owner": "it@ange.example"
    }  # fmt: skip
    assert json.loads(found["restore"].text) == {"restore_tested": "2026-10-01"}
    assert json.loads(of_inventory(DB, NOW)["restore"].text) == {"restore_tested": ""}


def test_what_no_control_asks_for_is_not_read(tmp_path: Path, store: Store) -> None:
    assert records.gather((WEB,), ("SSH-01",), settings(tmp_path), store, NOW) == {"ange.web1": {}}


def test_the_last_rollout_that_came_to_its_end_on_a_host_counts(tmp_path: Path, store: Store) -> None:
    journal = Journal(store)
    for days, stage in ((40, Stage.DONE), (20, Stage.DONE), (10, Stage.FAILED)):
        at = NOW - timedelta(days=days)
        state = journal.add(plan(f"patch-{days}", at))
        state = journal.save_status(state, Status.RUNNING, at)
        journal.save_host(state.plan.id, HostState(host=WEB.key, stage=stage, at=at))
    found = gathered(tmp_path, store, "PAT-05", "patched")
    assert json.loads(found["ange.web1"].text) == {
        "last_success": (NOW - timedelta(days=20)).isoformat(), "rollout": "patch-20"
    }  # fmt: skip
    assert json.loads(found["ange.db1"].text) == {"last_success": ""}


def plan(name: str, at: datetime) -> Plan:
    wave = Wave(ring="broad", batches=(Batch(hosts=(HostPlan(host=WEB.key),)),))
    return Plan(
        id=name, hash="h", kind="patch", made_at=at, made_by="anna", inventory_digest="d", content_digest="c",
        waves=(wave,),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("printed", "fault"),
    [
        ('{"version": 1, "hosts": {"ange.web1": {"last_success": "2026-11-28T01:30:00Z"}}}', ""),
        ("nonsense", "its answer is not what it should be: JSONDecodeError"),
        ('{"version": 2, "hosts": {}}', "it is not in form 1"),
        ('{"hosts": {}}', "KeyError"),
        ("[]", "TypeError"),
    ],
)
def test_the_backup_server_is_asked_by_a_command(tmp_path: Path, store: Store, printed: str, fault: str) -> None:
    command = json.dumps([sys.executable, "-c", f"print({printed!r})"])
    found = gathered(tmp_path, store, "BAK-01", "backup", backup=f"{{command: {command}}}")
    assert fault in found["ange.web1"].fault
    if not fault:
        assert json.loads(found["ange.web1"].text) == {"last_success": "2026-11-28T01:30:00Z"}
        assert json.loads(found["ange.db1"].text) == {"last_success": ""}


@pytest.mark.parametrize(("command", "fault"), [('["false"]', "it ended with 1"), ('["/nonexistent"]', "No such file")])
def test_a_backup_server_that_does_not_answer_is_a_fault(
    tmp_path: Path, store: Store, command: str, fault: str
) -> None:
    found = gathered(tmp_path, store, "BAK-01", "backup", backup=f"{{command: {command}}}")
    assert all(fault in one.fault for one in found.values())


def test_servers_that_nobody_named_are_faults(tmp_path: Path, store: Store) -> None:
    assert gathered(tmp_path, store, "BAK-01", "backup")["ange.web1"].fault == "backup.command is not set in opsctl.yml"
    assert "monitor.prometheus is not set" in gathered(tmp_path, store, "MON-03", "monitoring")["ange.web1"].fault


class Played(Remote):
    """Answers for each query what it was given."""

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__("prometheus", "http://127.0.0.1:9")
        self._answers = answers

    def get(self, path: str, query: Any = None) -> Any:
        assert path == "/api/v1/query"
        return self._answers[query["query"]]


def vector(value: str, **more: str) -> dict[str, Any]:
    metric = {"__name__": "up", "tenant": "ange", "host": "web1", "instance": "192.0.2.11:9100", **more}
    return {"status": "success", "data": {"resultType": "vector", "result": [{"metric": metric, "value": [1, value]}]}}


def test_each_hosts_targets_are_told_apart() -> None:
    source = Played({"up": vector("1"), "timestamp(up)": vector("1764331200")})
    assert samples(source, Labels(), (WEB, DB)) == {
        "ange.web1": (Sample(instance="192.0.2.11:9100", up="1", at=datetime(2025, 11, 28, 12, tzinfo=UTC)),),
        "ange.db1": (),
    }


@pytest.mark.parametrize("answer", [[], {"status": "error"}, {"status": "success", "data": {"resultType": "matrix"}}])
def test_an_answer_that_is_not_prometheus_is_silence(answer: object) -> None:
    with pytest.raises(MonitoringSilent):
        samples(Played({"up": answer, "timestamp(up)": answer}), Labels(), (WEB,))


def test_expectations_carry_lists_and_records() -> None:
    tenant = Tenant(name="ange", title="Ånge", time_servers=("ntp.example",), log_host="log.example")
    known = {"ange.web1": {"backup": Record(source="backup server", at=NOW, fault="silent")}}
    found = expectations.document(
        [WEB], Inventory(tenants=(tenant,), hosts=(WEB,)), Profile(name="p", title="P", controls=()),
        Catalogue(controls=(), benchmarks={}, digest=""), known,
    )  # fmt: skip
    host = found["hosts"]["ange.web1"]
    assert isinstance(host, dict)
    assert host["site_names"] == ["www.ange.example"]
    assert host["time_servers"] == ["ntp.example"]
    assert "log_retention_days" not in host, "a list that nobody gave is left out, so that the check ends in an error"
    assert found["records"]["ange.web1"] == {
        "backup": {"source": "backup server", "at": NOW.timestamp(), "text": "", "fault": "silent"}
    }
