"""Where everything of one lab lies. Every path and every name follows from the lab's name alone.

So whatever a lab left behind can be found again after a crash, without a record of what had been made.
Interface names end at 15 characters (IFNAMSIZ): a bridge is `lab` and six hex digits of the name's hash, a host's
machine adds `n` and two digits, and systemd-nspawn puts `vb-` before it: `vb-lab3fa2b1n07`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from opsctl.errors import UsageError

RUN = Path("/run/opsctl-lab")
CACHE = Path("/var/cache/opsctl-lab")
SNAPSHOTS = CACHE / "snapshots"
MOST_HOSTS = 99
DEFAULT_NAME = "demo"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True, kw_only=True)
class Place:
    """The folders, locks and kernel names of the lab called `name`; raises UsageError for a name that does not fit."""

    name: str
    run: Path = RUN
    cache: Path = CACHE

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            rule = "a lower-case letter, then at most 30 lower-case letters, digits and hyphens"
            raise UsageError(f"a lab cannot be called {self.name!r}", hint=f"a name is {rule}")

    @property
    def code(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()[:6]

    @property
    def bridge(self) -> str:
        return f"lab{self.code}"

    def machine(self, index: int) -> str:
        return f"{self.bridge}n{index:02d}"

    def veth(self, index: int) -> str:
        return f"vb-{self.machine(index)}"

    @property
    def group(self) -> str:
        """The lab's control group, right below the root of each tree."""
        return f"opsctl-lab-{self.name}"

    @property
    def folder(self) -> Path:
        return self.run / self.name

    @property
    def lock(self) -> Path:
        return self.run / f"{self.name}.lock"

    @property
    def common_lock(self) -> Path:
        """Held while labs share out what the machine has once: subnets and limits."""
        return self.run / ".lock"

    @property
    def inotify_before(self) -> Path:
        return self.run / ".inotify"

    @property
    def intent(self) -> Path:
        """Written before anything else is made: subnet, base and number of hosts."""
        return self.folder / "intent.json"

    @property
    def description(self) -> Path:
        """Written last: a lab without it is one whose `up` did not end."""
        return self.folder / "fleet.json"

    @property
    def identity(self) -> Path:
        return self.folder / "identity"

    @property
    def fingerprints(self) -> Path:
        return self.folder / "fingerprints"

    @property
    def mirror(self) -> Path:
        return self.folder / "mirror"

    def host(self, name: str) -> Path:
        return self.folder / "hosts" / name

    def root(self, name: str) -> Path:
        return self.host(name) / "m"

    def upper(self, name: str) -> Path:
        return self.host(name) / "u"

    def log(self, unit: str) -> Path:
        return self.folder / "log" / f"{unit}.log"

    def faults(self, name: str) -> Path:
        return self.folder / "faults" / name

    @property
    def snapshots(self) -> Path:
        """On the disk: /run is memory, and often little of it."""
        return SNAPSHOTS / self.name

    def snapshot(self, name: str, label: str) -> Path:
        return self.snapshots / name / label
