"""What else a host says before it is patched: kernel, services, /boot, dpkg, last updates. None is "not known"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class RebootNeed:
    """Whether a restart is wanted now, by which packages, and which coming ones will want one."""

    required: bool
    because_of: tuple[str, ...]
    coming: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DpkgHealth:
    """What dpkg --audit complains of, whether its journal shows that it was cut off, and who holds apt's lock."""

    audit: tuple[str, ...] | None
    lock_holder: str | None
    interrupted: bool | None = False


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """The kernel that runs, and the newest installed one of its flavour."""

    running: str
    newest: str | None

    @property
    def outdated(self) -> bool:
        return self.newest is not None and self.newest != self.running


@dataclass(frozen=True, kw_only=True)
class Services:
    """`stale` run on with code that was replaced; `touched` use code of the packages that would change.

    `source` says who found the stale ones: needrestart, or what the processes have mapped.
    """

    stale: tuple[str, ...] | None
    touched: tuple[str, ...] | None
    source: str


@dataclass(frozen=True, kw_only=True)
class Boot:
    """Free bytes of /boot, and what the kernels of the transaction will take there."""

    free_bytes: int | None
    needed_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class PastUpdate:
    """One past transaction; numbers are None where only its time is known. `ended`: it came to a good end."""

    at: datetime
    upgraded: int | None
    installed: int | None
    removed: int | None
    ended: bool


@dataclass(frozen=True, kw_only=True)
class NotKnown:
    """A part that could not be found out, and why."""

    what: str
    why: str
