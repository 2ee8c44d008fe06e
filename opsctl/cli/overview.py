"""Bare `opsctl`: what is running, what waits for you, and the next command."""

from __future__ import annotations

import os
from pathlib import Path

import click

from opsctl.cli import output as out
from opsctl.cli.app import App, pass_app


@click.command("overview", hidden=True)
@pass_app
def command(app: App) -> None:
    """What is running, what waits for you, and what to do next."""
    from opsctl.overview import site

    named = click.get_current_context().find_root().params.get("workspace") or os.environ.get("OPSCTL_WORKSPACE")
    if not named and not site.in_workspace(Path.cwd()):
        _begin()
        return
    found = site.look(app.settings, app.now())
    out.line(f"{found.workspace}: {found.size}")
    out.line("Running:" if found.running else "Nothing is running.")
    for text in found.running:
        out.line(f"  {text}")
    for text in found.frozen:
        out.line(f"Frozen: {text}")
    out.line("Waiting for you:" if found.waiting else "Nothing waits for you.")
    for one in found.waiting:
        out.line(f"  {one.what}\n      {one.command}")
    out.line(f"Next: {found.next}")


def _begin() -> None:
    out.line("There is no workspace here (no opsctl.yml in this folder or above it).")
    out.pairs({
        "opsctl init DIR --tenant NAME=TITLE": "make one",
        "opsctl -C DIR": "use one that lies elsewhere",
        "opsctl demo": "see the whole job on seven real hosts on this machine",
        "opsctl --help": "every verb",
    })  # fmt: skip
