"""Everything that is printed: tables and JSON to stdout, messages and progress to stderr.

Foreign text loses its control characters here, once, for every table, message and progress line.
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from opsctl.cli import narrow

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# From this many rows on a listing is for searching and piping, not for folding.
MANY = 200
# Control characters and half surrogates; format marks (right-to-left, invisible ones) reorder or hide what is shown.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def plain(text: object) -> str:
    """Text that a terminal can show without being commanded by it: control characters become visible escapes."""
    if isinstance(text, str) and text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char == "\n" or unicodedata.category(char) not in _UNSAFE else ascii(char)[1:-1] for char in str(text)
    )


def console(*, stderr: bool = False) -> Console:
    """A rich console that obeys NO_COLOR and, where the stream is no terminal, prints as wide as it likes."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _named_width()
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def _named_width() -> int:
    """What COLUMNS says; shells and timers may leave it empty, at zero, or with something that is no number."""
    said = os.environ.get("COLUMNS", "")
    return (int(said) if said.isascii() and said.isdigit() and len(said) < 5 else 0) or 160


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", empty: str = "nothing to show"
) -> None:
    """A listing for people, on stdout."""
    cells = [[plain(value) for value in row] for row in rows]
    if not cells:
        note(empty)
        return
    if len(cells) >= MANY:
        _long_table(columns, cells, title)
        return
    screen = console()
    widths = narrow.widths(columns, cells, screen.width)
    if widths is None:
        head = [plain(title)] if title else []
        click.echo("\n".join([*head, *narrow.rows(columns, cells, screen.width)]))
        return
    screen.print(_grid(columns, cells, widths, title))


def _grid(columns: Sequence[str], cells: Sequence[Sequence[str]], widths: Sequence[int], title: str = "") -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, title=Text(plain(title)) if title else None, title_justify="left", pad_edge=False)
    for column, width in zip(columns, widths, strict=True):
        grid.add_column(Text(column), width=width, overflow="fold")
    for row in cells:
        grid.add_row(*(Text(value) for value in row))
    return grid


def redraws() -> bool:
    """Whether stdout is a terminal on which a screen can be drawn again in its place."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


@contextmanager
def screen() -> Iterator[Callable[[Sequence[str], Iterable[Sequence[object]], Sequence[str]], None]]:
    """A listing with lines under it that is drawn again in its place; what was drawn last stays when it ends."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    where = console()

    def draw(columns: Sequence[str], rows: Iterable[Sequence[object]], lines: Sequence[str]) -> None:
        cells = [[plain(value) for value in row] for row in rows]
        widths = narrow.widths(columns, cells, where.width) if cells else None
        folded = Text("\n".join(narrow.rows(columns, cells, where.width)))
        body = _grid(columns, cells, widths) if widths else folded
        live.update(Group(body, *(Text(plain(text)) for text in lines)), refresh=True)

    with Live(console=where, auto_refresh=False) as live:
        yield draw


def height() -> int:
    """How many lines the terminal has."""
    return console().height


def _long_table(columns: Sequence[str], cells: Sequence[Sequence[str]], title: str) -> None:
    """The same look without folding: rich needs seconds for thousands of rows."""
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    if title:
        click.echo(plain(title))
    head = [
        "   ".join(name.ljust(width) for name, width in zip(columns, widths, strict=True)),
        "─" * (sum(widths) + 3 * len(widths) - 3),
    ]
    rows = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    click.echo("\n".join(f" {text}".rstrip() for text in (*head, *rows)))


def pairs(values: Mapping[str, object], *, title: str = "") -> None:
    """Names with their values, one a line, on stdout."""
    width = max((len(name) for name in values), default=0)
    if title:
        click.echo(plain(title))
    for name, value in values.items():
        click.echo(f"  {plain(name):<{width}}  {plain(value)}".replace("\n", "\n" + " " * (width + 4)))


def as_json(document: Mapping[str, object], *, outcome: str = "ok") -> None:
    """A document for programs, on stdout; `outcome` carries the same word as the exit code.

    A person may look at it on a terminal: what `plain` makes visible is escaped as JSON does, which programs undo.
    """
    _Answer.owed = False
    members = {"outcome": outcome, **document}.items()
    text = "{\n" + ",\n".join(f"  {json.dumps(name)}: {_member(value)}" for name, value in members) + "\n}"
    if unsafe := {char for char in set(text) - {"\n"} if unicodedata.category(char) in _UNSAFE}:
        text = text.translate({ord(char): json.dumps(char)[1:-1] for char in unsafe})
    click.echo(text.replace("\x7f", "\\u007f"))


def _member(value: object) -> str:
    """Indented for people; of a long list each item on one line, for indenting thousands takes Python seconds."""
    if isinstance(value, (list, tuple)) and len(value) >= MANY:
        items = (json.dumps(item, ensure_ascii=False, default=_encode) for item in value)
        return "[\n    " + ",\n    ".join(items) + "\n  ]"
    return json.dumps(value, ensure_ascii=False, indent=2, default=_encode).replace("\n", "\n  ")


def _encode(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, (tuple, set, frozenset)):
        return sorted(value) if isinstance(value, (set, frozenset)) else list(value)
    return str(value)


class _Answer:
    """Whether this command line still owes its reader a JSON document."""

    owed = False


def begin(*, json_wanted: bool) -> None:
    """A new command line begins."""
    _Answer.owed = json_wanted


def say_outcome(outcome: str, message: str, *, hint: str = "", problems: Sequence[str] = ()) -> None:
    """The document of a command line that ended with an error before it printed one; nothing where none is owed."""
    if _Answer.owed:
        as_json({"error": message, "hint": hint, "problems": list(problems)}, outcome=outcome)


def line(text: object = "") -> None:
    """One line of the answer itself, on stdout."""
    click.echo(plain(text))


def note(text: object) -> None:
    """A message beside the answer, on stderr. Work under way goes on where nobody can read it any more (a hang-up)."""
    with suppress(OSError):
        click.echo(plain(text), err=True)


def some(count: int, noun: str) -> str:
    """1 host, 2 hosts; a noun that forms its plural otherwise is not for this."""
    return f"{count} {noun}{'' if count == 1 else 'es' if noun.endswith('ch') else 's'}"


def say_next(hints: Iterable[tuple[str, str]]) -> None:
    """What next for hosts (key, hint), on stderr; a hint that is the same but for the host's name is said once."""
    found: dict[str, list[str]] = {}
    for host, hint in hints:
        if hint:
            found.setdefault(hint.replace(host, "NAME"), []).append(host)
    for hint, hosts in found.items():
        if len(hosts) == 1:
            note(f"  what next for {hosts[0]}: {hint.replace('NAME', hosts[0])}")
        else:
            note(f"  what next for {grouped(hosts)}: {hint}")


def grouped(hosts: Sequence[str], most: int = 5) -> str:
    """One host by its name; several counted, and the first of them named."""
    if len(hosts) == 1:
        return hosts[0]
    rest = f" and {len(hosts) - most} more" if len(hosts) > most else ""
    return f"{len(hosts)} hosts ({', '.join(hosts[:most])}{rest})"


def progress(text: object) -> None:
    """A step of long work, on stderr: as it is on a terminal, with the time elsewhere (logs, timers).

    Further lines of a foreign text are set in, so that none of them can pass for a step of its own.
    """
    text = str(text).replace("\n", "\n    ")
    if sys.stderr.isatty():
        note(text)
    else:
        note(f"{datetime.now(UTC).isoformat(timespec='seconds').replace('+00:00', 'Z')} {text}")
