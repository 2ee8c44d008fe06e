"""Controls, results and findings: what compliance speaks of.

A check on a host gives a `CheckResult` with its `Evidence`. A waiver changes how a failed result is judged (`Finding`),
never the result itself. `Coverage` is the denominator: every host in scope is in exactly one of its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TypeVar

# XCCDF's words (NIST IR 7275r4, 6.6.4.2), in the order in which a reader should meet them.
RESULTS = ("fail", "error", "notchecked", "pass", "notapplicable")
SEVERITIES = ("high", "medium", "low")
DISPOSITIONS = ("open", "expired", "waived")
# What may come of an answer of the batch that is asked for again.
REPEATED = ("same", "different", "moving", "lost")

# Why a control of the profile is missing from a run that was narrowed to some of them.
NOT_SELECTED = "not selected (--control, --severity)"

Setting = int | str | tuple[str, ...]
Said = TypeVar("Said")


@dataclass(frozen=True, kw_only=True)
class Control:
    """A requirement with a stable id; `maps` names the sections of each benchmark that it supports.

    `values` are its bounds and lists, as a profile may tailor them. `built` tells whether a check function exists:
    what is not built is never claimed. `plain` says what it means, and why it matters, to somebody who knows no IT.
    `check_version` is the beginning of the SHA-256 over the files that the check is made of. `moves`: its evidence is a
    measurement that is another one each time (a clock, free space).
    """

    id: str
    title: str
    severity: str
    check: str
    remediation_role: str
    title_sv: str = ""
    check_sv: str = ""
    plain: str = ""
    plain_sv: str = ""
    remediation_variable: str = ""
    maps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    values: Mapping[str, Setting] = field(default_factory=dict)
    where: str = "host"
    built: bool = False
    check_version: str = ""
    moves: bool = False

    @property
    def order(self) -> tuple[int, str]:
        """The worst severity first, then by id."""
        return SEVERITIES.index(self.severity), self.id


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """Every control that is known, in the file's order, and the SHA-256 of that file."""

    controls: tuple[Control, ...]
    benchmarks: Mapping[str, str]
    digest: str

    @property
    def by_id(self) -> dict[str, Control]:
        return {control.id: control for control in self.controls}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A selection of controls, each with the values that hold in it.

    `tenant`, `roles` and `jump_hosts` (those that others are reached through): whose hosts it is about, where not all.
    `without`: controls of the profile it extends that it leaves out, each with the reason.
    """

    name: str
    title: str
    controls: tuple[Control, ...]
    title_sv: str = ""
    extends: str = ""
    tenant: str = ""
    roles: tuple[str, ...] = ()
    jump_hosts: bool = False
    without: tuple[tuple[str, str], ...] = ()

    @property
    def some_hosts(self) -> str:
        """Which hosts it is about, where not all: `the role web`."""
        words = [f"the role {' or '.join(self.roles)}"] if self.roles else []
        return ", or ".join([*words, *(["others reached through them"] if self.jump_hosts else [])])


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One command behind a result: `output` is its bounded text, `sha256` the hash of all the bytes it printed.

    `how` is `batch` (sent with others before the checks began), `live` (run when the check asked for it) or `record`:
    not of the host but of the control side, and `command` says of what.
    """

    command: str
    exit_code: int
    output: str
    sha256: str
    at: datetime
    how: str = "live"


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one check said of one host. `reason` explains error, notapplicable and notchecked."""

    control: str
    host: str
    result: str
    at: datetime
    observed: str = ""
    expected: str = ""
    reason: str = ""
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """An answer of the batch that was asked for again, live.

    `outcome`: same, different, moving (the command does not give the same answer twice), or lost (contact was).
    """

    host: str
    command: str
    outcome: str


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """An accepted failure. `hosts` are shell patterns over the tenant's names; `expires` is in UTC.

    `flaw` says why its approver's signature does not count (one that counts has none); `where` is its file and line.
    """

    control: str
    tenant: str
    hosts: tuple[str, ...]
    reason: str
    owner: str
    approver: str
    expires: datetime
    signature: str = ""
    flaw: str = ""
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A failed result, judged: open, expired (its waiver has run out) or waived."""

    result: CheckResult
    disposition: str = "open"
    waiver: Waiver | None = None


@dataclass(frozen=True, kw_only=True)
class Absent:
    """A host in scope that was not assessed, and why; `last_good` is when it last was."""

    host: str
    reason: str
    last_good: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Assessed hosts against all that should be. Nothing ever leaves this sum."""

    assessed: tuple[str, ...] = ()
    unreachable: tuple[Absent, ...] = ()
    excluded: tuple[Absent, ...] = ()
    quarantined: tuple[Absent, ...] = ()

    @property
    def total(self) -> int:
        return len(self.assessed) + len(self.unreachable) + len(self.excluded) + len(self.quarantined)


@dataclass(frozen=True, kw_only=True)
class ScopedHost:
    """A host as it was when the run began; `tenant` is the municipality's name for readers.

    `host_keys` are the fingerprints of its approved keys: whoever answered showed one of them.
    """

    key: str
    tenant: str
    role: str
    platform: str
    host_keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a run was asked to look at, and with what: the head of every report.

    `confirmed` says for each tenant who has confirmed which requirements the controls support, on which day, and for
    which catalogue: `by`, `on`, `catalogue_sha256`.
    """

    profile: str
    profile_title: str
    profile_title_sv: str
    benchmarks: Mapping[str, str]
    controls: tuple[Control, ...]
    hosts: tuple[ScopedHost, ...]
    selection: Mapping[str, tuple[str, ...]]
    deselected: tuple[tuple[str, str], ...]
    operator: str
    control_node: str
    tool_version: str
    catalogue_sha256: str
    content_sha256: str
    inventory_digest: str
    confirmed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether it was every host that the profile judges, with every control of it."""
        narrowed = any(reason.startswith("not selected") for _, reason in self.deselected)
        return not narrowed and not any(self.selection.values())


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """One run over a fleet. `faults` says what is missing from it; a run with faults is incomplete.

    `waivers` are those of its tenants as they stood then, also what did not count; `repeats` the answers of the batch
    that were asked for again.
    """

    scope: Scope
    started: datetime
    ended: datetime
    coverage: Coverage
    results: tuple[CheckResult, ...]
    faults: tuple[str, ...] = ()
    interrupted: bool = False
    waivers: tuple[Waiver, ...] = ()
    repeats: tuple[Repeat, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.faults

    @cached_property
    def _by_host(self) -> dict[str, list[CheckResult]]:
        found: dict[str, list[CheckResult]] = {}
        for result in self.results:
            found.setdefault(result.host, []).append(result)
        return found

    def of(self, host: str) -> tuple[CheckResult, ...]:
        return tuple(self._by_host.get(host, ()))


def count(results: Iterable[CheckResult]) -> dict[str, int]:
    """How many results there are of each kind; kinds without any are named with 0."""
    totals = dict.fromkeys(RESULTS, 0)
    for result in results:
        totals[result.result] += 1
    return totals


def alike(items: Iterable[Said], what: Callable[[Said], Hashable]) -> tuple[tuple[Said, ...], ...]:
    """Items that say the same, together, in the order in which each thing was first said."""
    found: dict[Hashable, list[Said]] = {}
    for item in items:
        found.setdefault(what(item), []).append(item)
    return tuple(tuple(same) for same in found.values())
