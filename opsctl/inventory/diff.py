"""What a sync would change, and the fuse that refuses a source which gives too little to be believed. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType

from opsctl.errors import FuseTripped, Problem, UnknownName
from opsctl.model.host import Host

# A tenant may lose this many hosts in one sync whatever the share: small tenants would trip the fuse daily.
FEW = 3
_FIELDS = tuple(field.name for field in fields(Host))


@dataclass(frozen=True, kw_only=True)
class FieldChange:
    """One field of a host, before and after, as text."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Changed:
    """One host in its old and its new form."""

    before: Host
    after: Host

    @property
    def changes(self) -> tuple[FieldChange, ...]:
        return tuple(
            FieldChange(name=name, before=_as_text(old), after=_as_text(new))
            for name in _FIELDS
            if (old := getattr(self.before, name)) != (new := getattr(self.after, name))
        )

    @property
    def by_record_alone(self) -> bool:
        """Is the address another, too? Put back to a backup, NetBox gives its ids to other hosts."""
        old, new = ({host.address, host.address6} - {""} for host in (self.before, self.after))
        return bool(old and new) and not old & new


def _as_text(value: object) -> str:
    if not isinstance(value, tuple):
        return str(value)
    return ", ".join(map(str, value))


@dataclass(frozen=True, kw_only=True)
class Diff:
    """Hosts that come, go, change, get another name (same address, same tenant) or another tenant (same name)."""

    added: tuple[Host, ...] = ()
    removed: tuple[Host, ...] = ()
    changed: tuple[Changed, ...] = ()
    renamed: tuple[Changed, ...] = ()
    moved: tuple[Changed, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.renamed or self.moved)

    @property
    def gone(self) -> tuple[Host, ...]:
        """The hosts that their tenant loses: removed, taken by another tenant, or only their record is left."""
        renamed = (pair.before for pair in self.renamed if pair.by_record_alone)
        return (*self.removed, *(move.before for move in self.moved), *renamed)

    @property
    def keys(self) -> tuple[str, ...]:
        """Every host that this touches, by its old and its new name."""
        pairs = (*self.changed, *self.renamed, *self.moved)
        hosts = (*self.added, *self.removed, *(p.before for p in pairs), *(p.after for p in pairs))
        return tuple(sorted({host.key for host in hosts}))

    @property
    def summary(self) -> str:
        counts = {name: len(getattr(self, name)) for name in ("added", "changed", "renamed", "moved", "removed")}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no difference"


def compare(before: Iterable[Host], after: Iterable[Host]) -> Diff:
    """The difference between two states of the same tenants, each list in the order of its keys."""
    old, new = ({host.key: host for host in sorted(hosts, key=lambda h: h.key)} for hosts in (before, after))
    changed = tuple(Changed(before=old[key], after=new[key]) for key in old if key in new and old[key] != new[key])
    gone = [host for key, host in old.items() if key not in new]
    come = [host for key, host in new.items() if key not in old]
    renamed = _pairs(gone, come, lambda host: (host.tenant, host.record) if host.record else ())
    renamed += _pairs(gone, come, lambda host: host.claim)
    moved = _pairs(gone, come, lambda host: (host.record,) if host.record else ())
    moved += _pairs(gone, come, lambda host: (host.name,))
    return Diff(added=tuple(come), removed=tuple(gone), changed=changed, renamed=renamed, moved=moved)


def _pairs(gone: list[Host], come: list[Host], mark: Callable[[Host], tuple[str, ...]]) -> tuple[Changed, ...]:
    """Take out of both lists the hosts that share a mark which nobody else has: they are one and the same."""
    if not gone or not come:
        return ()
    counts_gone, counts_come = Counter(map(mark, gone)), Counter(map(mark, come))
    single = {mark(host): host for host in come if mark(host) and counts_come[mark(host)] == 1}
    found = tuple(
        Changed(before=host, after=single[mark(host)])
        for host in gone
        if mark(host) in single and counts_gone[mark(host)] == 1
    )
    old, new = {pair.before.key for pair in found}, {pair.after.key for pair in found}
    gone[:] = [host for host in gone if host.key not in old]
    come[:] = [host for host in come if host.key not in new]
    return found


def refuse_losses(
    diff: Diff,
    *,
    before: Sequence[Host],
    after: Sequence[Host],
    max_removed_percent: int,
    accepted: Collection[str] = (),
    remembered: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> None:
    """Raise FuseTripped where the source has nothing, or where a tenant would lose too many hosts at once.

    `remembered`: the hosts (by key) of the last sync. It speaks for a tenant without a host in the copy: a hosts.yml
    that was lost must not make a shrunken source look like a first sync.
    Raises UnknownName for an accepted removal that would not happen, or that names hosts of several tenants: then
    somebody expects another change than this.
    """
    copied, left = _keys_by_tenant(before), _keys_by_tenant(after)
    lost_copies = {tenant: frozenset(keys) for tenant, keys in remembered.items() if tenant not in copied}
    gone = {host.key for host in diff.gone}
    gone |= {key for tenant, keys in lost_copies.items() for key in keys - left.get(tenant, frozenset())}
    for name in accepted:
        _refuse_misnamed(name, gone)
    if not after and not before:
        raise FuseTripped(
            "the source holds no host at all",
            hint="write the hosts into TENANT/source.yml; from NetBox: may the token see them?",
        )
    for tenant, keys in sorted({**lost_copies, **copied}.items()):
        lost = sorted(key for key in keys & gone if not {key, _name(key)} & set(accepted))
        whose = "which has" if tenant in copied else "whose hosts.yml is empty or lost, and which had"
        if lost and tenant not in left:
            raise _tripped(
                f"the source is empty for {tenant}, {whose} {len(keys)} host{'' if len(keys) == 1 else 's'}", lost
            )
        if len(lost) >= FEW and len(lost) * 100 > max_removed_percent * len(keys):
            since = "" if tenant in copied else " of the last sync (its hosts.yml is empty or lost)"
            raise _tripped(
                f"{tenant} would lose {len(lost)} of its {len(keys)} hosts{since}, more than {max_removed_percent} %",
                lost,
            )


def _refuse_misnamed(name: str, gone: Collection[str]) -> None:
    """Raise UnknownName for a name that means no host that would be removed, or one in each of several tenants."""
    meant = sorted(key for key in gone if name in (key, _name(key)))
    if not meant:
        raise UnknownName(f"{name} would not be removed by this sync", hint="opsctl inventory diff shows what would")
    if len(meant) > 1 and name not in meant:
        raise UnknownName(
            f"{name} would be removed in more than one tenant: {', '.join(meant)}",
            hint=f"say which: --accept-removals {meant[0]}",
        )


def _keys_by_tenant(hosts: Iterable[Host]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for host in hosts:
        found.setdefault(host.tenant, set()).add(host.key)
    return {tenant: frozenset(keys) for tenant, keys in found.items()}


def _name(key: str) -> str:
    return key.partition(".")[2]


def refuse_moves(diff: Diff, *, removals: Collection[str], additions: Collection[str]) -> None:
    """Raise FuseTripped for a host that changes its tenant, unless both its going and its coming are accepted."""
    open_moves = [
        move
        for move in diff.moved
        if not {move.before.key, move.before.name} & set(removals)
        or not {move.after.key, move.after.name} & set(additions)
    ]
    if open_moves:
        raise FuseTripped(
            f"{len(open_moves)} host{'s' * (len(open_moves) > 1)} would move to another tenant; nothing was written",
            problems=tuple(
                Problem(where=move.before.key, what=f"would become {move.after.key}") for move in open_moves
            ),
            hint="if both municipalities agree: opsctl inventory sync"
            f" --accept-removals {','.join(move.before.key for move in open_moves)}"
            f" --accept-additions {','.join(move.after.key for move in open_moves)}",
        )


def _tripped(message: str, lost: Sequence[str]) -> FuseTripped:
    return FuseTripped(
        message + "; nothing was written",
        problems=tuple(Problem(where=key, what="would be removed") for key in lost),
        hint="mend the source (is the token narrower than it was?); if they are really gone: "
        f"opsctl inventory sync --accept-removals {','.join(lost)}",
    )


def refuse_missing(missing: Sequence[str]) -> None:
    """Raise FuseTripped for source files that are not there: a lost file is not an empty list."""
    if missing:
        raise FuseTripped(
            "the source is not complete; nothing was written",
            problems=tuple(Problem(where=path, what="no such file") for path in missing),
            hint="bring the files back; a tenant without hosts has a source.yml with `hosts: []`",
        )
