"""What is told of a rollout when: its beginning, a wave that passed, a stop, its end. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from opsctl.errors import Interrupted, OpsctlError
from opsctl.model.host import Host, Inventory
from opsctl.model.rollout import HostState, Plan, RolloutState, Stage, Status, Wave
from opsctl.rollout import lines
from opsctl.rollout.notice import About, Notice, Occasion
from opsctl.rollout.resume import how_to_go_on

_ENDS = {
    Status.DONE: (Occasion.END, "is done"),
    Status.ABORTED: (Occasion.END, "was aborted"),
    Status.PAUSED: (Occasion.PAUSE, "is paused"),
    Status.INTERRUPTED: (Occasion.PAUSE, "was interrupted"),
    Status.HALTED: (Occasion.FAILURE, "is HALTED"),
}


def begun(state: RolloutState, inventory: Inventory, who: str) -> Notice:
    """A rollout begins, or goes on."""
    plan, again = state.plan, state.started_at is not None
    rings = ", ".join(f"{wave.ring} ({len(wave.hosts)})" for wave in plan.waves)
    emergency = [f"EMERGENCY, over windows and freezes: {plan.emergency}"] if plan.emergency else []
    return Notice(
        occasion=Occasion.START,
        subject=f"opsctl: {plan.id} {'goes on' if again else 'begins'}",
        rollout=plan.id,
        lines=(*emergency, *_what(plan), f"by {who}"),
        whole=(f"rings in turn: {rings}",),
        hosts=tuple(_about(inventory, state.hosts)),
    )


def wave_passed(plan: Plan, number: int, wave: Wave, states: Mapping[str, HostState], inventory: Inventory) -> Notice:
    """All batches of a wave are through their gates."""
    after = plan.waves[number].ring if number < len(plan.waves) else ""
    return Notice(
        occasion=Occasion.GATE,
        subject=f"opsctl: {plan.id}: ring {wave.ring} passed its gates",
        rollout=plan.id,
        lines=(f"wave {number} of {len(plan.waves)}", f"next: ring {after}" if after else "it was the last wave"),
        hosts=tuple(_about(inventory, (states[item.host] for item in wave.hosts))),
    )


def ended(state: RolloutState, inventory: Inventory) -> Notice:
    """A rollout stopped or ended, with what is left to do."""
    occasion, word = _ENDS.get(state.status, (Occasion.FAILURE, f"is {state.status}"))
    bad = state.status is Status.DONE and state.count(Stage.DONE) < len(state.hosts)
    open_ones = bool(state.open_hosts or bad) and state.status is not Status.ABORTED
    return Notice(
        occasion=Occasion.FAILURE if bad else occasion,
        subject=f"opsctl: {state.plan.id} {word}{', but not every host' if bad else ''}",
        rollout=state.plan.id,
        lines=(*_what(state.plan), *([f"to go on: {how_to_go_on(state)}"] if open_ones else [])),
        whole=(f"why: {state.reason}",) if state.reason else (),
        hosts=tuple(_about(inventory, state.hosts)),
    )


def broken(state: RolloutState, inventory: Inventory, why: str) -> Notice:
    """A rollout ended by an error of opsctl or of its control node."""
    return Notice(
        occasion=Occasion.FAILURE,
        subject=f"opsctl: {state.plan.id} broke off",
        rollout=state.plan.id,
        lines=(*_what(state.plan), f"to see how it stands: {lines.status(state.plan.kind)} {state.plan.id}"),
        whole=(f"why: {why}",),
        hosts=tuple(about(host.key, host) for host in _hosts(state.plan, inventory)),
    )


def _hosts(plan: Plan, inventory: Inventory) -> Iterable[Host]:
    planned = {item.host for item in plan.hosts}
    return (host for host in inventory if host.key in planned)


@contextmanager
def told_of_a_break(state: RolloutState, inventory: Inventory, tell: Callable[[Notice], None]) -> Iterator[None]:
    """An error that ends the work within is told, and goes on its way."""
    try:
        yield
    except BaseException as error:
        why = error.message if isinstance(error, (OpsctlError, Interrupted)) else type(error).__name__
        tell(broken(state, inventory, why))
        raise


def _what(plan: Plan) -> tuple[str, ...]:
    ticket = [f"ticket: {plan.ticket}"] if plan.ticket else []
    return (f"{plan.kind}, planned by {plan.made_by} at {plan.made_at:%Y-%m-%d %H:%MZ}", *ticket)


def _about(inventory: Inventory, states: Iterable[HostState]) -> Iterable[About]:
    hosts = {host.key: host for host in inventory}
    for state in states:
        host = hosts.get(state.host)
        # What there is to say of a host is what a person may have to do; what went well needs no line.
        said = [state.reason] if state.reason else []
        said += ["still DRAINED"] if state.drained and state.resting else []
        yield about(state.host, host, state=str(state.stage), text="; ".join(said))


def about(key: str, host: Host | None, *, state: str = "", text: str = "") -> About:
    """A host as notices know it; one that is no longer in the inventory belongs to its tenant all the same."""
    tenant = key.partition(".")[0]
    if host is None:
        return About(host=key, tenant=tenant, state=state, text=text)
    return About(host=key, tenant=tenant, owner=host.owner, role=host.role, state=state, text=text)
