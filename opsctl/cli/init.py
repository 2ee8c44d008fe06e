"""`opsctl init`: make a workspace."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from opsctl.cli import output as out
from opsctl.cli.app import output_option


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--tenant", "tenants", multiple=True, metavar="NAME=TITLE", help="With this municipality in it.")
@click.option("--lab", metavar="NAME", help="For the hosts of this running lab.")
@output_option
def command(*, folder: Path, tenants: tuple[str, ...], lab: str | None, output: str) -> None:
    """Make a workspace.

    Files that are there already stay as they are: a second call adds a tenant.
    """
    from opsctl.overview import workspace

    fleet = None
    if lab is not None:
        from opsctl.lab import description

        fleet = description(lab)
    made = workspace.make(folder, [workspace.tenant_of(given) for given in tenants], fleet)
    if output == "json":
        out.as_json({"workspace": str(made.workspace), "written": made.written, "kept": made.kept})
        return
    for name in made.written:
        out.line(f"written  {made.workspace / name}")
    for name in made.kept:
        out.line(f"kept     {made.workspace / name}")
    there = "" if made.workspace.resolve() == Path.cwd() else f"cd {shlex.quote(str(made.workspace))} && "
    out.note(f"what next: {there}opsctl")
