"""Provisioning before it begins: what is refused, what is missed, and that neither leaves anything behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from opsctl import config
from opsctl.errors import HostKeyRefused, Incomplete, Locked, OpsctlError, StalePlan
from opsctl.model.host import Cluster, Host, Inventory, Tenant
from opsctl.model.rollout import Plan
from opsctl.provision import run as room
from opsctl.provision.arrange import Wish
from opsctl.rollout.execute import raise_missed
from opsctl.rollout.means import Means
from opsctl.rollout.plan import Pace
from opsctl.ssh.session import Transport
from opsctl.state.leases import Leases
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
HOST = Host(name="web1", tenant="ange", address="192.0.2.1", role="web", platform="debian-12", cluster="web")
WELL = {"readings": [{"boot_id": "b", "failed_units": [], "listening": [], "answering": []}]}


class FakeTransport:
    """Hosts that answer as told."""

    def __init__(self, answer: object | OpsctlError) -> None:
        self.answer = answer

    def run_all(self, hosts: list[Host], script: str, arguments: object, *, timeout: float) -> dict[str, object]:
        return {host.key: self.answer for host in hosts}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def means(store: Store, answer: object = None, *, minimum: int = 0) -> Means:
    tenant = Tenant(name="ange", title="Ånge kommun", clusters=(Cluster(name="web", minimum=minimum),))
    return Means(
        inventory=Inventory(tenants=(tenant,), hosts=(HOST,), digest="d"),
        transport=cast(Transport, FakeTransport(answer or WELL)), store=store, ledger=Ledger(store),
        settings=config.Settings(workspace=Path(), values={option.name: option.default for option in config.OPTIONS}),
        who="anna", clock=lambda: NOW,
    )  # fmt: skip


def plan(given: Means) -> Plan:
    return room.plan(given, [HOST], Wish(pace=Pace(limit=3, growing=True)))


FREEZE = "version: 1\nfreezes: [{name: election, from: 2026-11-20, to: 2026-11-24}]\n"


@pytest.mark.parametrize(
    ("check", "emergency", "planned"), [(False, "", False), (True, "", True), (False, "CVE-2026-1", True)]
)
def test_a_host_within_a_freeze_is_left_out_but_for_a_check_and_in_an_emergency(
    store: Store, tmp_path: Path, check: bool, emergency: str, planned: bool
) -> None:
    folder = tmp_path / "inventories/ange"
    folder.mkdir(parents=True)
    (folder / "calendar.yml").write_text(FREEZE)
    given = means(store)
    given = replace(given, settings=replace(given.settings, workspace=tmp_path))
    wish = Wish(pace=Pace(limit=3), emergency=emergency, ticket="INC7")
    made = room.plan(given, [HOST], wish, check=check)
    assert [item.host for item in made.hosts] == (["ange.web1"] if planned else [])
    assert (made.emergency, made.ticket) == (emergency, "INC7")
    if not planned:
        with pytest.raises(Incomplete) as caught:
            raise_missed(made)
        assert "freeze election until Wed 2026-11-25 00:00 CET; next Wed" in caught.value.message
        assert "wait for the windows (opsctl calendar)" in caught.value.hint


def test_a_provisioning_that_is_refused_by_a_lock_leaves_no_plan_behind(store: Store) -> None:
    given = means(store)
    made = plan(given)
    Leases(store).acquire([HOST.key], "rollout patch-1 of erik", NOW, timedelta(minutes=15))
    with pytest.raises(Locked, match=r"held by rollout patch-1 of erik since .*, until 03:15:00Z") as refused:
        room.run(given, made, lambda _step: None)
    assert "or resume it: opsctl patch resume patch-1" in refused.value.hint
    assert given.journal.all() == []


def test_what_a_killed_provisioning_holds_is_kept_for_its_resume_and_the_refusal_says_how(store: Store) -> None:
    given = means(store)
    made = plan(given)
    killed = "provision-20261122-020000-abcdef"
    Leases(store).acquire([HOST.key], f"rollout {killed} of erik", NOW, timedelta(minutes=15))
    with pytest.raises(Locked, match=f"held by rollout {killed} of erik") as refused:
        room.run(given, made, lambda _step: None)
    assert (
        f"opsctl provision resume {killed}, or end it for good: opsctl provision abort {killed}" in refused.value.hint
    )
    assert "opsctl provision status says whether it is stalled" in refused.value.hint


def test_a_provisioning_whose_inventory_was_written_anew_meanwhile_leaves_nothing_behind(
    store: Store, tmp_path: Path
) -> None:
    given = means(store)
    given = replace(given, settings=replace(given.settings, workspace=tmp_path))
    with pytest.raises(StalePlan, match="the inventory has changed meanwhile"):
        room.run(given, plan(given), lambda _step: None)  # there is no inventory in this workspace
    assert (given.journal.all(), Leases(store).held()) == ([], ())


def test_a_host_that_its_cluster_cannot_spare_is_missed_and_what_to_change_is_said(store: Store) -> None:
    made = plan(means(store, minimum=1))
    with pytest.raises(Incomplete, match=r"left out: ange\.web1 \(ange\.web needs 1 of 1 in service") as missed:
        raise_missed(made)
    assert "clusters: minimum in tenant.yml" in missed.value.hint


def test_a_host_without_an_approved_key_asks_for_the_approval(store: Store) -> None:
    made = plan(means(store, HostKeyRefused(HOST.key, "no key is approved for it; it shows SHA256:x")))
    with pytest.raises(Incomplete) as missed:
        raise_missed(made)
    assert "opsctl host approve NAME" in missed.value.hint
    assert "doctor" not in missed.value.hint
