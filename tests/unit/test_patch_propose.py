"""From what hosts say is pending to a frozen plan, and back: does the plan still fit?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.errors import HostFailed, OpsctlError, StalePlan, UnknownName, Unreachable
from opsctl.model.host import Cluster, Host, Inventory, Mirror, OutLimit, Tenant
from opsctl.model.rollout import LeftOut, PackageChange, Plan, SnapshotPin
from opsctl.patch import pending, propose, stale
from opsctl.patch.pending import Pending
from opsctl.patch.propose import Wish
from opsctl.rollout import contact, execute, shown

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
WISH = Wish(max_parallel=5, reboot="if-required")
LB = Host(name="lb1", tenant="ange", address="192.0.2.3", role="loadbalancer", platform="debian-12")
WEB1 = Host(name="web1", tenant="ange", address="192.0.2.1", role="web", platform="debian-12", cluster="web")
WEB2 = Host(name="web2", tenant="ange", address="192.0.2.2", role="web", platform="debian-12", cluster="web")
PRINT = Host(name="print1", tenant="ange", address="192.0.2.9", role="print", platform="windows-2022")
STOCK = Inventory(
    tenants=(Tenant(name="ange", title="Ånge kommun", clusters=(Cluster(name="web", minimum=1),)),),
    hosts=(LB, WEB1, WEB2, PRINT),
    digest="d1",
)


def answer(**more: object) -> dict[str, object]:
    """What hostside/pending.py says, with one security update."""
    package = {"name": "openssl", "installed": "3.0-1", "candidate": "3.0-2", "security": True}
    return {
        "packages": [package], "removed": [], "pending": 1, "pending_security": 1, "kept_back": [], "held": [],
        "download_bytes": 10, "free_bytes": 1000, "reboot": {"required": False, "because_of": [], "coming": []},
        "dpkg": {"audit": [], "lock_holder": ""}, "lists_age_seconds": 60, "patchers": [], "refreshed": None,
        "clock": 1.5,
        **more,
    }  # fmt: skip


def reading(**more: object) -> Pending:
    return pending.parse("ange.web1", answer(**more))


def plan(readings: dict[str, Pending | OpsctlError], wish: Wish = WISH) -> Plan:
    return propose.propose(
        STOCK, [h for h in STOCK if h.key in readings or not h.managed], readings, wish,
        now=NOW, who="anna", content_digest="c1",
    )  # fmt: skip


def test_a_reading_becomes_exact_versions_behind_the_balancer() -> None:
    made = plan({"ange.web1": reading()})
    (item,) = made.hosts
    assert item.packages == (PackageChange(name="openssl", before="3.0-1", after="3.0-2", security=True),)
    assert item.drain_through == "ange.lb1"
    assert made.left_out == (
        LeftOut(host="ange.print1", reason="not managed: platform windows-2022 is not managed by opsctl"),
    )


@pytest.mark.parametrize(
    ("policy", "required", "coming", "expected"),
    [
        ("if-required", False, [], False),
        ("if-required", True, [], True),
        ("if-required", False, ["linux-image-amd64"], True),
        ("never", True, ["linux-image-amd64"], False),
        ("always", False, [], True),
    ],
)
def test_a_reboot_is_expected_by_policy_and_need(
    policy: str, required: bool, coming: list[str], expected: bool
) -> None:
    need = {"required": required, "because_of": [], "coming": coming}
    (item,) = plan({"ange.web1": reading(reboot=need)}, replace(WISH, reboot=policy)).hosts
    assert item.reboot_expected is expected


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"packages": [], "pending": 0}, "current"),
        (
            {"packages": [], "pending": 3, "kept_back": ["a", "b"], "held": ["b"]},
            "current; held: b; kept back: a; 3 other updates",
        ),
        ({"dpkg": {"audit": [], "lock_holder": "apt-get (process 7)"}}, "apt is in use there: apt-get (process 7)"),
        ({"dpkg": {"audit": [], "lock_holder": "", "interrupted": True}},
         "dpkg was interrupted there: dpkg --configure -a"),
        ({"boot": {"free_bytes": 5, "needed_bytes": 6}}, "no room in /boot: 6 bytes for the new kernel, 5 free"),
        ({"manager": "dnf"}, "patching of debian-12 is not supported yet"),
        ({"removed": ["mailx"]}, "the updates would remove mailx: not without a person"),
        (
            {"dpkg": {"audit": ["perl half-configured"], "lock_holder": ""}},
            "dpkg was interrupted there (perl): dpkg --configure -a",
        ),
        ({"dpkg": {"audit": [""], "lock_holder": ""}}, "dpkg was interrupted there (): dpkg --configure -a"),
        ({"download_bytes": 2000}, "no room: 2000 bytes to fetch, 1000 free"),
        ({"lists_age_seconds": None}, "its package lists were never fetched: opsctl patch plan --refresh"),
    ],
)  # fmt: skip
def test_a_host_is_left_out_with_its_reason(more: dict[str, object], reason: str) -> None:
    assert LeftOut(host="ange.web1", reason=reason) in plan({"ange.web1": reading(**more)}).left_out


def test_a_host_without_an_answer_is_left_out_and_counts_as_down() -> None:
    made = plan({"ange.web1": reading(), "ange.web2": Unreachable("ange.web2", "timed out")})
    assert made.hosts == ()
    assert {one.host: (one.reason, one.missed) for one in made.left_out if one.host != "ange.print1"} == {
        "ange.web1": ("ange.web needs 1 of 2 in service, and ange.web2 is out", True),
        "ange.web2": ("unreachable: timed out", True),
    }


@pytest.mark.parametrize("bad", ["openssl; rm -rf /", "-o", "Openssl", ""])
def test_a_package_name_that_cannot_be_is_refused(bad: str) -> None:
    with pytest.raises(HostFailed, match="cannot be"):
        reading(packages=[{"name": bad, "installed": "1", "candidate": "2", "security": False}])


@pytest.mark.parametrize("bad", [None, [], {}, {"packages": 3}, {**answer(), "pending": "many"}])
def test_an_answer_of_another_shape_is_refused(bad: object) -> None:
    with pytest.raises(HostFailed, match="not understood"):
        pending.parse("ange.web1", bad)


def test_an_unmoved_world_is_not_stale() -> None:
    stale.refuse_stale(plan({"ange.web1": reading()}), STOCK, "c1", {"ange.web1": reading()})


def test_a_host_that_does_not_answer_now_is_no_movement() -> None:
    stale.refuse_stale(plan({"ange.web1": reading()}), STOCK, "c1", {"ange.web1": Unreachable("ange.web1", "x")})


def test_everything_that_moved_is_named() -> None:
    made = plan({"ange.web1": reading()})
    newer = [
        {"name": "openssl", "installed": "3.0-1", "candidate": "3.0-3", "security": True},
        {"name": "libnew", "installed": "", "candidate": "1", "security": True},
    ]
    with pytest.raises(StalePlan) as caught:
        stale.refuse_stale(made, replace(STOCK, digest="d2"), "c2", {"ange.web1": reading(packages=newer)})
    for part in (
        "the inventory has changed",
        "playbooks, roles or checks have changed",
        "planned openssl 3.0-1 -> 3.0-2, now openssl 3.0-1 -> 3.0-3",
        "libnew would now be installed as well",
    ):
        assert part in caught.value.message


def test_a_transaction_that_would_remove_a_package_by_now_makes_the_plan_stale() -> None:
    with pytest.raises(StalePlan, match=r"ange.web1: mailx would now be removed"):
        stale.refuse_stale(plan({"ange.web1": reading()}), STOCK, "c1", {"ange.web1": reading(removed=["mailx"])})


def test_a_package_that_is_no_longer_pending_makes_the_plan_stale() -> None:
    with pytest.raises(StalePlan, match=r"openssl 3.0-1 -> 3.0-2 is no longer pending"):
        stale.refuse_stale(plan({"ange.web1": reading()}), STOCK, "c1", {"ange.web1": reading(packages=[])})


def test_of_the_inventory_exactly_what_moved_is_named_and_what_only_describes_a_host_is_not() -> None:
    made = plan({"ange.web1": reading()})
    tenant = replace(STOCK.tenants[0], limits=(OutLimit(role="web", max_out=1),))
    app = replace(PRINT, name="app1", platform="debian-12", address="192.0.2.10", role="application")
    moved = Inventory(
        tenants=(tenant,),
        hosts=(replace(LB, owner="anna"), replace(WEB1, ring="early", tags=("x",)), app, PRINT),
        digest="d2",
    )
    with pytest.raises(StalePlan) as caught:
        stale.refuse_stale(made, moved, "c1", {}, before=STOCK)
    assert caught.value.message.removeprefix(f"{made.id} no longer fits: ").split("; ") == [
        "tenant.yml of ange: limits changed",
        "ange.app1 was added",
        "ange.web2 is gone",
        "ange.web1: ring broad -> early",
    ]
    stale.refuse_stale(made, replace(STOCK, digest="d2"), "c1", {}, before=STOCK)


def test_another_tenant_that_moved_leaves_a_plan_as_it_is() -> None:
    made = plan({"ange.web1": reading()})
    other = Tenant(name="bollnas", title="Bollnäs")
    stale.refuse_stale(made, replace(STOCK, tenants=(*STOCK.tenants, other), digest="d2"), "c1", {}, before=STOCK)


def test_more_than_a_few_ways_in_which_a_plan_no_longer_fits_come_one_a_line() -> None:
    many = [{"name": f"p{n}", "installed": "1", "candidate": "2", "security": False} for n in range(9)]
    made = plan({"ange.web1": reading(packages=many)})
    with pytest.raises(StalePlan, match="in 9 ways") as caught:
        stale.refuse_stale(made, STOCK, "c1", {"ange.web1": reading(packages=[])})
    assert len(caught.value.problems) == 9


def test_a_plan_that_was_altered_in_the_store_is_refused() -> None:
    made = plan({"ange.web1": reading()})
    with pytest.raises(StalePlan, match="altered"):
        stale.refuse_stale(replace(made, failure_budget=99), STOCK, "c1", {})


def test_only_clustered_web_hosts_with_one_balancer_are_drained() -> None:
    assert contact.balancers(STOCK) == {"ange.web1": "ange.lb1", "ange.web2": "ange.lb1"}
    assert contact.balancers(replace(STOCK, hosts=(WEB1, WEB2))) == {}
    assert contact.balancers(replace(STOCK, hosts=(LB, replace(LB, name="lb2"), replace(WEB1, site="x")))) == {}
    near = replace(LB, name="lb2", site="x")
    assert contact.balancers(replace(STOCK, hosts=(LB, near, replace(WEB1, site="x")))) == {"ange.web1": "ange.lb2"}


# --- one version for all, names and neighbours ------------------------------------------------------------------------

SOFT = tuple(
    Host(name=name, tenant="ange", address="192.0.2.1", role="app", platform=platform, ring=ring)
    for name, platform, ring in (
        ("c1", "debian-12", "canary"), ("c2", "debian-12", "canary"), ("c3", "debian-12", "canary"),
        ("d13", "debian-13", "canary"), ("e1", "debian-12", "early"), ("e2", "debian-12", "early"),
    )
)  # fmt: skip


def offered(version: str, *, name: str = "openssl", **more: object) -> Pending:
    return reading(packages=[{"name": name, "installed": "1", "candidate": version, "security": True}], **more)


def soft_plan(readings: Mapping[str, Pending | OpsctlError], hosts: Sequence[Host] = SOFT, **wish: object) -> Plan:
    return propose.propose(
        Inventory(tenants=(Tenant(name="ange", title="Ånge"),), hosts=SOFT, digest="d1"), hosts, readings,
        replace(WISH, **wish), now=NOW, who="anna", content_digest="c1",  # type: ignore[arg-type] # test shorthand
    )  # fmt: skip


def test_what_most_of_the_canary_ring_is_offered_is_what_every_host_gets() -> None:
    made = soft_plan(
        {
            "ange.c1": offered("3"), "ange.c2": offered("2"), "ange.c3": offered("2"), "ange.d13": offered("13"),
            "ange.e1": offered("2"), "ange.e2": offered("3"),
        }
    )  # fmt: skip
    assert {item.host: item.packages[0].after for item in made.hosts} == {
        "ange.c2": "2", "ange.c3": "2", "ange.d13": "13", "ange.e1": "2",
    }  # fmt: skip
    told = "its mirror is in another state: it offers openssl 3, and the plan has 2"
    assert made.left_out == tuple(LeftOut(host=f"ange.{name}", reason=told, missed=True) for name in ("c1", "e2"))
    assert "opsctl patch plan --refresh" in execute.mend_missed(made)


@given(
    st.fixed_dictionaries(
        {
            host.key: st.dictionaries(st.sampled_from(["openssl", "curl"]), st.sampled_from("123"), min_size=1)
            for host in SOFT
        }
    ),
    st.permutations(SOFT),
)
def test_a_plan_never_holds_two_versions_of_a_package_for_one_os_release(
    offers: dict[str, dict[str, str]], hosts: list[Host]
) -> None:
    readings = {
        key: reading(
            packages=[{"name": n, "installed": "0", "candidate": v, "security": False} for n, v in sorted(some.items())]
        )
        for key, some in offers.items()
    }
    made = soft_plan(readings, hosts)
    platform = {host.key: host.platform for host in SOFT}
    found = {(platform[item.host], change.name, change.after) for item in made.hosts for change in item.packages}
    assert len(found) == len({(kind, name) for kind, name, _ in found})
    assert sorted([item.host for item in made.hosts] + [out.host for out in made.left_out]) == sorted(platform)
    assert made.hash == soft_plan(readings).hash


def test_an_architecture_of_its_own_may_have_a_version_of_its_own() -> None:
    made = soft_plan({"ange.c1": offered("2", architecture="amd64"), "ange.e1": offered("2+b1", architecture="arm64")})
    assert [item.host for item in made.hosts] == ["ange.c1", "ange.e1"]


def test_an_excluded_host_is_left_out_by_wish_and_the_plan_says_so() -> None:
    made = soft_plan(
        {"ange.c1": offered("2")}, SOFT[:2], excluded=frozenset({"ange.c2"}), ticket="CHG-7", packages=("openssl",)
    )
    assert made.left_out == (LeftOut(host="ange.c2", reason="excluded (--exclude)"),)
    assert (made.ticket, made.packages) == ("CHG-7", ("openssl",))


def test_a_package_that_no_host_has_is_refused_with_the_nearest_name() -> None:
    unknown = [{"name": "opensl", "like": ["openssl"]}]
    lacking = reading(unknown=unknown, packages=[])
    with pytest.raises(UnknownName, match="none of the hosts has a package 'opensl'") as caught:
        propose.refuse_unknown(["opensl"], {"a": lacking, "b": Unreachable("b", "x")})
    assert caught.value.hint == "is it openssl?"
    propose.refuse_unknown(["opensl"], {"a": lacking, "b": reading()})
    propose.refuse_unknown(["opensl"], {"b": Unreachable("b", "x")})
    assert soft_plan({"ange.c1": lacking}, SOFT[:1]).left_out[0].reason == "has no package opensl; 1 other updates"


def test_a_fellow_that_does_not_answer_or_alerts_counts_as_out_although_nobody_selected_it() -> None:
    cases: tuple[tuple[dict[str, Pending | OpsctlError], frozenset[str]], ...] = (
        ({"ange.web1": reading(), "ange.web2": Unreachable("ange.web2", "x")}, frozenset()),
        ({"ange.web1": reading(), "ange.web2": reading(packages=[])}, frozenset({"ange.web2"})),
    )
    for readings, alerting in cases:
        made = propose.propose(
            STOCK, [WEB1], readings, WISH, now=NOW, who="anna", content_digest="c1", alerting=alerting
        )
        assert [one.host for one in made.left_out] == ["ange.web1"]
        assert "ange.web2 is out" in made.left_out[0].reason
        assert made.down == ("ange.web2",)


def test_a_primary_waits_for_a_fellow_that_has_updates_and_is_not_in_the_plan() -> None:
    cluster = Cluster(name="web", minimum=0, primary="web1")
    stock = replace(STOCK, tenants=(replace(STOCK.tenants[0], clusters=(cluster,)),))
    for other, expected in ((reading(), ()), (reading(packages=[]), ("ange.web1",))):
        made = propose.propose(
            stock, [WEB1], {"ange.web1": reading(), "ange.web2": other}, WISH,
            now=NOW, who="anna", content_digest="c1",
        )  # fmt: skip
        assert tuple(item.host for item in made.hosts) == expected


def mirror(name: str, mark: str, hour: int) -> dict[str, object]:
    return {"name": name, "sha256": mark * 64, "date": f"2026-11-22T{hour:02}:00:00+00:00"}


def test_a_plan_holds_the_states_of_its_hosts_mirrors_and_its_hash_changes_with_them() -> None:
    first = plan({"ange.web1": reading(mirrors=[mirror("deb_dists_bookworm", "a", 1)])})
    (state,) = first.mirrors
    assert (state.name, state.sha256) == ("deb_dists_bookworm", "a" * 64)
    assert state.date == datetime(2026, 11, 22, 1, tzinfo=UTC)
    assert plan({"ange.web1": reading(mirrors=[mirror("deb_dists_bookworm", "b", 2)])}).hash != first.hash


def test_a_mirror_that_moved_is_told_and_alone_makes_no_plan_stale() -> None:
    made = plan({"ange.web1": reading(mirrors=[mirror("deb", "a", 1)])})
    now: dict[str, Pending | OpsctlError] = {"ange.web1": reading(mirrors=[mirror("deb", "b", 2)])}
    stale.refuse_stale(made, STOCK, "c1", now)
    assert stale.mirrors_moved(made, now) == (
        "the mirror has moved since: deb, 2026-11-22 01:00:00Z -> 2026-11-22 02:00:00Z on ange.web1",
    )
    assert stale.mirrors_moved(made, {"ange.web1": reading(mirrors=[mirror("deb", "a", 1)])}) == ()


def test_versions_that_are_gone_from_the_mirror_make_a_plan_stale_and_are_named() -> None:
    made = plan({"ange.web1": reading(mirrors=[mirror("deb", "a", 1)])})
    now = reading(
        packages=[], planned_why="E: Version '3.0-2' for 'openssl' was not found", not_offered=["openssl"],
        mirrors=[mirror("deb", "b", 2)],
    )  # fmt: skip
    told = r"ange.web1: its mirror no longer offers the planned openssl \(its lists are of 2026-11-22 02:00Z\)"
    with pytest.raises(StalePlan, match=told):
        stale.refuse_stale(made, STOCK, "c1", {"ange.web1": now})


def test_a_plan_pins_the_snapshot_of_when_its_hosts_fetched_their_lists_and_needs_no_mirror_then() -> None:
    tenant = replace(STOCK.tenants[0], mirrors=(Mirror(mirror="http://m/debian", snapshot="http://s/{time}/{date}"),))
    stock = replace(STOCK, tenants=(tenant,))
    made = propose.propose(stock, [WEB1], {"ange.web1": reading()}, WISH, now=NOW, who="anna", content_digest="c1")
    assert made.snapshots == (
        SnapshotPin(tenant="ange", mirror="http://m/debian", url="http://s/20261122T025900Z/20261122"),
    )
    assert shown.without_snapshot(made) == ()
    assert shown.without_snapshot(plan({"ange.web1": reading()})) == ("ange",)
    gone = reading(packages=[], planned_why="E: gone", installed=[{"name": "openssl", "version": "3.0-1"}])
    stale.refuse_stale(made, stock, "c1", {"ange.web1": gone})
    other = reading(packages=[], installed=[{"name": "openssl", "version": "3.0-9"}])
    with pytest.raises(StalePlan, match=r"planned openssl 3.0-1 -> 3.0-2, and 3.0-9 is installed"):
        stale.refuse_stale(made, stock, "c1", {"ange.web1": other})


def test_a_host_that_somebody_else_holds_is_left_out_by_name_and_missed() -> None:
    held = {"ange.web1": "held by rollout patch-1 of bo since 2026-11-22 02:00:00Z"}
    made = propose.propose(
        STOCK, [WEB1], {"ange.web1": reading()}, WISH, now=NOW, who="anna", content_digest="c1", held=held
    )
    assert made.left_out == (LeftOut(host="ange.web1", reason=held["ange.web1"], missed=True),)
    current = propose.propose(
        STOCK,
        [WEB1],
        {"ange.web1": reading(packages=[], pending=0)},
        WISH,
        now=NOW,
        who="anna",
        content_digest="c1",
        held=held,
    )
    assert current.left_out == (LeftOut(host="ange.web1", reason="current"),)
