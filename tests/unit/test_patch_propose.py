"""From what hosts say is pending to a frozen plan, and back: does the plan still fit?"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from opsctl.errors import HostFailed, OpsctlError, StalePlan, Unreachable
from opsctl.model.host import Cluster, Host, Inventory, Tenant
from opsctl.model.rollout import LeftOut, PackageChange, Plan
from opsctl.patch import pending, propose
from opsctl.patch.pending import Pending
from opsctl.patch.propose import Wish
from opsctl.rollout import contact

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
WISH = Wish(max_parallel=5, failure_budget=1, reboot="if-required")
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
            {"packages": [], "pending": 3, "kept_back": ["a"], "held": ["b"]},
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
    propose.refuse_stale(plan({"ange.web1": reading()}), STOCK, "c1", {"ange.web1": reading()})


def test_a_host_that_does_not_answer_now_is_no_movement() -> None:
    propose.refuse_stale(plan({"ange.web1": reading()}), STOCK, "c1", {"ange.web1": Unreachable("ange.web1", "x")})


def test_everything_that_moved_is_named() -> None:
    made = plan({"ange.web1": reading()})
    newer = [
        {"name": "openssl", "installed": "3.0-1", "candidate": "3.0-3", "security": True},
        {"name": "libnew", "installed": "", "candidate": "1", "security": True},
    ]
    with pytest.raises(StalePlan) as caught:
        propose.refuse_stale(made, replace(STOCK, digest="d2"), "c2", {"ange.web1": reading(packages=newer)})
    for part in (
        "the inventory has changed",
        "playbooks, roles or checks have changed",
        "planned openssl 3.0-1 -> 3.0-2, now openssl 3.0-1 -> 3.0-3",
        "libnew would now be installed as well",
    ):
        assert part in caught.value.message


def test_a_package_that_is_no_longer_pending_makes_the_plan_stale() -> None:
    with pytest.raises(StalePlan, match=r"openssl 3.0-1 -> 3.0-2 is no longer pending"):
        propose.refuse_stale(plan({"ange.web1": reading()}), STOCK, "c1", {"ange.web1": reading(packages=[])})


def test_a_plan_that_was_altered_in_the_store_is_refused() -> None:
    made = plan({"ange.web1": reading()})
    with pytest.raises(StalePlan, match="altered"):
        propose.refuse_stale(replace(made, failure_budget=99), STOCK, "c1", {})


def test_only_clustered_web_hosts_with_one_balancer_are_drained() -> None:
    assert contact.balancers(STOCK) == {"ange.web1": "ange.lb1", "ange.web2": "ange.lb1"}
    assert contact.balancers(replace(STOCK, hosts=(WEB1, WEB2))) == {}
    assert contact.balancers(replace(STOCK, hosts=(LB, replace(LB, name="lb2"), replace(WEB1, site="x")))) == {}
    near = replace(LB, name="lb2", site="x")
    assert contact.balancers(replace(STOCK, hosts=(LB, near, replace(WEB1, site="x")))) == {"ange.web1": "ange.lb2"}
