"""A rollout and what its hosts say now -> the plan that puts back what it replaced. Pure.

A host goes back whole or not at all: versions that were found together belong together. Packages that were new with the
rollout stay: what came to need them meanwhile, and what they hold, nobody can tell from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from opsctl.errors import HostError, OpsctlError, Refused
from opsctl.model.rollout import HostPlan, LeftOut, PackageChange, Plan, RolloutState, Status
from opsctl.patch.pending import Pending, Readings
from opsctl.patch.told import obstacle
from opsctl.rollout import lines
from opsctl.rollout.timing import Slot


@dataclass(frozen=True, kw_only=True)
class Back:
    """What can be put back on one host, or why nothing can; `missed`: something was to be, and is not."""

    packages: tuple[PackageChange, ...] = ()
    reason: str = ""
    missed: bool = False


def refuse_unfit(state: RolloutState) -> None:
    """Raise Refused for a rollout that changed nothing, or that is not over yet."""
    plan = state.plan
    if state.started_at is None:
        raise Refused(f"{plan.id} has changed nothing: it is {state.status}", hint=lines.status(plan.kind))
    if plan.rollback_of:
        raise Refused(f"{plan.id} is itself a rollback, of {plan.rollback_of}", hint=lines.plan(plan.kind))
    if state.status not in (Status.DONE, Status.ABORTED):
        raise Refused(
            f"{plan.id} is {state.status}: it may still go on and holds its hosts",
            hint=f"end it first: {lines.abort(plan.id)}; then the rollback",
        )


def wanted(plan: Plan) -> dict[str, tuple[PackageChange, ...]]:
    """By host: each package that the plan replaced, from its new version to the one before."""
    return {
        item.host: tuple(
            PackageChange(name=one.name, before=one.after, after=one.before) for one in item.packages if not one.new
        )
        for item in plan.hosts
    }


def staying(plan: Plan, hosts: Iterable[str]) -> tuple[str, ...]:
    """The packages that were new with the rollout on these hosts, and stay there."""
    chosen = set(hosts)
    return tuple(sorted({one.name for item in plan.hosts if item.host in chosen for one in item.packages if one.new}))


def back(changes: Iterable[PackageChange], reading: Pending | OpsctlError | None) -> Back:
    """What of these changes can be made on a host, by its reading of exactly them."""
    if reading is None:
        return Back(reason="it was not read", missed=True)
    if isinstance(reading, OpsctlError):
        why = reading.reason if isinstance(reading, HostError) else reading.message
        return Back(reason=why if reading.outcome == "failed" else f"{reading.outcome}: {why}", missed=True)
    now = {one.name: one.version for one in reading.installed}
    open_changes = tuple(one for one in changes if now.get(one.name) != one.after)
    if not open_changes:
        return Back(reason="nothing to put back: it has the versions of before")
    if why := _why_not(open_changes, now, reading):
        return Back(reason=why, missed=True)
    return Back(packages=open_changes)


def _why_not(changes: tuple[PackageChange, ...], now: Mapping[str, str], reading: Pending) -> str:
    if why := obstacle(reading):
        return why
    others = [f"{one.name} is {now.get(one.name) or 'gone'}" for one in changes if now.get(one.name) != one.before]
    if others:
        return f"changed since by somebody else: {', '.join(others)}"
    if gone := [f"{one.name} {one.after}" for one in changes if one.name in reading.not_offered]:
        return f"no copy is left of {', '.join(gone)}: neither its mirror offers it nor did the host keep it"
    if reading.planned_why:
        return f"apt cannot put it back: {reading.planned_why}"
    if reading.removed:
        return f"apt would remove {', '.join(reading.removed)} for it"
    ours = {(one.name, one.after) for one in changes}
    more = [f"{one.name} {one.candidate}" for one in reading.packages if (one.name, one.candidate) not in ours]
    return f"apt would also install {', '.join(more)}" if more else ""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The hosts of a rollback before they are arranged, and those that it leaves as they are."""

    hosts: tuple[HostPlan, ...]
    left_out: tuple[LeftOut, ...]


def choose(
    plan: Plan,
    hosts: Iterable[str],
    readings: Readings,
    *,
    reboot: str,
    gone: Mapping[str, str],
    slots: Mapping[str, Slot],
) -> Chosen:
    """Each of these hosts of the plan: put back, or left as it is with the reason. `gone`: hosts no longer ours."""
    changes, items, left = wanted(plan), [], []
    before = {item.host: item for item in plan.hosts}
    for key in hosts:
        slot, reading = slots[key], readings.get(key)
        found = Back(reason=gone[key], missed=True) if key in gone else back(changes[key], reading)
        if found.packages and slot.reason:
            found = Back(reason=slot.reason, missed=True)
        if not found.packages:
            left.append(LeftOut(host=key, reason=found.reason, missed=found.missed))
            continue
        policy = reboot if reboot == "never" or not (own := before[key].reboot) or own == plan.reboot else own
        coming = isinstance(reading, Pending) and bool(reading.reboot.coming or reading.reboot_why)
        items.append(
            HostPlan(
                host=key,
                packages=found.packages,
                reboot_expected=policy == "always" or (policy == "if-required" and coming),
                drain_through=before[key].drain_through,
                reboot=policy,
                hooks=before[key].hooks,
                expected_seconds=int(slot.takes.total_seconds()),
                window=slot.window,
                opens_at=slot.opens_at,
            )
        )
    return Chosen(hosts=tuple(items), left_out=tuple(left))
