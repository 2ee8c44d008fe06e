"""The ledger: every changing act, in a chain of hashes that shows whether anybody touched it afterwards.

An act makes two entries, started and finished, linked by the act's id: what `kill -9` cut short stays visible as
"started, never finished". An entry is one line of canonical JSON (sorted keys, no blanks, UTF-8) that holds the hash
of the entry before it; its own hash is SHA-256 over that line. The verifier reads the lines back, and trusts nothing
else.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets as randomness
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from opsctl.errors import Interrupted, OpsctlError, StoreError, UsageError
from opsctl.state.redaction import canonical
from opsctl.state.store import Store, moment, stamp

GENESIS = "0" * 64
SHORT = 32
_FIELDS = frozenset({
    "seq", "at", "who", "node", "verb", "act", "phase", "hosts", "count", "detail", "outcome", "previous",
})  # fmt: skip
_HEAD = re.compile(r"(?:(?P<seq>\d{1,18}):)?(?P<hash>[0-9a-f]{16,64})")


@dataclass(frozen=True, kw_only=True)
class Head:
    """The last entry's place and hash: kept elsewhere, it proves later that nothing was cut or rewritten."""

    seq: int
    hash: str

    def __str__(self) -> str:
        """The short form that every changing act prints at its end."""
        return f"{self.seq}:{self.hash[:SHORT]}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry; `phase` is started or finished, `outcome` is empty on the started one."""

    seq: int
    at: datetime
    who: str
    node: str
    verb: str
    act: str
    phase: str
    hosts: tuple[str, ...]
    detail: Mapping[str, object]
    outcome: str
    previous: str
    hash: str


@dataclass(kw_only=True)
class Act:
    """An act under way. Set `outcome` when it is not "ok"; what is put into `detail` enters the finished entry."""

    id: str
    outcome: str = "ok"
    detail: dict[str, object] = field(default_factory=dict)
    head: Head | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What verification found. `faults` say which entry and what; none means intact as far as could be seen."""

    entries: int
    head: Head
    faults: tuple[str, ...]
    unfinished: tuple[Entry, ...]
    with_head: bool

    @property
    def intact(self) -> bool:
        return not self.faults

    @property
    def message(self) -> str:
        if self.faults:
            return f"BROKEN: {len(self.faults)} fault{'s' if len(self.faults) > 1 else ''} in {self.entries} entries"
        if self.with_head:
            return f"intact: {self.entries} entries, and the head that you kept is among them"
        return (
            f"intact as far as it goes: {self.entries} entries; without a head that you kept (--head), a cut tail or a "
            "rewritten chain cannot be seen"
        )


class Ledger:
    """The ledger of one store. `secrets` are values that must never appear in it (nor in the store)."""

    def __init__(self, store: Store, secrets: Iterable[str] = (), *, node: str | None = None) -> None:
        self._store = store
        self._node = node or socket.gethostname()
        store.redactor.add(*secrets)

    @contextmanager
    def act(
        self,
        verb: str,
        hosts: Iterable[str],
        detail: Mapping[str, object],
        who: str,
        now_fn: Callable[[], datetime],
    ) -> Iterator[Act]:
        """Enter an act before its first effect, and its outcome after the last; an exception is an outcome too."""
        act = Act(id=randomness.token_hex(8))
        names = tuple(sorted(set(hosts)))
        self._append(now_fn(), who, verb, act.id, "started", names, detail, "")
        try:
            yield act
        except BaseException as error:
            act.outcome = _outcome_of(error)
            if isinstance(error, (OpsctlError, Interrupted)):
                act.detail.setdefault("error", error.message)
            else:
                act.detail.setdefault("error", type(error).__name__)
            try:
                act.head = self._append(now_fn(), who, verb, act.id, "finished", names, act.detail, act.outcome)
            except StoreError as second:
                error.add_note(f"and the ledger could not be written: {second.message}")
            raise
        act.head = self._append(now_fn(), who, verb, act.id, "finished", names, act.detail, act.outcome)

    def entries(
        self, *, verb: str | None = None, host: str | None = None, limit: int | None = None, newest_first: bool = False
    ) -> list[Entry]:
        """Entries in order, or newest first; `limit` counts from the newest either way. `host`: NAME or TENANT.NAME."""
        found: list[Entry] = []
        for row in self._store.read("SELECT seq, body, hash FROM ledger ORDER BY seq DESC"):
            if limit is not None and len(found) >= limit:
                break
            entry = _entry(json.loads(row["body"]), row["hash"])
            if (verb is None or entry.verb == verb) and (host is None or _names(entry, host)):
                found.append(entry)
        return found if newest_first else found[::-1]

    def head(self) -> Head:
        """The last entry's place and hash; `str(head)` is its short form."""
        rows = self._store.read("SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1")
        return Head(seq=rows[0]["seq"], hash=rows[0]["hash"]) if rows else Head(seq=0, hash=GENESIS)

    def verify(self, head: str | None = None) -> Verdict:
        """Recompute the whole chain; with a head that somebody kept, a cut or rewritten chain is found as well."""
        kept = parse_head(head) if head is not None else None
        rows = self._store.read("SELECT seq, body, hash FROM ledger ORDER BY seq")
        return verify_rows([(row["seq"], row["body"], row["hash"]) for row in rows], kept)

    def _append(
        self,
        at: datetime,
        who: str,
        verb: str,
        act: str,
        phase: str,
        hosts: tuple[str, ...],
        detail: Mapping[str, object],
        outcome: str,
    ) -> Head:
        with self._store.transaction():
            last = self.head()
            # Only `detail` comes from elsewhere; the rest are names of ours, and a short secret must not maim them.
            document: dict[str, object] = {
                "seq": last.seq + 1,
                "at": stamp(at),
                "who": who,
                "node": self._node,
                "verb": verb,
                "act": act,
                "phase": phase,
                "count": len(hosts),
                "hosts": list(hosts),
                "detail": self._store.redactor.value(dict(detail), judge_names=True),
                "outcome": outcome,
                "previous": last.hash,
            }
            body = canonical(document)
            head = Head(seq=last.seq + 1, hash=hash_of(body))
            self._store.write("INSERT INTO ledger (seq, body, hash) VALUES (?, ?, ?)", (head.seq, body, head.hash))
        return head


def hash_of(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def parse_head(text: str) -> Head:
    """A head as a person kept it: SEQ:HASH or a bare HASH, of at least 16 hex digits; seq 0 where it is not given."""
    found = _HEAD.fullmatch(text.strip().lower())
    if found is None:
        raise UsageError(f"{text!r} is not a ledger head", hint="it looks like 42:9f86d081884c7d659a2feaa0c55ad015")
    return Head(seq=int(found["seq"] or 0), hash=found["hash"])


def verify_rows(rows: Iterable[tuple[int, str, str]], kept: Head | None = None) -> Verdict:
    """Judge (seq, body, hash) rows in order, without trusting whoever wrote them."""
    faults: list[str] = []
    open_acts: dict[str, Entry] = {}
    previous, last, count = GENESIS, 0, 0
    found_kept = kept is None or GENESIS.startswith(kept.hash)
    for seq, body, stored in rows:
        count += 1
        entry, wrong = _judge(seq, body, stored, last, previous)
        faults += [f"entry {seq}: {what}" for what in wrong]
        if entry is not None:
            if entry.phase == "started":
                open_acts[entry.act] = entry
            elif open_acts.pop(entry.act, None) is None:
                faults.append(f"entry {seq}: finishes an act that never started")
        if kept is not None and stored.startswith(kept.hash) and kept.seq in (0, seq):
            found_kept = True
        previous, last = stored, seq
    if not found_kept and kept is not None:
        faults.append(f"{_how_missed(kept, last)}: the chain was cut or rewritten")
    return Verdict(
        entries=count,
        head=Head(seq=last, hash=previous),
        faults=tuple(faults),
        unfinished=tuple(open_acts.values()),
        with_head=kept is not None,
    )


def _how_missed(kept: Head, last: int) -> str:
    if kept.seq > last:
        return f"the chain ends at entry {last}, but you kept the head of entry {kept.seq}"
    return f"entry {kept.seq} is not the one that you kept" if kept.seq else "no entry has the hash that you kept"


def _judge(seq: int, body: str, stored: str, last: int, previous: str) -> tuple[Entry | None, list[str]]:
    wrong = []
    if hash_of(body) != stored:
        wrong.append("its content does not match its hash")
    if seq != last + 1:
        wrong.append(f"follows entry {last}: entries are missing or moved")
    try:
        document = json.loads(body)
        if not isinstance(document, dict) or set(document) != _FIELDS or canonical(document) != body:
            raise ValueError("not an entry")
        entry = _entry(document, stored)
    except (ValueError, TypeError, KeyError):
        return None, [*wrong, "cannot be read"]
    if entry.seq != seq:
        wrong.append(f"says that it is entry {entry.seq}")
    if entry.previous != previous:
        wrong.append("does not follow from the entry before it")
    return entry, wrong


def _entry(document: Mapping[str, object], stored: str) -> Entry:
    hosts, detail = document["hosts"], document["detail"]
    if not isinstance(hosts, list) or not isinstance(detail, dict):
        raise TypeError("not an entry")
    return Entry(
        seq=int(str(document["seq"])),
        at=moment(str(document["at"])),
        who=str(document["who"]),
        node=str(document["node"]),
        verb=str(document["verb"]),
        act=str(document["act"]),
        phase=str(document["phase"]),
        hosts=tuple(str(host) for host in hosts),
        detail=detail,
        outcome=str(document["outcome"]),
        previous=str(document["previous"]),
        hash=stored,
    )


def _outcome_of(error: BaseException) -> str:
    if isinstance(error, (Interrupted, KeyboardInterrupt)):
        return Interrupted.outcome
    return error.outcome if isinstance(error, OpsctlError) else "failed"


def _names(entry: Entry, host: str) -> bool:
    return any(key == host or key.partition(".")[2] == host for key in entry.hosts)
