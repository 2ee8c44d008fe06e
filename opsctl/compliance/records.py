"""What the control side itself knows of a host, as the evidence of controls that no host can answer for.

Whoever orders a run hands in a record for each host and name; the checks judge it like the output of a command. The
inventory's own records are made here, those of store, monitoring and backup by the rooms above.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from opsctl.model.host import Host

INVENTORY, RESTORE, PATCHED, MONITORING, BACKUP = "inventory", "restore", "patched", "monitoring", "backup"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One thing known of one host: `text` is a JSON object, or `fault` says why it could not be read."""

    source: str
    at: datetime
    text: str = ""
    fault: str = ""

    def document(self) -> dict[str, object]:
        return {"source": self.source, "at": self.at.timestamp(), "text": self.text, "fault": self.fault}


Known = Mapping[str, Mapping[str, Record]]


def record(source: str, at: datetime, found: Mapping[str, object]) -> Record:
    return Record(source=source, at=at, text=json.dumps(found, ensure_ascii=False, sort_keys=True))


def of_inventory(host: Host, at: datetime) -> dict[str, Record]:
    """What the inventory says of the host itself, and of the last test of restoring (custom field restore_tested)."""
    said = {"name": host.name, "address": host.address, "platform": host.platform, "owner": host.owner}
    custom = json.loads(host.custom) if host.custom else {}
    tested = str(custom.get("restore_tested") or "") if isinstance(custom, dict) else ""
    return {
        INVENTORY: record(f"inventory: {host.key}", at, said),
        RESTORE: record(f"inventory: custom fields of {host.key}", at, {"restore_tested": tested}),
    }
