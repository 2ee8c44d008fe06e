"""(state, event) -> state, and what comes next: every decision of a rollout about one host. Pure.

The driver asks `next_step`, saves what `begin` gives, causes the effect, and saves what `advance` gives for its
outcome. Each step may be begun again from its saved state: that is all that a resume does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from opsctl.errors import OpsctlError
from opsctl.model.rollout import HostState, Reference, Stage, Status


class InvalidTransition(OpsctlError):
    """An event came to a state that it cannot follow: a fault in opsctl, never in a host."""


class Step(StrEnum):
    """What the driver does next with a host."""

    LEASE = "lease"
    SILENCE = "silence"
    PRECHECK = "precheck"
    DRAIN = "drain"
    INSTALL = "install"
    REBOOT = "reboot"
    VERIFY = "verify"
    UNDRAIN = "undrain"
    FINISH = "finish"


class Kind(StrEnum):
    """What can happen to a host."""

    LEASED = "leased"
    SILENCED = "silenced"
    PRECHECKED = "prechecked"
    DRAINING = "draining"
    DRAINED = "drained"
    INSTALLING = "installing"
    INSTALLED = "installed"
    REBOOTING = "rebooting"
    BACK = "back"
    VERIFIED = "verified"
    UNDRAINED = "undrained"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"
    SKIPPED = "skipped"
    RECONCILED = "reconciled"
    RETRIED = "retried"
    ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a host, with what is worth keeping of it."""

    kind: Kind
    at: datetime
    reason: str = ""
    reference: Reference | None = None
    reboot: bool = False
    notes: tuple[str, ...] = ()


IN_FLIGHT = frozenset(Stage) - {Stage.DONE, Stage.FAILED, Stage.UNKNOWN, Stage.SKIPPED}
# The plain road: which stages an event may follow, and where it leads (None: the stage stays).
_ROAD: dict[Kind, tuple[frozenset[Stage], Stage | None]] = {
    Kind.LEASED: (frozenset({Stage.PLANNED}), Stage.LEASED),
    Kind.SILENCED: (frozenset({Stage.LEASED}), Stage.SILENCED),
    Kind.PRECHECKED: (frozenset({Stage.SILENCED}), Stage.PRECHECKED),
    Kind.DRAINING: (frozenset({Stage.PRECHECKED}), None),
    Kind.DRAINED: (frozenset({Stage.PRECHECKED}), Stage.DRAINED),
    Kind.INSTALLING: (frozenset({Stage.PRECHECKED, Stage.DRAINED}), Stage.INSTALLING),
    Kind.INSTALLED: (frozenset({Stage.INSTALLING}), Stage.INSTALLED),
    Kind.REBOOTING: (frozenset({Stage.INSTALLED}), Stage.REBOOTING),
    Kind.BACK: (frozenset({Stage.REBOOTING}), Stage.BACK),
    Kind.VERIFIED: (frozenset({Stage.INSTALLED, Stage.BACK}), Stage.VERIFIED),
    Kind.DONE: (frozenset({Stage.VERIFIED, Stage.UNDRAINED}), Stage.DONE),
}
_BEGINS = {Step.DRAIN: Kind.DRAINING, Step.INSTALL: Kind.INSTALLING, Step.REBOOT: Kind.REBOOTING}
_ENDS = {
    Step.LEASE: Kind.LEASED,
    Step.SILENCE: Kind.SILENCED,
    Step.PRECHECK: Kind.PRECHECKED,
    Step.DRAIN: Kind.DRAINED,
    Step.INSTALL: Kind.INSTALLED,
    Step.REBOOT: Kind.BACK,
    Step.VERIFY: Kind.VERIFIED,
    Step.UNDRAIN: Kind.UNDRAINED,
    Step.FINISH: Kind.DONE,
}
_NEXT = {
    Stage.PLANNED: Step.LEASE,
    Stage.LEASED: Step.SILENCE,
    Stage.SILENCED: Step.PRECHECK,
    Stage.DRAINED: Step.INSTALL,
    Stage.INSTALLING: Step.INSTALL,
    Stage.REBOOTING: Step.REBOOT,
    Stage.BACK: Step.VERIFY,
    Stage.UNDRAINED: Step.FINISH,
}
EFFECTS = frozenset({Step.SILENCE, Step.PRECHECK, Step.DRAIN, Step.INSTALL, Step.REBOOT, Step.VERIFY, Step.UNDRAIN})


def next_step(state: HostState, *, drains: bool) -> Step | None:
    """What to do next with a host, or None where it rests. `drains`: the host stands behind a load balancer."""
    match state.stage:
        case Stage.PRECHECKED:
            return Step.DRAIN if drains else Step.INSTALL
        case Stage.INSTALLED:
            return Step.REBOOT if state.reboot else Step.VERIFY
        case Stage.VERIFIED:
            return Step.UNDRAIN if state.drained else Step.FINISH
        case Stage.FAILED | Stage.SKIPPED:
            return Step.UNDRAIN if state.drained and not state.stuck else None
    return _NEXT.get(state.stage)


def begin(state: HostState, step: Step, at: datetime) -> HostState:
    """The state to save before the effect of `step`; the same state where the step was begun before."""
    kind = _BEGINS.get(step)
    begun = (
        kind is None or (kind is Kind.DRAINING and state.drained) or state.stage in (Stage.INSTALLING, Stage.REBOOTING)
    )
    return state if kind is None or begun else advance(state, Event(kind=kind, at=at))


def ended(step: Step) -> Kind:
    """The event of a step that went well."""
    return _ENDS[step]


def advance(state: HostState, event: Event) -> HostState:
    """The state after an event. Raises InvalidTransition where the event cannot follow."""
    match event.kind:
        case Kind.FAILED:
            return _fail(state, event)
        case Kind.LOST:
            return _lose(state, event)
        case Kind.SKIPPED:
            return _rest(state, Stage.SKIPPED, event)
        case Kind.UNDRAINED if state.drained and state.stage in (Stage.VERIFIED, Stage.FAILED, Stage.SKIPPED):
            return _undrained(state, event)
        case Kind.RECONCILED if state.stage is Stage.UNKNOWN and state.last is not None:
            return replace(state, stage=state.last, at=event.at, last=None, reason="")
        case Kind.RETRIED if state.stage is Stage.FAILED and not state.drained:
            return HostState(host=state.host, stage=Stage.PLANNED, at=event.at, attempt=state.attempt + 1)
        case Kind.ACKNOWLEDGED if state.stage in (Stage.FAILED, Stage.SKIPPED):
            return replace(state, acknowledged=True, stuck=False)
    return _along_the_road(state, event)


def _along_the_road(state: HostState, event: Event) -> HostState:
    sources, target = _ROAD.get(event.kind, (frozenset[Stage](), None))
    out_of_order = state.stage not in sources
    still_owed = event.kind is Kind.DONE and state.drained
    drained_unasked = event.kind is Kind.DRAINED and not state.drained
    if out_of_order or still_owed or drained_unasked:
        raise InvalidTransition(f"{state.host}: {event.kind} cannot follow {state.stage}")
    return replace(
        state,
        stage=target or state.stage,
        at=event.at,
        drained=state.drained or event.kind is Kind.DRAINING,
        reboot=event.reboot if event.kind is Kind.INSTALLED else state.reboot,
        reference=event.reference or state.reference,
        started_at=state.started_at or event.at,
        notes=state.notes + event.notes,
    )


_STILL_DRAINED = "still drained: "


def _undrained(state: HostState, event: Event) -> HostState:
    notes = tuple(note for note in state.notes if not note.startswith(_STILL_DRAINED))
    state = replace(state, at=event.at, drained=False, stuck=False, notes=notes)
    # A verified host failed at nothing but this very undrain, and is well now.
    well = state.stage is Stage.VERIFIED or (state.stage is Stage.FAILED and state.last is Stage.VERIFIED)
    return replace(state, stage=Stage.UNDRAINED, last=None, reason="", acknowledged=False) if well else state


def _fail(state: HostState, event: Event) -> HostState:
    if state.stage in (Stage.FAILED, Stage.SKIPPED) and state.drained:
        # The undrain itself failed: the host keeps its first reason and says that it is still drained.
        notes = (*(note for note in state.notes if not note.startswith(_STILL_DRAINED)), _STILL_DRAINED + event.reason)
        return replace(state, at=event.at, stuck=True, notes=notes)
    return _rest(state, Stage.FAILED, event)


def _lose(state: HostState, event: Event) -> HostState:
    if state.stage in (Stage.FAILED, Stage.SKIPPED):
        return _fail(state, event)
    return _rest(state, Stage.UNKNOWN, event)


def _rest(state: HostState, stage: Stage, event: Event) -> HostState:
    if state.stage not in IN_FLIGHT | {Stage.UNKNOWN} or (state.stage is Stage.UNKNOWN and stage is Stage.UNKNOWN):
        raise InvalidTransition(f"{state.host}: {event.kind} cannot follow {state.stage}")
    last = state.last if state.stage is Stage.UNKNOWN else state.stage
    return replace(state, stage=stage, at=event.at, last=last, reason=event.reason, notes=state.notes + event.notes)


_MOVES = {
    Status.PLANNED: {Status.RUNNING, Status.ABORTED},
    Status.RUNNING: {Status.RUNNING, Status.PAUSED, Status.HALTED, Status.INTERRUPTED, Status.DONE, Status.ABORTED},
    Status.PAUSED: {Status.RUNNING, Status.ABORTED},
    Status.HALTED: {Status.RUNNING, Status.ABORTED},
    Status.INTERRUPTED: {Status.RUNNING, Status.PAUSED, Status.ABORTED},
    Status.DONE: {Status.RUNNING},
    Status.ABORTED: set(),
}


def move(status: Status, to: Status) -> Status:
    """The rollout's next status. Raises InvalidTransition; running may follow running (its process died)."""
    if to not in _MOVES[status]:
        raise InvalidTransition(f"a rollout that is {status} cannot become {to}")
    return to
