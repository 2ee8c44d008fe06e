"""Which acts of opsctl touched a host, from the ledger: what may be behind a control that has begun to fail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opsctl.compliance.compare import Touch
from opsctl.state.ledger import Entry, Ledger

# Verbs that change hosts begin so; these of them only plan, tell or agree.
_CHANGING = ("patch ", "provision", "takeover", "host ")
_QUIET = frozenset({
    "patch plan", "patch approve", "patch notify", "patch rehearse", "patch schedule", "provision plan",
    "provision schedule", "host approve",
})  # fmt: skip


def touches(ledger: Ledger, hosts: Iterable[str]) -> dict[str, list[Touch]]:
    """The acts on each of these hosts, oldest first; one that never finished may have done anything since."""
    wanted = set(hosts)
    began: dict[str, Entry] = {}
    finished: dict[str, Entry] = {}
    for entry in ledger.entries():
        if entry.verb.startswith(_CHANGING) and entry.verb not in _QUIET and wanted.intersection(entry.hosts):
            (began if entry.phase == "started" else finished)[entry.act] = entry
    found: dict[str, list[Touch]] = {key: [] for key in wanted}
    for act, start in began.items():
        for key in wanted.intersection(start.hosts):
            found[key].append(_touch(key, start, finished.get(act)))
    return found


def _touch(host: str, start: Entry, end: Entry | None) -> Touch:
    named = [str(start.detail[name]) for name in ("rollout", "plan") if start.detail.get(name)]
    stages = end.detail.get("hosts") if end else None
    stage = f", this host: {stages[host]}" if isinstance(stages, Mapping) and host in stages else ""
    return Touch(
        began=start.at,
        ended=end.at if end else None,
        verb=start.verb,
        what=(named[0] if named else f"entry {start.seq}") + stage,
        who=start.who,
        outcome=end.outcome if end else "never finished",
        entry=start.seq,
    )
