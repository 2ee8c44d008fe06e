"""From readings to an account: what is new, done or wanted still, whatever order things come in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from opsctl.errors import Unreachable
from opsctl.model import wire
from opsctl.model.host import Host
from opsctl.model.rollout import PackageChange
from opsctl.patch import reading as room
from opsctl.patch import seen
from opsctl.patch.condition import DpkgHealth, RebootNeed
from opsctl.patch.pending import Pending, PendingPackage
from opsctl.ssh.session import Transport
from opsctl.state.store import Store
from opsctl.state.updates import Update, Updates

DAY0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
HOST = "ange.web1"


def package(name: str, installed: str, candidate: str, *, security: bool = True) -> PendingPackage:
    return PendingPackage(name=name, installed=installed, candidate=candidate, security=security)


def reading(*packages: PendingPackage, held: tuple[str, ...] = (), pending: int | None = 0, age: int = 0) -> Pending:
    return Pending(
        packages=packages, removed=(), pending=pending, pending_security=None, kept_back=(), held=held,
        download_bytes=0, free_bytes=0, reboot=RebootNeed(required=False, because_of=(), coming=()),
        dpkg=DpkgHealth(audit=(), lock_holder=""), lists_age_seconds=age,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as found:
        yield found


@pytest.fixture
def updates(store: Store) -> Updates:
    return Updates(store)


def read(updates: Updates, found: Pending, day: int, *, whole: bool = True, host: str = HOST) -> list[Update]:
    """Take a reading into the account; the host's rows then."""
    at = DAY0 + day * DAY
    seen.keep(updates, {host: ("debian-12 amd64", found)}, at, whole=whole)
    return updates.between("ange", DAY0 - 400 * DAY, DAY0 + 400 * DAY)


def test_an_update_is_known_since_the_host_fetched_the_lists_that_name_it(updates: Updates) -> None:
    read(updates, reading(), 0)
    [row] = read(updates, reading(package("openssl", "1", "2"), age=3600), 1)
    assert (row.known, row.first_seen, row.not_before) == (DAY0 + DAY - timedelta(hours=1), DAY0 + DAY, DAY0)
    assert (row.before, row.version, row.gone) == ("1", "2", None)


def test_what_is_no_security_update_is_not_in_the_account(updates: Updates) -> None:
    assert read(updates, reading(package("tzdata", "1", "2", security=False)), 0) == []


def test_an_update_that_is_wanted_no_more_is_done_at_that_reading(updates: Updates) -> None:
    read(updates, reading(package("openssl", "1", "2")), 0)
    [row] = read(updates, reading(), 5)
    assert row.gone == DAY0 + 5 * DAY


def test_a_version_that_a_later_one_overtook_is_wanted_until_the_package_changes(updates: Updates) -> None:
    read(updates, reading(package("openssl", "1", "2")), 0)
    rows = read(updates, reading(package("openssl", "1", "3")), 4)
    assert [(row.version, row.gone) for row in rows] == [("2", None), ("3", None)]
    rows = read(updates, reading(), 6)
    assert [row.gone for row in rows] == [DAY0 + 6 * DAY] * 2


def test_the_older_version_is_done_alone_where_a_plan_was_frozen_before_the_newer_came(updates: Updates) -> None:
    read(updates, reading(package("openssl", "1", "2")), 0)
    read(updates, reading(package("openssl", "1", "3")), 4)
    rows = read(updates, reading(package("openssl", "2", "3")), 6)
    assert [(row.version, row.gone is None, row.became) for row in rows] == [("2", False, "2"), ("3", True, "")]
    rows = read(updates, reading(package("openssl", "2", "4")), 8)
    assert {row.version: row.gone is None for row in rows} == {"2": False, "3": True, "4": True}


@pytest.mark.parametrize("held", ["openssl", "openssl:amd64"])
def test_an_update_that_somebody_holds_back_is_not_done(updates: Updates, held: str) -> None:
    name = held
    read(updates, reading(package(name, "1", "2")), 0)
    [row] = read(updates, reading(held=("openssl",)), 3)
    assert row.gone is None
    assert updates.readings("ange")[HOST].held == ("openssl",)


@pytest.mark.parametrize("found", [reading(pending=None), reading()])
def test_a_reading_that_does_not_know_everything_ends_nothing(updates: Updates, found: Pending) -> None:
    read(updates, reading(package("openssl", "1", "2")), 0)
    [row] = read(updates, found, 3, whole=found.pending is None)
    assert row.gone is None


def test_what_a_rollout_installed_is_done_with_all_that_came_before_it_and_nothing_after(updates: Updates) -> None:
    read(updates, reading(package("openssl", "1", "2")), 0)
    read(updates, reading(package("openssl", "1", "3"), package("curl", "7", "8")), 2)
    read(updates, reading(package("openssl", "1", "4"), package("curl", "7", "8")), 4)
    updates.installed(HOST, {"openssl": "3", "curl": "8"}, DAY0 + 5 * DAY, "patch-1")
    rows = updates.between("ange", DAY0, DAY0 + 9 * DAY)
    done = {(row.package, row.version): row.rollout for row in rows}
    assert done == {
        ("curl", "8"): "patch-1",
        ("openssl", "2"): "patch-1",
        ("openssl", "3"): "patch-1",
        ("openssl", "4"): "",
    }


def test_the_host_itself_contradicts_a_rollout_that_believed_it_done(updates: Updates) -> None:
    read(updates, reading(package("openssl", "1", "2")), 0)
    updates.installed(HOST, {"openssl": "2"}, DAY0 + DAY, "patch-1")
    [row] = read(updates, reading(package("openssl", "1", "2")), 2)
    assert (row.installed, row.rollout, row.gone) == (None, "", None)


def test_an_update_that_comes_back_after_a_rollback_is_wanted_again(updates: Updates) -> None:
    read(updates, reading(package("openssl", "1", "2")), 0)
    read(updates, reading(), 1)
    [row] = read(updates, reading(package("openssl", "1", "2")), 2)
    assert (row.gone, row.first_seen) == (None, DAY0)


def test_silence_of_a_host_is_a_gap_with_its_reason(updates: Updates) -> None:
    read(updates, reading(), 0)
    updates.was_not_read(HOST, DAY0 + 4 * DAY, "unreachable: no route")
    updates.was_not_read(HOST, DAY0 + 5 * DAY, "unreachable: timed out")
    found = updates.readings("ange")[HOST]
    assert (found.failed, found.why) == (DAY0 + 4 * DAY, "unreachable: timed out")
    read(updates, reading(), 9)
    assert updates.readings("ange")[HOST].failed is None
    assert updates.gaps("ange", DAY0 + DAY, DAY0 + 3 * DAY) == {HOST: [(DAY0, DAY0 + 9 * DAY)]}
    assert updates.gaps("ange", DAY0 + 10 * DAY, DAY0 + 20 * DAY) == {}


def test_tenants_whose_names_begin_alike_are_kept_apart(updates: Updates) -> None:
    for host in ("ange.web1", "ange-nord.web1", "angex.web1"):
        read(updates, reading(package("openssl", "1", "2")), 0, host=host)
    assert [row.host for row in updates.between("ange", DAY0, DAY0 + DAY)] == ["ange.web1"]
    assert list(updates.readings("ange")) == ["ange.web1"]


def test_rows_of_many_hosts_are_found_as_those_of_few(updates: Updates) -> None:
    hosts = [f"ange.h{n:03}" for n in range(300)]
    found = reading(package("openssl", "1", "2"))
    seen.keep(updates, dict.fromkeys(hosts, ("debian-12 amd64", found)), DAY0, whole=True)
    assert updates.open_rows(hosts) == {host: updates.open_rows([host])[host] for host in hosts}
    again = replace(found, packages=())
    seen.keep(updates, dict.fromkeys(hosts, ("debian-12 amd64", again)), DAY0 + DAY, whole=True)
    assert updates.open_rows(hosts) == {}


class FakeTransport:
    """A host that answers every reading alike; what was asked of it is remembered."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: list[list[str]] = []

    def run_all(
        self, hosts: Sequence[Host], script: str, arguments: Callable[[Host], Mapping[str, object]], *, timeout: float
    ) -> dict[str, object]:
        for host in hosts:
            scripts = cast("list[tuple[str, str, object]]", arguments(host)["scripts"])
            self.asked.append([name for name, _, _ in scripts])
        return {host.key: self.answer for host in hosts}


def test_what_planned_versions_would_do_says_nothing_of_what_else_is_wanted(updates: Updates, store: Store) -> None:
    host = Host(name="web1", tenant="ange", address="192.0.2.1", role="web", platform="debian-12")
    read(updates, reading(package("openssl", "1", "2"), package("curl", "1", "2"), pending=2), 0)
    said = {**wire.as_document(reading(package("openssl", "1", "2"), pending=1)), "refreshed": None}
    transport = FakeTransport({"pending": {"answer": said}})
    exact = {HOST: (PackageChange(name="openssl", before="1", after="2", security=True),)}
    found = room.read(
        cast(Transport, transport), [host], store, lambda: DAY0 + DAY, planned=exact, brief=True
    )  # fmt: skip
    assert isinstance(found[HOST], Pending)
    assert transport.asked == [["pending"]]
    assert [(row.package, row.gone) for row in updates.open_rows([HOST])[HOST]] == [("curl", None), ("openssl", None)]
    assert updates.last_reads([HOST]) == {HOST: DAY0}


def test_a_host_that_does_not_answer_for_its_planned_versions_was_not_read(updates: Updates, store: Store) -> None:
    host = Host(name="web1", tenant="ange", address="192.0.2.1", role="web", platform="debian-12")
    exact = {HOST: (PackageChange(name="openssl", before="1", after="2", security=True),)}
    transport = FakeTransport(Unreachable(HOST, "no answer"))
    room.read(cast(Transport, transport), [host], store, lambda: DAY0, planned=exact, brief=True)
    assert updates.readings("ange")[HOST].why == "no answer"
