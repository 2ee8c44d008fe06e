"""Plans: every host once, no limit broken, the same answer every time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.errors import UnknownName
from opsctl.model import wire
from opsctl.model.host import Cluster, Host, Inventory, OutLimit, Tenant
from opsctl.model.rollout import HostPlan, LeftOut, PackageChange, Plan
from opsctl.rollout import explain
from opsctl.rollout import limits as limiting
from opsctl.rollout import plan as planning
from opsctl.rollout.plan import Pace

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
RINGS = ("canary", "early", "broad")


def host(name: str, *, role: str = "web", **more: str) -> Host:
    return Host(name=name, tenant="ange", address="192.0.2.1", role=role, platform="debian-12", **more)  # type: ignore[arg-type] # test shorthand


def inventory(*hosts: Host, clusters: Sequence[Cluster] = (), limits: Sequence[OutLimit] = ()) -> Inventory:
    tenant = Tenant(name="ange", title="Ånge kommun", clusters=tuple(clusters), limits=tuple(limits))
    return Inventory(tenants=(tenant,), hosts=hosts, digest="d1")


def arrange(
    stock: Inventory,
    *,
    pace: Pace | None = None,
    down: frozenset[str] = frozenset(),
    behind: frozenset[str] = frozenset(),
    balancers: dict[str, str] | None = None,
) -> planning.Arrangement:
    return planning.arrange(
        [HostPlan(host=h.key) for h in stock],
        stock,
        limiting.of(stock, balancers=balancers),
        pace=pace or Pace(limit=5),
        down=down,
        behind=behind,
    )


def shape(arrangement: planning.Arrangement) -> list[tuple[str, list[list[str]]]]:
    return [(w.ring, [[item.host.partition(".")[2] for item in b.hosts] for b in w.batches]) for w in arrangement.waves]


@dataclass(frozen=True, kw_only=True)
class Fleet:
    stock: Inventory
    parallel: int
    down: frozenset[str]
    behind: frozenset[str]

    def arranged(self, *, growing: bool = False) -> planning.Arrangement:
        pace = Pace(limit=self.parallel, growing=growing)
        return arrange(self.stock, pace=pace, down=self.down, behind=self.behind)

    def batches(self, *, growing: bool = False) -> list[list[str]]:
        return [[item.host for item in b.hosts] for w in self.arranged(growing=growing).waves for b in w.batches]

    def active(self) -> list[Host]:
        return [h for h in self.stock if h.status == "active"]


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    count = draw(st.integers(1, 25))
    hosts = []
    for number in range(count):
        jump = f"h{draw(st.integers(0, number - 1))}" if number and draw(st.integers(0, 4)) == 0 else ""
        hosts.append(
            host(
                f"h{number}",
                role=draw(st.sampled_from(["web", "database"])),
                site=draw(st.sampled_from(["", "hall", "cellar"])),
                ring=draw(st.sampled_from(RINGS)),
                cluster=draw(st.sampled_from(["", "c1", "c2", "c3"])),
                jump=jump,
                status=draw(st.sampled_from(["active", "active", "active", "planned"])),
            )
        )
    names = st.sampled_from(["", *(h.name for h in hosts)])
    stated = tuple(Cluster(name=f"c{n}", minimum=draw(st.integers(0, 4)), primary=draw(names)) for n in (1, 2))
    keys = st.sampled_from([h.key for h in hosts])
    limits = draw(st.lists(out_limits, max_size=3, unique_by=lambda limit: limit.name))
    return Fleet(
        stock=inventory(*hosts, clusters=stated, limits=limits),
        parallel=draw(st.integers(1, 6)),
        down=draw(st.frozensets(keys, max_size=4)),
        behind=draw(st.frozensets(keys, max_size=2)),
    )  # fmt: skip


out_limits = st.builds(
    OutLimit,
    role=st.sampled_from(["", "web", "database"]),
    site=st.sampled_from(["hall", "cellar"]),
    max_out=st.none() | st.integers(1, 4),
    max_out_percent=st.none() | st.integers(1, 100),
)


@given(fleets())
def test_every_host_is_planned_or_left_out_with_a_reason_exactly_once(fleet: Fleet) -> None:
    planned = [key for batch in fleet.batches() for key in batch]
    left = fleet.arranged().left_out
    assert sorted([*planned, *(out.host for out in left)]) == sorted(h.key for h in fleet.stock)
    assert all(out.reason and out.missed for out in left)


@given(fleets(), st.booleans())
def test_no_batch_is_larger_than_the_pace_allows(fleet: Fleet, growing: bool) -> None:
    for number, batch in enumerate(fleet.batches(growing=growing)):
        assert 1 <= len(batch) <= (min(fleet.parallel, 2**number) if growing else fleet.parallel)


@given(fleets())
def test_no_batch_takes_more_of_a_cluster_than_its_minimum_allows(fleet: Fleet) -> None:
    minimum = {c.name: c.minimum for c in fleet.stock.tenants[0].clusters}
    for name in ("c1", "c2", "c3"):
        members = {h.key for h in fleet.active() if h.cluster == name}
        for batch in fleet.batches():
            if members & set(batch):
                assert len(members - set(batch) - fleet.down) >= minimum.get(name, len(members) - 1)


@given(fleets())
def test_no_batch_takes_more_of_a_role_or_site_than_its_limit_allows(fleet: Fleet) -> None:
    for limit in fleet.stock.tenants[0].limits:
        members = {h.key for h in fleet.active() if limit.role in ("", h.role) and limit.site in ("", h.site)}
        for batch in fleet.batches():
            if members & set(batch):
                out = len(members & (set(batch) | fleet.down))
                assert out <= (limit.max_out or 99)
                assert out <= max(1, len(members) * (limit.max_out_percent or 100) // 100)


@given(fleets())
def test_a_primary_comes_after_every_other_member_of_its_cluster_or_not_at_all(fleet: Fleet) -> None:
    number = {key: n for n, batch in enumerate(fleet.batches()) for key in batch}
    for cluster in fleet.stock.tenants[0].clusters:
        members = {h.key for h in fleet.active() if h.cluster == cluster.name}
        primary = f"ange.{cluster.primary}"
        if primary in members and primary in number:
            others = members - {primary}
            assert all(number[other] < number[primary] for other in others)
            assert not others & (fleet.down | fleet.behind)


@given(fleets())
def test_a_jump_host_is_never_changed_together_with_a_host_behind_it(fleet: Fleet) -> None:
    for batch in fleet.batches():
        for key in batch:
            assert not set(batch) & {jump.key for jump in fleet.stock.jumps(fleet.stock.host(key))}


@given(fleets())
def test_only_what_a_limit_or_the_order_forbids_is_left_out(fleet: Fleet) -> None:
    if not fleet.down and not fleet.behind:
        for out in fleet.arranged().left_out:
            assert limiting.NEVER in out.reason or limiting.COMES_AFTER in out.reason


@given(fleets(), st.data())
def test_the_same_question_gives_the_same_plan_in_whatever_order_it_is_asked(fleet: Fleet, data: st.DataObject) -> None:
    items = data.draw(st.permutations([HostPlan(host=h.key) for h in fleet.stock]))
    found = planning.arrange(
        items, fleet.stock, limiting.of(fleet.stock), pace=Pace(limit=fleet.parallel), down=fleet.down,
        behind=fleet.behind,
    )  # fmt: skip
    assert found == fleet.arranged() == fleet.arranged()


@given(fleets())
def test_waves_come_in_the_order_of_the_rings(fleet: Fleet) -> None:
    rings = [wave.ring for wave in fleet.arranged().waves]
    assert rings == [ring for ring in RINGS if ring in rings]


def as_plan(stock: Inventory, found: planning.Arrangement, parallel: int, down: frozenset[str] = frozenset()) -> Plan:
    return planning.freeze(
        found, kind="patch", now=NOW, made_by="anna", inventory_digest="d1", content_digest="c1",
        pace=Pace(limit=parallel), failure_budget=1, down=down,
    )  # fmt: skip


@given(fleets())
def test_every_host_has_an_explanation_and_no_batch_is_called_full_that_is_not(fleet: Fleet) -> None:
    made = as_plan(fleet.stock, fleet.arranged(), fleet.parallel, fleet.down)
    for host_ in fleet.stock:
        told = explain.explain(made, host_.key, limiting.of(fleet.stock))
        assert told
        for full in re.findall(r"it is full, with (\d+) of at most (\d+)", "; ".join(told)):
            assert full[0] == full[1]


def test_an_explanation_names_ring_limit_and_pace() -> None:
    stock = inventory(
        host("a", ring="canary"), host("w0", cluster="c"), host("w1", cluster="c"), host("w2", cluster="c"),
        host("x", role="database", jump="w0"), host("y", role="database"), host("z", role="database"),
        clusters=[Cluster(name="c", minimum=2)],
    )  # fmt: skip
    made = as_plan(stock, arrange(stock, pace=Pace(limit=2)), 2)
    limits = limiting.of(stock)
    assert explain.explain(made, "ange.a", limits) == (
        "in the plan: it was selected and answers",
        "wave 1: its ring is canary, the first of this plan",
        "batch 1: the first of its wave that has room and that no limit forbids; alone",
    )
    assert explain.explain(made, "ange.w1", limits)[1:3] == (
        "wave 2: its ring is broad, which comes after canary",
        "not in batch 1: ange.c needs 2 of 3 in service, and ange.w0 is out",
    )
    assert "not in batch 1: one of it and ange.w0 is reached through the other" in explain.explain(
        made, "ange.x", limits
    )
    assert "not in batches 1 to 2: it is full, with 2 of at most 2 at once (--max-parallel)" in explain.explain(
        made, "ange.z", limits
    )
    with pytest.raises(UnknownName, match="was not among the hosts"):
        explain.explain(made, "ange.nobody", limits)


def test_a_limit_of_a_role_at_a_site_spreads_its_hosts_over_batches() -> None:
    stock = inventory(
        *(host(f"w{n}", site="hall" if n < 4 else "cellar") for n in range(6)), host("d1", role="database"),
        limits=[OutLimit(role="web", site="hall", max_out=2)],
    )  # fmt: skip
    assert shape(arrange(stock, pace=Pace(limit=9))) == [("broad", [["w0", "w1", "w4", "w5", "d1"], ["w2", "w3"]])]


def test_a_host_of_a_limit_that_is_down_leaves_less_room_for_the_others() -> None:
    stock = inventory(host("w0"), host("w1"), host("w2"), limits=[OutLimit(role="web", max_out=1)])
    found = arrange(stock, down=frozenset({"ange.w0"}))
    assert shape(found) == [("broad", [["w0"]])]
    assert [out.reason for out in found.left_out] == [
        "role web of ange needs 2 of 3 in service, and ange.w0 is out"
    ] * 2


def test_a_primary_is_the_last_of_its_cluster_and_left_out_where_its_ring_comes_too_early() -> None:
    names = ("db1", "db2", "db3")
    clusters = (Cluster(name="db", primary="db1"),)
    late = inventory(*(host(name, cluster="db") for name in names), clusters=clusters)
    assert shape(arrange(late)) == [("broad", [["db2", "db3"], ["db1"]])]
    early = inventory(
        host("db1", cluster="db", ring="early"), *(host(n, cluster="db") for n in names[1:]), clusters=clusters
    )
    found = arrange(early)
    assert shape(found) == [("broad", [["db2", "db3"]])]
    (left,) = found.left_out
    assert left.reason == "it is its cluster's primary and comes after ange.db2, ange.db3, not done yet"


def test_what_a_rollout_claims_is_its_hosts_and_every_limit_that_they_are_in() -> None:
    stock = inventory(
        host("w0", cluster="web", site="hall"), host("w1", cluster="web"), host("d1", role="database"),
        limits=[OutLimit(role="web", max_out=1), OutLimit(site="hall", max_out=1)],
    )  # fmt: skip
    limits = limiting.of(stock)
    assert limits.lease_names(["ange.w0"]) == (
        "ange.w0", "cluster:ange.web", "limit:role web of ange", "limit:site hall of ange",
    )  # fmt: skip
    assert limits.lease_names(["ange.d1"]) == ("ange.d1",)
    assert limits.fellows(["ange.w0"]) == {"ange.w1"}
    assert limits.fellows(["ange.w0", "ange.w1"]) == limits.fellows(["ange.d1"]) == frozenset()


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
