"""From the source to the written copy: read, compare, refuse or write, record.

A sync is planned first (nothing is written), shown, and then written as planned: every new hosts.yml is put beside the
old one and flushed before the first one is replaced, and the ledger holds the act.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.documents import Problems
from opsctl.errors import InventoryError, Locked, OpsctlError, StalePlan, UnknownName
from opsctl.inventory import cache, emit, files
from opsctl.inventory.cache import Fingerprint, fingerprint
from opsctl.inventory.diff import Diff, compare, refuse_losses, refuse_missing
from opsctl.inventory.references import check_references
from opsctl.model.host import Host, Inventory

if TYPE_CHECKING:
    from opsctl.config import Settings
    from opsctl.state.ledger import Ledger


@dataclass(frozen=True, kw_only=True)
class SyncPlan:
    """What a sync would do: the inventory before and after, the difference, and the files it would write."""

    settings: Settings
    before: tuple[Host, ...]
    after: tuple[Host, ...]
    diff: Diff
    inventory: Inventory
    texts: Mapping[str, str]
    copies: Fingerprint

    def refuse_losses(self, accepted: Iterable[str] = ()) -> None:
        """The fuse: see `diff.refuse_losses`."""
        refuse_losses(
            self.diff,
            before=self.before,
            after=self.after,
            max_removed_percent=self.settings.number("inventory.max_removed_percent"),
            accepted=tuple(accepted),
        )


def plan(settings: Settings, tenants: Iterable[str] = ()) -> SyncPlan:
    """Read tenants, copies and source, and compare. Raises InventoryError, UnknownName, FuseTripped (a lost file)."""
    folders = files.tenant_folders(settings.inventories)
    wanted = _wanted([folder.name for folder in folders], tenants)
    base = settings.path("inventory.path")
    refuse_missing([str(base / name / files.SOURCE) for name in wanted if not (base / name / files.SOURCE).is_file()])
    copies = _copies(settings.inventories)
    problems = Problems()
    with files.quick():
        described = files.read_tenants(folders, problems)
        copied = files.read_copies(folders, problems)
        source = files.read_source(settings, wanted, problems)
    others = [located for located in copied if located.host.tenant not in wanted]
    # The old copy may refer to what tenant.yml no longer has; only what will stand must fit.
    check_references(described, [*others, *source], problems)
    problems.finish(InventoryError, "the source cannot be taken over; nothing was written")
    before = tuple(located.host for located in copied if located.host.tenant in wanted)
    after = tuple(located.host for located in source)
    return SyncPlan(
        settings=settings,
        before=before,
        after=after,
        diff=compare(before, after),
        inventory=files.assemble(described, [*others, *source]),
        texts=_texts(wanted, before, after),
        copies=copies,
    )


def _wanted(known: list[str], tenants: Iterable[str]) -> tuple[str, ...]:
    named = tuple(tenants)
    for name in named:
        if name not in known:
            raise UnknownName(f"no tenant is called {name!r}", hint=f"tenants: {', '.join(known) or 'none yet'}")
    if not known:
        raise UnknownName("this workspace has no tenant yet", hint="opsctl init . --tenant NAME=TITLE")
    return tuple(name for name in known if not named or name in named)


def _copies(inventories: Path) -> Fingerprint:
    return fingerprint(
        folder / name for folder in files.tenant_folders(inventories) for name in (files.TENANT, files.HOSTS)
    )


def _texts(tenants: Iterable[str], before: Iterable[Host], after: Iterable[Host]) -> dict[str, str]:
    """The new text of every copy that changes."""
    old, new = list(before), list(after)
    return {
        tenant: emit.hosts_file(tenant, there)
        for tenant in tenants
        if (there := [host for host in new if host.tenant == tenant]) != [host for host in old if host.tenant == tenant]
    }


def write(planned: SyncPlan, ledger: Ledger, who: str, now: Callable[[], datetime]) -> None:
    """Write the copies as planned and enter it in the ledger. Raises Locked, StalePlan, OpsctlError (disk full)."""
    detail = {"inventory": planned.inventory.digest, "summary": planned.diff.summary, "tenants": sorted(planned.texts)}
    inventories = planned.settings.inventories
    with _alone(inventories):
        if _copies(inventories) != planned.copies:
            raise StalePlan("the inventory was changed by somebody else meanwhile", hint="run the sync again")
        with ledger.act("inventory sync", planned.diff.keys, detail, who, now):
            _replace({inventories / name / files.HOSTS: text for name, text in planned.texts.items()})
        cache.remember(planned.settings, _copies(inventories), planned.inventory)


@contextmanager
def _alone(inventories: Path) -> Iterator[None]:
    """One sync of a workspace at a time; the kernel lets go of the lock however this process ends."""
    folder = os.open(inventories, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Locked("another sync of this workspace is writing", hint="wait for it, then try again") from None
    finally:
        os.close(folder)


def _replace(texts: Mapping[Path, str]) -> None:
    """Put every new text beside its file, flushed to disk; only when all of them stand, replace the files."""
    fresh = {path: path.with_name(f".{path.name}.{secrets.token_hex(4)}") for path in texts}
    try:
        for path, beside in fresh.items():
            with beside.open("x", encoding="utf-8") as file:
                file.write(texts[path])
                file.flush()
                os.fsync(file.fileno())
        for path, beside in fresh.items():
            beside.replace(path)
            _flush_folder(path.parent)
    except OSError as error:
        raise OpsctlError(
            f"the inventory could not be written: {error}", hint="make room or mend the permissions, then sync again"
        ) from error
    finally:
        for beside in fresh.values():
            beside.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
