"""Leases: all or none, an end, and a token that only rises."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsctl.errors import Locked
from opsctl.state.backup import backup, restore
from opsctl.state.leases import Leases
from opsctl.state.store import Store

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
TTL = timedelta(minutes=10)


@pytest.fixture
def leases(tmp_path: Path) -> Iterator[Leases]:
    with Store.open(tmp_path) as store:
        yield Leases(store)


def test_a_held_name_is_refused_with_its_holder_and_end(leases: Leases) -> None:
    leases.acquire(["ange.ange-web1"], "rollout r1", NOW, TTL)
    with pytest.raises(Locked, match=r"ange\.ange-web1 is held by rollout r1 until 2026-11-22T10:10:00Z"):
        leases.acquire(["ange.ange-web1"], "rollout r2", NOW, TTL)


def test_all_names_are_taken_or_none(leases: Leases) -> None:
    leases.acquire(["b"], "one", NOW, TTL)
    with pytest.raises(Locked):
        leases.acquire(["a", "b", "c"], "two", NOW, TTL)
    assert [lease.name for lease in leases.held(NOW)] == ["b"]


def test_an_expired_lease_can_be_taken_and_its_old_holder_cannot_renew(leases: Leases) -> None:
    old = leases.acquire(["a"], "one", NOW, TTL)
    later = NOW + TTL
    new = leases.acquire(["a"], "two", later, TTL)
    assert new[0].token > old[0].token
    with pytest.raises(Locked, match="was lost; it is held by two"):
        leases.renew(old, later, TTL)


def test_a_store_that_was_made_or_restored_later_gives_higher_tokens(tmp_path: Path) -> None:
    """Its hosts remember the tokens of the earlier one, which the backup does not know."""
    with Store.open(tmp_path / "old") as store:
        first = Leases(store).acquire(["a"], "r1", NOW, TTL)[0].token
        backup(store, tmp_path / "copy")
        for number in range(5):
            lost = Leases(store).acquire(["a", "new"], f"r{number}", NOW + TTL * (number + 1), TTL)
    later = datetime.now(UTC) + timedelta(days=1)  # a new store begins at the real time
    restore(tmp_path / "node2", tmp_path / "copy", later)
    with Store.open(tmp_path / "node2") as store:
        again = Leases(store).acquire(["a", "new"], "r9", later, TTL)
    assert first < lost[0].token < min(lease.token for lease in again)
    restore(tmp_path / "node2", tmp_path / "copy", later + timedelta(seconds=1))
    with Store.open(tmp_path / "node2") as store:
        assert Leases(store).acquire(["a"], "r1", later, TTL)[0].token > again[0].token


def test_a_clock_that_stands_still_makes_no_token_come_twice(tmp_path: Path) -> None:
    past = datetime(1970, 1, 1, tzinfo=UTC)
    with Store.open(tmp_path / "old") as store:
        before = Leases(store).acquire(["a"], "r1", past, TTL)[0].token
        backup(store, tmp_path / "copy")
    restore(tmp_path / "old", tmp_path / "copy", past)
    with Store.open(tmp_path / "old") as store:
        assert Leases(store).acquire(["a"], "r1", past, TTL)[0].token > before


def test_a_renewed_lease_ends_later_and_keeps_its_token(leases: Leases) -> None:
    first = leases.acquire(["a", "b"], "one", NOW, TTL)
    renewed = leases.renew(first, NOW + timedelta(minutes=5), TTL)
    assert [lease.expires for lease in renewed] == [NOW + timedelta(minutes=15)] * 2
    assert [lease.token for lease in renewed] == [lease.token for lease in first]
    assert leases.held(NOW + timedelta(minutes=12)) == renewed


def test_renewing_several_changes_none_when_one_was_lost(leases: Leases) -> None:
    mine = leases.acquire(["a", "b"], "one", NOW, TTL)
    leases.release(mine[1:])
    with pytest.raises(Locked, match="released"):
        leases.renew(mine, NOW, TTL * 2)
    assert [lease.expires for lease in leases.held()] == [NOW + TTL]


def test_a_released_lease_is_free_and_the_next_token_is_higher(leases: Leases) -> None:
    first = leases.acquire(["a"], "one", NOW, TTL)
    leases.release(first)
    assert leases.held() == ()
    assert leases.acquire(["a"], "two", NOW, TTL)[0].token == first[0].token + 1


def test_a_late_release_does_not_free_what_somebody_else_holds(leases: Leases) -> None:
    old = leases.acquire(["a"], "one", NOW, TTL)
    leases.acquire(["a"], "two", NOW + TTL, TTL)
    leases.release(old)
    assert [lease.holder for lease in leases.held()] == ["two"]


def test_the_same_holder_takes_over_its_own_lease_with_a_new_token(leases: Leases) -> None:
    first = leases.acquire(["a"], "one", NOW, TTL)
    again = leases.acquire(["a"], "one", NOW, TTL)
    assert again[0].token == first[0].token + 1
    with pytest.raises(Locked):
        leases.renew(first, NOW, TTL)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 20)), max_size=12))
def test_tokens_of_a_name_only_rise_whatever_happens(leases: Leases, steps: list[tuple[str, str, int]]) -> None:
    seen: dict[str, int] = {}
    for name, holder, minutes in steps:
        try:
            token = leases.acquire([name], holder, NOW + timedelta(minutes=minutes), TTL)[0].token
        except Locked:
            continue
        assert token > seen.get(name, 0)
        seen[name] = token
