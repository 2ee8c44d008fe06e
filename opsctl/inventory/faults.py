"""Everything that is wrong with a workspace's inventory: tenants, copies, source, calendars, approved keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.documents import Problems
from opsctl.errors import ConfigError, InventoryError, Problem
from opsctl.inventory import calendars, files
from opsctl.inventory.references import check_references
from opsctl.inventory.variablefiles import check_names
from opsctl.model.host import Inventory
from opsctl.ssh.hostkeys import Pins

if TYPE_CHECKING:
    from datetime import datetime

    from opsctl.config import Settings
    from opsctl.inventory.hostfile import Located
    from opsctl.inventory.tenantfile import TenantFile


def faults(settings: Settings, now: datetime) -> tuple[Problem, ...]:
    """Every fault, in the order of the files; empty where all is well. `now`: around it calendars are worked out."""
    problems = Problems()
    folders = files.tenant_folders(settings.inventories)
    names = [folder.name for folder in folders]
    tenants = files.read_tenants(folders, problems)
    _check_automation(tenants, settings, problems)
    copies = files.read_copies(folders, problems)
    check_references(tenants, copies, problems)
    source: list[Located] = []
    if settings.text("inventory.source") == "file":
        source = files.read_source(settings, names, problems)
        check_references(tenants, source, problems)
    else:
        _check_netbox(settings, problems)
    hosts = [located.host for located in (*copies, *source)]
    known = Inventory(hosts=tuple(hosts))
    calendars.read_hours(settings.inventories, (entry.tenant for entry in tenants), known, now, problems)
    for entry in tenants:
        check_names(settings.inventories / entry.tenant.name, entry.tenant, hosts, problems)
    try:
        Pins.load(settings.inventories)
    except InventoryError as error:
        problems.found.extend(error.problems)
    for folder in files.tenant_folders(settings.path("inventory.path")):
        if folder.name not in names and settings.text("inventory.source") == "file":
            problems.note(str(folder), f"the source names a tenant {folder.name!r} that is not in inventories/")
    return tuple(dict.fromkeys(problems.found))


def _check_netbox(settings: Settings, problems: Problems) -> None:
    """What opsctl.yml says of NetBox, as far as that can be judged without asking it."""
    from opsctl.inventory import pull
    from opsctl.inventory.address import checked_address, checked_authorities
    from opsctl.inventory.rules import mapping_of

    for look in (checked_address, checked_authorities, pull.filters, mapping_of):
        try:
            look(settings)
        except ConfigError as error:
            problems.note("opsctl.yml", error.message, error.hint)


def _check_automation(tenants: list[TenantFile], settings: Settings, problems: Problems) -> None:
    """opsctl logs in as ssh.user; a tenant that approves another account would have its hosts close ours."""
    user = settings.text("ssh.user")
    for entry in tenants:
        for account in entry.tenant.accounts or ():
            if account.automation and account.name != user:
                problems.note(
                    str(settings.inventories / entry.tenant.name / files.TENANT),
                    f"accounts: the automation account is {account.name}, and opsctl logs in as {user}",
                    f"ssh.user comes from {settings.origin['ssh.user']}",
                )
