"""What a running rollout asks of the calendars: as they are at that moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsctl import config
from opsctl.inventory import files
from opsctl.model.rollout import HostPlan
from opsctl.rollout.schedule import Schedule

# Monday evening in Ånge.
NOW = datetime(2026, 11, 23, 22, 0, tzinfo=UTC)
WEB = HostPlan(host="ange.web1", expected_seconds=900)
TENANT = """\
version: 1
name: ange
title: Ånge kommun
windows: [{name: nights, days: [mon], start: "22:00", end: "04:00"}]
"""
HOSTS = """\
version: 1
tenant: ange
hosts:
  - {name: web1, address: 192.0.2.1, role: web, platform: debian-12, windows: [nights]}
"""
FREEZE = "version: 1\nfreezes: [{name: outage, from: 2026-11-23, to: 2026-11-24, reason: the network is down}]\n"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "inventories/ange"
    folder.mkdir(parents=True)
    (tmp_path / "opsctl.yml").write_text("version: 1\n")
    (folder / "tenant.yml").write_text(TENANT)
    (folder / "hosts.yml").write_text(HOSTS)
    return folder


def schedule(folder: Path, clock: Clock, *, emergency: bool = False) -> Schedule:
    settings = config.load(folder.parents[1], {})
    return Schedule(settings, files.load(settings), clock, emergency=emergency)


def test_a_window_closes_by_the_expected_time_of_the_host(folder: Path) -> None:
    clock = Clock()
    asked = schedule(folder, clock)
    assert asked.closed(WEB) == ""
    clock.now = datetime(2026, 11, 24, 2, 45, 59, tzinfo=UTC)
    assert asked.closed(WEB).startswith("only 14 min left until Tue 2026-11-24 04:00 CET")
    clock.now += timedelta(hours=1)
    assert asked.closed(WEB) == "outside its window nights (host); next Mon 2026-11-30 22:00 CET"


def test_a_freeze_that_is_written_now_holds_from_now_on_and_no_longer_than_it_stands_there(folder: Path) -> None:
    asked = schedule(folder, Clock())
    assert asked.closed(WEB) == ""
    (folder / "calendar.yml").write_text(FREEZE)
    assert asked.closed(WEB).startswith("freeze outage until Wed 2026-11-25 00:00 CET: the network is down; next Mon")
    (folder / "calendar.yml").unlink()
    assert asked.closed(WEB) == ""


def test_a_calendar_that_cannot_be_read_keeps_every_host_and_is_named(folder: Path) -> None:
    asked = schedule(folder, Clock())
    (folder / "stop.ics").write_text("<html>")
    assert "the calendar is not usable" in asked.closed(WEB)
    assert "stop.ics:1: not iCalendar" in asked.closed(WEB)


def test_a_host_that_the_inventory_no_longer_has_or_that_cannot_be_read_is_asked_as_it_was(folder: Path) -> None:
    asked = schedule(folder, Clock())
    (folder / "hosts.yml").write_text(HOSTS.replace("web1", "web2"))
    assert asked.closed(WEB) == ""
    (folder / "hosts.yml").write_text("nothing that can be read")
    assert asked.closed(WEB) == ""


def test_the_time_left_is_that_of_the_host_whose_window_ends_first(folder: Path) -> None:
    both = (WEB, HostPlan(host="ange.db1"))
    (folder / "hosts.yml").write_text(HOSTS + "  - {name: db1, address: 192.0.2.2, role: web, platform: debian-12}\n")
    assert schedule(folder, Clock()).left(both) == "299 min (ange.web1)"
    assert schedule(folder, Clock()).left(both[1:]) == "no end"
    assert schedule(folder, Clock()).left(()) == ""
    assert schedule(folder, Clock(), emergency=True).left(both) == "no end: an emergency"
    (folder / "calendar.yml").write_text(FREEZE)
    assert schedule(folder, Clock()).left(both) == "0 min (ange.db1)"
    (folder / "calendar.yml").write_text("nothing")
    assert schedule(folder, Clock()).left(both).startswith("none: the calendar is not usable")


def test_an_emergency_is_never_kept(folder: Path) -> None:
    (folder / "calendar.yml").write_text(FREEZE)
    assert schedule(folder, Clock(), emergency=True).closed(WEB) == ""


def test_hosts_are_kept_until_the_last_of_their_windows_ends_and_not_at_all_outside(folder: Path) -> None:
    clock = Clock()
    hosts = HOSTS + "  - {name: db1, address: 192.0.2.2, role: db, platform: debian-12}\n"
    (folder / "hosts.yml").write_text(hosts)
    asked, free = schedule(folder, clock), HostPlan(host="ange.db1")
    assert asked.end([WEB]) == datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
    assert asked.end([WEB, free]) is None, "one of them may be changed at any time"
    assert schedule(folder, clock, emergency=True).end([WEB]) is None
    clock.now = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    end = asked.end([WEB])
    assert end is not None
    assert end <= clock.now, "its window is over"


def test_a_calendar_that_cannot_be_read_keeps_the_hosts_as_if_there_were_no_end(folder: Path) -> None:
    (folder / "calendar.yml").write_text("version: 1\nfreezes: [{name: a, days: [friday]}]\n")
    assert schedule(folder, Clock()).end([WEB]) is None


def test_a_freeze_holds_at_once_also_where_the_clock_was_set_back(folder: Path) -> None:
    clock = Clock()
    asked = schedule(folder, clock)
    assert asked.closed(WEB) == ""
    clock.now -= timedelta(minutes=30)
    (folder / "calendar.yml").write_text(FREEZE)
    assert asked.closed(WEB).startswith("freeze outage until Wed 2026-11-25 00:00 CET: the network is down; next Mon")
