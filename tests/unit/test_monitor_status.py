"""What of a probe a person should look at, and how hosts that do not answer keep their place."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from opsctl.errors import HostFailed, OpsctlError, StoreError, Unreachable
from opsctl.model.host import Host, Inventory, Tenant
from opsctl.monitor import status
from opsctl.monitor.probe import PARTS, Clock, Exporter, Filesystem, Memory, Probe, Updates
from opsctl.ssh.session import Transport
from opsctl.state.store import Store

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
WEB1 = Host(name="ange-web1", tenant="ange", address="192.0.2.11", role="web", platform="debian-12")
WEB2 = Host(name="ange-web2", tenant="ange", address="192.0.2.12", role="web", platform="debian-12")
MON1 = Host(name="mon1", tenant="sundsvall", address="192.0.2.20", role="monitoring", platform="debian-12")
TENANTS = (Tenant(name="ange", title="Ånge", operator="sundsvall"), Tenant(name="sundsvall", title="Sundsvall"))
INVENTORY = Inventory(tenants=TENANTS, hosts=(WEB1, WEB2, MON1))
ROOT = Filesystem(mount="/", type="ext4", size=100, available=50, inodes=100, inodes_free=50, read_only=False)
FINE = Probe(
    hostname="ange-web1",
    cpus=2,
    load=(1.0, 1.0, 1.0),
    memory=Memory(total=100, available=50, swap_total=0, swap_free=0),
    filesystems=(ROOT,),
    failed_units=(),
    reboot_required=False,
    updates=Updates(packages=("nginx",), security=(), lists_at=NOW - timedelta(days=1)),
    clock=Clock(offset=0.2, error=0.1, synchronized=True),
    exporter=Exporter(port=9100, answers=True, detail=""),
)
TELLS = dict.fromkeys(PARTS)
UP = {"exporter": {"port": 9100, "answers": True, "detail": ""}}


class FakeTransport:
    """Answers each host from a table, as Transport.run_all does."""

    def __init__(self, answers: Mapping[str, object]) -> None:
        self.answers = answers
        self.asked: dict[str, Mapping[str, object]] = {}

    def run_all(
        self,
        hosts: Iterable[Host],
        script: str,
        arguments: Callable[[Host], Mapping[str, object]],
        *,
        timeout: float,
        then: Callable[[Host, object], object] = lambda _host, answer: answer,
    ) -> dict[str, object]:
        found: dict[str, object] = {}
        for host in hosts:
            self.asked[host.key] = arguments(host)
            answer = self.answers[host.key]
            try:
                found[host.key] = answer if isinstance(answer, OpsctlError) else then(host, answer)
            except OpsctlError as error:
                found[host.key] = error
        return found


def transport(**answers: object) -> Transport:
    hosts = {"web1": WEB1, "web2": WEB2, "mon1": MON1}
    return cast("Transport", FakeTransport({hosts[name].key: answer for name, answer in answers.items()}))


def test_a_host_without_remarks_is_ok() -> None:
    assert status.remarks(FINE, NOW) == ()
    assert status.HostStatus(host=WEB1, reached=True, probe=FINE, at=NOW).word == "ok"


@pytest.mark.parametrize(
    ("probe", "remark"),
    [
        (replace(FINE, filesystems=(replace(ROOT, available=10),)), "/ is 90 % full"),
        (replace(FINE, filesystems=(replace(ROOT, inodes_free=5),)), "/ has 95 % of its inodes in use"),
        (replace(FINE, filesystems=(replace(ROOT, read_only=True),)), "/ is read-only"),
        (replace(FINE, failed_units=("backup.service",)), "failed: backup.service"),
        (replace(FINE, memory=Memory(total=100, available=2, swap_total=0, swap_free=0)), "memory is 98 % in use"),
        (replace(FINE, load=(9.0, 1.0, 1.0)), "load 9.0 on 2 processors"),
        (replace(FINE, clock=Clock(offset=-3.0, error=0.5, synchronized=False)), "clock is -3.0 s off"),
        (replace(FINE, reboot_required=True), "reboot required"),
        (replace(FINE, updates=Updates(packages=("a",), security=("a",), lists_at=NOW)), "security updates pending: 1"),
        (replace(FINE, updates=Updates(packages=(), security=(), lists_at=None)), "never fetched"),
        (
            replace(FINE, updates=Updates(packages=(), security=(), lists_at=NOW - timedelta(days=9))),
            "package lists are 9 days old",
        ),
        (replace(FINE, exporter=Exporter(port=9100, answers=False, detail="timed out")), "node exporter: timed out"),
        (replace(FINE, faults=("memory: not understood",)), "could not be read: memory: not understood"),
    ],
)
def test_what_stands_out_is_said(probe: Probe, remark: str) -> None:
    (found,) = status.remarks(probe, NOW)
    assert remark in found
    assert status.HostStatus(host=WEB1, reached=True, probe=probe, at=NOW).word == "attention"


def test_a_clock_within_the_error_of_measurement_is_not_called_wrong() -> None:
    slow_line = replace(FINE, clock=Clock(offset=5.0, error=4.0, synchronized=True))
    assert status.remarks(slow_line, NOW) == ()


def test_an_unreachable_host_keeps_its_line_and_what_was_last_known(tmp_path: Path) -> None:
    with Store.open(tmp_path / "state") as store:
        first = status.collect([WEB1, WEB2], transport(web1=TELLS, web2={**TELLS, "hostname": "b"}), store, NOW)
        assert [one.error for one in first] == ["", ""]
        later = NOW + timedelta(hours=3)
        gone = transport(web1=TELLS, web2=Unreachable(WEB2.key, "connection refused", hint="is sshd up?"))
        web1, web2 = status.collect([WEB1, WEB2], gone, store, later)
        assert (web1.word, web1.at) == ("ok", later)
        assert (web2.word, web2.error, web2.hint) == ("unreachable", "connection refused", "is sshd up?")
        assert web2.probe is not None
        assert (web2.probe.hostname, web2.at) == ("b", NOW)


def test_a_host_that_answers_wrongly_is_failed_not_unreachable(tmp_path: Path) -> None:
    with Store.open(tmp_path / "state") as store:
        (found,) = status.collect([WEB1], transport(web1=HostFailed(WEB1.key, "sudo: no")), store, NOW)
        assert (found.word, found.probe, found.at) == ("failed", None, None)
        assert store.facts("probe") == {}


@pytest.mark.parametrize("answer", [{}, [], None, "fine", {"hello": 1}])
def test_an_answer_that_tells_nothing_is_failed_not_ok(tmp_path: Path, answer: object) -> None:
    with Store.open(tmp_path / "state") as store:
        (found,) = status.collect([WEB1], transport(web1=answer), store, NOW)
        assert (found.word, found.error) == ("failed", "its answer is not a probe's")
        assert store.facts("probe") == {}


def test_a_part_that_is_left_out_is_not_taken_for_well_and_still_is_not_when_it_is_remembered(tmp_path: Path) -> None:
    told = {name: None for name in PARTS if name != "failed_units"}
    with Store.open(tmp_path / "state") as store:
        (found,) = status.collect([WEB1], transport(web1=told), store, NOW)
        assert (found.word, found.remarks) == ("attention", ("could not be read: failed_units: not told",))
        assert status.last_known(store, WEB1).remarks == found.remarks


def test_any_contact_counts_as_seen(tmp_path: Path) -> None:
    gone = transport(web1=Unreachable(WEB1.key, "frozen"), web2=HostFailed(WEB2.key, "sudo: no"))
    with Store.open(tmp_path / "state") as store:
        store.saw({WEB1.key: NOW - timedelta(hours=1)})
        web1, web2 = status.collect([WEB1, WEB2], gone, store, NOW)
    assert (web1.probe, web1.at, web1.seen) == (None, None, NOW - timedelta(hours=1))
    assert (web2.at, web2.seen) == (None, NOW)


def test_a_host_that_was_never_asked_is_unknown_not_ok(tmp_path: Path) -> None:
    with Store.open(tmp_path / "state") as store:
        assert status.last_known(store, WEB1).word == "unknown"


def test_a_remembered_probe_is_plain_json(tmp_path: Path) -> None:
    with Store.open(tmp_path / "state") as store:
        status.collect([WEB1], transport(web1={"hostname": "a", **UP}), store, NOW)
        fact = store.fact(WEB1.key, "probe")
        assert fact is not None
        assert json.loads(fact.value_json)["hostname"] == "a"


def test_a_tenant_without_a_monitoring_host_is_watched_by_its_operator() -> None:
    assert status.monitoring_host(INVENTORY, WEB1) == MON1
    assert status.monitoring_host(INVENTORY, MON1) == MON1
    alone = replace(INVENTORY, tenants=(replace(TENANTS[0], operator=""), TENANTS[1]))
    assert status.monitoring_host(alone, WEB1) is None


def test_the_monitoring_host_tries_only_exporters_that_answer_at_home() -> None:
    good = status.HostStatus(host=WEB1, reached=True, probe=FINE, at=NOW)
    silent = replace(good, host=WEB2, probe=replace(FINE, exporter=None))
    asked = transport(mon1={"faults": ["timed out"]})
    found = status.ask_monitoring([silent, good], INVENTORY, asked)
    assert [one.scraped for one in found] == [None, "timed out"]
    assert cast("FakeTransport", asked).asked == {MON1.key: {"targets": [["192.0.2.11", 9100]]}}


def test_a_monitoring_host_that_does_not_answer_is_the_reason_for_all() -> None:
    good = status.HostStatus(host=WEB1, reached=True, probe=FINE, at=NOW)
    (found,) = status.ask_monitoring([good], INVENTORY, transport(mon1=Unreachable(MON1.key, "frozen")))
    assert found.scraped == "sundsvall.mon1: frozen"
    (odd,) = status.ask_monitoring([good], INVENTORY, transport(mon1={"faults": []}))
    assert odd.scraped == "the monitoring host gave no answer"


class FullStore(Store):
    """A store whose disk has no room left."""

    def put_fact(self, host_key: str, name: str, value_json: str, at: datetime) -> None:
        raise StoreError("the disk is full")


def test_a_store_that_cannot_be_written_hides_no_host(tmp_path: Path) -> None:
    with FullStore.open(tmp_path / "state") as store:
        (found,) = status.collect([WEB1], transport(web1={"hostname": "ange-web1"}), store, NOW)
    assert found.reached
    assert "not remembered: the disk is full" in found.remarks
