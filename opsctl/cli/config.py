"""`opsctl config`: what this workspace is set to, and where each setting comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opsctl.cli.app import App, output_option, pass_app
from opsctl.cli.output import as_json, note, table

if TYPE_CHECKING:
    from opsctl.config import Option, Settings


@click.group("config")
def command() -> None:
    """Show every setting and where it comes from."""


@command.command()
@output_option
@pass_app
def show(app: App, output: str) -> None:
    """List every option with its value and its origin. A default, a file and line, or an environment variable."""
    from opsctl.config import OPTIONS

    settings = app.settings
    if output == "json":
        listing = [
            {
                "name": option.name,
                "value": _shown(option, settings),
                "default": option.default,
                "origin": settings.origin[option.name],
                "variable": option.variable,
                "meaning": option.meaning,
            }
            for option in OPTIONS
        ]
        as_json({"workspace": settings.workspace, "settings": listing})
        return
    note(f"workspace: {settings.workspace}")
    rows = [(option.name, _text(_shown(option, settings)), settings.origin[option.name]) for option in OPTIONS]
    table(["option", "value", "origin"], rows)


def _shown(option: Option, settings: Settings) -> object:
    """The value, unless it is a secret or holds one."""
    from opsctl.state.redaction import HIDDEN, Redactor

    value = settings.values[option.name]
    if option.secret and value:
        return HIDDEN
    return Redactor().value(value, judge_names=True)


def _text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(str(item) for item in value) or "(none)"
    return str(value) if value != "" else "(empty)"
