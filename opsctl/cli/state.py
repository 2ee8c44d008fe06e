"""`opsctl state`: keep the store safe, and know that it is sound."""

from __future__ import annotations

from pathlib import Path

import click

from opsctl.cli.app import App, dry_run_option, output_option, pass_app, yes_option
from opsctl.cli.output import as_json, line, note, table


@click.group("state")
def command() -> None:
    """Back up, restore and check the store."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@output_option
@pass_app
def backup(app: App, file: Path, output: str) -> None:
    """Write a proven copy of the store to FILE, while work goes on.

    FILE must not exist. The copy is checked before it gets its name: integrity, version and the ledger's chain.
    """
    from opsctl.state import backup as backups

    made = backups.backup(app.store, file)
    if output == "json":
        as_json({"file": file, "bytes": made.size, "sha256": made.sha256, "head": str(made.head)})
        return
    line(f"{file}: {made.size // 1024} KiB, {made.entries} ledger entries, sha256 {made.sha256}")
    line(f"ledger head: {made.head}")


@command.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@dry_run_option
@yes_option
@output_option
@pass_app
def restore(app: App, file: Path, *, dry_run: bool, yes: bool, output: str) -> None:
    """Put the backup FILE in place of the store. The replaced one is kept aside.

    A backup that does not verify is refused, and so is a restore while another opsctl is at work.
    """
    from opsctl.state import backup as backups

    folder = app.settings.state
    found = backups.prove(file)
    note(f"will replace the store in {folder} by {file}: {found.entries} ledger entries, head {found.head}")
    note("what happened after that backup will be missing; the replaced store is kept beside it")
    if dry_run:
        if output == "json":
            as_json({"dry_run": True, "file": file, "sha256": found.sha256, "head": str(found.head)})
        return
    app.confirm("Replace the store?", yes=yes)
    done = backups.restore(folder, file, app.now())
    detail = {"backup": str(file), "sha256": done.source.sha256, "aside": str(done.aside or "")}
    with app.ledger.act("state restore", (), detail, app.who, app.now) as act:
        pass
    if output == "json":
        as_json({"restored": file, "aside": done.aside, "head": str(act.head)})
        return
    line(f"restored from {file}" + (f"; the replaced store is in {done.aside}" if done.aside else ""))
    line(f"ledger head: {act.head}")


@command.command()
@output_option
@pass_app
def check(app: App, output: str) -> int:
    """Look at the store without changing it. Integrity, version, ledger, access, room.

    Exit code 1: something is bad.
    """
    from opsctl.state import backup as backups

    checks = backups.check(app.settings.state)
    good = all(one.good for one in checks)
    if output == "json":
        listing = [{"name": one.name, "good": one.good, "seen": one.seen} for one in checks]
        as_json({"folder": app.settings.state, "checks": listing}, outcome="ok" if good else "failed")
    else:
        table(["check", "verdict", "seen"], [(one.name, "ok" if one.good else "BAD", one.seen) for one in checks])
    return 0 if good else 1
