"""The account of a tenant's patching over a period, for auditors: who was covered, what was in time, and why not.

Coverage comes first: a host that could not be read is never counted as patched. Reads the store, writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from opsctl.inventory import calendars
from opsctl.model import agenda
from opsctl.model.agenda import Entry
from opsctl.model.host import Host, Quarantined, Tenant
from opsctl.patch import punctual, waits
from opsctl.patch.punctual import LATE, OVERDUE, VERDICTS, Judged, Spread
from opsctl.rollout.means import Means
from opsctl.state.ledger import Entry as Act
from opsctl.state.updates import Kept, Readings, Updates

CURRENT, OLD, NEVER, UNMANAGED, QUARANTINED = "current", "old", "never", "unmanaged", "quarantined"
PARTS = (CURRENT, OLD, NEVER, UNMANAGED, QUARANTINED)
# A host that was read within this before the end of the period is known as it stood then.
FRESH = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Covered:
    """One host of the tenant, in exactly one part; `last` is its last reading up to the period's end."""

    host: str
    part: str
    reason: str = ""
    last: datetime | None = None
    unread_days: int = 0


@dataclass(frozen=True, kw_only=True)
class Behind:
    """The updates of one host that were late or are overdue, with why it waited: (kind, days, what was said last)."""

    host: str
    updates: tuple[Judged, ...]
    reasons: tuple[tuple[str, int, str], ...]

    @property
    def overdue(self) -> int:
        return sum(one.verdict == OVERDUE for one in self.updates)

    @property
    def worst(self) -> float:
        return max(one.over for one in self.updates)


@dataclass(frozen=True, kw_only=True)
class RolloutLine:
    """A rollout of the period, as far as it touched this tenant's hosts."""

    id: str
    hash: str
    started: datetime
    ended: datetime | None
    status: str
    by: str
    hosts: int
    done: int
    failed: int
    unknown: int
    emergency: str
    ticket: str


@dataclass(frozen=True, kw_only=True)
class Account:
    """All that a report of a period says. `until` is the moment at which it is judged: its end, or now."""

    tenant: Tenant
    start: datetime
    end: datetime
    until: datetime
    made: datetime
    covered: tuple[Covered, ...]
    critical: frozenset[str]
    updates: tuple[Judged, ...]
    behind: tuple[Behind, ...]
    freezes: tuple[Entry, ...]
    calendar_fault: str
    rollouts: tuple[RolloutLine, ...]
    acts: tuple[Act, ...]
    held: Mapping[str, tuple[str, ...]]
    known_since: datetime | None
    ledger_head: str
    inventory_digest: str

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """Updates by verdict: of critical hosts, of the others, and of all."""
        rows = {name: Counter[str]() for name in ("critical", "others", "total")}
        for one in self.updates:
            rows["critical" if one.host in self.critical else "others"][one.verdict] += 1
            rows["total"][one.verdict] += 1
        names = (*VERDICTS, punctual.NO_RULE)
        return {name: {v: row[v] for v in names} | {"all": row.total()} for name, row in rows.items()}

    @cached_property
    def parts(self) -> dict[str, int]:
        found = Counter(one.part for one in self.covered)
        return {part: found[part] for part in PARTS}

    @cached_property
    def months(self) -> tuple[tuple[str, dict[str, int]], ...]:
        """By the month in which an update became known: how many, and how each was judged."""
        rows: dict[str, Counter[str]] = {}
        for one in self.updates:
            rows.setdefault(f"{one.since:%Y-%m}", Counter())[one.verdict] += 1
        names = (*VERDICTS, punctual.NO_RULE)
        return tuple((m, {v: row[v] for v in names} | {"all": row.total()}) for m, row in sorted(rows.items()))

    @cached_property
    def ended_by(self) -> dict[str, int]:
        return dict(Counter(one.by for one in self.updates if one.by))

    @cached_property
    def spread(self) -> Spread | None:
        return punctual.spread(self.updates)

    @cached_property
    def never_patched(self) -> tuple[tuple[str, int], ...]:
        """Managed hosts on which no rollout of the period installed anything, with the updates that they wanted."""
        wanted, installed = Counter[str](), set[str]()
        for one in self.updates:
            wanted[one.host] += 1
            if one.by == "rollout" and one.ended is not None and one.ended >= self.start:
                installed.add(one.host)
        managed = (one.host for one in self.covered if one.part in (CURRENT, OLD, NEVER))
        return tuple((host, wanted[host]) for host in managed if host not in installed)

    @property
    def incomplete(self) -> tuple[str, ...]:
        """Why this report cannot tell the whole: words of the report's own file."""
        whole = self.parts[CURRENT] + self.parts[UNMANAGED]
        short = ["not_covered"] if whole < len(self.covered) else []
        late = ["begins_late"] if self.known_since is None or self.known_since > self.start else []
        return (*short, *late, *(["no_policy"] if self.tenant.patch_policy is None else []))

    @property
    def outcome(self) -> str:
        return "incomplete" if self.incomplete else "ok"


def account(means: Means, tenant_name: str, start: datetime, end: datetime) -> Account:
    """The account of a tenant from `start` to `end`. Raises UnknownName for a tenant that there is not."""
    tenant, now, updates = means.inventory.tenant(tenant_name), means.clock(), Updates(means.store)
    until = min(end, now)
    hosts = [host for host in means.inventory if host.tenant == tenant.name]
    readings, gaps = updates.readings(tenant.name), updates.gaps(tenant.name, start, until)
    critical = frozenset(host.key for host in hosts if host.criticality == "critical")
    first = {key: one.first for key, one in readings.items() if one.first}
    judged = punctual.judge(
        updates.between(tenant.name, start, until), updates.earliest(until), first, tenant.patch_policy, critical,
        start, until,
    )  # fmt: skip
    kept = updates.waits(tenant.name, start - timedelta(days=90), until)
    freezes, fault = _freezes(means, tenant.name, start, until)
    quarantined = [one for one in means.inventory.quarantined if one.tenant == tenant.name]
    return Account(
        tenant=tenant,
        start=start,
        end=end,
        until=until,
        made=now,
        covered=tuple(_covered(hosts, quarantined, readings, gaps, start, until)),
        critical=critical,
        updates=judged,
        behind=tuple(_behind(judged, kept, readings, gaps, until)),
        freezes=freezes,
        calendar_fault=fault,
        rollouts=tuple(_rollouts(means, tenant.name, start, until)),
        acts=tuple(_acts(means, tenant.name, start, until)),
        held={key: one.held for key, one in readings.items() if one.held},
        known_since=min(first.values(), default=None),
        ledger_head=str(means.ledger.head()),
        inventory_digest=means.inventory.digest,
    )


def _covered(
    hosts: Iterable[Host],
    quarantined: Iterable[Quarantined],
    readings: Mapping[str, Readings],
    gaps: Mapping[str, Sequence[tuple[datetime, datetime]]],
    start: datetime,
    until: datetime,
) -> Iterator[Covered]:
    for host in hosts:
        read = readings.get(host.key) or Readings(host=host.key, first=None, last=None)
        if not host.managed:
            yield Covered(host=host.key, part=UNMANAGED, reason=host.why_not_managed)
            continue
        last = _last(read, gaps.get(host.key, ()), until)
        unread = sum((min(b, until) - max(a, start)).days for a, b in gaps.get(host.key, ()) if start < b <= until)
        if last is None or last < start:
            part, why = NEVER, read.why
        else:
            part, why = (CURRENT, "") if until - last <= FRESH else (OLD, read.why)
        since = max(start, last) if last else start
        unread += (until - since).days if part != CURRENT else 0
        yield Covered(host=host.key, part=part, reason=why, last=last, unread_days=unread)
    for one in quarantined:
        yield Covered(host=one.name or one.record, part=QUARANTINED, reason=one.reason)


def _last(read: Readings, gaps: Sequence[tuple[datetime, datetime]], until: datetime) -> datetime | None:
    """The last reading up to a moment; within a gap it is the one before the gap."""
    if read.first is None or read.first > until:
        return None
    for began, ended in gaps:
        if began < until < ended:
            return began
    return min(read.last or read.first, until)


def _behind(
    judged: Iterable[Judged],
    kept: Mapping[str, Sequence[Kept]],
    readings: Mapping[str, Readings],
    gaps: Mapping[str, Sequence[tuple[datetime, datetime]]],
    until: datetime,
) -> list[Behind]:
    late: dict[str, list[Judged]] = {}
    for one in judged:
        if one.verdict in (LATE, OVERDUE):
            late.setdefault(one.host, []).append(one)
    found = []
    for host, updates in late.items():
        first, last = min(one.since for one in updates), max(one.ended or until for one in updates)
        reasons = _reasons(kept.get(host, ()), readings.get(host), gaps.get(host, ()), first, last)
        ordered = tuple(sorted(updates, key=lambda one: (-one.over, one.package, one.version)))
        found.append(Behind(host=host, updates=ordered, reasons=reasons))
    return sorted(found, key=lambda one: (-one.overdue, -one.worst, one.host))


def _reasons(
    kept: Iterable[Kept],
    read: Readings | None,
    gaps: Iterable[tuple[datetime, datetime]],
    first: datetime,
    last: datetime,
) -> tuple[tuple[str, int, str], ...]:
    """Each kind of reason between two moments, with on how many days it was given and its last words."""
    days: Counter[str] = Counter()
    said: dict[str, str] = {}
    for one in kept:
        if f"{first:%Y-%m-%d}" <= one.day <= f"{last:%Y-%m-%d}":
            days[one.kind] += 1
            said[one.kind] = one.said
    unread = sum((min(b, last) - max(a, first)).days for a, b in gaps if b > first and a < last)
    if read is not None and read.failed is not None and read.failed < last:
        unread += (last - max(read.failed, first)).days
        said[waits.UNREAD] = read.why
    if unread:
        days[waits.UNREAD] += unread
    if not days:
        days[waits.UNPLANNED] = max(1, (last - first).days)
    return tuple((kind, count, said.get(kind, "")) for kind, count in days.most_common())


def _freezes(means: Means, tenant: str, start: datetime, until: datetime) -> tuple[tuple[Entry, ...], str]:
    """The freezes of the period as the calendars tell them today, each year of it asked for itself."""
    found: dict[Entry, None] = {}
    at = start
    from opsctl.errors import InventoryError

    try:
        while at < until:
            hours = calendars.load(means.settings, means.inventory, at)
            upto = min(until, at + timedelta(days=365))
            entries = agenda.of_tenants(hours, means.inventory, [tenant], at, upto)
            found |= dict.fromkeys(entry for entry in entries if entry.what == agenda.FREEZE)
            at = upto
    except InventoryError as error:
        return (), error.message
    return tuple(found), ""


def _rollouts(means: Means, tenant: str, start: datetime, until: datetime) -> Iterator[RolloutLine]:
    for state in means.journal.begun_between("patch", start, until):
        ours = [host for host in state.hosts if host.host.startswith(f"{tenant}.")]
        if ours and state.started_at is not None:
            stages = Counter(str(host.stage) for host in ours)
            yield RolloutLine(
                id=state.plan.id, hash=state.plan.hash, started=state.started_at, ended=state.ended_at,
                status=str(state.status), by=state.plan.made_by, hosts=len(ours), done=stages["done"],
                failed=stages["failed"], unknown=stages["unknown"], emergency=state.plan.emergency,
                ticket=state.plan.ticket,
            )  # fmt: skip


def _acts(means: Means, tenant: str, start: datetime, until: datetime) -> Iterator[Act]:
    """Overrides and approvals of the period, out of the ledger."""
    for act in means.ledger.entries():
        told = act.detail.get("emergency") or act.verb in ("patch approve", "calendar override")
        ours = any(host.startswith(f"{tenant}.") for host in act.hosts) or not act.hosts
        if start <= act.at <= until and act.phase == "started" and told and ours:
            yield act
