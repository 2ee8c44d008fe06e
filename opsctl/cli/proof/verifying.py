"""`opsctl comply verify`: whether a report is as it was made, and by whom. No workspace, no store, no network."""

from __future__ import annotations

from pathlib import Path

import click

from opsctl.cli.app import output_option
from opsctl.cli.output import as_json, line


@click.command("verify")
@click.argument("report", metavar="REPORT", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--key", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PUB",
    help="The public key that you trust, in PEM, as opsctl ledger key printed it.",
)  # fmt: skip
@click.option("--previous", default="", metavar="REPORT|CHAIN", help="An earlier report, or the chain that you kept.")
@output_option
def verify(*, report: Path, key: Path | None, previous: str, output: str) -> int:
    """Check a report folder. Every hash, that nothing was added or taken away, the signature, and the chain of runs.

    With --previous the chain must go on from an earlier report: no run in between was cut out or rewritten. Exit code
    0: intact and signed with --key. Exit code 1: broken, or not proved; without a key "intact, signer not verified".
    """
    from opsctl.report import verify as room

    trusted = _trusted(key) if key else None
    folder = report if report.is_dir() else report.parent
    found = room.verify(folder, trusted, previous)
    good = found.trusted and not found.faults
    if output == "json":
        outcome = "ok" if good else "failed" if found.faults else "unverified"
        as_json({**found._asdict(), "intact": not found.faults, "message": found.message}, outcome=outcome)
        return 0 if good else 1
    line(found.message)
    for fault in found.faults:
        line(f"  {fault}")
    line(f"chain of runs {found.chain}")
    if found.named:
        line(f"{room.HEAD} names it: {found.line}")
    if found.previous:
        line(f"goes on from  {found.previous}")
    return 0 if good else 1


def _trusted(key: Path) -> bytes:
    from opsctl.errors import Refused
    from opsctl.report import verify as room

    try:
        return room.public_key(key.read_bytes())
    except (OSError, ValueError) as error:
        raise Refused(
            f"{key}: {error}", hint="opsctl ledger key prints the public key on the machine that signs"
        ) from None


VERBS = (verify,)
