"""What is pending on a host, as values, and how its answer is understood. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from opsctl.errors import HostFailed, OpsctlError
from opsctl.model.rollout import MirrorState, PackageChange
from opsctl.patch.condition import Boot, DpkgHealth, Kernel, NotKnown, PastUpdate, RebootNeed, Services
from opsctl.rollout.contact import understood

FACT = "pending"
# The script that reads the transaction, by the platform's family.
READERS = {"debian": "pending", "ubuntu": "pending", "rhel": "pending_dnf"}
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
    read = [part for name, part in answer.items() if name in READERS.values()] if isinstance(answer, dict) else []
    if not isinstance(answer, dict) or not any(isinstance(part, dict) for part in read):
        return answer
    said = read[0].get("answer")
    if not isinstance(said, dict):
        raise HostFailed(host, f"the script failed: {understood(_Part, host, read[0]).error}")
    if "condition" not in answer:
        return said
    second = understood(_Part, host, answer["condition"])
    more = answer["condition"].get("answer")
    if not isinstance(more, dict):
        more = {"not_known": [{"what": "kernel, services, /boot, other patchers", "why": second.error}]}
    return {**said, **more, "not_known": [*(said.get("not_known") or ()), *(more.get("not_known") or ())]}


@dataclass(frozen=True, kw_only=True)
class _Part:
    error: str = ""


def brief(packages: Iterable[PackageChange], *, downgrade: bool) -> dict[str, object]:
    """What hostside/pending.py is asked where only these planned versions matter, and dpkg's health."""
    return {"planned": exactly(packages), "downgrade": downgrade, "brief": True}


def exactly(packages: Iterable[PackageChange]) -> list[dict[str, str]]:
    """Planned versions as hostside/pending.py takes them."""
    return [{"name": package.name, "version": package.after} for package in packages]
