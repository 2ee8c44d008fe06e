"""From the source to the written copy: read, compare, refuse or write, record.

A sync is planned first (nothing is written), shown, and then written as planned: every new hosts.yml is put beside the
old one and flushed before the first one is replaced, and the ledger holds the act.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from opsctl.documents import Problems, nowhere
from opsctl.errors import InventoryError, StalePlan, UnknownName
from opsctl.inventory import cache, emit, files
from opsctl.inventory.cache import Fingerprint, fingerprint
from opsctl.inventory.diff import Diff, compare, refuse_losses, refuse_missing, refuse_moves
from opsctl.inventory.hostfile import Located
from opsctl.inventory.quick import quick
from opsctl.inventory.references import check_references
from opsctl.inventory.replacing import replace_all
from opsctl.inventory.tenantfile import TenantFile
from opsctl.model.host import Host, Inventory, Quarantined, Tenant
from opsctl.state import alone as locks

if TYPE_CHECKING:
    from opsctl.config import Settings
    from opsctl.inventory.settled import Settled
    from opsctl.state.ledger import Ledger


@dataclass(frozen=True, kw_only=True)
class SyncPlan:
    """What a sync would do: the inventory before and after, the difference, and the files it would write."""

    settings: Settings
    before: tuple[Host, ...]
    after: tuple[Host, ...]
    diff: Diff
    inventory: Inventory
    content: str
    texts: Mapping[str, str]
    copies: Fingerprint
    source: str = "file"
    tenants: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    nobodys: str | None = None
    how: str = ""
    settled: bool = False
    marks: tuple[str, ...] = ()
    known_aside: frozenset[Quarantined] = frozenset()

    @property
    def quarantined(self) -> tuple[Quarantined, ...]:
        """The records of these tenants, and of none, that cannot be used."""
        return tuple(one for one in self.inventory.quarantined if one.tenant in ("", *self.tenants))

    @property
    def stale(self) -> tuple[Host, ...]:
        """The hosts that are kept as they were."""
        return tuple(host for host in self.after if host.stale)

    @property
    def newly_aside(self) -> tuple[tuple[Host, ...], tuple[Quarantined, ...]]:
        """Which of the last two the copy does not say already."""
        known = {host.key: host.stale for host in self.before}
        stale = tuple(host for host in self.stale if known.get(host.key) != host.stale)
        return stale, tuple(one for one in self.quarantined if one not in self.known_aside)

    @property
    def writes(self) -> tuple[str, ...]:
        """What would be written: tenants, and the list of records that belong to none."""
        return (*self.texts, *([files.NOBODYS] if self.nobodys is not None else []))

    @property
    def bare(self) -> tuple[str, ...]:
        """The tenants whose copy holds no host: for a first sync, or because it is lost."""
        known = {host.tenant for host in self.before}
        return () if self.settled else tuple(tenant for tenant in self.tenants if tenant not in known)

    def refuse_losses(
        self,
        accepted: Iterable[str] = (),
        additions: Iterable[str] = (),
        remembered: Mapping[str, Collection[str]] = MappingProxyType({}),
    ) -> None:
        """The fuse: see `diff.refuse_losses`; from NetBox every move between tenants wants a person's word."""
        accepted = tuple(accepted)
        if self.settled and not accepted:
            return
        if self.source == "netbox":
            refuse_moves(self.diff, removals=accepted, additions=tuple(additions))
        refuse_losses(
            self.diff,
            before=self.before,
            after=self.after,
            max_removed_percent=self.settings.number("inventory.max_removed_percent"),
            accepted=accepted,
            remembered=remembered,
        )


@dataclass(frozen=True, kw_only=True)
class _Copy:
    """The tenants and their copies as they are written now, split by whether a sync is to touch them."""

    tenants: tuple[TenantFile, ...]
    before: tuple[Host, ...]
    others: tuple[Located, ...]
    quarantined: tuple[Quarantined, ...]


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What a source gives: hosts, records that cannot be used, and how many it left out."""

    hosts: tuple[Located, ...]
    quarantined: tuple[Quarantined, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    whole: bool = False
    how: str = ""
    marks: tuple[str, ...] = ()


@quick()
def plan(
    settings: Settings,
    tenants: Iterable[str] = (),
    source: str | None = None,
    *,
    now: datetime | None = None,
    full: bool = False,
) -> SyncPlan:
    """Read tenants, copies and source, and compare. Raises InventoryError, UnknownName, FuseTripped (a lost file).

    `now` is for NetBox, which is read in full now and then; `full` reads it so at once.
    """
    folders = files.tenant_folders(settings.inventories)
    wanted = _wanted([folder.name for folder in folders], tenants)
    kind = source or settings.text("inventory.source")
    copies = _copies(settings.inventories)
    known = _last_equal(settings, copies, wanted) if kind == "netbox" and not full else None
    if known is not None and (same := _nothing_moved(settings, copies, wanted, now, known)) is not None:
        return same
    problems = Problems()
    copy = _copy(settings, copies, folders, wanted, problems)
    given = (
        _from_files(settings, wanted, problems)
        if kind == "file"
        else _from_netbox(settings, wanted, copy, problems, now, full=full, made_from=known.marks if known else None)
    )
    # The old copy may refer to what tenant.yml no longer has; only what will stand must fit.
    check_references(copy.tenants, [*copy.others, *given.hosts], problems)
    problems.finish(InventoryError, "the source cannot be taken over; nothing was written")
    after = tuple(located.host for located in given.hosts)
    inventory, content = files.assemble(copy.tenants, [*copy.others, *given.hosts])
    kept = tuple(one for one in copy.quarantined if one.tenant not in wanted and (one.tenant or not given.whole))
    return SyncPlan(
        settings=settings,
        before=copy.before,
        after=after,
        diff=compare(copy.before, after),
        inventory=replace(inventory, quarantined=(*given.quarantined, *kept)),
        content=content,
        texts=_texts(wanted, copy, after, given.quarantined),
        copies=copies,
        source=kind,
        tenants=wanted,
        left_out=given.left_out,
        how=given.how,
        marks=given.marks,
        known_aside=frozenset(copy.quarantined),
        nobodys=_nobodys(copy, given) if given.whole else None,
    )


def _last_equal(settings: Settings, copies: Fingerprint, wanted: tuple[str, ...]) -> Settled | None:
    """What is remembered of these copies, as they lie here: a sync found them and NetBox equal."""
    from opsctl.inventory import settled

    return settled.recall(settings, copies, wanted)


def _nothing_moved(
    settings: Settings, copies: Fingerprint, wanted: tuple[str, ...], now: datetime | None, known: Settled
) -> SyncPlan | None:
    """The plan of a sync that changes nothing, where NetBox has not moved either since then."""
    from opsctl.inventory import settled

    assert now is not None, "NetBox is read in full now and then: the time must be given"
    if not settled.unmoved(settings, wanted, now, known.marks):
        return None
    inventory = Inventory(quarantined=known.quarantined, digest=known.digest)
    return SyncPlan(
        settings=settings, before=(), after=(), diff=Diff(), inventory=inventory, content="", texts={}, copies=copies,
        source="netbox", tenants=wanted, left_out=known.left_out, how="0 changes", settled=True,
    )  # fmt: skip


def settle(planned: SyncPlan, copies: Fingerprint) -> None:
    """Remember that these copies and NetBox are equal: after a sync that wrote them, or had nothing to write."""
    if planned.source == "netbox" and not planned.settled and not planned.stale:
        from opsctl.inventory import settled

        found = settled.Settled(
            digest=planned.inventory.digest,
            quarantined=planned.inventory.quarantined,
            left_out=planned.left_out,
            marks=planned.marks,
        )
        settled.remember(planned.settings, copies, planned.tenants, found)


def _copy(
    settings: Settings, copies: Fingerprint, folders: Sequence[Path], wanted: tuple[str, ...], problems: Problems
) -> _Copy:
    if (known := cache.recall(settings, copies)) is not None:
        described = tuple(_described(tenant, settings) for tenant in known.tenants)
        hosts, quarantined = [_located(host, problems) for host in known.hosts], known.quarantined
    else:
        described = tuple(files.read_tenants(folders, problems))
        written = files.read_host_files(folders, problems)
        hosts = [located for copy in written for located in copy.hosts]
        put_aside = tuple(one for copy in written for one in copy.quarantined)
        quarantined = (*put_aside, *files.read_nobodys(settings.inventories, problems))
    return _Copy(
        tenants=described,
        before=tuple(located.host for located in hosts if located.host.tenant in wanted),
        others=tuple(located for located in hosts if located.host.tenant not in wanted),
        quarantined=quarantined,
    )


def _described(tenant: Tenant, settings: Settings) -> TenantFile:
    file = str(settings.inventories / tenant.name / files.TENANT)
    return TenantFile(tenant=tenant, lines=defaultdict(lambda: file))


def _located(host: Host, problems: Problems) -> Located:
    """A host that comes from no line of a file; faults name its record."""
    return Located(host=host, section=nowhere(host.record or host.key, problems))


def _from_files(settings: Settings, wanted: tuple[str, ...], problems: Problems) -> _Source:
    base = settings.path("inventory.path")
    refuse_missing([str(base / name / files.SOURCE) for name in wanted if not (base / name / files.SOURCE).is_file()])
    return _Source(hosts=tuple(files.read_source(settings, wanted, problems)))


def _from_netbox(
    settings: Settings,
    wanted: tuple[str, ...],
    copy: _Copy,
    problems: Problems,
    now: datetime | None,
    *,
    full: bool,
    made_from: tuple[str, ...] | None,
) -> _Source:
    """`made_from`: the marks of the mirrors that the copy was made from, where they are known."""
    from opsctl.inventory import settled
    from opsctl.inventory.take import take

    problems.finish(InventoryError, "the inventory is not usable")
    assert now is not None, "NetBox is read in full now and then: the time must be given"
    others = tuple(located.host for located in copy.others)
    tenants = tuple(entry.tenant for entry in copy.tenants)
    taken = take(settings, wanted, tenants, before=copy.before, others=others, now=now, full=full, made_from=made_from)
    return _Source(
        hosts=tuple(_located(host, problems) for host in taken.found.hosts if host.tenant in wanted),
        quarantined=taken.found.quarantined,
        left_out=taken.found.left_out,
        whole=taken.whole,
        how=taken.how,
        marks=settled.marks(settings, wanted),
    )


def _nobodys(copy: _Copy, given: _Source) -> str | None:
    """The new text of the list of records without a tenant, where it changes."""
    before, after = ([one for one in found if not one.tenant] for found in (copy.quarantined, given.quarantined))
    return emit.quarantine_file(after) if before != after else None


def _wanted(known: list[str], tenants: Iterable[str]) -> tuple[str, ...]:
    named = tuple(tenants)
    for name in named:
        if name not in known:
            raise UnknownName(f"no tenant is called {name!r}", hint=f"tenants: {', '.join(known) or 'none yet'}")
    if not known:
        raise UnknownName("this workspace has no tenant yet", hint="opsctl init . --tenant NAME=TITLE")
    return tuple(name for name in known if not named or name in named)


def _copies(inventories: Path) -> Fingerprint:
    return fingerprint(files.copied_files(inventories))


def _texts(
    tenants: Iterable[str], copy: _Copy, after: Iterable[Host], quarantined: Iterable[Quarantined]
) -> dict[str, str]:
    """The new text of every copy that changes."""
    old, new = _by_tenant(copy.before), _by_tenant(after)
    old_aside, new_aside = _by_tenant(copy.quarantined), _by_tenant(quarantined)
    return {
        tenant: emit.hosts_file(tenant, new.get(tenant, ()), quarantined=new_aside.get(tenant, ()))
        for tenant in tenants
        if new.get(tenant) != old.get(tenant) or new_aside.get(tenant) != old_aside.get(tenant)
    }


_Item = TypeVar("_Item", Host, Quarantined)


def _by_tenant(items: Iterable[_Item]) -> dict[str, list[_Item]]:
    found: dict[str, list[_Item]] = {}
    for item in items:
        found.setdefault(item.tenant, []).append(item)
    return found


def write(planned: SyncPlan, ledger: Ledger, who: str, now: Callable[[], datetime]) -> Fingerprint:
    """Write the copies as planned, enter it in the ledger and return what was written. Raises StalePlan, OpsctlError.

    A sync holds `alone` from its plan to here; what a hand or another tool changed meanwhile is found all the same.
    """
    detail = {
        "inventory": planned.inventory.digest,
        "summary": planned.diff.summary,
        "tenants": sorted(planned.texts),
        "source": planned.source,
        "quarantined": len(planned.quarantined),
        "stale": len(planned.stale),
    }
    inventories = planned.settings.inventories
    # Cut off between two tenants, a host that moves is in neither of them rather than in both.
    leaving = {move.before.tenant for move in planned.diff.moved}
    ordered = sorted(planned.texts.items(), key=lambda item: item[0] not in leaving)
    texts = {inventories / name / files.HOSTS: text for name, text in ordered}
    if planned.nobodys is not None:
        texts[inventories / files.NOBODYS] = planned.nobodys
    # Reckoned before anything is compared or written: what a hand changes from here on is never taken for ours.
    written = fingerprint(files.copied_files(inventories), texts)
    if _copies(inventories) != planned.copies:
        raise StalePlan("the inventory was changed by somebody else meanwhile", hint="run the sync again")
    with ledger.act("inventory sync", planned.diff.keys, detail, who, now):
        replace_all(texts)
    cache.remember(planned.settings, written, planned.inventory, planned.content)
    return written


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """One sync of a workspace at a time, from its first look to its last write. Raises Locked."""
    if not settings.inventories.is_dir():
        yield  # a workspace without any tenant: the plan says so
        return
    with locks.alone(settings.inventories, "another sync of this workspace is at work"):
        yield
