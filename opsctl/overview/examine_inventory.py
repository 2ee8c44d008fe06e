"""The inventory: faults, hosts, a source that says something else, lists that nobody gave, approved host keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from opsctl.config import Settings
from opsctl.errors import SetupError
from opsctl.inventory import files, sync
from opsctl.inventory.faults import faults
from opsctl.model.host import Inventory
from opsctl.overview.examination import Look, Verdict, listed, some
from opsctl.ssh.hostkeys import Pins

# What provision and comply hold hosts to; a missing one is an error there, never a pass.
_LISTS = (
    "accounts", "ssh_groups", "management_networks", "package_sources", "time_servers", "log_host",
    "log_retention_days",
)  # fmt: skip


def inventory(settings: Settings, now: datetime) -> Iterator[Look]:
    def look(name: str, verdict: Verdict, seen: str, mend: str = "") -> Look:
        return Look(area="inventory", name=name, verdict=verdict, seen=seen, mend=mend)

    found = faults(settings, now)
    for problem in found[:10]:
        yield look("fault", "bad", f"{problem.where}: {problem.what}", problem.allowed or "mend this line")
    if len(found) > 10:
        yield look("fault", "bad", f"and {len(found) - 10} more", "opsctl inventory check")
    try:
        loaded = files.load(settings)
    except SetupError as error:
        yield look("hosts", "bad", error.message, "opsctl inventory check")
        return
    yield from (look(*one) for one in _hosts(settings, loaded, now))
    yield from (look("tenant", *one) for one in _tenants(settings, loaded))
    yield from (look(*one) for one in _pins(settings, loaded))


def _hosts(settings: Settings, loaded: Inventory, now: datetime) -> Iterator[tuple[str, Verdict, str, str]]:
    managed = sum(host.managed for host in loaded)
    if loaded.hosts:
        yield (
            "hosts",
            "ok",
            f"{some(len(loaded), 'host')} of {some(len(loaded.tenants), 'tenant')}, {managed} managed",
            "",
        )
    elif not loaded.tenants:
        yield "hosts", "warn", "no tenant yet", "opsctl init . --tenant NAME=TITLE"
        return
    else:
        yield "hosts", "warn", "no host yet", files.first_hosts(settings)
    try:
        planned = sync.plan(settings, now=now)
    except SetupError as error:
        yield "source", "bad", error.message, error.hint
        return
    if planned.diff:
        yield "source", "warn", f"differs from the inventory: {planned.diff.summary}", "opsctl inventory sync"
    else:
        yield "source", "ok", "the inventory is what the source says", ""


def _tenants(settings: Settings, loaded: Inventory) -> Iterator[tuple[Verdict, str, str]]:
    """Lists that nobody gave: the roles that need one refuse to guess."""
    for tenant in loaded.tenants:
        missing = [name for name in _LISTS if getattr(tenant, name) in (None, "")]
        if missing:
            path = settings.inventories / tenant.name / files.TENANT
            seen = f"{tenant.name} has no {', '.join(missing)}: provision and comply need them"
            yield "warn", seen, f"write them into {path}"


def _pins(settings: Settings, loaded: Inventory) -> Iterator[tuple[str, Verdict, str, str]]:
    try:
        pins = Pins.load(settings.inventories)
    except SetupError as error:
        for problem in error.problems:
            yield "host keys", "bad", str(problem), "mend or remove this line"
        return
    bare = [host.key for host in loaded if host.managed and not pins.of(host.key)]
    stray = sorted(set(pins.by_host) - {host.key for host in loaded})
    if bare:
        mend = "opsctl host approve --all --fingerprints FILE (from the hosts' owner)"
        yield "host keys", "warn", f"{some(len(bare), 'host')} without an approved key: {listed(bare)}", mend
    if stray:
        seen = f"approved keys of hosts that are not in the inventory: {listed(stray)}"
        yield "host keys", "warn", seen, "remove their lines from inventories/TENANT/pins"
    if not bare and not stray and loaded.hosts:
        yield "host keys", "ok", "every managed host has an approved key", ""
