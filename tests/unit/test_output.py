"""What reaches a terminal."""

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
        ("Ånge kommun", "Ånge kommun"),
    ],
)
def test_terminal_codes_become_visible_and_names_stay(foreign: str, shown: str) -> None:
    assert output.plain(foreign) == shown


def test_table_shows_markup_of_a_foreign_name_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("host",), [("[bold]web[/bold] :smile:",)])
    assert "[bold]web[/bold] :smile:" in capsys.readouterr().out


def test_empty_table_says_so_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("host",), [], empty="no hosts yet")
    caught = capsys.readouterr()
    assert (caught.out, caught.err) == ("", "no hosts yet\n")
