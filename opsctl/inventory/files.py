"""The written copy of the inventory, and the file source it is taken from.

    inventories/TENANT/tenant.yml   what the hosts are held to (people)
    inventories/TENANT/source.yml   the hosts as they should be (people; the folder is `inventory.path`)
    inventories/TENANT/hosts.yml    the careful copy that every verb works with (`opsctl inventory sync`)
    inventories/quarantined.yml     records of NetBox that belong to no tenant (`opsctl inventory sync`)

Every fault of every file is told at once, with file:line. A large inventory is parsed once: see `cache`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl.documents import NAME, NAME_RULE, Problems
from opsctl.errors import InventoryError
from opsctl.inventory import cache
from opsctl.inventory.document import canonical, digest
from opsctl.inventory.quick import quick
from opsctl.model.host import Inventory, Quarantined

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opsctl.config import Settings
    from opsctl.inventory.hostfile import HostFile, Located
    from opsctl.inventory.tenantfile import TenantFile

TENANT, HOSTS, SOURCE = "tenant.yml", "hosts.yml", "source.yml"
NOBODYS = "quarantined.yml"
PINS = "pins"  # ssh.hostkeys reads them; here they only tell that there were hosts


@quick()
def load(settings: Settings) -> Inventory:
    """The inventory as it is written in this workspace. Raises InventoryError with every fault."""
    folders = tenant_folders(settings.inventories)
    texts = cache.fingerprint(copied_files(settings.inventories))
    if (known := cache.recall(settings, texts)) is not None:
        return known
    problems = Problems()
    inventory = read_inventory(folders, problems)
    nobodys = read_nobodys(settings.inventories, problems)
    inventory = replace(inventory, quarantined=(*inventory.quarantined, *nobodys))
    problems.finish(InventoryError, "the inventory is not usable")
    cache.remember(settings, texts, inventory)
    return inventory


def first_hosts(settings: Settings) -> str:
    """What to do where there is no host yet."""
    if settings.text("inventory.source") == "netbox":
        return "opsctl inventory sync"
    return "write TENANT/source.yml, then: opsctl inventory sync"


def read_inventory(folders: Sequence[Path], problems: Problems) -> Inventory:
    """The inventory of these tenant folders, with all that is wrong in it noted."""
    from opsctl.inventory.references import check_references

    tenants = read_tenants(folders, problems)
    copies = read_host_files(folders, problems)
    hosts = [located for copy in copies for located in copy.hosts]
    _note_lost_copies(folders, problems)
    check_references(tenants, hosts, problems)
    put_aside = tuple(one for copy in copies for one in copy.quarantined)
    inventory, _ = assemble(tenants, hosts)
    return replace(inventory, quarantined=put_aside)


def copied_files(inventories: Path) -> list[Path]:
    """The files that make up the inventory, there or not."""
    folders = tenant_folders(inventories)
    return [*(folder / name for folder in folders for name in (TENANT, HOSTS)), inventories / NOBODYS]


def read_nobodys(inventories: Path, problems: Problems) -> tuple[Quarantined, ...]:
    """The quarantined records that belong to no tenant."""
    from opsctl.documents import read
    from opsctl.inventory.hostfile import read_quarantined

    if not (inventories / NOBODYS).exists():
        return ()
    document = read(inventories / NOBODYS, problems)
    document.number("version", 1, low=1, high=1)
    found = read_quarantined(document, "")
    document.done()
    return found


def tenant_folders(inventories: Path) -> tuple[Path, ...]:
    """The folders of the tenants, in the order of their names; a workspace may have none yet."""
    try:
        return tuple(
            sorted(folder for folder in inventories.iterdir() if folder.is_dir() and not folder.name.startswith("."))
        )
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise InventoryError(f"{inventories} cannot be read: {error.strerror}") from error


def read_tenants(folders: Iterable[Path], problems: Problems) -> list[TenantFile]:
    from opsctl.inventory.tenantfile import read_tenant

    for folder in (folder for folder in folders if not NAME.fullmatch(folder.name)):
        problems.note(str(folder), f"{folder.name!r} is not a tenant's name", NAME_RULE)
    return [read_tenant(folder / TENANT, problems) for folder in folders]


def read_copies(folders: Iterable[Path], problems: Problems) -> list[Located]:
    """The hosts of every hosts.yml; a tenant that was never synced has none."""
    return [located for copy in read_host_files(folders, problems) for located in copy.hosts]


def read_host_files(folders: Iterable[Path], problems: Problems) -> list[HostFile]:
    from opsctl.inventory.hostfile import read_file

    return [read_file(folder / HOSTS, folder.name, problems) for folder in folders if (folder / HOSTS).exists()]


def _note_lost_copies(folders: Iterable[Path], problems: Problems) -> None:
    """A tenant with approved host keys had hosts: without its copy every verb would quietly do nothing for it."""
    for folder in folders:
        if not (folder / HOSTS).exists() and (folder / PINS).exists():
            problems.note(
                str(folder / HOSTS), "no such file, though keys of its hosts are approved",
                "bring it back, or: opsctl inventory sync",
            )  # fmt: skip


def read_source(settings: Settings, tenants: Iterable[str], problems: Problems) -> list[Located]:
    """The hosts that the file source gives for these tenants; a file that is missing is a problem."""
    from opsctl.inventory.hostfile import read_hosts

    base = settings.path("inventory.path")
    return [located for name in tenants for located in read_hosts(base / name / SOURCE, name, problems)]


def assemble(tenants: Iterable[TenantFile], hosts: Iterable[Located]) -> tuple[Inventory, str]:
    """An inventory in its fixed order, and the text that its digest is made of."""
    listed = tuple(sorted((entry.tenant for entry in tenants), key=lambda tenant: tenant.name))
    servers = tuple(sorted((located.host for located in hosts), key=lambda host: (host.tenant, host.name)))
    content = canonical(listed, servers)
    return Inventory(tenants=listed, hosts=servers, digest=digest(content)), content
