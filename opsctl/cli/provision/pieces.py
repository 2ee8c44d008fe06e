"""What several verbs of provisioning share: one option, what is told of a run, and how a plan is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opsctl.cli.output import line, progress, some, table
from opsctl.rollout import lines, shown
from opsctl.rollout.limits import listed

if TYPE_CHECKING:
    from opsctl.model.rollout import Plan
    from opsctl.model.run import RunEvent

parallel_option = click.option(
    "--max-parallel", "--hosts", "max_parallel", type=click.IntRange(1), metavar="N",
    help="At most N hosts at once.  [default: provision.max_hosts]",
)  # fmt: skip
COLUMNS = ("wave", "batch", "host", "would change", "takes", "window")


def tell(event: RunEvent) -> None:
    """One line for each task that changed something, or met trouble."""
    from opsctl.model.run import TaskEnded

    if isinstance(event, TaskEnded) and event.outcome in ("changed", "failed", "unreachable") and not event.ignored:
        told = f": {event.message}" if event.message and event.outcome != "changed" else ""
        progress(f"  {event.host}: {event.outcome}: {event.task}{told}")


def tell_trouble(event: RunEvent) -> None:
    """Of a check run only what went wrong: what would change is shown at its end."""
    from opsctl.model.run import TaskEnded

    if isinstance(event, TaskEnded) and event.outcome in ("failed", "unreachable"):
        tell(event)


def show_plan(made: Plan) -> None:
    rows = [
        (
            f"{w} {wave.ring}", b, item.host, some(item.changes, "task") if item.foreseen else "not looked at",
            f"{-(-item.expected_seconds // 60)} min", item.window,
        )
        for w, b, wave, batch in made.batches()
        for item in batch.hosts
    ]  # fmt: skip
    empty = f"plan {made.id} is empty: {shown.why_empty(made)}"
    table(COLUMNS, rows, title=f"plan {made.id}", empty=empty)
    if made.left_out:
        table(("left out", "reason"), [(one.host, one.reason) for one in made.left_out])
    batches = some(sum(1 for _ in made.batches()), "batch")
    line(
        f"{some(len(made.hosts), 'host')} in {batches} of at most {made.max_parallel}; "
        f"{shown.budget_words(made)}; {len(made.left_out)} left out"
        f"{f'; ticket: {made.ticket}' if made.ticket else ''}"
    )
    for told in shown.handling_lines(made):
        line(told)
    if made.start_at:
        line(f"made for {made.start_at:%Y-%m-%d %H:%MZ}")
    if made.emergency:
        line(f"EMERGENCY, over windows and freezes: {made.emergency}")
    if made.approval:
        line(f"a second person must approve it for ring {', '.join(made.approval)}: {lines.approve(made.id)}")
    if made.down:
        line(f"counted as out of service: {listed(made.down)}")
    for text in shown.gate_lines(made):
        line(text)
    line(f"hash {made.hash}")
