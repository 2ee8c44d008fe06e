"""The help is whole, true and fast."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
import pytest

from opsctl.cli import main
from opsctl.cli.app import COMMANDS, SECTIONS
from opsctl.cli.main import root
from tests.house.repository import run

# Leaves whose answer is a listing or a document, whatever group they stand in.
LISTINGS = {"list", "show", "diff", "check", "log", "verify", "head", "status", "targets", "plan", "doctor", "report"}


def _verb(name: str) -> click.Command:
    found = root.get_command(click.Context(root), name)
    assert found is not None
    return found


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _commands(inner, f"{path} {name}")


@pytest.fixture(params=list(COMMANDS))
def verb(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_command_and_option_has_help(verb: str) -> None:
    for path, command in _commands(_verb(verb), verb):
        assert command.help, f"opsctl {path} has no help"
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.help, f"opsctl {path} {param.opts[0]} has no help"


def test_a_listing_of_verbs_cuts_no_sentence_at_80_columns(verb: str) -> None:
    for path, command in _commands(_verb(verb), verb):
        if isinstance(command, click.Group):
            room = 80 - len("  ") * 3 - max(map(len, command.commands))
            cut = [name for name, inner in command.commands.items() if inner.get_short_help_str(room).endswith("...")]
            assert not cut, f"opsctl {path} --help"


def test_the_table_of_verbs_says_what_each_verb_says_of_itself(verb: str) -> None:
    assert (_verb(verb).help or "").strip().partition("\n")[0] == COMMANDS[verb].help
    assert COMMANDS[verb].section in SECTIONS
    assert _verb(verb).name == verb


def test_every_listing_can_be_read_by_programs(verb: str) -> None:
    for path, command in _commands(_verb(verb), verb):
        if path.split()[-1] in LISTINGS and not isinstance(command, click.Group):
            assert _options(command) >= {"--output"}, f"opsctl {path} has no --output"


def test_what_asks_can_be_tried_before(verb: str) -> None:
    for path, command in _commands(_verb(verb), verb):
        found = _options(command) & {"--dry-run", "--yes"}
        assert found != {"--yes"}, f"opsctl {path} has no --dry-run"


def _options(command: click.Command) -> set[str]:
    return {name for param in command.params if isinstance(param, click.Option) for name in param.opts}


def test_every_command_shows_its_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    for path, _ in _commands(_verb(verb), verb):
        assert main.run([*path.split(), "--help"]) == 0
        assert f"Usage: opsctl {path}" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from opsctl.cli.main import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
    loaded = set(run(sys.executable, "-c", code).stdout.split())
    assert not loaded & {
        "rich",
        "yaml",
        "paramiko",
        "jinja2",
        "sqlite3",
        "pynetbox",
        "pytest",
        "ansible",
        "icalendar",
        "holidays",
    }
