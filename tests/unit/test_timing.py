"""When the hosts of a plan may start, how long they take, and who is left out for want of time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsctl.model import wire
from opsctl.model.calendar import Calendar, Hours
from opsctl.model.host import Host, Inventory, Tenant, Window
from opsctl.model.rollout import HostState, Plan, Stage
from opsctl.patch import pending, propose
from opsctl.patch.expected import from_history
from opsctl.patch.propose import Wish
from opsctl.rollout.execute import mend_missed
from opsctl.rollout.timing import Timing, not_in_time
from opsctl.state.store import Store
from tests.unit.test_patch_propose import reading

# Wednesday afternoon in Ånge.
NOW = datetime(2026, 11, 25, 14, 0, tzinfo=UTC)
NIGHTS = Window(name="nights", days=("wed",), start="22:00", end="04:00")
SUNDAYS = Window(name="sundays", days=("sun",), start="01:00", end="01:10")
FREE, NIGHT, SUNDAY = (
    Host(name=name, tenant="ange", address="192.0.2.1", role="web", platform="debian-12", windows=windows)
    for name, windows in (("free", ()), ("night", ("nights",)), ("sunday", ("sundays",)))
)
STOCK = Inventory(tenants=(Tenant(name="ange", title="Ånge kommun"),), hosts=(FREE, NIGHT, SUNDAY), digest="d")
HOURS = Hours([Calendar(tenant="ange", windows={"nights": NIGHTS, "sundays": SUNDAYS})])
TIMING = Timing(hours=HOURS, now=NOW, usual=timedelta(minutes=5))


def test_a_plan_without_a_time_is_for_what_may_start_within_a_day() -> None:
    assert TIMING.slot(FREE).window == "any time"
    night = TIMING.slot(NIGHT)
    assert night.window == "from Wed 2026-11-25 22:00 CET until Thu 2026-11-26 04:00 CET"
    assert night.opens_at == datetime(2026, 11, 25, 21, 0, tzinfo=UTC)
    assert TIMING.slot(SUNDAY).reason == "outside its window sundays (host); next Sun 2026-11-29 01:00 CET"


def test_a_plan_for_a_time_holds_what_may_start_then() -> None:
    at = datetime(2026, 11, 29, 0, 0, tzinfo=UTC)
    slots = {host.name: replace(TIMING, at=at).slot(host) for host in STOCK}
    assert slots["sunday"].window == "from Sun 2026-11-29 01:00 CET until Sun 2026-11-29 01:10 CET"
    assert slots["night"].reason == "outside its window nights (host); next Wed 2026-12-02 22:00 CET"


def test_an_emergency_goes_over_windows_and_says_over_which() -> None:
    slot = replace(TIMING, emergency=True).slot(SUNDAY)
    assert (slot.reason, slot.window) == ("", "emergency, over: outside its window sundays (host)")


def propose_with(timing: Timing) -> Plan:
    readings: pending.Readings = {host.key: reading() for host in STOCK}
    wish = Wish(max_parallel=5, reboot="never", at=timing.at, emergency="")
    return propose.propose(STOCK, STOCK, readings, wish, now=NOW, who="anna", content_digest="c", timing=timing)


def test_a_plan_shows_windows_and_expected_times_and_names_whom_it_leaves_out_and_until_when() -> None:
    made = propose_with(replace(TIMING, expected={NIGHT.key: timedelta(minutes=7)}))
    assert [(item.host, item.expected_seconds, item.window[:8]) for item in made.hosts] == [
        ("ange.free", 300, "any time"), ("ange.night", 420, "from Wed"),
    ]  # fmt: skip
    (left,) = made.left_out
    assert (left.host, left.missed) == ("ange.sunday", False), "it has its time, and is not forgotten"


def test_a_plan_names_the_hosts_that_would_not_have_their_turn_in_time() -> None:
    at = datetime(2026, 11, 26, 2, 45, tzinfo=UTC)
    other = replace(NIGHT, name="other")
    stock = replace(STOCK, hosts=(NIGHT, other))
    timing = Timing(hours=HOURS, now=NOW, at=at, usual=timedelta(minutes=10))
    wish = Wish(max_parallel=1, reboot="never", at=at)
    readings = {host.key: reading() for host in stock}
    made = propose.propose(stock, stock, readings, wish, now=NOW, who="anna", content_digest="c", timing=timing)
    assert [item.host for item in made.hosts] == ["ange.night", "ange.other"]
    assert not_in_time(made, stock, timing) == ("ange.other",)


def test_a_host_whose_window_is_always_too_short_makes_the_plan_incomplete() -> None:
    made = propose_with(replace(TIMING, usual=timedelta(minutes=11)))
    (left,) = made.left_out
    assert left.missed
    assert left.reason.endswith("and at no time within a year")
    assert "windows that never meet or are too short" in mend_missed(made)


def test_the_same_plan_made_a_minute_later_has_the_same_hash() -> None:
    assert propose_with(TIMING).hash == propose_with(replace(TIMING, now=NOW + timedelta(minutes=1))).hash


@pytest.mark.parametrize(
    ("minutes", "expected"), [([3, 9, 4], 9), ([3, 4, 5, 6, 7, 20], 7), ([4, 600], 4), ([600], None)]
)
def test_a_host_takes_as_long_as_the_longest_of_its_last_five_times_pauses_apart(
    tmp_path: Path, minutes: list[int], expected: int | None
) -> None:
    with Store.open(tmp_path) as store:
        for number, took in enumerate(minutes):
            rollout, at = f"patch-{number}", NOW - timedelta(days=number)
            store.save_rollout(rollout, "{}", at)
            done = HostState(host="ange.free", stage=Stage.DONE, at=at, started_at=at - timedelta(minutes=took))
            store.save_host_state(rollout, "ange.free", wire.dumps(done), at)
        found = from_history(store, "patch", longest=timedelta(hours=1))
    assert found.get("ange.free") == (None if expected is None else timedelta(minutes=expected))
