"""What of a rollout can be put back on a host, and what it says where nothing can."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.errors import HostFailed, Refused, Unreachable
from opsctl.model.rollout import Batch, HostPlan, LeftOut, PackageChange, Plan, RolloutState, Status, Wave
from opsctl.patch import rollback
from opsctl.patch.pending import Pending, PendingPackage, Version
from opsctl.rollout.timing import Slot
from tests.unit.test_patch_propose import reading

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
KEY = "ange.web1"
CHANGES = (
    PackageChange(name="openssl", before="3.0-1", after="3.0-2", security=True),
    PackageChange(name="libssl3", before="3.0-1", after="3.0-2"),
    PackageChange(name="extra", before="", after="1.0"),
)
ITEM = HostPlan(host=KEY, packages=CHANGES, drain_through="ange.lb1")
PLAN = Plan(
    id="patch-1", hash="h", kind="patch", made_at=NOW, made_by="anna", inventory_digest="", content_digest="",
    waves=(Wave(ring="early", batches=(Batch(hosts=(ITEM,)),)),),
)  # fmt: skip
BACK = rollback.wanted(PLAN)[KEY]
SLOT = Slot(takes=timedelta(minutes=2), window="any time")


def installed(**versions: str) -> tuple[Version, ...]:
    return tuple(Version(name=name, version=version) for name, version in versions.items())


def host(**more: object) -> Pending:
    """A host that has the rollout's versions, and on which exactly the way back is possible."""
    back = tuple(PendingPackage(name=p.name, installed=p.before, candidate=p.after, security=False) for p in BACK)
    whole = replace(reading(), packages=back, installed=installed(openssl="3.0-2", libssl3="3.0-2"))
    return replace(whole, **more)  # type: ignore[arg-type]


def test_the_way_back_is_each_replaced_package_and_never_a_new_one() -> None:
    assert [str(one) for one in BACK] == ["openssl 3.0-2 -> 3.0-1", "libssl3 3.0-2 -> 3.0-1"]
    assert rollback.back(BACK, host()) == rollback.Back(packages=BACK)
    assert rollback.staying(PLAN, [KEY]) == ("extra",)


@pytest.mark.parametrize(
    ("found", "reason", "missed"),
    [
        (Unreachable(KEY, "no way to it"), "unreachable: no way to it", True),
        (HostFailed(KEY, "no sudo"), "no sudo", True),
        (host(installed=installed(openssl="3.0-1", libssl3="3.0-1")), "nothing to put back", False),
        (host(installed=installed(openssl="3.0-3", libssl3="3.0-2")), "by somebody else: openssl is 3.0-3", True),
        (host(installed=installed(openssl="3.0-2")), "by somebody else: libssl3 is gone", True),
        (host(not_offered=("libssl3",), planned_why="E: x"), "no copy is left of libssl3 3.0-1", True),
        (host(planned_why="E: unmet dependencies"), "apt cannot put it back: E: unmet dependencies", True),
        (host(removed=("nginx",)), "apt would remove nginx", True),
    ],
)
def test_a_host_that_cannot_go_back_is_left_as_it_is_with_the_reason(
    found: Pending | HostFailed | Unreachable, reason: str, missed: bool
) -> None:
    answer = rollback.back(BACK, found)
    assert answer.packages == ()
    assert reason in answer.reason
    assert answer.missed is missed


def test_a_transaction_that_would_change_more_is_refused() -> None:
    more = PendingPackage(name="perl", installed="5.36-1", candidate="5.36-2", security=False)
    answer = rollback.back(BACK, host(packages=(*host().packages, more)))
    assert answer.reason == "apt would also install perl 5.36-2"


def test_what_a_half_finished_rollout_did_is_put_back_and_the_rest_not_touched() -> None:
    half = host(installed=installed(openssl="3.0-2", libssl3="3.0-1"), packages=host().packages[:1])
    assert [one.name for one in rollback.back(BACK, half).packages] == ["openssl"]


VERSIONS = st.sampled_from(["3.0-1", "3.0-2", "3.0-3", ""])


@given(openssl=VERSIONS, libssl3=VERSIONS, lacking=st.sets(st.sampled_from(["openssl", "libssl3"])))
def test_a_host_goes_back_whole_or_not_at_all(openssl: str, libssl3: str, lacking: set[str]) -> None:
    now = {name: version for name, version in (("openssl", openssl), ("libssl3", libssl3)) if version}
    answer = rollback.back(BACK, host(installed=installed(**now), not_offered=tuple(sorted(lacking))))
    to_go = {one.name for one in BACK if now.get(one.name) != one.after}
    assert {one.name for one in answer.packages} in (set(), to_go)
    for one in answer.packages:
        assert (now[one.name], one.after) == ("3.0-2", "3.0-1")
        assert one.name not in lacking
    assert bool(answer.packages) != bool(answer.reason)


def test_the_plan_keeps_drain_and_time_and_leaves_out_what_is_no_longer_ours_or_closed() -> None:
    chosen = rollback.choose(PLAN, [KEY], {KEY: host()}, reboot="always", gone={}, slots={KEY: SLOT})
    (item,) = chosen.hosts
    assert (item.drain_through, item.expected_seconds, item.reboot_expected) == ("ange.lb1", 120, True)
    gone = rollback.choose(PLAN, [KEY], {}, reboot="never", gone={KEY: "it is no longer ours"}, slots={KEY: SLOT})
    assert gone.left_out == (LeftOut(host=KEY, reason="it is no longer ours", missed=True),)
    shut = Slot(takes=timedelta(0), reason="freeze soak")
    closed = rollback.choose(PLAN, [KEY], {KEY: host()}, reboot="never", gone={}, slots={KEY: shut})
    assert closed.left_out == (LeftOut(host=KEY, reason="freeze soak", missed=True),)


@pytest.mark.parametrize(
    ("status", "begun", "back_of", "told"),
    [
        (Status.PLANNED, None, "", "has changed nothing"),
        (Status.HALTED, NOW, "", "end it first: opsctl patch abort patch-1"),
        (Status.DONE, NOW, "patch-0", "is itself a rollback"),
    ],
)
def test_only_a_rollout_that_is_over_is_put_back(
    status: Status, begun: datetime | None, back_of: str, told: str
) -> None:
    state = RolloutState(plan=replace(PLAN, rollback_of=back_of), status=status, at=NOW, started_at=begun)
    with pytest.raises(Refused) as caught:
        rollback.refuse_unfit(state)
    assert told in f"{caught.value.message} {caught.value.hint}"
    rollback.refuse_unfit(RolloutState(plan=PLAN, status=Status.ABORTED, at=NOW, started_at=NOW))
