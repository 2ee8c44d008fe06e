"""NetBox's records as they were read last, kept (`mirrorfile`), so that the next sync asks only for what changed.

    full pull    nothing is kept, something shared has changed, the changelog has a gap, or the last is long ago
    otherwise    changelog since then -> changed hosts, services, addresses by id -> counts, and ids where they differ

The result is that of a full pull. The mirror is only ever a saving: it can be deleted at any time, and it is no source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from opsctl.inventory import pull as pulling
from opsctl.inventory.answers import SourceFailed
from opsctl.inventory.changes import Change, read_change, todo
from opsctl.inventory.listing import Reading
from opsctl.inventory.netbox import NetBox, Query, Server
from opsctl.inventory.pull import NOTHING, SERVICES, Filters, Meanwhile, Pull
from opsctl.inventory.record import KINDS, PATHS, Kind, Malformed, Record, ServiceRecord, Texts

CHANGES = "core/object-changes"
# Commits come out of order: so many entries before the last one are read again.
OVERLAP = 200
# More changed hosts than this are had faster by reading everything.
MANY = 2000


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """What was read last, when it was last read in full, and the changelog's entries that are in it.

    `newest` is when NetBox wrote the last of them: put back to a backup, it gives the same ids to other entries.
    `reader` is whose token saw it: another one may see less, or more, without any entry in the changelog.
    `mark` is another one for every mirror that was ever written.
    """

    pulled: Pull
    full_at: datetime
    seen: tuple[int, ...]
    newest: str
    reader: str
    mark: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """The mirror now; `how` says in words how it came about."""

    mirror: Mirror
    how: str


def refresh(
    netbox: NetBox,
    wanted: Filters,
    known: Mirror | None,
    *,
    full_every: timedelta,
    now: datetime,
    labels: bool = False,
    meanwhile: Meanwhile = NOTHING,
) -> Refreshed:
    """The records as NetBox has them now, `labels`: services with their tags and custom fields. Raises SourceFailed.

    `meanwhile` is done where everything is read, while it comes.
    """
    server = netbox.server()
    in_full = partial(_in_full, netbox, server, wanted, now, labels=labels, meanwhile=meanwhile)
    if known is None:
        return in_full("for the first time")
    if _long_ago(known, full_every, now):
        return in_full("the last full read is long ago")
    if known.reader != netbox.reader:
        return in_full("another token is used now")
    if known.pulled.version != server.version:
        return in_full(f"NetBox is {server.version} now")
    if known.pulled.labels != labels:
        return in_full("the mapping of services is another")
    if not known.seen:
        return in_full("nothing of the changelog was known")
    changes = _changes(netbox, server, known)
    if changes is None:
        return in_full("the changelog has a gap, or may not be seen any more")
    seen = set(known.seen)
    fresh = [change for change in changes if change.id not in seen]
    asked = todo(fresh, known.pulled.records)
    if asked.why_all:
        return in_full(asked.why_all)
    if sum(map(len, asked.fetch.values())) > MANY:
        return in_full("much has changed")
    pulled = known.pulled
    if asked:
        records = {record.key: record for record in pulled.records if record.key not in asked.gone}
        texts = Texts()
        for kind, ids in asked.fetch.items():
            _replace_records(netbox, kind, ids, wanted, records, texts)
        services = {one.id: one for one in pulled.services if one.id not in asked.gone_services}
        _replace_services(netbox, asked.fetch_services, services, labels=labels)
        pulled = _pull(server, records.values(), services.values(), pulled)
    pulled = _counted(netbox, server, wanted, pulled)
    seen |= {change.id for change in changes}
    newest = max(changes, key=lambda change: change.id).time
    mirror = replace(known, pulled=pulled, seen=tuple(sorted(seen)[-OVERLAP:]), newest=newest)
    return Refreshed(mirror=mirror, how=f"{len(fresh)} changes")


@dataclass(frozen=True, kw_only=True)
class Head:
    """The part of a mirror that tells whether NetBox has moved since: small, and so quickly read."""

    mark: str
    version: str
    full_at: datetime
    seen: tuple[int, ...]
    newest: str
    reader: str
    counts: Mapping[str, int]


def unmoved(netbox: NetBox, wanted: Filters, known: Head, *, full_every: timedelta, now: datetime) -> bool:
    """Is NetBox surely as the mirror has it? Raises SourceFailed."""
    if _long_ago(known, full_every, now) or known.reader != netbox.reader:
        return False
    # All asked at once: each answer counts only if every other one is as it was, so their order says nothing.
    with Reading(netbox, Server(version=known.version)) as reading:
        counts = {kind: reading.count(PATHS[kind], wanted) for kind in KINDS}
        server = netbox.server()
        changes = _changes(netbox, server, known) if server.version == known.version else None
        if changes is None or any(change.id not in set(known.seen) for change in changes):
            return False
        return all(count.result() == known.counts.get(kind, 0) for kind, count in counts.items())


def _long_ago(known: Mirror | Head, full_every: timedelta, now: datetime) -> bool:
    # A time that is still to come was written by a clock that was wrong: it says nothing of how long ago that was.
    return not timedelta() <= now - known.full_at < full_every


def _in_full(
    netbox: NetBox,
    server: Server,
    wanted: Filters,
    now: datetime,
    why: str,
    *,
    labels: bool,
    meanwhile: Meanwhile,
) -> Refreshed:
    seen: tuple[int, ...] = ()
    newest = ""

    def note_place() -> None:
        """The changelog's place before the pull: what happens during it is looked at again the next time."""
        nonlocal seen, newest
        seen, newest = _latest(netbox)

    pulled = pulling.pull(netbox, wanted, server=server, labels=labels, meanwhile=replace(meanwhile, before=note_place))
    mirror = Mirror(pulled=pulled, full_at=now, seen=seen, newest=newest, reader=netbox.reader)
    return Refreshed(mirror=mirror, how=f"in full: {why}")


def _latest(netbox: NetBox) -> tuple[tuple[int, ...], str]:
    """The newest entries of the changelog, and when the last was written.

    None where the token may not see it: then every sync is a full one.
    """
    try:
        rows, _, _ = netbox.page(CHANGES, {"limit": OVERLAP, "ordering": "-id", "fields": "id,time"})
    except SourceFailed:
        return (), ""
    times = {int(row["id"]): str(row["time"]) for row in rows}
    seen = tuple(sorted(times))
    return seen, times[seen[-1]] if seen else ""


def _changes(netbox: NetBox, server: Server, known: Mirror | Head) -> list[Change] | None:
    """The changelog since the mirror, with some entries before; None where it does not reach back that far.

    None too where it cannot be read: a full read needs none of it, and says itself what is wrong with NetBox.
    """
    if not known.seen:
        return None
    query: Query = {
        "id__gt": max(known.seen[-1] - OVERLAP, 0),
        "fields": "id,action,changed_object_type,changed_object_id,time",
    }
    try:
        found = [read_change(row) for row in netbox.rows(CHANGES, query, cursor=server.cursor)]
    except (Malformed, SourceFailed):
        return None
    # Where the newest entry that was seen is missing or another one, the changelog was pruned, NetBox was put back to
    # a backup, or this is another NetBox.
    return found if (known.seen[-1], known.newest) in {(change.id, change.time) for change in found} else None


def _replace_records(
    netbox: NetBox, kind: Kind, ids: Sequence[int], wanted: Filters, records: dict[str, Record], texts: Texts
) -> None:
    for number in ids:
        records.pop(f"{kind}/{number}", None)
    for record in pulling.fetch_records(netbox, kind, ids, texts) if ids else ():
        if pulling.fits(record, wanted):
            records[record.key] = record


def _replace_services(netbox: NetBox, ids: Sequence[int], services: dict[int, ServiceRecord], *, labels: bool) -> None:
    for number in ids:
        services.pop(number, None)
    if ids:
        rows = netbox.by_id(SERVICES, ids, {"fields": pulling.service_fields(netbox, labels=labels)})
        services.update({service.id: service for service in pulling.read_services(rows)})


def _counted(netbox: NetBox, server: Server, wanted: Filters, pulled: Pull) -> Pull:
    """Held against NetBox's own numbers: what was deleted or made without an entry shows there."""
    records = {record.key: record for record in pulled.records}
    changed = False
    with Reading(netbox, server) as reading:
        asked = {kind: reading.count(PATHS[kind], wanted) for kind in KINDS}
        counts = {kind: count.result() for kind, count in asked.items()}
    for kind, count in counts.items():
        ours = {record.id for record in pulled.records if record.kind == kind}
        if count == len(ours):
            continue
        rows = netbox.rows(PATHS[kind], {**wanted, "fields": "id"}, cursor=server.cursor)
        there = {int(row["id"]) for row in rows}
        _replace_records(netbox, kind, sorted(there ^ ours), wanted, records, Texts())
        changed = True
    return _pull(server, records.values(), pulled.services, pulled) if changed else pulled


def _pull(server: Server, records: Iterable[Record], services: Iterable[ServiceRecord], before: Pull) -> Pull:
    order = {kind: number for number, kind in enumerate(KINDS)}
    return Pull(
        version=server.version,
        records=tuple(sorted(records, key=lambda record: (order[record.kind], record.id))),
        services=tuple(sorted(services, key=lambda service: service.id)),
        regions=before.regions,
        labels=before.labels,
    )
