"""calendar.yml, *.ics and public holidays: what comes out, and every fault with its line."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl import config
from opsctl.config import Settings
from opsctl.documents import Problems
from opsctl.errors import InventoryError
from opsctl.inventory import calendars, faults, files, icsfile
from opsctl.inventory.calendarfile import Period
from opsctl.model.calendar import Freeze, Hours
from opsctl.model.spans import Span

STOCKHOLM = ZoneInfo("Europe/Stockholm")
NOW = datetime(2026, 11, 25, 11, 0, tzinfo=UTC)
TENANT = """\
version: 1
name: ange
title: Ånge kommun
windows:
  - {name: nights, days: [mon, tue, wed, thu], start: "22:00", end: "04:00"}
  - {name: sundays, days: [sun], start: "01:00", end: "24:00"}
"""
HOSTS = """\
version: 1
tenant: ange
hosts:
  - {name: web1, address: 192.0.2.1, role: web, platform: debian-12, services: [{name: booking, port: 443}]}
  - {name: db1, address: 192.0.2.2, role: database, platform: debian-12}
"""
WORDS = "version: 1\n"
EVENT = "UID:1\nDTSTAMP:20260101T000000Z\n"
Workspace = Callable[..., Settings]


@pytest.fixture(name="workspace")
def _workspace(tmp_path: Path) -> Workspace:
    def make(calendar: str | None = None, ics: str | bytes | None = None, hosts: str | None = HOSTS) -> Settings:
        (tmp_path / "opsctl.yml").write_text("version: 1\n")
        folder = tmp_path / "inventories" / "ange"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tenant.yml").write_text(TENANT)
        if hosts:
            (folder / "hosts.yml").write_text(hosts)
            (folder / "source.yml").write_text(hosts)
        if calendar is not None:
            (folder / "calendar.yml").write_text(WORDS + calendar)
        if ics is not None:
            (folder / "stop.ics").write_bytes(ics if isinstance(ics, bytes) else ics.encode())
        return config.load(tmp_path, {})

    return make


def load(settings: Settings) -> Hours:
    return calendars.load(settings, files.load(settings), NOW)


def freezes(settings: Settings) -> tuple[Freeze, ...]:
    return load(settings).of("ange").freezes


def the_faults(settings: Settings) -> list[str]:
    """Every fault, without the folder; a verb that needs the calendar and the check tell the same."""
    with pytest.raises(InventoryError) as caught:
        load(settings)
    told = [str(problem) for problem in caught.value.problems]
    assert [str(problem) for problem in faults.faults(settings, NOW)] == told
    return [text.rpartition("inventories/ange/")[2] for text in told]


def ics(*events: str, head: str = "") -> str:
    body = "".join(f"BEGIN:VEVENT\n{EVENT}{event}\nEND:VEVENT\n" for event in events)
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\n{head}{body}END:VCALENDAR\n".replace("\n", "\r\n")


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=STOCKHOLM).astimezone(UTC)


def span(start: str, end: str) -> Span:
    return Span(start=local(start), end=local(end))


# --- calendar.yml ----------------------------------------------------------------------------------------------------


def test_a_tenant_without_a_calendar_has_windows_and_knows_its_holidays(workspace: Workspace) -> None:
    found = load(workspace()).of("ange")
    assert set(found.windows) == {"nights", "sundays"}
    assert (found.default, found.freezes) == ((), ())
    assert [(one.day, one.name, one.frozen) for one in found.holidays if one.day.year == 2026][-3:] == [
        (date(2026, 12, 25), "Juldagen", False),
        (date(2026, 12, 26), "Annandag jul", False),
        (date(2026, 12, 31), "Nyårsafton", False),
    ]


def test_windows_hold_for_tenant_ring_and_service_by_their_names(workspace: Workspace) -> None:
    settings = workspace("windows: {tenant: [nights], rings: {canary: [sundays]}, services: {booking: [sundays]}}\n")
    found = load(settings).of("ange")
    assert (found.default, found.rings, found.services) == (
        ("nights",), {"canary": ("sundays",)}, {"booking": ("sundays",)},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("freeze", "first"),
    [
        ("from: 2026-12-18, to: 2027-01-06", span("2026-12-18T00:00", "2027-01-07T00:00")),
        ('from: "2026-12-18 12:00", to: "2027-01-07 08:00"', span("2026-12-18T12:00", "2027-01-07T08:00")),
        ("from: 2026-12-18, to: 2026-12-18", span("2026-12-18T00:00", "2026-12-19T00:00")),
        ("from: 12-18, to: 01-06", span("2026-12-18T00:00", "2027-01-07T00:00")),
        ('from: 12-18, to: "12-20 12:00"', span("2026-12-18T00:00", "2026-12-20T12:00")),
        ('days: [fri], start: "12:00"', span("2026-11-27T12:00", "2026-11-28T00:00")),
        ('days: [thu], start: "22:00", end: "06:00"', span("2026-11-26T22:00", "2026-11-27T06:00")),
        ("month_days: [27]", span("2026-11-27T00:00", "2026-11-28T00:00")),
        ("month_days: [last]", span("2026-11-30T00:00", "2026-12-01T00:00")),
        ("from: 02-29, to: 02-29", span("2027-02-28T00:00", "2027-03-01T00:00")),
    ],
)
def test_a_freeze_is_a_span_the_same_days_each_year_days_of_the_week_or_of_the_month(
    workspace: Workspace, freeze: str, first: Span
) -> None:
    (found,) = freezes(workspace(f"freezes:\n  - {{name: stop, reason: because, {freeze}}}\n"))
    assert min(one for one in found.spans if one.start > NOW) == first
    assert (found.name, found.reason, found.scope) == ("stop", "because", "everything")
    assert found.where.endswith("calendar.yml:3")


def test_a_freeze_that_ends_in_the_hour_that_comes_twice_ends_with_the_second(workspace: Workspace) -> None:
    (found,) = freezes(workspace('freezes: [{name: stop, from: 2027-10-30, to: "2027-10-31 02:30"}]\n'))
    assert found.spans[0].end == datetime(2027, 10, 31, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kept", "christmas_eve", "christmas_day"), [("shown", True, True), ("public", True, False),
                                                 ("public-and-eves", False, False)]
)  # fmt: skip
def test_holidays_are_shown_or_kept_without_or_with_the_eves(
    workspace: Workspace, kept: str, christmas_eve: bool, christmas_day: bool
) -> None:
    settings = workspace(f"holidays: {kept}\n")
    hours, host = load(settings), files.load(settings).host("db1")
    assert hours.may_start(host, local("2026-12-24T10:00")).allowed is christmas_eve
    verdict = hours.may_start(host, local("2026-12-25T10:00"))
    assert verdict.allowed is christmas_day
    assert christmas_day or verdict.reason.startswith("freeze Juldagen until Sat 2026-12-26 00:00 CET")


@pytest.mark.parametrize(
    ("calendar", "fault"),
    [
        ("zone: Europe/Sundsvall\n", "calendar.yml:2: zone: 'Europe/Sundsvall' is not known"),
        ("windows: {tenant: [evenings]}\n", "calendar.yml:2: tenant: 'evenings' is not in the inventory"),
        ("windows:\n  rings: {pilot: [nights]}\n", "calendar.yml:3: rings: 'pilot' is not in the inventory"),
        ("windows:\n  services:\n    bokning: [nights]\n", "calendar.yml:4: services: 'bokning' is not in"),
        ("windows: {host: [nights]}\n", "calendar.yml:2: 'host' is not known here (known: rings, services, tenant)"),
        ("holidays: all\n", "calendar.yml:2: holidays: 'all' is not known (one of: shown, public, public-and-eves)"),
        ("freeze: []\n", "calendar.yml:2: 'freeze' is not known here"),
        ("freezes: [{name: a}]\n", "calendar.yml:2: a freeze has from and to, or days, or month_days"),
        ("freezes: [{name: a, days: [fri], from: 2026-12-01}]\n", "calendar.yml:2: a freeze has from and to, or days"),
        ("freezes: [{name: a, from: 2026-12-01}]\n", "calendar.yml:2: to is missing"),
        ("freezes: [{name: a, from: 2026-13-01, to: 2026-12-01}]\n", "calendar.yml:2: from: '2026-13-01' is no day"),
        ("freezes: [{name: a, from: 2026-02-29, to: 2026-12-01}]\n", "calendar.yml:2: from: '2026-02-29' is no day"),
        ("freezes: [{name: a, from: 2026-12-02, to: 2026-12-01}]\n", "calendar.yml:2: to: the freeze ends before it"),
        ("freezes: [{name: a, from: 12-02, to: 2026-12-01}]\n", "calendar.yml:2: from and to: one of them has a year"),
        ("freezes: [{name: a, from: 9999-12-02, to: 9999-12-31}]\n", "calendar.yml:2: from: '9999-12-02' is too far"),
        ("freezes: [{name: a, days: [friday]}]\n", "calendar.yml:2: days: 'friday' is not known (a list of: mon"),
        ("freezes: [{name: a, month_days: [32]}]\n", "calendar.yml:2: month_days: '32' is no day of a month"),
        ('freezes: [{name: a, days: [fri], start: "25:00"}]\n', "calendar.yml:2: start: '25:00' is not allowed"),
        ('freezes: [{name: a, days: [fri], start: "05:00", end: "05:00"}]\n', "calendar.yml:2: end: the freeze ends"),
        ("freezes: [{name: a, days: [fri], hosts: [web9]}]\n", "calendar.yml:2: hosts: 'web9' is not in the inventory"),
        ("freezes: [{name: a, days: [fri]}, {name: a, days: [sat]}]\n", "calendar.yml:2: freezes: 'a' is there twice"),
    ],
)  # fmt: skip
def test_a_fault_of_a_calendar_is_told_with_its_line_and_what_is_allowed(
    workspace: Workspace, calendar: str, fault: str
) -> None:
    assert any(text.startswith(fault) for text in the_faults(workspace(calendar))), the_faults(workspace(calendar))


def test_names_of_hosts_and_services_wait_for_the_first_sync(workspace: Workspace) -> None:
    settings = workspace("freezes: [{name: a, days: [fri], hosts: [web9], services: [booking]}]\n", hosts=None)
    assert freezes(settings)[0].hosts == ("web9",)


def test_the_example_of_the_reference_page_is_sound(workspace: Workspace) -> None:
    page = (Path(__file__).parents[2] / "docs/reference/calendar.md").read_text()
    example = page.partition("```yaml\nversion: 1\n")[2].partition("```")[0]
    tenant = TENANT.replace("name: nights", "name: weeknights") + (
        '  - {name: office-hours, days: [mon], start: "09:00", end: "15:00"}\n'
    )
    settings = workspace(example, hosts=HOSTS.replace("booking", "payroll") + (
        "  - {name: web2, address: 192.0.2.3, role: web, platform: debian-12, "
        "services: [{name: booking, port: 443}]}\n"
    ))  # fmt: skip
    (settings.inventories / "ange/tenant.yml").write_text(tenant)
    assert {freeze.name for freeze in freezes(settings)} >= {"christmas", "election", "salaries", "fridays"}


@given(text=st.text(alphabet="[]{}-:?&*!|>'\"%@`#, \nfrezsndayhoitwum01269", max_size=100))
def test_no_text_makes_the_reader_of_calendars_stumble(text: str) -> None:
    from opsctl.inventory.calendarfile import Known, read_calendar
    from opsctl.model.host import Tenant

    known = Known(windows=(), rings=(), services=None, hosts=None)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "calendar.yml").write_text(text)
        read_calendar(Path(folder), Tenant(name="ange", title="Ånge"), known, Period.around(NOW), Problems())


# --- *.ics -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "first"),
    [
        ("DTSTART;VALUE=DATE:20261218\nDTEND;VALUE=DATE:20270107", span("2026-12-18T00:00", "2027-01-07T00:00")),
        ("DTSTART;VALUE=DATE:20261218", span("2026-12-18T00:00", "2026-12-19T00:00")),
        ("DTSTART:20261218T100000Z\nDTEND:20261218T120000Z", span("2026-12-18T11:00", "2026-12-18T13:00")),
        ("DTSTART:20261218T100000\nDURATION:PT2H", span("2026-12-18T10:00", "2026-12-18T12:00")),
        ("DTSTART;TZID=W. Europe Standard Time:20261218T100000\nDURATION:PT2H",
         span("2026-12-18T10:00", "2026-12-18T12:00")),
        ("DTSTART;VALUE=DATE:20200101\nRRULE:FREQ=YEARLY", span("2027-01-01T00:00", "2027-01-02T00:00")),
        ("DTSTART;VALUE=DATE:20260925\nRRULE:FREQ=MONTHLY;COUNT=4", span("2026-12-25T00:00", "2026-12-26T00:00")),
        ("DTSTART:20261128T230000Z\nDTEND:20261129T010000Z\nTRANSP:TRANSPARENT",
         span("2026-11-29T00:00", "2026-11-29T02:00")),
    ],
)  # fmt: skip
def test_an_event_is_a_freeze_for_the_whole_tenant(workspace: Workspace, event: str, first: Span) -> None:
    (found,) = freezes(workspace(ics=ics(f"SUMMARY:Julstopp\n{event}")))
    assert min(one for one in found.spans if one.start > NOW) == first
    assert (found.name, found.reason, found.whole) == ("Julstopp", "stop.ics", True)
    assert found.where.endswith("ange/stop.ics:4")


def test_cancelled_and_moved_events_and_exceptions_are_heeded(workspace: Workspace) -> None:
    weekly = "SUMMARY:Lönekörning\nDTSTART:20261201T100000Z\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;COUNT=3"
    moved = "SUMMARY:Lönekörning\nRECURRENCE-ID:20261215T100000Z\nDTSTART:20261216T100000Z\nDURATION:PT5H"
    cancelled = "STATUS:CANCELLED\nDTSTART;VALUE=DATE:20261203".replace("UID:1", "UID:2")
    text = ics(f"{weekly}\nEXDATE:20261208T100000Z", moved) + ""
    other = ics(cancelled).replace("UID:1", "UID:2")
    (found,) = freezes(workspace(ics=text.replace("END:VCALENDAR\r\n", "") + other.partition("PRODID:x\r\n")[2]))
    assert [(one.start.day, one.end - one.start) for one in found.spans] == [
        (1, timedelta(hours=1)), (16, timedelta(hours=5)),
    ]  # fmt: skip


def test_the_words_of_an_event_lose_what_could_act_on_a_terminal(workspace: Workspace) -> None:
    event = "SUMMARY:Jul\x1b[31m\u202estopp\\nand more\nDTSTART;VALUE=DATE:20261218"
    (found,) = freezes(workspace(ics=ics(event)))
    assert found.name == "Jul [31m stopp and more"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "stop.ics:1: not iCalendar"),
        ("<html>\n<body>", "stop.ics:1: not iCalendar: '<html>'"),
        ("BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\n", "stop.ics:1: not iCalendar"),
        (b"BEGIN:VCALENDAR\n\xff\xfe", "stop.ics: cannot be read"),
        (ics("SUMMARY:a"), "stop.ics:4: event 'a' has no DTSTART"),
        (ics("SUMMARY:a\nDTSTART:20261301T100000Z"), "stop.ics:4: event 'a'"),
        (ics("SUMMARY:a\nDTSTART:20261201T100000Z"), "stop.ics:4: event 'a' has no end (DTEND or DURATION)"),
        (ics("SUMMARY:a\nDTSTART:19991201T100000Z\nDURATION:PT1H"), "stop.ics:4: event 'a' begins in 1999"),
        (ics("SUMMARY:a\nDTSTART;TZID=Nowhere/X:20261201T100000\nDURATION:PT1H"), "stop.ics:4: event 'a': time zone"),
        (ics("DTSTART;VALUE=DATE:20261201\nRRULE:FREQ=SECONDLY"), "stop.ics:4: event 'without a title' repeats in a"),
        (ics("DTSTART;VALUE=DATE:20261201\nRRULE:FREQ=HUGO"), "stop.ics:4: event 'without a title'"),
        (ics("SUMMARY:a\nDTSTART;VALUE=DATE:20261201\nthis is no line"), "stop.ics:4: event 'a': a line is not"),
        (ics("SUMMARY:a\nDTSTART;VALUE=DATE:20261201\nRRULE:FREQ=WEEKLY\nEXDATE:gibberish"), "stop.ics"),
        (ics("DTSTART:20261201T100000Z\nDTSTART:20271201T100000Z\nDURATION:PT1H"), "stop.ics:4: event 'without a"),
        (b"x" * (icsfile.MOST_BYTES + 1), "stop.ics: 1000001 bytes (at most 1000000)"),
        (ics(*["DTSTART;VALUE=DATE:20261201"] * (icsfile.MOST_EVENTS + 1)), "stop.ics: 501 events (at most 500)"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_calendar_of_freezes_is_a_fault_and_nothing_else(
    workspace: Workspace, text: str | bytes, fault: str
) -> None:
    assert the_faults(workspace(ics=text))[0].startswith(fault), the_faults(workspace(ics=text))


@given(
    text=st.lists(
        st.sampled_from(
            ["BEGIN:VEVENT", "END:VEVENT", "DTSTART;VALUE=DATE:20261201", "DTSTART:20261201T1",
             "DTEND:20261202T100000Z",
             "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "RRULE:COUNT=0", "EXDATE:x", "UID:1", "DURATION:-P1D", ":",
             " x",
             "RECURRENCE-ID:20261201T100000Z", "BEGIN:VTIMEZONE", "END:VTIMEZONE", "RDATE:20261203T100000Z"]
        ),
        max_size=12,
    )
)  # fmt: skip
def test_no_order_of_lines_makes_the_reader_of_ics_stumble(text: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stop.ics"
        path.write_text("\r\n".join(["BEGIN:VCALENDAR", *text, "END:VCALENDAR", ""]))
        icsfile.read_freezes(path, "ange", STOCKHOLM, Period.around(NOW), Problems())


def test_a_workspace_without_ics_files_does_not_load_their_libraries() -> None:
    code = "import sys, opsctl.inventory.calendars, opsctl.inventory.icsfile; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"icalendar", "recurring_ical_events", "holidays", "dateutil"}
