"""A rollout: the frozen plan (waves of batches of hosts) and the state of each host and of the whole.

What a plan says and what a state means is told here; which state may follow which is told in rollout/machine.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from opsctl.model.gate import Gate
from opsctl.model.handling import NO_HOOKS, Hooks


class Stage(StrEnum):
    """How far a host has come. A stage that ends in -ing is saved before its effect begins, the others after it."""

    PLANNED = "planned"
    LEASED = "leased"
    SILENCED = "silenced"
    PRECHECKED = "prechecked"
    DRAINED = "drained"
    INSTALLING = "installing"
    INSTALLED = "installed"
    REBOOTING = "rebooting"
    BACK = "back"
    VERIFIED = "verified"
    UNDRAINED = "undrained"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


# A host in one of these goes no further by itself.
RESTING = frozenset({Stage.DONE, Stage.FAILED, Stage.UNKNOWN, Stage.SKIPPED})
# Nothing on the host has been changed yet.
UNTOUCHED = frozenset({Stage.PLANNED, Stage.LEASED, Stage.SILENCED, Stage.PRECHECKED})


class Status(StrEnum):
    """Where a rollout as a whole stands."""

    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    HALTED = "halted"
    INTERRUPTED = "interrupted"
    DONE = "done"
    ABORTED = "aborted"


@dataclass(frozen=True, kw_only=True)
class PackageChange:
    """One package of a host's transaction. `before` is empty for a package that is new there."""

    name: str
    before: str
    after: str
    security: bool = False

    @property
    def new(self) -> bool:
        return not self.before

    def __str__(self) -> str:
        return f"{self.name} {self.before or '(new)'} -> {self.after}"


@dataclass(frozen=True, kw_only=True)
class HostPlan:
    """What a plan will do on one host. `drain_through` is the key of the load balancer in front of it, or empty.

    `window` tells in words when it may start, as it was when the plan was made; `opens_at` is the first moment of it
    (None: at once). `changes` counts the tasks that would change something by check mode, and `foreseen` is the digest
    of what they would change; empty where nobody looked.
    `reboot` is the policy that holds for this host, `hooks` are the commands around its change, and `downtime_seconds`
    is how long those services are expected to be away for which it alone answers.
    """

    host: str
    packages: tuple[PackageChange, ...] = ()
    reboot_expected: bool = False
    drain_through: str = ""
    download_bytes: int = 0
    expected_seconds: int = 0
    window: str = ""
    opens_at: datetime | None = None
    changes: int = 0
    foreseen: str = ""
    reboot: str = ""
    hooks: Hooks = NO_HOOKS
    downtime_seconds: int = 0

    @property
    def drains(self) -> bool:
        """It is taken out of service before its change, and put back after it."""
        return bool(self.drain_through or self.hooks.drain)

    @property
    def security(self) -> int:
        return sum(1 for package in self.packages if package.security)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A selected host that the plan does not touch, and why.

    `missed`: it was to be changed, and yet is not in the plan - it does not answer, or a limit keeps it in service.
    """

    host: str
    reason: str
    missed: bool = False


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Hosts that are changed at once."""

    hosts: tuple[HostPlan, ...]


@dataclass(frozen=True, kw_only=True)
class Wave:
    """One ring's hosts within a rollout; `budget` failed ones of them halt it (0: only the whole rollout counts)."""

    ring: str
    batches: tuple[Batch, ...]
    budget: int = 0

    @property
    def hosts(self) -> tuple[HostPlan, ...]:
        return tuple(host for batch in self.batches for host in batch.hosts)


@dataclass(frozen=True, kw_only=True)
class MirrorState:
    """One list of a package mirror as hosts had it when a plan was made: the SHA-256 of its InRelease, and its date."""

    name: str
    sha256: str
    date: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class SnapshotPin:
    """From where the hosts of a tenant get a plan's packages in place of a mirror: an address that never changes."""

    tenant: str
    mirror: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would be done, frozen. `hash` covers everything but the id and the time of planning.

    `packages`: it was narrowed to these and what they need. `emergency`: why it goes over windows and freezes.
    `start_at`: the time that it was made for, where one was named. `down`: hosts that counted as out of service when
    it was made, in the plan or not. `approval`: rings that do not begin without a second person. `mirrors`: the states
    of their mirrors that the hosts read; `snapshots`: what the packages come from instead. `rollback_of`: the rollout
    whose packages it puts back.
    `variables_digest`: of the tenants' variable files that a playbook run would read.
    """

    id: str
    hash: str
    kind: str
    made_at: datetime
    made_by: str
    inventory_digest: str
    content_digest: str
    waves: tuple[Wave, ...]
    left_out: tuple[LeftOut, ...] = ()
    failure_budget: int = 1
    max_parallel: int = 1
    reboot: str = "if-required"
    security_only: bool = False
    options: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    ticket: str = ""
    start_at: datetime | None = None
    emergency: str = ""
    down: tuple[str, ...] = ()
    approval: tuple[str, ...] = ()
    mirrors: tuple[MirrorState, ...] = ()
    snapshots: tuple[SnapshotPin, ...] = ()
    rollback_of: str = ""
    variables_digest: str = ""
    gates: tuple[Gate, ...] = ()

    @property
    def hosts(self) -> tuple[HostPlan, ...]:
        return tuple(host for wave in self.waves for host in wave.hosts)

    def batches(self) -> Iterator[tuple[int, int, Wave, Batch]]:
        """Wave number, batch number (both from 1), wave and batch, in the order of work."""
        for w, wave in enumerate(self.waves, start=1):
            for b, batch in enumerate(wave.batches, start=1):
                yield w, b, wave, batch


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A host's health just before a change, with which its health afterwards is compared.

    `running` are services of systemd, `listening`, `answering` and `http` tcp ports: of any program, of the host's
    services, and of those that answered over HTTP without an error of the server.
    """

    boot_id: str
    failed_units: tuple[str, ...] = ()
    listening: tuple[int, ...] = ()
    answering: tuple[int, ...] = ()
    running: tuple[str, ...] = ()
    http: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HostState:
    """One host within a rollout.

    `last` is the stage at which it failed or was lost. `drained` holds from before the drain is asked for until the
    undrain is proved; `stuck` says that this undrain was tried and failed. `acknowledged`: a person has seen this
    failure and let the rollout go on, so it no longer counts against the budget.
    """

    host: str
    stage: Stage
    at: datetime
    last: Stage | None = None
    reason: str = ""
    drained: bool = False
    stuck: bool = False
    reboot: bool = False
    attempt: int = 1
    acknowledged: bool = False
    started_at: datetime | None = None
    reference: Reference | None = None
    notes: tuple[str, ...] = ()

    @property
    def resting(self) -> bool:
        return self.stage in RESTING

    @property
    def untouched(self) -> bool:
        """Nothing on this host was changed, nor its traffic."""
        return not self.drained and (self.stage if self.last is None else self.last) in UNTOUCHED

    @property
    def counts_against_budget(self) -> bool:
        return self.stage is Stage.FAILED and not self.acknowledged


@dataclass(frozen=True, kw_only=True)
class RolloutState:
    """A plan with how far it has come. `runner` names who and which process is or was at it."""

    plan: Plan
    status: Status
    at: datetime
    reason: str = ""
    runner: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    hosts: tuple[HostState, ...] = ()

    def count(self, *stages: Stage) -> int:
        return sum(1 for state in self.hosts if state.stage in stages)

    @property
    def open_hosts(self) -> tuple[HostState, ...]:
        """Hosts that a resume would still work on."""
        return tuple(s for s in self.hosts if s.stage is Stage.UNKNOWN or s.drained or not s.resting)
