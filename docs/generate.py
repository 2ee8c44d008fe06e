"""Write the generated pages of docs/reference: the command line, the configuration, the exit codes, the platforms.

`make docs` runs it; a test fails when a page is no longer what this would write.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path

import click

from opsctl import config, errors
from opsctl.cli.app import COMMANDS, SECTIONS
from opsctl.cli.main import root
from opsctl.overview import support

FOLDER = Path(__file__).resolve().parent / "reference"
GENERATED = "<!-- Written by docs/generate.py (make docs): change the source, not this page. -->\n"
CLI_INTRODUCTION = """\
`opsctl VERB --help` shows the same on a terminal. Answers go to stdout, messages and progress to stderr;
[exit codes](exit-codes.md) tell programs how it went. Options before the verb:"""
CONFIGURATION_INTRODUCTION = """\
A workspace is a folder with `opsctl.yml`; `opsctl init` makes one. A value on the command line wins over its
environment variable, that over `opsctl.yml`, that over the default. `opsctl config show` lists every value with its
origin. Unknown keys are errors. `version: 1` stands at the top of the file."""


def pages() -> dict[Path, str]:
    """Every generated page with its text."""
    return {
        FOLDER / "cli.md": cli_page(),
        FOLDER / "configuration.md": configuration_page(),
        FOLDER / "exit-codes.md": exit_codes_page(),
        FOLDER / "platforms.md": platforms_page(),
        **run_path(str(Path(__file__).with_name("roles.py")))["pages"](),
    }


def cli_page() -> str:
    lines = [
        GENERATED,
        "# Command line",
        "",
        CLI_INTRODUCTION,
        "",
        *_options(root),
    ]
    context = click.Context(root, info_name="opsctl")
    for section in SECTIONS:
        lines += ["", f"## {section}"]
        for name in (name for name, verb in COMMANDS.items() if verb.section == section):
            command = root.get_command(context, name)
            assert command is not None, name
            lines += _command(command, context, name, depth=3)
    return "\n".join(lines).rstrip() + "\n"


def _command(command: click.Command, parent: click.Context, name: str, depth: int) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    yield from ("", f"{'#' * depth} {context.command_path}", "", *_prose(command.help or ""))
    if isinstance(command, click.Group):
        if command.invoke_without_command:
            yield from ("", f"    {context.command_path} [OPTIONS]", "")
            yield from _options(command)
        for sub in command.list_commands(context):
            inner = command.get_command(context, sub)
            assert inner is not None, sub
            yield from _command(inner, context, sub, depth + 1)
        return
    usage = " ".join(command.collect_usage_pieces(context))
    yield from ("", f"    {context.command_path} {usage}", "")
    yield from _options(command)
    if command.epilog:
        yield from ("", *_prose(command.epilog))


def _prose(text: str) -> Iterator[str]:
    """Help text as Markdown: paragraphs joined, blocks marked with \\b kept as they are."""
    for number, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        if number:
            yield ""
        if paragraph.startswith("\b"):
            yield from ("    " + line for line in paragraph.splitlines()[1:])
        else:
            yield " ".join(paragraph.split()).replace("<", "&lt;")


def _options(command: click.Command) -> Iterator[str]:
    options = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
    if not options:
        return
    yield from ("| option | meaning | default |", "|---|---|---|")
    context = click.Context(command)
    for option in options:
        written = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
        if not option.is_flag and not option.count:
            written += f" {_cell(option.make_metavar(context))}"
        again = " Can be given several times." if option.multiple else ""
        default = f"`{option.default}`" if option.show_default and option.default is not None else ""
        yield f"| {written} | {_cell(option.help or '')}{again} | {default} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def configuration_page() -> str:
    lines = [
        GENERATED,
        "# Configuration",
        "",
        CONFIGURATION_INTRODUCTION,
    ]
    for section in dict.fromkeys(option.name.partition(".")[0] for option in config.OPTIONS):
        lines += [
            "",
            f"## {section}",
            "",
            "| option | default | allowed | variable | meaning |",
            "|---|---|---|---|---|",
        ]
        lines += [_option_row(option) for option in config.OPTIONS if option.name.startswith(section + ".")]
    lines += ["", "## An opsctl.yml with every option", "", "```yaml", config.example().rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _option_row(option: config.Option) -> str:
    default = " ".join(option.default) if isinstance(option.default, tuple) else str(option.default)
    variable = "" if isinstance(option.default, tuple) else f"`{option.variable}`"
    cells = (f"`{option.name}`", f"`{default}`" if default else "(empty)", _allowed(option), variable, option.meaning)
    return "| " + " | ".join(cells) + " |"


def _allowed(option: config.Option) -> str:
    if option.choices:
        return ", ".join(f"`{choice}`" for choice in option.choices)
    if isinstance(option.default, tuple):
        return "a list"
    if isinstance(option.default, bool):
        return "`true`, `false`"
    if isinstance(option.default, int):
        return f"{option.low} to {option.high}"
    return "text"


def exit_codes_page() -> str:
    wishes = [errors.Declined, errors.Interrupted]
    listed: list[type[errors.OpsctlError | errors.Interrupted]] = [*_tree(errors.OpsctlError), *wishes]
    lines = [
        GENERATED,
        "# Exit codes",
        "",
        "The first that applies, in this order: 130, 2, 3, 4, 5, 1, 6, 0. JSON answers carry the word under `outcome`.",
        "",
        "| code | outcome | when | error |",
        "|---|---|---|---|",
        "| 0 | `ok` | It is done, and nothing stands against it. | |",
    ]
    lines += [
        f"| {error.exit_code} | `{error.outcome}` | {_sentence(error)} | {error.__name__} |"
        for error in sorted(listed, key=lambda error: error.exit_code)
    ]
    lines += ["", "## The errors behind them", "", "```text", inspect.cleandoc(errors.__doc__ or ""), "```"]
    return "\n".join(lines) + "\n"


def _tree(error: type[errors.OpsctlError]) -> Iterator[type[errors.OpsctlError]]:
    yield error
    for below in error.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _tree(below)


def _sentence(error: type[BaseException]) -> str:
    return _cell((error.__doc__ or "").partition("\n")[0])


def platforms_page() -> str:
    lines = [
        GENERATED,
        "# Platforms",
        "",
        " ".join(inspect.cleandoc(support.__doc__ or "").split("\n\n")[1].split()),
        "`opsctl doctor --support` shows the same.",
        "",
        "| verb | " + " | ".join(support.PLATFORMS) + " |",
        "|---" * (len(support.PLATFORMS) + 1) + "|",
        *("| " + " | ".join(row) + " |" for row in support.rows()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
