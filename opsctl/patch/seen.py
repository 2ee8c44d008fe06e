"""From one reading of a host to what its account changes: what is new, what is done, what is wanted still. Pure.

apt offers one candidate of a package at a time. A version that a later one overtook is wanted until the package
changes: who installs the later one has both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from opsctl.patch.pending import Pending, PendingPackage
from opsctl.state.updates import Update, Updates


@dataclass(frozen=True, kw_only=True)
class Changed:
    """`new` rows, rows that are `done` with what is installed now, and rows that a rollout took for done in `error`.

    `moved`: rows that are wanted still although the package changed, to an older version than theirs.
    """

    new: tuple[Update, ...]
    done: tuple[tuple[Update, str], ...]
    error: tuple[Update, ...]
    moved: tuple[tuple[Update, str], ...] = ()


def compare(
    host: str,
    platform: str,
    known: Iterable[Update],
    reading: Pending,
    at: datetime,
    last: datetime | None,
    *,
    whole: bool,
) -> Changed:
    """What a reading changes. `known` are the host's open rows; `whole`: every update was asked for, not some alone.

    A narrowed reading, or one in which apt could not say what is pending, ends nothing.
    """
    rows = tuple(known)
    packages = {package.name: package for package in reading.packages}
    conclusive = whole and reading.pending is not None
    blocked = {*(reading.held or ()), *(reading.kept_back or ()), *(reading.phased or ())}
    done = [(row, why[0]) for row in rows if conclusive and (why := _ended(row, rows, packages, blocked)) is not None]
    have = {(row.package, row.version) for row in rows}
    fetched = at - timedelta(seconds=reading.lists_age_seconds or 0)
    new = (
        Update(
            host=host, package=package.name, version=package.candidate, before=package.installed, platform=platform,
            known=fetched, first_seen=at, not_before=last,
        )
        for package in reading.packages
        if package.security and (package.name, package.candidate) not in have
    )  # fmt: skip
    ended = {(row.package, row.version) for row, _ in done}
    moved = (
        (row, now.installed)
        for row in rows
        if conclusive and (row.package, row.version) not in ended
        if (now := packages.get(row.package)) is not None and now.installed != row.before
    )
    error = tuple(_believed_done(rows, packages))
    return Changed(new=tuple(new), done=tuple(done), error=error, moved=tuple(moved))


def _ended(
    row: Update, rows: tuple[Update, ...], packages: Mapping[str, PendingPackage], blocked: set[str]
) -> tuple[str] | None:
    """What is installed now where an update is wanted no more; None where it still is."""
    now = packages.get(row.package)
    if now is None:
        return None if row.package.partition(":")[0] in blocked or row.package in blocked else ("",)
    older = {one.version for one in rows if one.package == row.package and one.first_seen < row.first_seen}
    if now.candidate == row.version or now.installed == row.before or now.installed in older:
        return None
    return (now.installed,)


def _believed_done(rows: tuple[Update, ...], packages: Mapping[str, PendingPackage]) -> Iterator[Update]:
    for row in rows:
        now = packages.get(row.package)
        if row.installed is not None and now is not None and now.candidate == row.version:
            yield row


def keep(updates: Updates, readings: Mapping[str, tuple[str, Pending]], at: datetime, *, whole: bool) -> None:
    """Take readings of hosts, each with its platform, into the account; part of the transaction that is open."""
    known, last = updates.open_rows(readings), updates.last_reads(readings)
    for host, (platform, reading) in readings.items():
        before = last.get(host)
        changed = compare(host, platform, known.get(host, ()), reading, at, before, whole=whole)
        for row in changed.new:
            updates.add(row)
        for row, became in changed.done:
            updates.close(row, at, became)
        for row, installed in changed.moved:
            updates.rebase(row, installed)
        for row in changed.error:
            updates.not_installed(row)
        updates.was_read(host, at, reading.held or (), before)
