"""What a sync would change, and when the fuse refuses it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.errors import FuseTripped, UnknownName
from opsctl.inventory.diff import Diff, compare, refuse_losses, refuse_missing
from opsctl.model.host import Host, Service


def host(number: int, tenant: str = "ange") -> Host:
    return Host(
        name=f"web{number}", tenant=tenant, address=f"192.0.2.{number}", role="web", platform="debian-12", site=tenant
    )


def fleet(count: int, tenant: str = "ange") -> list[Host]:
    return [host(number, tenant) for number in range(1, count + 1)]


def judge(
    before: list[Host], after: list[Host], *accepted: str, percent: int = 10, remembered: Sequence[Host] = ()
) -> None:
    known = {tenant: [h.key for h in remembered if h.tenant == tenant] for tenant in {h.tenant for h in remembered}}
    refuse_losses(
        compare(before, after), before=before, after=after, max_removed_percent=percent, accepted=accepted,
        remembered=known,
    )  # fmt: skip


def test_equal_inventories_have_no_difference() -> None:
    found = compare(fleet(3), fleet(3)[::-1])
    assert not found
    assert found.summary == "no difference"


def test_added_removed_and_changed_hosts_are_told_field_by_field() -> None:
    services = (Service(name="http", port=80),)
    found = compare(fleet(3), [host(1), replace(host(2), ring="early", services=services), host(4)])
    assert [h.name for h in found.added] == ["web4"]
    assert [h.name for h in found.removed] == ["web3"]
    assert [(c.name, c.before, c.after) for c in found.changed[0].changes] == [
        ("ring", "broad", "early"),
        ("services", "", "http tcp/80"),
    ]
    assert found.summary == "1 added, 1 changed, 1 removed"
    assert found.keys == ("ange.web2", "ange.web3", "ange.web4")


def test_a_host_with_another_name_at_the_same_address_is_renamed() -> None:
    found = compare(fleet(2), [host(1), replace(host(2), name="app2")])
    assert [(pair.before.name, pair.after.name) for pair in found.renamed] == [("web2", "app2")]
    assert not found.gone


def test_the_fuse_does_not_take_hosts_at_other_addresses_for_renamed_ones_because_their_records_are_the_same() -> None:
    before = [replace(host(number), record=f"device/{number}") for number in range(1, 9)]
    renamed = [replace(one, name=f"new{one.name}") for one in before]
    # What NetBox gives after it was put back to a backup that lacks four of them: their ids, to hosts that are new.
    new = [replace(one, address=one.address.replace("192.0", "198.51")) for one in renamed]
    assert len(compare(before, [*new[:4], *before[4:]]).renamed) == 4
    with pytest.raises(FuseTripped, match="would lose 4 of its 8 hosts"):
        judge(before, [*new[:4], *before[4:]])
    judge(before, [*new[:4], *before[4:]], "web1", "web2", "web3", "web4")
    judge(before, renamed)
    judge(
        [replace(one, address6="2001:db8::1") for one in before], [replace(one, address6="2001:db8::1") for one in new]
    )
    judge(before, [replace(one, address="", platform="windows-2022") for one in new])


def test_a_host_that_another_tenant_takes_is_moved_and_gone_from_the_first() -> None:
    found = compare(fleet(2), [host(1), replace(host(2), tenant="sundsvall", address="198.51.100.2")])
    assert [(pair.before.key, pair.after.key) for pair in found.moved] == [("ange.web2", "sundsvall.web2")]
    assert [h.key for h in found.gone] == ["ange.web2"]


def test_hosts_without_an_address_are_not_taken_for_each_other() -> None:
    blank = replace(host(1), address="", platform="windows-2022")
    found = compare([blank], [replace(blank, name="web9")])
    assert (len(found.added), len(found.removed), len(found.renamed)) == (1, 1, 0)


KEYS = st.lists(st.tuples(st.sampled_from(["ange", "sundsvall"]), st.integers(1, 9)), unique=True)


@given(KEYS, KEYS)
def test_every_host_of_either_side_is_in_exactly_one_place(
    before: list[tuple[str, int]], after: list[tuple[str, int]]
) -> None:
    old, new = [host(n, t) for t, n in before], [host(n, t) for t, n in after]
    found = compare(old, new)
    left = {*found.removed, *(p.before for p in (*found.renamed, *found.moved))}
    come = {*found.added, *(p.after for p in (*found.renamed, *found.moved))}
    assert left == set(old) - set(new)
    assert come == set(new) - set(old)
    assert found.changed == ()
    assert bool(found) == (set(old) != set(new))


@pytest.mark.parametrize(
    ("had", "left", "refused"),
    [
        (30, 28, False),
        (30, 27, False),
        (29, 26, True),
        (5, 3, False),
        (5, 2, True),
        (3, 1, False),
        (100, 90, False),
        (100, 89, True),
    ],
)
def test_the_fuse_trips_at_three_hosts_and_more_than_ten_percent(had: int, left: int, refused: bool) -> None:
    before = fleet(had)
    if not refused:
        judge(before, before[:left])
        return
    with pytest.raises(FuseTripped, match=f"ange would lose {had - left} of its {had} hosts, more than 10 %") as caught:
        judge(before, before[:left])
    assert [problem.where for problem in caught.value.problems] == sorted(h.key for h in before[left:])


def test_a_tenant_that_would_lose_its_only_host_trips_the_fuse() -> None:
    with pytest.raises(FuseTripped, match="the source is empty for ange, which has 1 host"):
        judge([host(1), host(1, "sundsvall")], [host(1, "sundsvall")])


def test_a_source_without_any_host_is_refused_even_when_there_was_none() -> None:
    with pytest.raises(FuseTripped, match="the source holds no host at all"):
        judge([], [])


def test_each_tenant_is_judged_alone() -> None:
    with pytest.raises(FuseTripped, match="ange would lose 3 of its 5 hosts"):
        judge(fleet(5) + fleet(200, "sundsvall"), fleet(2) + fleet(200, "sundsvall"))


def test_removals_that_are_named_are_accepted_and_only_those() -> None:
    before, after = fleet(8), fleet(3)
    judge(before, after, "web4", "ange.web5", "web6", "web7", "web8")
    with pytest.raises(FuseTripped, match="would lose 3 of its 8"):
        judge(before, after, "web4", "web5")


def test_a_removal_that_would_not_happen_cannot_be_accepted() -> None:
    with pytest.raises(UnknownName, match="web1 would not be removed"):
        judge(fleet(3), fleet(2), "web1")


def test_a_removal_is_accepted_in_no_other_municipality_that_has_a_host_of_that_name() -> None:
    before, after = fleet(1) + fleet(1, "sundsvall"), [host(2), host(2, "sundsvall")]
    after = [replace(one, address=f"198.51.100.{number}") for number, one in enumerate(after, 1)]
    with pytest.raises(UnknownName, match=r"more than one tenant: ange\.web1, sundsvall\.web1") as refused:
        judge(before, after, "web1")
    assert refused.value.hint == "say which: --accept-removals ange.web1"
    judge(before, after, "ange.web1", "sundsvall.web1")


def test_a_moved_host_counts_as_gone_for_its_tenant() -> None:
    moved = [replace(h, tenant="sundsvall") for h in fleet(6)[:3]]
    with pytest.raises(FuseTripped, match="ange would lose 3 of its 6"):
        judge(fleet(6), [*fleet(6)[3:], *moved])


def test_a_copy_that_is_lost_does_not_make_a_shrunken_source_a_first_sync() -> None:
    with pytest.raises(FuseTripped, match=r"lose 5 of its 8 hosts of the last sync \(its hosts.yml is empty or lost\)"):
        judge([], fleet(3), remembered=fleet(8))
    with pytest.raises(FuseTripped, match=r"the source is empty for ange, whose hosts\.yml is"):
        judge(fleet(2, "sundsvall"), fleet(2, "sundsvall"), remembered=fleet(8))
    judge([], fleet(3), "web4", "ange.web5", "web6", "web7", "web8", remembered=fleet(8))
    judge([], fleet(8), remembered=fleet(8))


def test_a_copy_that_holds_hosts_is_believed_before_the_memory_of_an_older_sync() -> None:
    judge(fleet(3), fleet(3), remembered=fleet(8))


def test_a_source_file_that_is_missing_has_its_own_message() -> None:
    refuse_missing([])
    with pytest.raises(FuseTripped, match="the source is not complete") as caught:
        refuse_missing(["inventories/ange/source.yml"])
    assert str(caught.value.problems[0]) == "inventories/ange/source.yml: no such file"


def test_an_empty_difference_is_false() -> None:
    assert not Diff()
