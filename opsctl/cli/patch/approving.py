"""`opsctl patch approve`: a second person's signature over a plan."""

from __future__ import annotations

from opsctl.cli import verbs
from opsctl.cli.patch.pieces import show_plan

VERBS = (verbs.approving("patch", show_plan),)
