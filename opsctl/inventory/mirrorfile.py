"""The mirror on disk: in the state folder, beside it a small head, by which most syncs see that nothing has moved."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from dataclasses import fields
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

from opsctl import __version__
from opsctl.inventory import saving
from opsctl.inventory.mirror import Head, Mirror
from opsctl.inventory.pull import Filters, Pull
from opsctl.inventory.record import Port, Record, ServiceRecord

_RECORD = tuple(one.name for one in fields(Record) if one.name != "context")
_values = attrgetter(*_RECORD)
_FORMAT = f"opsctl {__version__} mirror 1"


def path(state: Path, address: str, wanted: Filters, scope: str) -> Path:
    """Where the mirror of one NetBox, asked in one way, lies."""
    asked = json.dumps([_FORMAT, address, sorted((name, sorted(values)) for name, values in wanted.items())])
    return state / f"netbox-{scope or 'all'}-{hashlib.sha256(asked.encode()).hexdigest()[:12]}.json"


def head(file: Path) -> Head | None:
    """The head of the mirror in this file, or None where there is none that can be read."""
    try:
        found = saving.recall(_head_of(file))
        return Head(
            mark=str(found["mark"]),
            version=found["version"],
            full_at=datetime.fromisoformat(found["full_at"]),
            seen=tuple(found["seen"]),
            newest=str(found["newest"]),
            reader=str(found["reader"]),
            counts=dict(found["counts"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _head_of(file: Path) -> Path:
    return file.with_suffix(".head")


def load(file: Path) -> Mirror | None:
    """The mirror, or None where there is none that can be read."""
    try:
        found = saving.recall(file)
        contexts = found["contexts"]
        records = tuple(_record(row, contexts) for row in found["records"])
        services = tuple(
            ServiceRecord(id=row[0], parent=row[1], ports=tuple(_port(port) for port in row[2]))
            for row in found["services"]
        )
        pulled = Pull(
            version=found["version"],
            records=records,
            services=services,
            regions=found["regions"],
            labels=found["labels"],
        )
        return Mirror(
            pulled=pulled,
            full_at=datetime.fromisoformat(found["full_at"]),
            seen=tuple(found["seen"]),
            newest=str(found["newest"]),
            reader=str(found["reader"]),
            mark=str(found["mark"]),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None


def save(file: Path, mirror: Mirror) -> None:
    """Keep the mirror; a state folder that is not there, or full, costs a full pull the next time and nothing else."""
    if not file.parent.is_dir():
        return
    pulled = mirror.pulled
    numbers = {text: number for number, text in enumerate(sorted({record.context for record in pulled.records}))}
    content = {
        "mark": secrets.token_hex(8),
        "version": pulled.version,
        "labels": pulled.labels,
        "full_at": mirror.full_at.isoformat(),
        "seen": mirror.seen,
        "newest": mirror.newest,
        "reader": mirror.reader,
        "regions": dict(pulled.regions),
        "contexts": list(numbers),
        "records": [[*_values(record), numbers[record.context]] for record in pulled.records],
        "services": [
            [one.id, one.parent, [[p.name, p.protocol, p.port, *_labels(p)] for p in one.ports]]
            for one in pulled.services
        ],
    }
    counts = Counter(record.kind for record in pulled.records)
    top = {name: content[name] for name in ("mark", "version", "full_at", "seen", "newest", "reader")} | {
        "counts": counts
    }
    # The head goes first and comes last: it never speaks of another mirror than the one that is there.
    _head_of(file).unlink(missing_ok=True)
    if saving.keep(file, _as_text(content)):
        saving.keep(_head_of(file), _as_text(top))


def _as_text(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _record(row: list[Any], contexts: list[str]) -> Record:
    values = dict(zip(_RECORD, row, strict=False))
    values["tags"], values["address_ids"] = tuple(values["tags"]), tuple(values["address_ids"])
    return Record(**values, context=contexts[row[-1]])


def _labels(port: Port) -> list[object]:
    return [port.tags, port.fields] if port.tags or port.fields else []


def _port(row: list[Any]) -> Port:
    tags, values = (tuple(row[3]), row[4]) if len(row) > 3 else ((), {})
    return Port(name=row[0], protocol=row[1], port=row[2], tags=tags, fields=values)
