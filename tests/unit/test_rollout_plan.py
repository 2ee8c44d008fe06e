"""Plans: every host once, no limit broken, the same answer every time."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from opsctl.model import wire
from opsctl.model.host import Cluster, Host, Inventory, Tenant
from opsctl.model.rollout import HostPlan, LeftOut, PackageChange, Plan
from opsctl.rollout import limits as limiting
from opsctl.rollout import plan as planning
from opsctl.rollout.plan import Pace

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
RINGS = ("canary", "early", "broad")


def host(name: str, **more: str) -> Host:
    return Host(name=name, tenant="ange", address="192.0.2.1", role="web", platform="debian-12", **more)  # type: ignore[arg-type] # test shorthand


def inventory(*hosts: Host, clusters: tuple[Cluster, ...] = ()) -> Inventory:
    return Inventory(tenants=(Tenant(name="ange", title="Ånge kommun", clusters=clusters),), hosts=hosts, digest="d1")


def arrange(
    stock: Inventory,
    *,
    pace: Pace | None = None,
    down: frozenset[str] = frozenset(),
    balancers: dict[str, str] | None = None,
) -> planning.Arrangement:
    return planning.arrange(
        [HostPlan(host=h.key) for h in stock],
        stock,
        limiting.of(stock, balancers=balancers),
        pace=pace or Pace(limit=5),
        down=down,
    )


def shape(arrangement: planning.Arrangement) -> list[tuple[str, list[list[str]]]]:
    return [(w.ring, [[item.host.partition(".")[2] for item in b.hosts] for b in w.batches]) for w in arrangement.waves]


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Inventory, int, frozenset[str]]:
    count = draw(st.integers(1, 25))
    hosts = []
    for number in range(count):
        jump = f"h{draw(st.integers(0, number - 1))}" if number and draw(st.integers(0, 4)) == 0 else ""
        hosts.append(
            host(
                f"h{number}",
                ring=draw(st.sampled_from(RINGS)),
                cluster=draw(st.sampled_from(["", "c1", "c2", "c3"])),
                jump=jump,
                status=draw(st.sampled_from(["active", "active", "active", "planned"])),
            )
        )
    stated = tuple(Cluster(name=f"c{n}", minimum=draw(st.integers(0, 4))) for n in (1, 2))
    down = draw(st.frozensets(st.sampled_from([h.key for h in hosts]), max_size=4))
    return inventory(*hosts, clusters=stated), draw(st.integers(1, 6)), down


@given(fleets())
def test_every_host_is_planned_or_left_out_with_a_reason_exactly_once(
    fleet: tuple[Inventory, int, frozenset[str]],
) -> None:
    stock, parallel, down = fleet
    found = arrange(stock, pace=Pace(limit=parallel), down=down)
    planned = [item.host for wave in found.waves for item in wave.hosts]
    left = [out.host for out in found.left_out]
    assert sorted(planned + left) == sorted(h.key for h in stock)
    assert all(out.reason for out in found.left_out)


@given(fleets())
def test_no_batch_takes_more_of_a_cluster_than_its_minimum_allows(
    fleet: tuple[Inventory, int, frozenset[str]],
) -> None:
    stock, parallel, down = fleet
    minimum = {c.name: c.minimum for c in stock.tenants[0].clusters}
    members: dict[str, set[str]] = {}
    for h in stock:
        if h.cluster and h.status == "active":
            members.setdefault(h.cluster, set()).add(h.key)
    for wave in arrange(stock, pace=Pace(limit=parallel), down=down).waves:
        for batch in wave.batches:
            out = {item.host for item in batch.hosts}
            assert len(out) <= parallel
            for name, keys in members.items():
                if keys & out:
                    assert len(keys - out - down) >= minimum.get(name, len(keys) - 1)


@given(fleets())
def test_a_jump_host_is_never_changed_together_with_a_host_behind_it(
    fleet: tuple[Inventory, int, frozenset[str]],
) -> None:
    stock, parallel, down = fleet
    for wave in arrange(stock, pace=Pace(limit=parallel), down=down).waves:
        for batch in wave.batches:
            out = {item.host for item in batch.hosts}
            for item in batch.hosts:
                assert not out & {jump.key for jump in stock.jumps(stock.host(item.host))}


@given(fleets())
def test_the_same_question_gives_the_same_plan(fleet: tuple[Inventory, int, frozenset[str]]) -> None:
    stock, parallel, down = fleet
    assert arrange(stock, pace=Pace(limit=parallel), down=down) == arrange(stock, pace=Pace(limit=parallel), down=down)


@given(fleets())
def test_waves_come_in_the_order_of_the_rings(fleet: tuple[Inventory, int, frozenset[str]]) -> None:
    rings = [wave.ring for wave in arrange(fleet[0]).waves]
    assert rings == [ring for ring in RINGS if ring in rings]


def test_two_web_hosts_behind_a_balancer_go_one_after_the_other_and_apart_from_it() -> None:
    stock = inventory(
        host("lb1"), host("web1", cluster="web"), host("web2", cluster="web"), host("db1", jump="lb1"),
        clusters=(Cluster(name="web", minimum=1),),
    )  # fmt: skip
    found = arrange(stock, balancers={"ange.web1": "ange.lb1", "ange.web2": "ange.lb1"})
    assert shape(found) == [("broad", [["lb1"], ["web1", "db1"], ["web2"]])]


def test_the_last_member_in_service_is_left_out_while_the_other_is_down() -> None:
    stock = inventory(host("web1", cluster="web"), host("web2", cluster="web"))
    found = arrange(stock, down=frozenset({"ange.web2"}))
    assert [item.host for wave in found.waves for item in wave.hosts] == ["ange.web2"]
    assert found.left_out == (
        LeftOut(host="ange.web1", reason="ange.web needs 1 of 2 in service, and ange.web2 is out", missed=True),
    )


def test_a_growing_pace_begins_with_one_host_and_doubles() -> None:
    stock = inventory(*(host(f"h{n:02}", ring="canary" if n < 2 else "broad") for n in range(20)))
    found = arrange(stock, pace=Pace(limit=8, growing=True))
    assert [len(b) for _, wave in shape(found) for b in wave] == [1, 1, 4, 8, 6]


def test_rings_of_two_tenants_are_merged_without_breaking_either_order() -> None:
    stock = Inventory(
        tenants=(
            Tenant(name="ange", title="", rings=("canary", "broad")),
            Tenant(name="sundsvall", title="", rings=("pilot", "canary", "early", "broad")),
        )
    )
    assert planning.ring_order(stock) == ("pilot", "canary", "early", "broad")


def test_rings_in_conflict_follow_the_first_tenant() -> None:
    stock = Inventory(
        tenants=(Tenant(name="a", title="", rings=("x", "y")), Tenant(name="b", title="", rings=("y", "x")))
    )
    assert planning.ring_order(stock) == ("x", "y")


def frozen(stock: Inventory, now: datetime = NOW, digest: str = "i1") -> Plan:
    item = HostPlan(
        host="ange.web1", packages=(PackageChange(name="opslab-library", before="1.0-1", after="1.0-1+deb12u1"),)
    )
    found = planning.arrange([item], stock, limiting.of(stock), pace=Pace(limit=5))
    return planning.freeze(
        found, kind="patch", now=now, made_by="anna", inventory_digest=digest, content_digest="c1",
        left_out=[LeftOut(host="ange.web2", reason="unreachable")], pace=Pace(limit=5), failure_budget=1,
    )  # fmt: skip


def test_the_hash_covers_what_is_planned_and_not_when() -> None:
    stock = inventory(host("web1"))
    assert frozen(stock).hash == frozen(stock, datetime(2026, 12, 1, tzinfo=UTC)).hash
    assert frozen(stock).hash != frozen(stock, digest="i2").hash
    assert frozen(stock).id == f"patch-20261122-030000-{frozen(stock).hash[:6]}"


def test_a_plan_survives_the_store_unchanged() -> None:
    plan = frozen(inventory(host("web1")))
    assert wire.loads(Plan, wire.dumps(plan)) == plan
    assert planning.hash_of(wire.loads(Plan, wire.dumps(plan))) == plan.hash


def test_ten_thousand_hosts_in_500_clusters_are_planned_in_two_seconds() -> None:
    hosts = [host(f"h{n}", cluster=f"c{n % 500}", ring=RINGS[n % 3]) for n in range(10_000)]
    stock = inventory(*hosts)
    began = time.process_time()
    found = arrange(stock, pace=Pace(limit=50))
    assert time.process_time() - began < 2
    assert sum(len(wave.hosts) for wave in found.waves) == 10_000
