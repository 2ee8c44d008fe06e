"""`opsctl provision approve`: a second person's signature over a saved plan."""

from __future__ import annotations

from opsctl.cli import verbs
from opsctl.cli.provision.pieces import show_plan

VERBS = (verbs.approving("provision", show_plan),)
