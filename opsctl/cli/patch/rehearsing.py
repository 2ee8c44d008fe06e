"""`opsctl patch rehearse`: the plan tried on doubles of its hosts, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from opsctl.cli.app import App, dry_run_option, output_option, pass_app, yes_option
from opsctl.cli.output import as_json, line, note, progress, some, table
from opsctl.cli.rollout import means_of
from opsctl.errors import Incomplete

if TYPE_CHECKING:
    from opsctl.patch.rehearsal import Rehearsal, Trial
    from opsctl.patch.rehearse import Cast

COLUMNS = ("double", "for", "result", "restarts", "reboot", "installs in", "in all", "remarks")
_SHOWN = 4


@click.command()
@click.argument("plan_id", metavar="PLAN|latest")
@click.option(
    "--packages",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with package files of versions that no archive of this machine has.",
)
@click.option(
    "--max-doubles", type=click.IntRange(1, 40), default=8, show_default=True, help="At most so many lab hosts."
)
@dry_run_option
@yes_option
@output_option
@pass_app
def rehearse(
    app: App, plan_id: str, *, folders: tuple[Path, ...], max_doubles: int, dry_run: bool, yes: bool, output: str
) -> None:
    """Try a plan on lab hosts with the same packages. The hosts themselves are only read.

    One lab host on this machine for each distinct set of os_release, packages and transaction; it is taken down at the
    end. Tells what would fail, restart or want a reboot, and how long it takes. Exit code 1: something failed, or not
    all could be rehearsed.
    """
    from opsctl.patch import rehearsal
    from opsctl.patch import rehearse as room

    means = means_of(app)
    cast = room.cast(means, plan_id, most=max_doubles)
    if output == "table":
        _show_cast(cast)
    if dry_run:
        if output == "json":
            as_json(_cast_document(cast))
        note("nothing was done (--dry-run)")
        return
    app.confirm(f"Build {some(len(cast.doubles), 'lab host')} on this machine?", yes=yes)
    done = room.rehearse(means, cast, folders, progress)
    if output == "json":
        as_json({"rehearsal": rehearsal.document(done)}, outcome=done.outcome)
    else:
        _show(done)
    note(f"ledger: {app.ledger.head()}")
    if done.outcome != "ok":
        raise Incomplete(_why(done), hint="what it says of each host; then plan anew, or start all the same")


def _cast_document(cast: Cast) -> dict[str, object]:
    doubles = [
        {"hosts": one.hosts, "os_release": one.os_release, "architecture": one.architecture,
         "installed": len(one.installed), "packages": len(one.packages)}
        for one in cast.doubles
    ]  # fmt: skip
    left = [{"host": one.host, "reason": one.reason} for one in cast.not_rehearsed]
    return {"plan": cast.plan.id, "doubles": doubles, "not_rehearsed": left}


def _show_cast(cast: Cast) -> None:
    rows = [
        (number, _few(one.hosts), one.os_release, len(one.installed), len(one.packages))
        for number, one in enumerate(cast.doubles, 1)
    ]
    columns = ("double", "for", "os_release", "installed", "packages to install")
    table(columns, rows, title=f"rehearsal of {cast.plan.id}", empty="no host of this plan can be rehearsed")
    if cast.not_rehearsed:
        table(("not rehearsed", "reason"), [(one.host, one.reason) for one in cast.not_rehearsed])


def _show(done: Rehearsal) -> None:
    table(COLUMNS, [_row(trial) for trial in done.trials], empty="nothing was rehearsed")
    for trial in done.trials:
        if trial.not_alike:
            line(f"{trial.double} is not quite like its hosts: {_few(trial.not_alike)}")
    if done.not_rehearsed:
        table(("not rehearsed", "reason"), [(one.host, one.reason) for one in done.not_rehearsed])
    line("what no rehearsal can foresee:")
    for text in done.cannot_foresee:
        line(f"  {text}")
    line(f"rehearsal of {done.plan}: {done.outcome}")


def _row(trial: Trial) -> tuple[object, ...]:
    remarks = "; ".join(text for text in (trial.reason, *trial.notes) if text)
    return (
        trial.double, _few(trial.hosts), trial.outcome if trial.stage is None else trial.stage, _few(trial.restarted),
        "yes" if trial.reboot else "", f"{trial.install_seconds} s", f"{trial.seconds} s", remarks,
    )  # fmt: skip


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _why(done: Rehearsal) -> str:
    told = [f"{_few(one.hosts)} ({one.reason or 'not on a true double'})" for one in done.trials if one.outcome != "ok"]
    told += [f"{one.host} ({one.reason})" for one in done.not_rehearsed]
    return (
        f"the rehearsal of {done.plan} {'failed' if done.outcome == 'failed' else 'is incomplete'}: {'; '.join(told)}"
    )


VERBS = (rehearse,)
