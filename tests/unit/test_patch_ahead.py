"""Word to service owners ahead of a rollout: the right hosts, times and calendar entries, and nothing that acts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy

import icalendar

from opsctl.model.calendar import Calendar, Hours
from opsctl.model.host import Host, Inventory, Service, Tenant, Window
from opsctl.model.rollout import Batch, HostPlan, Plan, Wave
from opsctl.patch import ahead
from opsctl.rollout.notice import Route, letter

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)  # a Sunday
OPENS = datetime(2026, 11, 22, 21, tzinfo=UTC)
NIGHT = Window(name="night", days=("sun",), start="22:00", end="02:00")
HOURS = Hours([Calendar(tenant="ange", windows={"night": NIGHT}, default=("night",))])


def host(name: str, owner: str, tenant: str = "ange") -> Host:
    return Host(
        name=name, tenant=tenant, address="192.0.2.1", role="web", platform="debian-12", owner=owner,
        services=(Service(name="e-tjanster", port=443),),
    )  # fmt: skip


STOCK = Inventory(
    tenants=(Tenant(name="ange", title="Ånge kommun"),),
    hosts=(
        host("web1", "it@ange.example"),
        host("web2", "it@ange.example"),
        host("db1", "x\r\nBcc: y"),
        host("app1", ""),
    ),
)


def plan() -> Plan:
    items = tuple(
        HostPlan(host=one.key, expected_seconds=600, opens_at=OPENS, reboot_expected=True,
                 downtime_seconds=150 if one.name == "web1" else 0,
                 drain_through="ange.lb1" if one.name == "web2" else "")
        for one in STOCK.hosts
    )  # fmt: skip
    return Plan(
        id="patch-1", hash="h", kind="patch", made_at=NOW, made_by="anna", inventory_digest="d", content_digest="c",
        waves=(Wave(ring="broad", batches=(Batch(hosts=items),)),), ticket="CHG-1",
    )  # fmt: skip


def words(*languages: str) -> dict[str, ahead.Word]:
    return {word.owner: word for word in ahead.ahead(plan(), STOCK, HOURS, NOW, languages or ("en",))}


def test_each_owner_is_told_of_own_hosts_with_time_and_downtime() -> None:
    told = words()
    assert list(told) == ["", "it@ange.example", "x\r\nBcc: y"]
    body = letter(told["it@ange.example"].notice, Route(target="t", words={})).body
    assert "ange.web1: When: Sun 2026-11-22 22:00 CET to Mon 2026-11-23 02:00 CET; about 10 minutes" in body
    assert "expected downtime: about 3 minutes" in body.splitlines()[-2], "as the plan estimates it"
    assert "no downtime expected" in body.splitlines()[-1]
    assert "services: e-tjanster" in body
    assert "db1" not in body
    unmeasured = letter(told["x\r\nBcc: y"].notice, Route(target="t", words={})).body
    assert "expected downtime: about 10 minutes" in unmeasured, "within its whole change, where nothing else is known"


def test_two_languages_stand_in_one_mail() -> None:
    text = letter(words("sv", "en")["it@ange.example"].notice, Route(target="t", words={}))
    assert text.title == "Planerat underhåll / Planned maintenance"
    assert "cirka 10 minuter" in text.body
    assert "about 10 minutes" in text.body


def test_the_calendar_entry_holds_the_window_and_wants_no_answer() -> None:
    attachment = words()["it@ange.example"].notice.attachment
    assert attachment is not None
    calendar = icalendar.Calendar.from_ical(attachment.content)
    [event] = calendar.walk("VEVENT")
    assert (calendar["METHOD"], event["TRANSP"]) == ("PUBLISH", "TRANSPARENT")
    assert (event.decoded("DTSTART"), event.decoded("DTEND")) == (OPENS, OPENS + timedelta(hours=4))
    assert str(event["SUMMARY"]) == "Planned maintenance: web1, web2"
    again = words()["it@ange.example"].notice.attachment
    assert again == attachment


def test_mails_are_files_where_there_is_no_mail_and_a_hostile_owner_adds_no_header() -> None:
    files = dict(ahead.as_files(words().values()))
    assert sorted(name.rpartition(".")[2] for name in files) == ["eml", "eml", "ics", "ics"]
    assert all("/" not in name and name.isprintable() for name in files)
    for name, content in files.items():
        if name.endswith(".eml"):
            mail = message_from_bytes(content, policy=policy.default)
            assert mail["Bcc"] is None
            assert mail["Subject"] == "Planned maintenance"
            [added] = list(mail.iter_attachments())
            assert (added.get_content_type(), added.get_filename()) == ("text/calendar", "patch-1.ics")


def test_a_host_without_a_window_is_told_from_now_on_for_an_hour_at_least() -> None:
    always = Hours([])
    told = {word.owner: word for word in ahead.ahead(plan(), STOCK, always, OPENS + timedelta(days=1), ("en",))}
    [one, _] = told["it@ange.example"].turns
    assert (one.begin, one.end - one.begin) == (OPENS + timedelta(days=1), timedelta(hours=1))
