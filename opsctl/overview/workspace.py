"""A new workspace: the folder in which a municipality's operations live, in git.

What is there already is never overwritten, so a second `opsctl init` adds a tenant to a workspace that stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl import config
from opsctl.documents import NAME, NAME_RULE, RESERVED
from opsctl.errors import Refused, UsageError
from opsctl.inventory import emit
from opsctl.model.host import Tenant

if TYPE_CHECKING:
    from opsctl.lab.fleet import Fleet

GITIGNORE = """\
# Store, ledger and reports of this installation: `opsctl state backup` saves them, not git.
.state/
# Secrets.
*.token
"""
FINGERPRINTS = "handover/fingerprints"


@dataclass(frozen=True, kw_only=True)
class Made:
    """What `make` wrote, and what stood there already; paths relative to the workspace."""

    workspace: Path
    written: tuple[str, ...]
    kept: tuple[str, ...]


def tenant_of(given: str) -> Tenant:
    """A tenant from the command line's NAME=TITLE (or NAME alone)."""
    name, _, title = given.partition("=")
    if not NAME.fullmatch(name) or name in RESERVED:
        raise UsageError(f"{name!r} cannot be a tenant's name", hint=f"NAME=TITLE, the name of {NAME_RULE}")
    return Tenant(name=name, title=title.strip() or name)


def make(folder: Path, tenants: Iterable[Tenant] = (), lab: Fleet | None = None) -> Made:
    """Make a workspace with these tenants, or with everything that is needed to work with a running lab."""
    texts = _frame(folder, {} if lab is None else _lab_settings(lab))
    for tenant in tenants:
        texts |= _empty_tenant(tenant)
    if lab is not None:
        texts |= _lab_files(lab)
    try:
        written, kept = _write(folder, texts)
    except OSError as error:
        raise Refused(f"no workspace can be made in {folder}: {error.strerror or error}") from error
    config.find_workspace(folder, {})  # refuses a folder that everyone can write
    return Made(workspace=folder, written=written, kept=kept)


def _write(folder: Path, texts: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inventories").mkdir(exist_ok=True)
    written, kept = [], []
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
            written.append(name)
        except FileExistsError:
            kept.append(name)
    return tuple(written), tuple(kept)


ANSIBLE_PLUGIN = """\
# The hosts of this workspace for Ansible: ansible-inventory -i inventories/opsctl.yml --graph
plugin: opsctl.core.hosts
"""


def _frame(folder: Path, settings: Mapping[str, config.Value]) -> dict[str, str]:
    return {
        config.FILE: config.example(settings),
        ".gitignore": GITIGNORE,
        "inventories/opsctl.yml": ANSIBLE_PLUGIN,
        "README.md": _README.format(name=folder.absolute().name),
    }


def _empty_tenant(tenant: Tenant) -> dict[str, str]:
    base = f"inventories/{tenant.name}"
    return {
        f"{base}/tenant.yml": emit.tenant_file(tenant) + _TENANT_MORE,
        f"{base}/source.yml": emit.hosts_file(tenant.name, [], emit.HEAD_SOURCE) + _SOURCE_MORE,
    }


# --- a lab ------------------------------------------------------------------------------------------------------------


def _lab_settings(lab: Fleet) -> dict[str, config.Value]:
    return {"ssh.user": lab.user, "ssh.identity": str(lab.identity_file)}


def _lab_files(lab: Fleet) -> dict[str, str]:
    """Each tenant with what its hosts are held to, its hosts as a source, and the fingerprints as handed over."""
    texts = {FINGERPRINTS: lab.fingerprints_file.read_text(encoding="utf-8")}
    for tenant in lab.tenants:
        hosts = [host for host in lab.hosts if host.tenant == tenant.name]
        base = f"inventories/{tenant.name}"
        texts[f"{base}/tenant.yml"] = emit.tenant_file(_lab_tenant(lab, tenant))
        texts[f"{base}/source.yml"] = emit.hosts_file(tenant.name, hosts, emit.HEAD_SOURCE)
        texts[f"{base}/group_vars/all.yml"] = _LAB_VARIABLES
    return texts


def _lab_tenant(lab: Fleet, tenant: Tenant) -> Tenant:
    from dataclasses import replace
    from urllib.parse import urlsplit

    from opsctl.lab.archive import POCKETS
    from opsctl.lab.recipe import COMPONENT

    control = urlsplit(lab.mirror).hostname or ""
    # opsctl comes from the bridge; what lies behind a jump host is reached from that host's address.
    jumps = {lab.host(host.jump).address for host in lab.hosts if host.tenant == tenant.name and host.jump}
    groups = tenant.ssh_groups or ("ssh-login",)
    accounts = tuple(
        replace(account, groups=tuple(sorted({*account.groups, groups[0]}))) for account in tenant.accounts or ()
    )
    return replace(
        tenant,
        management_networks=tuple(f"{address}/32" for address in sorted({control, *jumps})),
        ssh_groups=groups,
        accounts=accounts,
        package_sources=tuple(f"{lab.mirror}/{p.folder} {p.codename} {COMPONENT}" for p in POCKETS),
    )


# An account is removed only where a person names it.
_LAB_VARIABLES = """\
---
# Agreed with the former operator: its accounts and their sudo rights go.
users_absent: [gammal-admin, konsult]
users_sudoers_absent: [gammal-admin]
"""

_README = """\
# {name}

A workspace of opsctl: the servers that we operate, who may do what on them, and what was approved.

- `opsctl.yml`: settings. `inventories/TENANT/tenant.yml`: what a municipality's hosts are held to.
- `inventories/TENANT/source.yml`: the hosts; after a change: `opsctl inventory sync`, then commit.
- `.state/`: store, ledger, reports; not in git. `opsctl state backup` saves it.

What next: `opsctl` without a verb says it.
"""

_TENANT_MORE = """\
# Lists that the hosts are held to; provisioning and compliance need them:
# management_networks: [192.0.2.0/28]          # from where ssh is allowed
# ssh_groups: [ssh-login]
# accounts:
#   - name: opsctl                             # exactly one with automation: true
#     automation: true
#     groups: [ssh-login]
#     keys: ["ssh-ed25519 AAAA... opsctl"]
# package_sources:
#   - http://deb.debian.org/debian bookworm main
#   - http://deb.debian.org/debian-security bookworm-security main
# time_servers: [ntp.netnod.se, 0.se.pool.ntp.org]
# log_host: log.example:6514
# log_retention_days: 90
# And, where they are used: organisations, sites, clusters, limits, windows, approval, mirrors
# (docs/reference/inventory.md)
"""

_SOURCE_MORE = """\
# For each host, in place of []:
#   - name: web1
#     address: 192.0.2.11
#     role: web
#     platform: debian-12
#     ring: early
"""
