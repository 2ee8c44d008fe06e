"""Plans and rollouts as rows and documents, for listings and programs. Pure."""

from __future__ import annotations

import shlex
import textwrap
from collections import Counter

from opsctl.model import wire
from opsctl.model.handling import HOOKS
from opsctl.model.probing import Probing
from opsctl.model.rollout import HostPlan, Plan, RolloutState, Stage, Status
from opsctl.rollout.limits import listed

PLAN_COLUMNS = ("wave", "batch", "host", "packages", "security", "reboot", "drained at", "takes", "window")
PACKAGE_COLUMNS = ("package", "from", "to", "security", "hosts")
HOST_COLUMNS = ("wave", "batch", "host", "stage", "traffic", "since", "remarks")
ROLLOUT_COLUMNS = ("rollout", "status", "hosts", "done", "failed", "unknown", "planned by", "at work")
Row = tuple[object, ...]
# Characters of a reason in one line; the table of what is left out has the whole.
_REASON = 160


def stalled(state: RolloutState, at_work: str) -> bool:
    """It says that it runs, and no process does: killed, or the control node went down."""
    return state.status is Status.RUNNING and not at_work


def standing(state: RolloutState, at_work: str) -> str:
    """How it stands, in words, with the reason."""
    word = "stalled: its process is gone" if stalled(state, at_work) else str(state.status)
    return f"{word}{': ' + state.reason if state.reason else ''}"


def summary(state: RolloutState, at_work: str) -> dict[str, object]:
    """A rollout without its hosts."""
    return {
        "id": state.plan.id,
        "status": str(state.status),
        "stalled": stalled(state, at_work),
        "reason": state.reason,
        "at_work": at_work,
        "hosts": len(state.hosts),
        "stages": dict(Counter(str(host.stage) for host in state.hosts)),
        "planned_by": state.plan.made_by,
        "planned_at": state.plan.made_at,
        "started_at": state.started_at,
        "ended_at": state.ended_at,
    }


def document(state: RolloutState, at_work: str) -> dict[str, object]:
    """A rollout with the state of each host."""
    return {"rollout": summary(state, at_work), "hosts": wire.as_document(state.hosts)}


def plan_document(made: Plan) -> dict[str, object]:
    found: dict[str, object] = wire.as_document(made)
    return found


def why_empty(made: Plan) -> str:
    """Why a plan holds no host: each reason with the number of hosts that it keeps out; empty where it holds some."""
    if made.hosts:
        return ""
    reasons = Counter(one.reason for one in made.left_out)
    told = {reason: textwrap.shorten(reason, _REASON, placeholder=" ...") for reason in reasons}
    return "; ".join(f"{told[reason]} ({some})" for reason, some in reasons.most_common()) or "no host was selected"


def without_snapshot(made: Plan) -> tuple[str, ...]:
    """The tenants whose hosts get what the mirror offers on the day, and not what it offered when the plan was made."""
    pinned = {pin.tenant for pin in made.snapshots}
    ours = dict.fromkeys(item.host.partition(".")[0] for item in made.hosts if item.packages)
    return () if made.rollback_of else tuple(tenant for tenant in ours if tenant not in pinned)


def rollout_row(state: RolloutState, at_work: str) -> Row:
    word = "stalled" if stalled(state, at_work) else state.status
    counts = (state.count(Stage.DONE), state.count(Stage.FAILED), state.count(Stage.UNKNOWN))
    return (state.plan.id, word, len(state.hosts), *counts, state.plan.made_by, at_work)


def plan_rows(made: Plan) -> list[Row]:
    return [
        (
            f"{w} {wave.ring}", b, item.host, len(item.packages), item.security,
            _restart(item, made), item.drain_through,
            f"{-(-item.expected_seconds // 60)} min", item.window,
        )
        for w, b, wave, batch in made.batches()
        for item in batch.hosts
    ]  # fmt: skip


def _restart(item: HostPlan, made: Plan) -> str:
    """Whether a restart is expected, and the policy where the host has its own."""
    own = item.reboot if item.reboot and item.reboot != made.reboot else ""
    return ", ".join(filter(None, ("expected" if item.reboot_expected else "", own)))


def handling_lines(made: Plan) -> list[str]:
    """The commands around the change of hosts, each once with its hosts, and the downtime that is planned."""
    found: dict[str, list[str]] = {}
    for item in made.hosts:
        for word in HOOKS:
            if command := getattr(item.hooks, word):
                found.setdefault(f"{word}: {shlex.join(command)} (at most {item.hooks.seconds} s)", []).append(
                    item.host
                )
        if item.downtime_seconds:
            told = f"planned downtime: about {item.downtime_seconds} s of what it alone answers for"
            found.setdefault(told, []).append(item.host)
    return [f"{listed(hosts)}: {told}" for told, hosts in found.items()]


def probing_document(seen: Probing | None) -> dict[str, object] | None:
    """What opsctl's own questions saw, for programs."""
    if seen is None:
        return None
    found: dict[str, object] = wire.as_document(seen)
    return {**found, "answered": seen.answered, "lost": seen.lost}


def probing_lines(seen: Probing | None) -> list[str]:
    """The sum of what opsctl's own questions saw, and each service that lost one or never answered."""
    if seen is None or not seen.services:
        return []
    told = [f"probes: {seen.answered} answered, {seen.lost} lost, of {len(seen.services)} services"]
    told[0] += f"; {seen.left_out} services were not asked" if seen.left_out else ""
    return told + [f"probes: {one}" for one in seen.services if one.lost or not one.answered]


def package_rows(made: Plan) -> list[Row]:
    """Each package version once, with the number of hosts that get it."""
    changes = Counter(package for item in made.hosts for package in item.packages)
    return [
        (package.name, package.before or "(new)", package.after, "yes" if package.security else "", count)
        for package, count in sorted(changes.items(), key=lambda entry: (entry[0].name, entry[0].after))
    ]


def host_rows(state: RolloutState) -> list[Row]:
    place = {item.host: (f"{w} {wave.ring}", b) for w, b, wave, batch in state.plan.batches() for item in batch.hosts}
    return [
        (
            *place[host.host],
            host.host,
            f"{host.stage} ({host.last})" if host.last else host.stage,
            "drained" if host.drained else "",
            f"{host.at:%Y-%m-%d %H:%M:%SZ}",
            "; ".join(text for text in (host.reason, *host.notes) if text),
        )
        for host in state.hosts
    ]


def budget_words(made: Plan) -> str:
    """How many failed hosts halt it, over all and in a wave."""
    waves = {wave.budget for wave in made.waves if wave.budget}
    of_wave = f", {'/'.join(map(str, sorted(waves)))} of one wave" if waves else ""
    return f"{made.failure_budget} failed halts it{of_wave}"


def gate_lines(made: Plan) -> list[str]:
    """The tenants' gates that it will meet, each with the rings after which it is asked."""
    return [f"gate of {gate.tenant}, after each {gate.after}{_of_rings(gate.rings)}: {gate}" for gate in made.gates]


def _of_rings(rings: tuple[str, ...]) -> str:
    return f" of {', '.join(rings)}" if rings else ""
