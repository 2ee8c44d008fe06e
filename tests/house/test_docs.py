"""The pages that people read are true: their command lines parse, their links lead somewhere, every page is found.

A command line is a line of a code block that begins with `opsctl` (after a prompt, or after the shell's operators), or
words in backticks that do. It is held against the real tree of commands; words in capitals stand for something else.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from opsctl.cli.main import root
from tests.house.repository import ROOT, files, short

DOCS = ROOT / "docs"
PAGES = tuple(p for p in files() if p.suffix == ".md" and (p.is_relative_to(DOCS) or p == ROOT / "README.md"))
GENERATED_FROM_THE_COMMANDS = DOCS / "reference/cli.md"
FENCE = re.compile(r"(?ms)^ *(`{3,})[a-z]*\n(.*?)^ *\1$")
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEAD_AND_VERIFY = ["opsctl ledger head", "opsctl ledger verify --head WORD"]
PLACEHOLDER = re.compile(r"[A-Z][A-Z_.:|]*(?:\[[A-Z]+\])?")


@dataclass(frozen=True)
class Written:
    """A command line of a page; only one that stands in a block is meant to be typed as it is."""

    page: Path
    line: int
    text: str
    whole: bool

    def __str__(self) -> str:
        return f"{short(self.page)}:{self.line}: {self.text}"


def command_lines(page: Path) -> Iterator[Written]:
    """Every `opsctl ...` of a page."""
    text = page.read_text(encoding="utf-8")
    for block in FENCE.finditer(text):
        start = text.count("\n", 0, block.start(2)) + 1
        for number, line in enumerate(block[2].replace("\\\n", " ").splitlines(), start):
            for one in _commands_of(line):
                yield Written(page, number, one, whole=True)
    for found in INLINE.finditer(FENCE.sub(lambda block: "\n" * block[0].count("\n"), text)):
        number = text.count("\n", 0, found.start()) + 1
        yield from (Written(page, number, one, whole=False) for one in _commands_of(found[1]))


def _commands_of(line: str) -> Iterator[str]:
    """The opsctl commands of one line of shell: without prompt, comment and redirection, each on its own."""
    line = re.sub(r"^[$#] ", "", line.strip())
    for inner in re.findall(r"\$\((opsctl[^)]*)\)", line):
        yield from _commands_of(inner)
    line = re.sub(r'"?\$\([^)]*\)"?', "WORD", line)
    line = re.split(r"\s{2,}", line)[0]
    for part in re.split(r"\s(?:\|\|?|&&|;|>|2>)\s?", line):
        words = re.sub(r"^(?:[A-Z_]+=\S+ |sudo |time )+", "", part.strip())
        if re.match(r"opsctl(\s|$)", words):
            yield words


def parse(written: Written) -> None:
    """Raises click.UsageError where the command tree does not take the line."""
    command: click.Command = root
    parent: click.Context | None = None
    words = shlex.split(written.text, comments=True)[1:]
    while True:
        context = click.Context(command, parent=parent, info_name=command.name)
        values, rest, _ = command.make_parser(context).parse_args(list(words))
        if isinstance(command, click.Group):
            if not rest or PLACEHOLDER.fullmatch(rest[0]):
                return
            command, words, parent = _verb(command, context, rest[0]), rest[1:], context
            continue
        if rest:
            raise click.UsageError(f"too much: {' '.join(rest)}", context)
        _refuse_bad_values(command, context, values, whole=written.whole)
        return


def _verb(group: click.Group, context: click.Context, word: str) -> click.Command:
    name = word.partition("|")[0]
    found = group.get_command(context, name)
    if found is None:
        raise click.UsageError(f"no verb {name}", context)
    return found


def _refuse_bad_values(command: click.Command, context: click.Context, values: dict[str, Any], *, whole: bool) -> None:
    for param in command.get_params(context):
        value = values.get(param.name or "")
        given = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
        if whole and isinstance(param, click.Argument) and param.required and not given and not values.get("help"):
            raise click.MissingParameter(ctx=context, param=param)
        if isinstance(param.type, click.Choice | click.types.IntParamType):
            for word in given:
                if not PLACEHOLDER.fullmatch(word):
                    param.type(word, param, context)


@pytest.mark.parametrize("page", [p for p in PAGES if p != GENERATED_FROM_THE_COMMANDS], ids=short)
def test_every_command_line_of_a_page_is_one_that_opsctl_takes(page: Path) -> None:
    faults = []
    for written in command_lines(page):
        try:
            parse(written)
        except (click.UsageError, ValueError) as error:
            faults.append(f"{written}\n    {error.format_message() if isinstance(error, click.UsageError) else error}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "line",
    [
        "$ opsctl patch plann",
        "$ opsctl patch plan --frobnicate",
        "$ opsctl host show",
        "$ opsctl host show ange-web1 ange-web2",
        "$ opsctl lab break ange-web1 explode",
        "cd ops && opsctl ledger verify --head",
        "opsctl monitor status --output yaml",
    ],
)
def test_a_command_line_that_opsctl_would_not_take_is_found(line: str) -> None:
    found = [Written(ROOT / "README.md", 1, one, whole=True) for one in _commands_of(line)]
    assert len(found) == 1
    with pytest.raises(click.UsageError):
        parse(found[0])


@pytest.mark.parametrize(
    ("line", "commands"),
    [
        ("$ opsctl -C ops patch start latest --yes", ["opsctl -C ops patch start latest --yes"]),
        ("opsctl lab down      take it down", ["opsctl lab down"]),
        ("opsctl comply run -o json > run.json", ["opsctl comply run -o json"]),
        ("opsctl state check || opsctl doctor", ["opsctl state check", "opsctl doctor"]),
        ('opsctl ledger verify --head "$(opsctl ledger head)"', HEAD_AND_VERIFY),
        ("cd ops && opsctl", ["opsctl"]),
        ("opsctl VERB --help", ["opsctl VERB --help"]),
        ("the lab of opsctl", []),
    ],
)  # fmt: skip
def test_a_command_line_is_taken_out_of_its_surroundings(line: str, commands: list[str]) -> None:
    found = list(_commands_of(line))
    assert found == commands
    for one in found:
        parse(Written(ROOT / "README.md", 1, one, whole=True))


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_every_make_verb_of_a_page_is_in_the_makefile(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for verb in re.findall(r"(?m)(?:`|^\$ )make ([a-z]+)", page.read_text(encoding="utf-8")):
        assert re.search(rf"(?m)^{verb}:", makefile), f"{short(page)}: make {verb}"


# Links.


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Each relative link of a page: the file it leads to, and the heading within."""
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", target):
            path, _, heading = target.partition("#")
            yield ((page.parent / path).resolve() if path else page), heading


def headings(page: Path) -> set[str]:
    """The names by which the headings of a page are linked."""
    titles = re.findall(r"(?m)^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_every_link_of_a_page_leads_to_something_in_the_repository(page: Path) -> None:
    known = set(files())
    for target, heading in links(page):
        assert target in known, f"{short(page)} links to {target}, which is not there"
        assert not heading or heading in headings(target), f"{short(page)}: {short(target)} has no heading {heading}"


def test_every_page_of_the_documentation_can_be_reached_from_its_first_page() -> None:
    seen: set[Path] = set()
    waiting = [DOCS / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen and page.suffix == ".md" and page.is_relative_to(DOCS):
            seen.add(page)
            waiting += [target for target, _ in links(page)]
    unreachable = [short(page) for page in PAGES if page.is_relative_to(DOCS) and page not in seen]
    assert not unreachable


def test_the_first_page_of_the_repository_leads_to_the_documentation() -> None:
    assert DOCS / "README.md" in {target for target, _ in links(ROOT / "README.md")}
