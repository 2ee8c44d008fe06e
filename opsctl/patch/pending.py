"""What is pending on hosts: one round trip each, parsed into values, the last reading kept in the store."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from opsctl.errors import HostFailed, OpsctlError
from opsctl.model import wire
from opsctl.model.host import Host
from opsctl.model.rollout import PackageChange
from opsctl.rollout.contact import understood
from opsctl.ssh.session import Transport, hostside_script
from opsctl.state.store import Store

FACT = "pending"
FAMILIES = ("debian", "ubuntu")
_SECONDS = 120.0
_REFRESH_SECONDS = 420.0
# Debian policy 5.6.1 and 5.6.12, with the architecture that apt adds.
NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:~-]*")


@dataclass(frozen=True, kw_only=True)
class PendingPackage:
    """A package of the transaction that apt would make; `installed` is empty for a new one."""

    name: str
    installed: str
    candidate: str
    security: bool

    @property
    def change(self) -> PackageChange:
        return _change(self.name, self.installed, self.candidate, self.security)


@lru_cache(maxsize=100_000)
def _change(name: str, before: str, after: str, security: bool) -> PackageChange:  # noqa: FBT001 - a cache's key
    """One value for all hosts that get the same: a large plan would make hundreds of thousands."""
    return PackageChange(name=name, before=before, after=after, security=security)


@dataclass(frozen=True, kw_only=True)
class RebootNeed:
    """Whether a restart is wanted now, by which packages, and which coming ones will want one."""

    required: bool
    because_of: tuple[str, ...]
    coming: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DpkgHealth:
    """What dpkg --audit complains of, and who holds apt's lock."""

    audit: tuple[str, ...]
    lock_holder: str


@dataclass(frozen=True, kw_only=True)
class NotInstalled:
    """A package that was asked for by name and is not on the host; `like` are installed ones of nearly that name."""

    name: str
    like: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Pending:
    """One host's reading: the transaction in `packages` and `removed`, and what stands in its way."""

    packages: tuple[PendingPackage, ...]
    removed: tuple[str, ...]
    pending: int
    pending_security: int
    kept_back: tuple[str, ...]
    held: tuple[str, ...]
    download_bytes: int
    free_bytes: int
    reboot: RebootNeed
    dpkg: DpkgHealth
    lists_age_seconds: int | None
    patchers: tuple[str, ...]
    refreshed: str | None = None
    architecture: str = ""
    unknown: tuple[NotInstalled, ...] = ()


Readings = Mapping[str, Pending | OpsctlError]


def parse(host: str, answer: object) -> Pending:
    """A host's answer as a value. Raises HostFailed for what is not a reading, or names no package could have."""
    found = understood(Pending, host, answer)
    for package in found.packages:
        versions = [version for version in (package.installed, package.candidate) if version]
        if not NAME.fullmatch(package.name) or not all(_VERSION.fullmatch(version) for version in versions):
            raise HostFailed(host, f"it names a package that cannot be: {package.name!r} {package.candidate!r}")
    like = (name for one in found.unknown for name in one.like)
    if not all(NAME.fullmatch(name) for name in like):
        raise HostFailed(host, "it names an installed package that cannot be")
    return found


def read(
    transport: Transport,
    hosts: Iterable[Host],
    store: Store,
    clock: Callable[[], datetime],
    *,
    security_only: bool = False,
    refresh: bool = False,
    packages: Sequence[str] = (),
) -> Readings:
    """A reading of every host or its error; `refresh` fetches the package lists first, which changes the hosts.

    `security_only` and `packages` narrow the transaction to these updates and what they need.
    """
    chosen = tuple(hosts)
    fit = [host for host in chosen if host.family in FAMILIES]
    answers = transport.run_all(
        fit,
        hostside_script("pending"),
        {"security_only": security_only, "refresh": refresh, "packages": list(packages)},
        timeout=_REFRESH_SECONDS if refresh else _SECONDS,
    )
    found: dict[str, Pending | OpsctlError] = {}
    for host in chosen:
        try:
            found[host.key] = _one(host, answers.get(host.key))
        except OpsctlError as error:
            found[host.key] = error
    with store.transaction():
        for key, reading in found.items():
            if isinstance(reading, Pending) and not (security_only or packages):
                store.put_fact(key, FACT, wire.dumps(reading), clock())
    return found


def _one(host: Host, answer: object) -> Pending:
    if host.family not in FAMILIES:
        raise HostFailed(host.key, f"patching of {host.platform} is not supported yet")
    if isinstance(answer, OpsctlError):
        raise answer
    found = parse(host.key, answer)
    if found.refreshed:
        raise HostFailed(host.key, f"its package lists could not be fetched: {found.refreshed}")
    return found
