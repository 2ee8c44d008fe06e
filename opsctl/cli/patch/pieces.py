"""What several verbs of patching share: how a plan is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.cli.output import line, some, table
from opsctl.rollout import lines, shown
from opsctl.rollout.limits import listed

if TYPE_CHECKING:
    from opsctl.model.rollout import Plan


def show_plan(made: Plan) -> None:
    empty = f"plan {made.id} is empty: {shown.why_empty(made)}"
    table(shown.PLAN_COLUMNS, shown.plan_rows(made), title=f"plan {made.id}", empty=empty)
    if rows := shown.package_rows(made):
        table(shown.PACKAGE_COLUMNS, rows)
    if made.left_out:
        table(("left out", "reason"), [(one.host, one.reason) for one in made.left_out])
    batches = some(sum(1 for _ in made.batches()), "batch")
    line(
        f"{some(len(made.hosts), 'host')} in {batches} of at most {made.max_parallel}; "
        f"{shown.budget_words(made)}; reboot: {made.reboot}; {len(made.left_out)} left out"
        f"{f'; ticket: {made.ticket}' if made.ticket else ''}"
    )
    for told in (*shown.handling_lines(made), *shown.gate_lines(made)):
        line(told)
    if made.start_at:
        line(f"made for {made.start_at:%Y-%m-%d %H:%MZ}")
    if made.emergency:
        line(f"EMERGENCY, over windows and freezes: {made.emergency}; its approval may follow within 24 h of its start")
    if made.approval:
        line(f"a second person must approve it for ring {', '.join(made.approval)}: {lines.approve(made.id)}")
    if made.rollback_of:
        line(f"puts back what {made.rollback_of} replaced")
    for pin in made.snapshots:
        line(f"{pin.tenant}: {pin.mirror} as it was: {pin.url}")
    if bare := shown.without_snapshot(made):
        line(
            f"{', '.join(bare)}: no snapshot of the package mirror is named: the plan may not survive the soak, should "
            "newer versions take the place of these (mirrors in tenant.yml)"
        )
    if made.packages:
        line(f"only {', '.join(made.packages)} and what they need")
    if made.down:
        line(f"counted as out of service: {listed(made.down)}")
    line(f"hash {made.hash}")
