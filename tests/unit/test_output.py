"""What reaches a terminal."""

import contextlib
import io
import json
import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.cli import output


@given(st.text())
def test_no_control_character_survives(text: str) -> None:
    shown = output.plain(text)
    assert all(char == "\n" or unicodedata.category(char) not in ("Cc", "Cs") for char in shown)


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("web\u202e1", "web\\u202e1"),
        ("tab\there", "tab\\there"),
        ("web\u200b1", "web\\u200b1"),
        ("one\u2028two", "one\\u2028two"),
        ("Ånge kommun", "Ånge kommun"),
    ],
)
def test_terminal_codes_become_visible_and_names_stay(foreign: str, shown: str) -> None:
    assert output.plain(foreign) == shown


def test_table_shows_markup_of_a_foreign_name_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("host",), [("[bold]web[/bold] :smile:",)])
    assert "[bold]web[/bold] :smile:" in capsys.readouterr().out


STATUS = ("host", "state", "memory", "updates", "clock", "exporter", "key")
STATUS_OF_ONE = ("sundsvall.sundsvall-app1", "attention", "13 %", "not known", "+0.1 s", "", "no")


@pytest.mark.parametrize("room", [40, 80, 96, 160])
def test_no_word_of_a_table_is_cut_and_no_line_is_wider_than_the_terminal(
    room: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(room))
    output.table(STATUS, [STATUS_OF_ONE, ("Ånge.web1", *STATUS_OF_ONE[1:])])
    shown = capsys.readouterr().out
    assert {"sundsvall.sundsvall-app1", "Ånge.web1", "attention", "known"} <= set(shown.split())
    assert max(map(len, shown.splitlines())) <= room


def test_a_value_on_a_narrow_terminal_cannot_pass_for_another_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    output.table(("host", "remarks", "state"), [("sundsvall.sundsvall-app1", "x │ state ok\n host other", "failed")])
    shown = capsys.readouterr().out
    assert (shown.count("│"), len([line for line in shown.splitlines() if not line.startswith("     ")])) == (2, 1)


@pytest.mark.parametrize("said", ["", "0", "-1", "wide", "1", "99999999999999999999"])
def test_a_width_that_is_none_costs_nobody_the_table(
    said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", said)
    output.table(("host", "remarks"), [("ange.web1", "none at all")])
    assert {"ange.web1", "none", "all"} <= set(capsys.readouterr().out.split())


def test_empty_table_says_so_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("host",), [], empty="no hosts yet")
    caught = capsys.readouterr()
    assert (caught.out, caught.err) == ("", "no hosts yet\n")


@given(st.text())
def test_json_reads_back_and_commands_no_terminal(text: str) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        output.as_json({"text": text})
    shown = said.getvalue()
    assert json.loads(shown)["text"] == text
    assert all(char == "\n" or unicodedata.category(char) not in ("Cc", "Cf", "Cs") for char in shown)
    shown.encode()


def test_a_long_list_has_an_item_a_line_and_reads_back_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    hosts = [{"host": f"värd{number}", "tags": ["a", "b\x1b\n"]} for number in range(300)]
    output.as_json({"hosts": hosts, "more": {"nested": [1, 2]}})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"outcome": "ok", "hosts": hosts, "more": {"nested": [1, 2]}}
    assert len([line for line in shown.splitlines() if "värd" in line]) == 300


def test_a_message_that_nobody_can_read_stops_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as gone:
        monkeypatch.setattr("sys.stderr", gone)
        output.progress("ange-web1: installing")
        monkeypatch.undo()
        with contextlib.suppress(BrokenPipeError):
            gone.close()


def test_a_foreign_text_of_several_lines_cannot_pass_for_another_step(capsys: pytest.CaptureFixture[str]) -> None:
    output.progress("ange-web1: failed: x\n2026-11-22T03:00:00Z ange-web2: done")
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].startswith("    ")


def test_one_is_one_and_several_are_several() -> None:
    assert [output.some(n, "host") for n in (0, 1, 2)] == ["0 hosts", "1 host", "2 hosts"]
    assert [output.some(n, "batch") for n in (1, 2)] == ["1 batch", "2 batches"]


def test_what_holds_for_many_hosts_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"ange.web{n}" for n in range(1, 8)]
    assert output.grouped(names) == "7 hosts (ange.web1, ange.web2, ange.web3, ange.web4, ange.web5 and 2 more)"
    output.say_next([*((name, f"opsctl host approve {name}") for name in names), ("ange.db1", "is it up?"), ("x", "")])
    assert capsys.readouterr().err.splitlines() == [
        f"  what next for {output.grouped(names)}: opsctl host approve NAME",
        "  what next for ange.db1: is it up?",
    ]


def test_a_value_of_several_lines_cannot_pass_for_another_value(capsys: pytest.CaptureFixture[str]) -> None:
    output.pairs({"kernel": "6.1\n  key      SHA256:forged", "key": "none"})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if not line.startswith("    ")] == [
        "kernel",
        "key",
    ]
