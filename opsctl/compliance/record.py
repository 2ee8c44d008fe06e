"""Keeping a run: its document in the store, a fact for each host, its entry in the ledger.

The document is what every report is built from, today and in ten years: plain JSON, and `from_document` reads it back.
Its `version` rises with every change of its form. What was kept by a newer opsctl is refused, never half read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from opsctl.compliance import part, waivers
from opsctl.compliance.assess import Order, Say, assess, quiet
from opsctl.compliance.unfinished import cut_off, set_aside
from opsctl.config import Settings
from opsctl.errors import Interrupted, StoreError, UnknownName
from opsctl.model.finding import (
    RESULTS,
    Absent,
    Assessment,
    CheckResult,
    Control,
    Coverage,
    Evidence,
    Finding,
    Repeat,
    Scope,
    ScopedHost,
    Waiver,
    count,
)
from opsctl.model.host import Inventory
from opsctl.ssh.session import Transport
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store, stamp

KIND = "compliance"
FACT = "compliance"
# 2: plain texts and versions of the checks, the hosts' keys, waivers. Form 1 is read as it was, without them.
VERSION = 2
_OF_RESULT = tuple(one.name for one in fields(CheckResult) if one.name != "evidence")
_OF_EVIDENCE = tuple(one.name for one in fields(Evidence))
UNREADABLE = "the other runs can be read: opsctl comply list; was the store changed? opsctl ledger verify"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """A run that is kept: its id, what it found, and the hash of its document."""

    id: str
    assessment: Assessment
    findings: tuple[Finding, ...]
    sha256: str
    ledger_head: str

    @property
    def outcome(self) -> str:
        return outcome(self.assessment, self.findings)


def outcome(assessment: Assessment, findings: Sequence[Finding]) -> str:
    """incomplete before findings before ok: what could not be judged is worse than what failed."""
    undecided = any(result.result in ("error", "notchecked") for result in assessment.results)
    nobody = not assessment.coverage.assessed
    if nobody or not assessment.complete or assessment.coverage.unreachable or undecided:
        return "incomplete"
    return "findings" if any(finding.disposition != "waived" for finding in findings) else "ok"


def audit(
    order: Order,
    *,
    transport: Transport,
    inventory: Inventory,
    settings: Settings,
    store: Store,
    ledger: Ledger,
    now: Callable[[], datetime],
    say: Say = quiet,
) -> Audit:
    """Assess and keep. The document holds the ledger's head before the run, the finished entry the document's hash."""
    asked: dict[str, object] = {
        "profile": order.profile.name,
        "controls": [control.id for control in order.profile.controls],
        "selection": {name: list(words) for name, words in order.selection.items() if words},
    }
    began, known = now(), last_good(store)
    run_id = store.new_run(KIND, json.dumps(asked), began)
    before = str(ledger.head())
    doomed = cut_off(order, inventory=inventory, settings=settings, at=began, last_good=known)
    aside = set_aside(settings.state, run_id, canonical(to_document(run_id, doomed, before)))
    try:
        with aside, ledger.act("comply", [host.key for host in order.hosts], asked, order.operator, now) as act:
            assessment = assess(
                order,
                transport=transport,
                inventory=inventory,
                settings=settings,
                now=now,
                last_good=known,
                say=say,
            )
            findings = waivers.judge(assessment.results, assessment.waivers, assessment.ended)
            document = to_document(run_id, assessment, before)
            keep(store, run_id, document, assessment)
            act.outcome = "interrupted" if assessment.interrupted else outcome(assessment, findings)
            act.detail |= entered(store, run_id, of=(document, assessment))
            kept = str(act.detail["report_sha256"])
    except BaseException:
        store.end_run(run_id, "interrupted", now())
        raise
    store.end_run(run_id, "interrupted" if assessment.interrupted else outcome(assessment, findings), now())
    if assessment.interrupted:
        raise Interrupted(
            f"interrupted; what was judged until then is kept as run {run_id}, incomplete", hint="opsctl comply run"
        )
    return Audit(
        id=run_id, assessment=assessment, findings=findings, sha256=kept, ledger_head=str(act.head or ledger.head())
    )


def entered(store: Store, run_id: str, of: tuple[Mapping[str, object], Assessment] | None = None) -> dict[str, object]:
    """What the ledger keeps of a run: the hash of its document, and for each municipality the hash of its part.

    What the store holds counts, for it takes secrets out; `of`, a document and its run, saves work where that is it.
    """
    text = text_of(store, run_id)
    document = _parsed(text, run_id)
    assessment = of[1] if of and of[0] == document else from_document(document)
    head, scope = str(document["ledger_head"]), assessment.scope
    parts = {}
    for tenant in part.tenants(assessment):
        own = part.part(assessment, tenant)
        digest = sha256_of(text) if own is assessment else sha256(to_document(run_id, own, head))
        parts[tenant] = part.told(own, waivers.judge(own.results, own.waivers, own.ended), digest)
    return {
        "run": run_id,
        "report_sha256": sha256_of(text),
        "results": count(assessment.results),
        "profile": scope.profile,
        "whole": scope.whole,
        "catalogue_sha256": scope.catalogue_sha256,
        "parts": parts,
    }


def keep(store: Store, run_id: str, document: Mapping[str, object], assessment: Assessment) -> None:
    """The document, and for each assessed host when it was and how it fared."""
    with store.transaction():
        store.save_report(run_id, KIND, canonical(document), assessment.ended)
        for host in assessment.coverage.assessed:
            results = assessment.of(host)
            findings = waivers.judge(results, assessment.waivers, assessment.ended)
            failed, waived = (
                [one.result.control for one in findings if (one.disposition == "waived") == accepted]
                for accepted in (False, True)
            )
            fact = {"run": run_id, "counts": count(results), "failed": failed, "waived": waived}
            store.put_fact(host, FACT, json.dumps(fact), assessment.ended)


def last_good(store: Store) -> dict[str, datetime]:
    """When each host was last assessed."""
    return {host: fact.at for host, fact in store.facts(FACT).items()}


def canonical(document: Mapping[str, object]) -> str:
    """One text for one document: sorted keys, no spaces that could differ."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def sha256(document: Mapping[str, object]) -> str:
    return sha256_of(canonical(document))


def sha256_of(text: str) -> str:
    """The hash of a text in UTF-8, made piece by piece: a fleet's text is large."""
    total = hashlib.sha256()
    for start in range(0, len(text), 1 << 20):
        total.update(text[start : start + (1 << 20)].encode())
    return total.hexdigest()


def stored(store: Store, run_id: str) -> Mapping[str, Any]:
    """The document of a run as the store keeps it (secrets redacted)."""
    return _parsed(text_of(store, run_id), run_id)


def text_of(store: Store, run_id: str) -> str:
    """The canonical text of a kept document: the store writes no other."""
    found = store.report(run_id)
    if found is None or found.kind != KIND:
        raise UnknownName(f"no compliance run is called {run_id!r}", hint="opsctl comply list shows the runs")
    return found.document_json


def _parsed(text: str, run_id: str) -> Mapping[str, Any]:
    """The document of a text. A fleet says the same words thousands of times: each is kept in memory once."""
    seen: dict[str, str] = {}

    def share(found: dict[str, Any]) -> dict[str, Any]:
        for key, value in found.items():
            if type(value) is str:
                found[key] = seen.setdefault(value, value)
        return found

    with suppress(ValueError):
        if isinstance(document := json.loads(text, object_hook=share), dict):
            return document
    raise StoreError(f"run {run_id} cannot be read: its document is no JSON object", hint=UNREADABLE)


def loaded(store: Store, run_id: str) -> tuple[Assessment, str, str]:
    """A kept run, the ledger's head before it, and the hash of its document; raises as `read` does.

    Text, document and run of a large fleet are never in memory all at once.
    """
    text = text_of(store, run_id)
    digest, document = sha256_of(text), _parsed(text, run_id)
    del text
    return _typed(document, run_id), str(document["ledger_head"]), digest


def read(store: Store, run_id: str) -> tuple[Mapping[str, Any], Assessment]:
    """A kept run: its document, and what it says. Raises UnknownName, or StoreError with the run and the fault."""
    document = stored(store, run_id)
    return document, _typed(document, run_id)


def _typed(document: Mapping[str, Any], run_id: str) -> Assessment:
    try:
        return from_document(document)
    except StoreError as error:
        raise StoreError(f"run {run_id} cannot be read: {error.message}", hint=error.hint) from error


def to_document(run_id: str, assessment: Assessment, ledger_head: str) -> dict[str, object]:
    """The stored form of a run. Many checks rest on the same command: its evidence is kept once, and named by place."""
    places: dict[Evidence, int] = {}
    results = []
    for result in assessment.results:
        named = [places.setdefault(piece, len(places)) for piece in result.evidence]
        results.append({**_flat(result), "evidence": named})
    plain = {one.name: _stamped(getattr(assessment, one.name)) for one in fields(assessment) if one.name != "results"}
    pieces = [_flat(piece) for piece in places]
    return {
        "version": VERSION,
        "run": run_id,
        "ledger_head": ledger_head,
        **plain,
        "results": results,
        "evidence": pieces,
    }


def _flat(item: CheckResult | Evidence) -> dict[str, Any]:
    """A result (without its evidence) or a piece of evidence; there are hundreds of thousands of them."""
    values = ((name, getattr(item, name)) for name in (_OF_RESULT if isinstance(item, CheckResult) else _OF_EVIDENCE))
    return {name: value if type(value) is str else _stamped(value) for name, value in values}


def _stamped(value: Any) -> Any:
    if type(value) is str:
        return value
    if isinstance(value, datetime):
        return stamp(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _stamped({one.name: getattr(value, one.name) for one in fields(value)})
    if isinstance(value, dict):
        return {key: _stamped(inner) for key, inner in value.items()}
    return [_stamped(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def from_document(document: Mapping[str, Any]) -> Assessment:
    """A stored run, typed again. Raises StoreError for a document of another form, or one that is damaged."""
    _refuse_another_form(document.get("version"))
    try:
        pieces = [Evidence(**{**entry, "at": _time(entry["at"])}) for entry in document["evidence"]]
        return Assessment(
            scope=_scope(document["scope"]),
            started=_time(document["started"]),
            ended=_time(document["ended"]),
            coverage=Coverage(
                assessed=tuple(document["coverage"]["assessed"]),
                **{
                    part: tuple(_absent(entry) for entry in document["coverage"][part])
                    for part in ("unreachable", "excluded", "quarantined")
                },
            ),
            results=tuple(_result(entry, pieces) for entry in document["results"]),
            faults=tuple(document["faults"]),
            interrupted=bool(document["interrupted"]),
            waivers=tuple(_waiver(entry) for entry in document.get("waivers", ())),
            repeats=tuple(Repeat(**entry) for entry in document.get("repeats", ())),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"its document is not what form {document['version']} should be ({type(error).__name__}: {error})",
            hint=UNREADABLE,
        ) from error


def _refuse_another_form(version: object) -> None:
    if type(version) is not int or version < 1:
        raise StoreError("its document does not say in which form it was kept", hint=UNREADABLE)
    if version > VERSION:
        raise StoreError(
            f"it was kept by a newer opsctl, in form {version}; this one reads forms up to {VERSION}",
            hint="use the opsctl that made it, or a newer one",
        )


@lru_cache(maxsize=10_000)
def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _scope(raw: Mapping[str, Any]) -> Scope:
    return Scope(
        **{
            **raw,
            "controls": tuple(_control(entry) for entry in raw["controls"]),
            "hosts": tuple(_host(entry) for entry in raw["hosts"]),
            "selection": {name: tuple(words) for name, words in raw["selection"].items()},
            "deselected": tuple((name, reason) for name, reason in raw["deselected"]),
        }
    )


def _host(raw: Mapping[str, Any]) -> ScopedHost:
    return ScopedHost(**{**raw, "host_keys": tuple(raw.get("host_keys", ()))})


def _waiver(raw: Mapping[str, Any]) -> Waiver:
    return Waiver(**{**raw, "hosts": tuple(raw["hosts"]), "expires": _time(raw["expires"])})


def _control(raw: Mapping[str, Any]) -> Control:
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in raw["values"].items()}
    return Control(**{**raw, "maps": {name: tuple(v) for name, v in raw["maps"].items()}, "values": values})


def _absent(raw: Mapping[str, Any]) -> Absent:
    return Absent(**{**raw, "last_good": _time(raw["last_good"]) if raw["last_good"] else None})


def _result(raw: Mapping[str, Any], pieces: Sequence[Evidence]) -> CheckResult:
    if raw["result"] not in RESULTS:
        raise ValueError(f"{raw['result']!r} is no result")
    evidence = tuple(pieces[place] for place in raw["evidence"])
    return CheckResult(**{**raw, "at": _time(raw["at"]), "evidence": evidence})
