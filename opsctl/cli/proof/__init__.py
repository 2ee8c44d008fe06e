"""What proves a compliance run, and what goes on with its findings: waivers, verification, looking again, comparing."""

from __future__ import annotations

from opsctl.cli.proof import comparing, explaining, rechecking, sending, verifying, waiving

VERBS = (*waiving.VERBS, *verifying.VERBS, *rechecking.VERBS, *comparing.VERBS, *explaining.VERBS, *sending.VERBS)
