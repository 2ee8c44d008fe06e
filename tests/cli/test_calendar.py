"""`opsctl calendar`: the agenda of tenants and of a host, and calendars with faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opsctl.cli.main import run

SOURCE = """\
version: 1
tenant: ange
hosts:
  - {name: web1, address: 192.0.2.1, role: web, platform: debian-12, windows: [nights]}
  - {name: db1, address: 192.0.2.2, role: database, platform: debian-12}
"""
CALENDAR = """\
version: 1
freezes:
  - {name: election, from: 2026-09-07, to: "2026-09-14 12:00", reason: the general election}
"""


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    workspace = tmp_path / "drift"
    assert run(["init", str(workspace), "--tenant", "ange=Ånge kommun"]) == 0
    folder = workspace / "inventories/ange"
    with (folder / "tenant.yml").open("a") as file:
        file.write('windows: [{name: nights, days: [mon, tue], start: "22:00", end: "04:00"}]\n')
    (folder / "source.yml").write_text(SOURCE)
    (folder / "calendar.yml").write_text(CALENDAR)
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["inventory", "sync", "--yes"]) == 0
    return folder


def test_a_planner_sees_windows_freezes_and_holidays_and_what_may_start(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["calendar", "--from", "2026-09-14 23:00", "--days", "2"]) == 0
    told = capsys.readouterr().out
    assert "Mon 2026-09-14 22:00 CEST   Tue 2026-09-15 04:00 CEST   ange     window   nights   1 host" in told
    assert "ange.web1: may start at Mon 2026-09-14 23:00 CEST; until Tue 2026-09-15 04:00 CEST" in told
    assert "ange.db1: may start at any time" in told
    assert run(["calendar", "--from", "2026-09-14 11:00", "--tenant", "ange"]) == 0
    told = capsys.readouterr().out
    frozen = "not at Mon 2026-09-14 11:00 CEST: freeze election until Mon 2026-09-14 12:00 CEST: the general election"
    assert f"ange.db1: {frozen}; next Mon 2026-09-14 12:00 CEST" in told
    assert f"ange.web1: {frozen}; next Mon 2026-09-14 22:00 CEST" in told
    assert run(["calendar", "--from", "2026-12-24", "--days", "2"]) == 0
    assert "holiday   Julafton   shown" in capsys.readouterr().out


def test_programs_get_the_same_in_utc(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["calendar", "--from", "2026-09-14 11:00", "--host", "web1", "--days", "1", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["hosts"] == [
        {"host": "ange.web1", "may_start": False, "next_at": "2026-09-14T20:00:00Z", "until": None,
         "reason": "freeze election until Mon 2026-09-14 12:00 CEST: the general election"}
    ]  # fmt: skip
    assert [(one["from"], one["until"], one["what"]) for one in told["entries"]] == [
        ("2026-09-06T22:00:00Z", "2026-09-14T10:00:00Z", "freeze"),
        ("2026-09-14T20:00:00Z", "2026-09-15T02:00:00Z", "open"),
    ]


@pytest.mark.parametrize("words", [["--host", "web9"], ["--tenant", "bollnas"]])
def test_an_unknown_host_or_tenant_is_refused(folder: Path, words: list[str]) -> None:
    assert run(["calendar", *words]) == 3


@pytest.mark.parametrize("word", ["christmas", "9999-12-31", "0001-01-01", "2026-02-30"])
def test_a_moment_that_is_none_is_an_error_of_the_command_line(
    folder: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    assert run(["calendar", "--from", word]) == 2
    assert f"'{word}' is no moment: YYYY-MM-DD, or YYYY-MM-DD HH:MM" in capsys.readouterr().err


def test_bare_opsctl_tells_of_a_freeze_that_holds_and_of_a_calendar_with_faults(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    always = "version: 1\nfreezes: [{name: stop, days: [mon, tue, wed, thu, fri, sat, sun]}]\n"
    (folder / "calendar.yml").write_text(always)
    capsys.readouterr()
    assert run([]) == 0
    assert "Frozen: ange: stop (everything) until" in capsys.readouterr().out
    (folder / "calendar.yml").write_text("nothing")
    assert run([]) == 0
    assert "the calendar is not usable: 1 fault" in capsys.readouterr().out


def test_a_broken_calendar_is_told_with_its_line_and_stops_nothing_that_does_not_need_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "calendar.yml").write_text(CALENDAR.replace("2026-09-07", "2026-09-31"))
    (folder / "stop.ics").write_text("<html>")
    capsys.readouterr()
    assert run(["calendar"]) == 3
    told = capsys.readouterr().err
    assert "calendar.yml:3: from: '2026-09-31' is no day (YYYY-MM-DD" in told
    assert "stop.ics:1: not iCalendar: '<html>'" in told
    assert run(["inventory", "check"]) == 3
    assert "calendar.yml:3" in capsys.readouterr().out
    assert run(["inventory", "list"]) == 0
    assert run(["patch", "status"]) == 0
