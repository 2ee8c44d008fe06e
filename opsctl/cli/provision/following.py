"""`opsctl provision status|attach`: how provisionings stand and go on."""

from __future__ import annotations

from opsctl.cli import verbs

STATUS = """How far a provisioning is, host by host. Without a name all.

--watch takes the one at work where none is named, and ends as with --exit-code.
"""
ATTACH = """Show a provisioning's progress as it goes on.

Ctrl-C leaves it without stopping it. It ends with the rollout, and with the same exit code.
"""
VERBS = (verbs.standing("provision", STATUS), verbs.attaching("provision", ATTACH))
