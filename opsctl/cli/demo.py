"""`opsctl demo`: watch the whole job once."""

from __future__ import annotations

from pathlib import Path

import click

from opsctl.cli import output


@click.command("demo")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path(),
    help="Where the folder demo-workspace is made.  [default: the current folder]",
)  # fmt: skip
@click.option("--name", "lab", default="demo", show_default=True, help="Name of the fleet.")
def command(folder: Path, lab: str) -> None:
    """The whole job, start to end, on the embedded fleet.

    Boots seven real Debian hosts on this machine (root is needed), takes them over, provisions, patches, monitors and
    verifies them. Each step is an ordinary opsctl command line, shown before it runs.
    """
    from opsctl import demo

    summary = demo.run(folder.absolute(), lab, output.note)
    output.note("")
    output.table(("step", "result"), summary.rows, title="The demonstration is done")
    for report in summary.reports:
        output.line(f"report: {report}")
    output.note(
        f"\nThe fleet is still up. Look around:  cd {summary.workspace} && opsctl\n"
        f"Take it down:                        opsctl lab down --name {summary.lab}"
    )
