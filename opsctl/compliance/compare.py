"""What changed between two runs: pure. Nothing counts as fixed that was not seen to pass.

A host that did not answer, a check that could not judge, a host or control that the second run did not look at: what
failed there before is no longer seen, which is not the same as mended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from opsctl.model.finding import Assessment, CheckResult, Control, Finding

# What each kind of change is called, in the order in which a reader should meet them.
KINDS = ("new", "lapsed", "open", "unseen", "waived", "fixed")
_GOOD = ("pass", "notapplicable")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A kept run with its findings."""

    run: str
    assessment: Assessment
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Touch:
    """An act of opsctl that touched a host, as the ledger holds it; `ended` is None where it never finished."""

    began: datetime
    ended: datetime | None
    verb: str
    what: str
    who: str
    outcome: str
    entry: int


@dataclass(frozen=True, kw_only=True)
class Change:
    """One failure on one host, before and after; `before` and `after` are results, or why there is none."""

    kind: str
    host: str
    control: str
    before: str
    after: str
    observed: str
    causes: tuple[Touch, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that changed. `catalogue` says in words what is different in what was asked."""

    old: str
    new: str
    changes: tuple[Change, ...]
    hosts_in: tuple[str, ...]
    hosts_out: tuple[str, ...]
    catalogue: tuple[str, ...]

    def of(self, kind: str) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.kind == kind)

    @property
    def different(self) -> bool:
        """Whether anything is not as it was."""
        still = len(self.of("open"))
        return bool(self.hosts_in or self.hosts_out or self.catalogue or len(self.changes) > still)


def compare(old: Judged, new: Judged, touches: Mapping[str, Iterable[Touch]] | None = None) -> Comparison:
    """`touches`: the acts on each host, whenever; those between the two looks are told with new failures."""
    keys_old, keys_new = (_hosts(one.assessment) for one in (old, new))
    return Comparison(
        old=old.run,
        new=new.run,
        changes=tuple(_changes(old, new, touches or {})),
        hosts_in=tuple(key for key in keys_new if key not in keys_old),
        hosts_out=tuple(key for key in keys_old if key not in keys_new),
        catalogue=tuple(_catalogue(old.assessment, new.assessment)),
    )


def _hosts(assessment: Assessment) -> tuple[str, ...]:
    return tuple(host.key for host in assessment.scope.hosts)


def _changes(old: Judged, new: Judged, touches: Mapping[str, Iterable[Touch]]) -> list[Change]:
    before, after = ({(r.host, r.control): r for r in one.assessment.results} for one in (old, new))
    was, now = ({(f.result.host, f.result.control): f.disposition for f in one.findings} for one in (old, new))
    found = []
    for key in dict.fromkeys((*now, *was)):
        first, last = before.get(key), after.get(key)
        kind = _kind(was.get(key, ""), now.get(key, ""), last)
        if not kind:
            continue
        found.append(
            Change(
                kind=kind,
                host=key[0],
                control=key[1],
                before=_word(first, was.get(key, ""), key, old.assessment),
                after=_word(last, now.get(key, ""), key, new.assessment),
                observed=last.observed or last.reason if last else "",
                causes=_causes(touches.get(key[0], ()), old, first, last) if kind == "new" else (),
            )
        )
    order = {control.id: control.order for run in (old, new) for control in run.assessment.scope.controls}
    return sorted(found, key=lambda c: (KINDS.index(c.kind), order.get(c.control, (9, c.control)), c.host))


def _kind(was: str, now: str, last: CheckResult | None) -> str:
    """`was` and `now` are dispositions, empty where it did not fail."""
    if now == "waived":
        return "" if was == "waived" else "waived"
    if now and was == "waived":
        return "lapsed"
    if now:
        return "open" if was else "new"
    return "fixed" if last is not None and last.result in _GOOD else "unseen"


def _word(result: CheckResult | None, disposition: str, key: tuple[str, str], assessment: Assessment) -> str:
    if result is not None:
        return f"fail, {disposition}" if disposition in ("waived", "expired") else result.result
    return "host not in scope" if key[0] not in _hosts(assessment) else "control not asked"


def _causes(
    touches: Iterable[Touch], old: Judged, first: CheckResult | None, last: CheckResult | None
) -> tuple[Touch, ...]:
    since = first.at if first is not None else old.assessment.started
    until = last.at if last is not None else since
    return tuple(one for one in touches if one.began <= until and (one.ended is None or since <= one.ended))


def _catalogue(old: Assessment, new: Assessment) -> Iterable[str]:
    """In words, what is different in what was asked: controls, their bounds, their checks."""
    if old.scope.profile != new.scope.profile:
        yield f"profile {old.scope.profile} before, {new.scope.profile} now"
    before, after = ({control.id: control for control in run.scope.controls} for run in (old, new))
    for name in sorted(after.keys() - before.keys()):
        yield f"{name} is asked now, and was not"
    for name in sorted(before.keys() - after.keys()):
        yield f"{name} was asked, and is not any more"
    for name in sorted(before.keys() & after.keys()):
        yield from (f"{name}: {what}" for what in _control(before[name], after[name]))
    if old.scope.catalogue_sha256 != new.scope.catalogue_sha256:
        yield f"the catalogue's SHA-256 was {old.scope.catalogue_sha256}, and is {new.scope.catalogue_sha256}"


def _control(old: Control, new: Control) -> Iterable[str]:
    if old.severity != new.severity:
        yield f"severity {old.severity} before, {new.severity} now"
    for name in sorted(old.values.keys() | new.values.keys()):
        if old.values.get(name) != new.values.get(name):
            yield f"{name} {old.values.get(name)} before, {new.values.get(name)} now"
    if old.check != new.check:
        yield "its text says something else now"
    # Runs of before this was kept do not know it.
    if old.check_version and new.check_version and old.check_version != new.check_version:
        yield "its check was changed"
