"""Notifications: told to real servers on loopback, kept apart by route, and never in a rollout's way."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsctl import config
from opsctl.errors import ConfigError
from opsctl.rollout import targets
from opsctl.rollout.deliver import deliver
from opsctl.rollout.notice import About, Attachment, Letter, Notice, Occasion, Route, letter, plain
from opsctl.rollout.notify import Delivery, Notifier
from opsctl.state.redaction import Redactor
from tests.unit.receivers import Received, mail_server, web_server

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
CANARY = "Canary-1234567890"
HOSTILE = "\x1b[31m<script>x</script> [click](http://evil.example) \u202e\nBcc: all@example\r\n"
HOSTS = (
    About(host="ange.web1", tenant="ange", owner="it@ange.example", role="web", state="done"),
    About(host="sundsvall.db1", tenant="sundsvall", owner="db@sundsvall.example", role="database", state="failed",
          text="installing: no space"),
)  # fmt: skip
HALT = Notice(
    occasion=Occasion.FAILURE, subject="opsctl: patch-1 is HALTED", rollout="patch-1",
    lines=("patch, planned by anna",), whole=("why: sundsvall.db1 failed",), hosts=HOSTS,
)  # fmt: skip


def settings(tmp_path: Path, *routes: str, addresses: str = "", timeout: int = 10) -> config.Settings:
    (tmp_path / "opsctl.yml").write_text("version: 1\n", encoding="utf-8")
    file = tmp_path / "targets.yml"
    file.write_text(addresses, encoding="utf-8")
    file.chmod(0o600)
    given: dict[str, config.Value] = {"notify.routes": routes, "notify.timeout": timeout}
    return config.load(tmp_path, {}, {**given, "notify.targets_file": "targets.yml"})


class Desk:
    """A notifier with what it said and kept."""

    def __init__(self, given: config.Settings) -> None:
        self.said: list[str] = []
        self.kept: list[Delivery] = []
        self.redactor = Redactor()
        self.notifier = Notifier(given, self.redactor, clock=lambda: NOW, say=self.said.append, keep=self.kept.append)

    def tell(self, *notices: Notice) -> list[str]:
        """Tell and close; why each was not told."""
        for notice in notices:
            self.notifier.tell(notice)
        self.notifier.close()
        return [one.why for one in self.kept]


@pytest.fixture
def web() -> Iterator[Received]:
    with web_server() as got:
        yield got


@pytest.fixture
def mail() -> Iterator[Received]:
    with mail_server() as got:
        yield got


def test_a_notice_goes_to_a_web_hook_and_as_a_mail(tmp_path: Path, web: Received, mail: Received) -> None:
    book = (
        f"hook: json://127.0.0.1:{web.port}/{CANARY}\n"
        f"mail: ['mailto://127.0.0.1:{mail.port}/?from=opsctl@sundsvall.example&to=oncall@sundsvall.example']\n"
    )
    desk = Desk(settings(tmp_path, "= hook", "event:failure event:stalled = mail", addresses=book))
    assert desk.tell(HALT) == ["", ""]
    assert web.posts[0]["title"] == "opsctl: patch-1 is HALTED"
    assert web.posts[0]["type"] == "failure"
    [(to, message)] = mail.mails
    assert to == ["<oncall@sundsvall.example>"]
    assert message["Subject"] == "opsctl: patch-1 is HALTED"
    text = message.get_body(("plain",))
    assert text is not None
    assert text.get_content().splitlines() == [
        "patch, planned by anna",
        "why: sundsvall.db1 failed",
        "hosts: 2 (1 done, 1 failed)",
        "sundsvall.db1: installing: no space",
    ]


def test_who_is_told_of_one_municipality_reads_nothing_of_another() -> None:
    text = letter(HALT, Route(target="ange-it", words={"tenant": ("ange",)}))
    assert text.body.splitlines() == ["patch, planned by anna", "hosts: 1 (1 done)"]
    owners = letter(HALT, Route(target="db", words={"owner": ("db@*",), "role": ("database",)}))
    assert "sundsvall.db1: installing" in owners.body
    assert "why:" not in owners.body


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ({}, True),
        ({"tenant": ("ange",)}, True),
        ({"tenant": ("bollnas",)}, False),
        ({"tenant": ("ange",), "role": ("database",)}, False),
        ({"event": ("failure", "stalled")}, True),
        ({"event": ("end",)}, False),
        ({"event": ("failure",), "owner": ("*@ange.example",)}, True),
    ],
)
def test_a_route_wants_what_all_its_kinds_of_words_fit(words: dict[str, tuple[str, ...]], *, wanted: bool) -> None:
    assert Route(target="t", words=words).wants(HALT) is wanted


def test_a_look_ahead_goes_only_to_who_asked_for_it() -> None:
    ahead = Notice(occasion=Occasion.AHEAD, subject="s", hosts=HOSTS)
    assert not Route(target="t", words={}).wants(ahead)
    assert Route(target="t", words={"event": ("ahead",)}).wants(ahead)


def test_foreign_words_command_no_terminal_mail_or_chat_program() -> None:
    text = plain(HOSTILE)
    assert text == "[31m‹script›x‹/script› [click] (http://evil.example) Bcc: all@example"
    long = letter(
        Notice(occasion=Occasion.END, subject="s" * 999, lines=("x" * 9999,) * 500), Route(target="t", words={})
    )
    assert len(long.title) <= 150
    assert len(long.body) <= 80 * 301


def test_an_attachment_arrives_as_the_file_that_it_is(mail: Received) -> None:
    ics = Attachment(name="patching.ics", kind="text/calendar", content=b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n")
    text = Letter(occasion=Occasion.AHEAD, title="Planerat arbete", body="Å", attachment=ics)
    address = f"mailto://127.0.0.1:{mail.port}/?from=opsctl@sundsvall.example&to=it@ange.example"
    assert deliver([address], text, 10) == ""
    [(_, message)] = mail.mails
    [added] = list(message.iter_attachments())
    assert (added.get_filename(), added.get_content_type()) == ("patching.ics", "text/calendar")
    assert added.get_payload(decode=True) == ics.content


def test_a_server_that_refuses_is_said_once_and_kept_each_time(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with web_server(answer=500) as web:
        book = f"hook: json://user:{CANARY}@127.0.0.1:{web.port}/\n"
        desk = Desk(settings(tmp_path, "= hook", addresses=book))
        assert desk.tell(HALT, HALT) == ["it answered 500"] * 2
    assert desk.said == ["notification to hook: it answered 500; the rollout itself goes on"]
    out, err = capfd.readouterr()
    assert CANARY not in out + err + str(desk.said) + str(desk.kept)
    assert err == ""


def test_a_server_that_is_down_does_not_keep_the_others_from_being_told(tmp_path: Path, web: Received) -> None:
    with web_server() as gone:
        port = gone.port
    book = f"down: json://127.0.0.1:{port}/\nmail: mailto://127.0.0.1:{port}/?from=a@b.example&to=c@d.example\n"
    book += f"up: json://127.0.0.1:{web.port}/\n"
    desk = Desk(settings(tmp_path, "= down", "= up", "= mail", addresses=book))
    desk.tell(HALT)
    assert {one.target: one.why for one in desk.kept} == {"down": "no connection", "mail": "no connection", "up": ""}


def test_a_server_that_hangs_keeps_nobody_waiting(tmp_path: Path, web: Received) -> None:
    with web_server(hang=True) as slow:
        book = f"slow: json://127.0.0.1:{slow.port}/\nup: json://127.0.0.1:{web.port}/\n"
        desk = Desk(settings(tmp_path, "= slow", "= up", addresses=book, timeout=1))
        desk.notifier.tell(HALT)
        assert slow.asked.wait(30)
        began = time.monotonic()
        desk.notifier.tell(HALT)
        assert time.monotonic() - began < 0.5  # no more than a queue
        desk.notifier.close()
        others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
        assert all(thread.daemon for thread in others)  # Python waits for no such thread when it ends
    assert len(web.posts) == 2
    whys = {(one.target, one.why.removeprefix("given up: ")) for one in desk.kept}
    assert whys == {("up", ""), ("slow", "no answer within 1 s")}
    assert len([text for text in desk.said if "slow" in text]) == 1


def test_a_command_that_never_says_the_addresses_holds_nothing_up(tmp_path: Path) -> None:
    given = settings(tmp_path, "= hook", timeout=1)
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    values = {**given.values, "notify.targets_file": "", "notify.targets_command": command}
    desk = Desk(config.Settings(workspace=tmp_path, values=values))
    [why] = desk.tell(HALT)
    assert "no answer within 1 s" in why
    assert len(desk.said) == 1


def test_nothing_at_all_happens_without_routes(tmp_path: Path) -> None:
    before = threading.active_count()
    desk = Desk(settings(tmp_path, addresses="hook: json://127.0.0.1:1/\n"))
    assert desk.tell(HALT) == []
    assert threading.active_count() == before


def test_an_owner_from_netbox_becomes_a_mail_address_or_nothing(tmp_path: Path, mail: Received) -> None:
    book = f"owners: 'mailto://127.0.0.1:{mail.port}/?from=a@b.example&to={{owner}}'\n"
    given = settings(tmp_path, "event:failure = owners", addresses=book)
    evil = About(host="ange.x1", tenant="ange", owner="x@y.example&to=all@z.example", role="web")
    hosts = (*HOSTS, evil)
    desk = Desk(given)
    [why] = desk.tell(Notice(occasion=Occasion.FAILURE, subject="s", hosts=hosts, rollout="patch-1"))
    assert why == "the owner 'x@y.example&to=all@z.example' is no mail address"
    assert sorted(to for to, _ in mail.mails) == [["<db@sundsvall.example>"], ["<it@ange.example>"]]
    assert all("ange.web1" not in str(m) for to, m in mail.mails if "db@" in to[0])


@pytest.mark.parametrize(
    ("route", "fault"),
    [
        ("tenannt:ange = x", "'tenannt:ange' is not known"),
        ("event:party = x", "'event:party' is not known"),
        ("tenant:ange", "names no target"),
        ("= two words", "names no target"),
        ("= unheard", "nobody says the address of 'unheard'"),
    ],
)
def test_a_route_that_cannot_be_meant_is_named(tmp_path: Path, route: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        targets.load(settings(tmp_path, route, addresses="known: json://127.0.0.1:1/\n"), Redactor())


@pytest.mark.parametrize(
    "text",
    [f"hook: [json://{CANARY}", f"{CANARY}", f"hook: {CANARY}", f"hook: {{a: json://{CANARY}}}", f"{CANARY}: json://x",
     f"hook: 'json://x {CANARY}'", "\x00" + CANARY],
)  # fmt: skip
def test_a_book_of_addresses_with_faults_is_refused_without_quoting_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        targets.load(settings(tmp_path, "= hook", addresses=text), Redactor())
    assert CANARY not in caught.value.message + caught.value.hint


def test_a_book_that_others_can_read_is_refused(tmp_path: Path) -> None:
    given = settings(tmp_path, "= hook", addresses="hook: json://127.0.0.1:1/\n")
    (tmp_path / "targets.yml").chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others"):
        targets.load(given, Redactor())


def test_a_sealed_book_is_opened_with_the_password_of_the_vault(tmp_path: Path) -> None:
    given = settings(tmp_path, "= hook", addresses=f"hook: json://h.example/{CANARY}\n")
    (tmp_path / "password").write_text("open sesame")
    program = str(Path(sys.executable).with_name("ansible-vault"))
    seal = (program, "encrypt", "--vault-password-file", str(tmp_path / "password"), str(tmp_path / "targets.yml"))
    # A home of its own, for Ansible shares folders under one.
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    sealed = subprocess.run(seal, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert sealed.returncode == 0, sealed.stderr
    (tmp_path / "targets.yml").chmod(0o644)
    values = {**given.values, "vault.password_command": ("echo", "open sesame")}
    redactor = Redactor()
    book = targets.load(config.Settings(workspace=tmp_path, values=values), redactor)
    assert book.addresses("hook") == (f"json://h.example/{CANARY}",)
    assert CANARY not in repr(book)
    assert CANARY not in redactor.text(f"x {CANARY} y")
    wrong = {**given.values, "vault.password_command": ("echo", "wrong")}
    with pytest.raises(ConfigError, match="cannot be opened"):
        targets.load(config.Settings(workspace=tmp_path, values=wrong), Redactor())


def test_secrets_are_taken_out_of_what_is_told(tmp_path: Path, web: Received) -> None:
    desk = Desk(settings(tmp_path, "= hook", addresses=f"hook: json://127.0.0.1:{web.port}/\n"))
    desk.redactor.add(CANARY)
    desk.tell(Notice(occasion=Occasion.END, subject=f"s {CANARY}", lines=(f"l {CANARY}",)))
    assert CANARY not in str(web.posts)
    assert "[redacted]" in web.posts[0]["message"]
