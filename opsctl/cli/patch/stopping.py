"""`opsctl patch pause|abort|skip`: what a person asks of a rollout, from any terminal, at work or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.cli import verbs

if TYPE_CHECKING:
    from opsctl.rollout.ride import Rider

PAUSE = """Let a rollout start nothing new. Hosts under way are finished.

It keeps its hosts from others until their window ends, and so does a halted one. `patch resume` goes on.
"""
ABORT = """End a rollout for good, and free its hosts for others.

One that is at work starts nothing new; hosts under way are finished and undrained. Where no process is at it, no
host is touched. Exit code 1: hosts stay drained or changed halfway; they are listed.
"""
SKIP = """Leave a host out of a rollout that has not begun with it.

Also one whose state is unknown, so that the others can go on; where it is drained, a resume undrains it. Without
ROLLOUT the newest one that has the host and is not over.
"""


def _rider() -> Rider:
    from opsctl.patch import run

    return run.RIDER


VERBS = (verbs.pausing(_rider, PAUSE), verbs.aborting("patch", ABORT), verbs.skipping("patch", SKIP))
