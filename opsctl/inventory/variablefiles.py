"""Variable files that nothing reads: a typing error in a file's name must not silently leave a host unguarded.

What is read (`ansible/render.py`): group_vars/all.yml, group_vars/ROLE.yml, group_vars/RING.yml, host_vars/HOST.yml,
each one file that ends in .yml or .yaml. Folders, as Ansible knows them (`group_vars/all/`), are not.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from opsctl.documents import Problems
from opsctl.model.host import Host, Tenant

SUFFIXES = (".yml", ".yaml")
GROUPS, HOSTS = "group_vars", "host_vars"


def check_names(folder: Path, tenant: Tenant, hosts: Iterable[Host], problems: Problems) -> None:
    """Note what lies in the tenant's variable folders and applies to no host of copy or source (`hosts`)."""
    own = [host for host in hosts if host.tenant == tenant.name]
    groups = {"all", *tenant.rings, *(host.role for host in own), *(host.ring for host in own)}
    _check(folder / GROUPS, groups, "is no role or ring of this tenant", problems)
    _check(folder / HOSTS, {host.name for host in own}, "is no host of this tenant", problems)


def _check(folder: Path, names: set[str], wrong: str, problems: Problems) -> None:
    known = f"known: {', '.join(sorted(names)[:20])}"
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.name.startswith(".") or entry.name == "README.md":
            continue
        if entry.is_dir():
            problems.note(str(entry), "a folder here is not read", f"one file: {entry.name}.yml")
        elif entry.suffix not in SUFFIXES:
            problems.note(str(entry), "is not read: its name ends in neither .yml nor .yaml", known)
        elif entry.stem not in names:
            problems.note(str(entry), f"is not read: {entry.stem!r} {wrong}", known)
        elif entry.suffix != SUFFIXES[0] and entry.with_suffix(SUFFIXES[0]).exists():
            problems.note(str(entry), f"is not read: {entry.stem}.yml is there too", "one of the two")
