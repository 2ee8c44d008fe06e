"""`opsctl doctor`: everything that machine, workspace, inventory, keys, store, content and hosts need, with its mend.

It changes nothing. A broken workspace is what it is for: what cannot be looked at is a verdict too, never a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from opsctl.errors import OpsctlError, SetupError
from opsctl.overview import examine_inventory, examine_keys, examine_workspace
from opsctl.overview.examination import Look
from opsctl.overview.examine_machine import machine

if TYPE_CHECKING:
    from opsctl.config import Settings


def examine(open_settings: Callable[[], Settings], now: datetime) -> Iterator[Look]:
    """Every look that needs no host, in the order of `examination.AREAS`; where NetBox is the source, it is asked."""
    yield from machine()
    try:
        settings = open_settings()
    except SetupError as error:
        yield from _unusable(error)
        return
    parts: dict[str, Callable[[Settings], Iterator[Look]]] = {
        "workspace": examine_workspace.workspace,
        "inventory": partial(examine_inventory.inventory, now=now),
        "keys": examine_keys.keys,
        "state": examine_workspace.state,
        "content": examine_workspace.own_content,
    }
    for area, part in parts.items():
        yield from _survive(area, part, settings)


def _unusable(error: SetupError) -> Iterator[Look]:
    if not error.problems:
        yield Look(area="workspace", name="opsctl.yml", verdict="bad", seen=error.message, mend=error.hint)
    for problem in error.problems:
        seen = f"{problem.where}: {problem.what}"
        yield Look(area="workspace", name="opsctl.yml", verdict="bad", seen=seen, mend=problem.allowed or error.hint)


def _survive(area: str, part: Callable[[Settings], Iterator[Look]], settings: Settings) -> Iterator[Look]:
    try:
        yield from part(settings)
    except (OpsctlError, OSError) as error:
        hint = error.hint if isinstance(error, OpsctlError) else ""
        yield Look(area=area, name=area, verdict="bad", seen=f"could not be looked at: {error}", mend=hint)
