"""What became of runs whose process was killed or crashed: an incomplete report that says so, entered in the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from opsctl.compliance import record, unfinished, waivers
from opsctl.errors import StoreError
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store


def settle(store: Store, ledger: Ledger, state: Path, who: str, now: Callable[[], datetime]) -> tuple[str, ...]:
    """Give each such run its report and its outcome. Returns their ids; what is no report of a known run is dropped."""
    settled = []
    for run_id, text in unfinished.left_behind(state):
        run = store.run(run_id)
        if run is None or run.kind != record.KIND:
            continue
        if store.report(run_id) is None and not _kept(store, ledger, run_id, text, who, now):
            continue
        if not run.outcome or run.outcome == "interrupted":
            _, found = record.read(store, run_id)
            word = record.outcome(found, waivers.judge(found.results, found.waivers, found.ended))
            store.end_run(run_id, word, now())
        settled.append(run_id)
    return tuple(settled)


def _kept(store: Store, ledger: Ledger, run_id: str, text: str, who: str, now: Callable[[], datetime]) -> bool:
    try:
        document = json.loads(text)
        found = record.from_document(document)
        if document["run"] != run_id or found.complete or found.coverage.assessed:
            return False
    except (ValueError, TypeError, LookupError, AttributeError, StoreError):
        return False
    hosts = [host.key for host in found.scope.hosts]
    with ledger.act("comply", hosts, {"settles": run_id}, who, now) as act:
        record.keep(store, run_id, document, found)
        act.outcome = "incomplete"
        act.detail |= {"run": run_id, "report_sha256": record.sha256(record.stored(store, run_id))}
    return True
