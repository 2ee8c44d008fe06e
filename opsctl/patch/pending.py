"""What is pending on hosts: one round trip each, parsed into values, the last reading kept in the store."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from opsctl.errors import HostError, HostFailed, OpsctlError
from opsctl.model import wire
from opsctl.model.host import Host
from opsctl.model.rollout import MirrorState, PackageChange
from opsctl.patch.condition import Boot, DpkgHealth, Kernel, NotKnown, PastUpdate, RebootNeed, Services
from opsctl.rollout.contact import understood
from opsctl.ssh.session import Transport, hostside_script
from opsctl.state.store import Store
from opsctl.state.updates import Updates

FACT = "pending"
# The script that reads the transaction, by the platform's family.
READERS = {"debian": "pending", "ubuntu": "pending", "rhel": "pending_dnf"}
_SECONDS = 120.0
_REFRESH_SECONDS = 420.0
# Debian policy 5.6.1 and 5.6.12, with the architecture that apt adds.
NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:~-]*")


@dataclass(frozen=True, kw_only=True)
class PendingPackage:
    """A package of the transaction that apt would make; `installed` is empty for a new one."""

    name: str
    installed: str
    candidate: str
    security: bool
    origin: str = ""

    @property
    def change(self) -> PackageChange:
        return _change(self.name, self.installed, self.candidate, self.security)


@lru_cache(maxsize=100_000)
def _change(name: str, before: str, after: str, security: bool) -> PackageChange:  # noqa: FBT001 - a cache's key
    """One value for all hosts that get the same: a large plan would make hundreds of thousands."""
    return PackageChange(name=name, before=before, after=after, security=security)


@dataclass(frozen=True, kw_only=True)
class NotInstalled:
    """A package that was asked for by name and is not on the host; `like` are installed ones of nearly that name."""

    name: str
    like: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Version:
    """A package in the version that is installed."""

    name: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Pending:
    """One host's reading: the transaction in `packages` and `removed`, and what stands in its way.

    None is never "none": it could not be found out, and `not_known` says why. Where exact versions were asked for (of a
    frozen plan), `packages` is their transaction, or `planned_why` says why there is none; `not_offered` names those
    that are to be had nowhere, `installed` tells what is there now.
    """

    packages: tuple[PendingPackage, ...]
    removed: tuple[str, ...]
    pending: int | None
    pending_security: int | None
    kept_back: tuple[str, ...] | None
    held: tuple[str, ...] | None
    download_bytes: int | None
    free_bytes: int | None
    reboot: RebootNeed
    dpkg: DpkgHealth
    lists_age_seconds: int | None
    patchers: tuple[str, ...] | None = None
    refreshed: str | None = None
    manager: str = "apt"
    phased: tuple[str, ...] | None = None
    kernel: Kernel | None = None
    services: Services | None = None
    boot: Boot | None = None
    history: tuple[PastUpdate, ...] | None = None
    not_known: tuple[NotKnown, ...] = ()
    architecture: str = ""
    unknown: tuple[NotInstalled, ...] = ()
    mirrors: tuple[MirrorState, ...] | None = None
    planned_why: str = ""
    not_offered: tuple[str, ...] = ()
    installed: tuple[Version, ...] = ()

    @property
    def reboot_why(self) -> tuple[str, ...]:
        """Why a restart is wanted now; empty where nothing asks for one."""
        asked = f"asked for by {', '.join(self.reboot.because_of) or 'a package'}"
        kernel = self.kernel
        newer = f"kernel {kernel.newest} is installed, {kernel.running} runs" if kernel and kernel.outdated else ""
        return tuple(filter(None, (asked if self.reboot.required else "", newer)))


Readings = Mapping[str, Pending | OpsctlError]


def parse(host: str, answer: object) -> Pending:
    """A host's answer as a value. Raises HostFailed for what is not a reading, or names no package could have."""
    found = understood(Pending, host, _flat(host, answer))
    for package in found.packages:
        versions = [version for version in (package.installed, package.candidate) if version]
        if not NAME.fullmatch(package.name) or not all(VERSION.fullmatch(version) for version in versions):
            raise HostFailed(host, f"it names a package that cannot be: {package.name!r} {package.candidate!r}")
    like = (name for one in found.unknown for name in one.like)
    if not all(NAME.fullmatch(name) for name in like):
        raise HostFailed(host, "it names an installed package that cannot be")
    return found


def _flat(host: str, answer: object) -> object:
    """The answers of the scripts of one trip as one; that of a single script is as it is. Raises HostFailed."""
    if not isinstance(answer, dict) or "condition" not in answer:
        return answer
    parts = {("pending" if name in READERS.values() else name): part for name, part in answer.items()}
    first, second = (understood(_Part, host, parts.get(name)) for name in ("pending", "condition"))
    if not isinstance(parts["pending"].get("answer"), dict):
        raise HostFailed(host, f"the script failed: {first.error}")
    said = dict(parts["pending"]["answer"])
    more = parts["condition"].get("answer")
    if not isinstance(more, dict):
        more = {"not_known": [{"what": "kernel, services, /boot, other patchers", "why": second.error}]}
    return {**said, **more, "not_known": [*(said.get("not_known") or ()), *(more.get("not_known") or ())]}


@dataclass(frozen=True, kw_only=True)
class _Part:
    error: str = ""


def exactly(packages: Iterable[PackageChange]) -> list[dict[str, str]]:
    """Planned versions as hostside/pending.py takes them."""
    return [{"name": package.name, "version": package.after} for package in packages]


def _scripts(host: Host, given: Mapping[str, object]) -> dict[str, object]:
    first = READERS[host.family]
    return {"scripts": [(first, hostside_script(first), dict(given)), ("condition", hostside_script("condition"), {})]}


def read(
    transport: Transport,
    hosts: Iterable[Host],
    store: Store,
    clock: Callable[[], datetime],
    *,
    security_only: bool = False,
    refresh: bool = False,
    packages: Sequence[str] = (),
    planned: Mapping[str, Sequence[PackageChange]] | None = None,
    downgrade: bool = False,
) -> Readings:
    """A reading of every host or its error; `refresh` fetches the package lists first, which changes the hosts.

    `security_only` and `packages` narrow the transaction to these updates and what they need; `planned` gives exact
    versions by host, with `downgrade` also older ones.
    """
    exact = planned or {}

    def given(host: Host) -> dict[str, object]:
        words: dict[str, object] = {"security_only": security_only, "refresh": refresh, "packages": list(packages)}
        return {**words, "planned": exactly(exact.get(host.key, ())), "downgrade": downgrade}

    chosen = tuple(hosts)
    fit = [host for host in chosen if host.family in READERS]
    answers = transport.run_all(
        fit,
        hostside_script("together"),
        lambda host: _scripts(host, given(host)),
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
            if isinstance(reading, Pending) and not (security_only or packages or exact):
                store.put_fact(key, FACT, wire.dumps(reading), clock())
        _account(store, chosen, found, clock(), whole=not (security_only or packages))
    return found


def _account(store: Store, hosts: Sequence[Host], found: Readings, at: datetime, *, whole: bool) -> None:
    """Take what was read, and what could not be, into the account of the year."""
    from opsctl.patch import seen

    updates = Updates(store)
    kinds = {host.key: host.platform for host in hosts}
    read = {key: one for key, one in found.items() if isinstance(one, Pending)}
    seen.keep(updates, {k: (f"{kinds[k]} {one.architecture}".strip(), one) for k, one in read.items()}, at, whole=whole)
    for host in hosts:
        error = found[host.key]
        if isinstance(error, OpsctlError) and host.family in READERS:
            updates.was_not_read(host.key, at, error.reason if isinstance(error, HostError) else error.message)


def _one(host: Host, answer: object) -> Pending:
    if host.family not in READERS:
        raise HostFailed(host.key, f"patching of {host.platform} is not supported yet")
    if isinstance(answer, OpsctlError):
        raise answer
    found = parse(host.key, answer)
    if found.refreshed:
        raise HostFailed(host.key, f"its package lists could not be fetched: {found.refreshed}")
    return found
