"""`opsctl provision pause|abort|skip`: what a person asks of a provisioning, from any terminal, at work or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.cli import verbs

if TYPE_CHECKING:
    from opsctl.rollout.ride import Rider

PAUSE = """Let a provisioning start nothing new. Hosts under way are finished.

It keeps its hosts from others until their window ends, and so does a halted one. `provision resume` goes on.
"""
ABORT = """End a provisioning for good, and free its hosts for others.

One that is at work starts nothing new; hosts under way are finished. Where no process is at it, no host is touched:
one that waits for the confirmation of its access undoes that change by itself. Exit code 1: hosts stay changed
halfway; they are listed.
"""
SKIP = """Leave a host out of a provisioning that has not begun with it.

Also one whose state is unknown, so that the others can go on. Without ROLLOUT the newest one that has the host and
is not over.
"""


def _rider() -> Rider:
    from opsctl.provision import run

    return run.rider()


VERBS = (verbs.pausing(_rider, PAUSE), verbs.aborting("provision", ABORT), verbs.skipping("provision", SKIP))
