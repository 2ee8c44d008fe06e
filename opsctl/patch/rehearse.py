"""A rehearsal: the plan run on doubles of its hosts, through the very steps that the hosts themselves will get.

The hosts are read once. What is found is kept beside the plan, whatever it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from opsctl import lab
from opsctl.errors import HostFailed, Interrupted, OpsctlError, Refused
from opsctl.lab import machine
from opsctl.model.host import Host
from opsctl.model.rollout import Batch, HostPlan, HostState, Plan, RolloutState, Stage, Status, Wave
from opsctl.patch import rehearsal
from opsctl.patch.change import PatchChange
from opsctl.patch.doubles import Double, Likeness, Likenesses, NotRehearsed, doubles, few
from opsctl.patch.propose import KIND
from opsctl.patch.rehearsal import Rehearsal, Trial
from opsctl.patch.stage import Stage as Scene
from opsctl.patch.stage import clear_orphans, make_alike, refuse_unless_fit, standing
from opsctl.rollout import plan as planning
from opsctl.rollout.change import Claim, Installed
from opsctl.rollout.contact import understood
from opsctl.rollout.execute import execute
from opsctl.rollout.limits import Limits
from opsctl.rollout.means import Means
from opsctl.rollout.parts import Progress
from opsctl.rollout.plan import Arrangement, Pace
from opsctl.ssh.session import hostside_script
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store

_READ_SECONDS = 120.0
_UNITS = ("systemctl", "show", "*.service", "--property=Id,InvocationID")


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Who will stand for whom: what a rehearsal shows before it begins."""

    plan: Plan
    doubles: tuple[Double, ...]
    not_rehearsed: tuple[NotRehearsed, ...]


def cast(means: Means, plan_id: str, *, most: int) -> Cast:
    """Read what is installed on the plan's hosts, and see which doubles it takes. Raises Refused."""
    state = means.journal.load(plan_id, kind=KIND)
    if state.status is not Status.PLANNED:
        raise Refused(
            f"{state.plan.id} has begun before: it is {state.status}", hint="rehearse a plan before its start"
        )
    refuse_unless_fit()
    plan = state.plan
    hosts = [means.inventory.host(item.host) for item in plan.hosts if _known(means, item.host)]
    told = likenesses(means, hosts)
    room = machine.room_for_hosts()
    limit = "--max-doubles" if most <= room else "this machine's free memory"
    found, left = doubles(plan, means.inventory, told, most=min(most, room), limit=limit)
    return Cast(plan=plan, doubles=tuple(found), not_rehearsed=tuple(left))


def _known(means: Means, key: str) -> bool:
    return any(host.key == key and host.managed for host in means.inventory)


def likenesses(means: Means, hosts: Sequence[Host]) -> Likenesses:
    """What each host has, in one round trip; the hosts are only read."""
    answers = means.transport.run_all(hosts, hostside_script("installed"), lambda _host: {}, timeout=_READ_SECONDS)
    found: dict[str, Likeness | OpsctlError] = {}
    for key, answer in answers.items():
        try:
            found[key] = answer if isinstance(answer, OpsctlError) else understood(Likeness, key, answer)
        except HostFailed as error:
            found[key] = error
    return found


def rehearse(means: Means, given: Cast, folders: Sequence[Path], say: Callable[[str], None]) -> Rehearsal:
    """Build the doubles, run the plan on them, take all down and keep what was found. Raises Refused, LabError."""
    plan, begun = given.plan, means.clock()
    detail: dict[str, object] = {"rollout": plan.id, "plan_hash": plan.hash}
    with means.ledger.act("patch rehearse", [item.host for item in plan.hosts], detail, means.who, means.clock) as act:
        clear_orphans(say)
        trials: tuple[Trial, ...] = ()
        if given.doubles:
            with standing(given.doubles, means.inventory, means.settings, folders, say) as scene:
                trials = _run(scene, means, given, say)
        done = Rehearsal(
            plan=plan.id,
            plan_hash=plan.hash,
            at=begun,
            ended=means.clock(),
            by=means.who,
            trials=trials,
            not_rehearsed=given.not_rehearsed,
            cannot_foresee=rehearsal.cannot_foresee(given.doubles, plan),
        )
        rehearsal.keep(means.store, done)
        act.outcome = done.outcome
    return done


def _run(scene: Scene, means: Means, given: Cast, say: Callable[[str], None]) -> tuple[Trial, ...]:
    by_host = dict(zip((host.key for host in scene.fleet.hosts), given.doubles, strict=True))
    alike = make_alike(scene, by_host, say)
    ready = {key: double for key, double in by_host.items() if not isinstance(alike[key], OpsctlError)}
    ready = {key: double for key, double in ready.items() if not _lacks(scene, double)}
    change = _Watched(scene, given.plan)
    states = _carry_out(scene, means, given.plan, ready, change, say) if ready else {}
    return tuple(_trial(scene, key, by_host[key], alike[key], states.get(key), change) for key in by_host)


def _lacks(scene: Scene, double: Double) -> list[str]:
    """The versions of a transaction that nobody could be found to have."""
    missing = {(one.name, one.version) for one in scene.stock.missing}
    return [f"{one.name}={one.after}" for one in double.packages if (one.name, one.after) in missing]


def _carry_out(
    scene: Scene,
    means: Means,
    plan: Plan,
    ready: Mapping[str, Double],
    change: _Watched,
    say: Callable[[str], None],
) -> Mapping[str, HostState]:
    """The plan on the doubles, through the engine itself, in a store of their own."""

    def observe(step: Progress) -> None:
        say(f"{step.host}: {step.text}" if step.host else step.text)

    own = _plan_of(scene, plan, ready, means)
    with Store.open(scene.settings.state) as store:
        state = RolloutState(plan=own, status=Status.PLANNED, at=own.made_at, hosts=_untouched(own))
        ended = execute(
            state,
            change,
            verb="patch start",
            who=means.who,
            store=store,
            ledger=Ledger(store),
            inventory=scene.transport.inventory,
            limits=Limits(),
            clock=means.clock,
            observe=observe,
        )
    if ended.state.status is Status.INTERRUPTED:
        raise Interrupted("the rehearsal was stopped; nothing of it stays", hint=f"opsctl patch rehearse {plan.id}")
    return {host.host: host for host in ended.state.hosts}


def _untouched(plan: Plan) -> tuple[HostState, ...]:
    return tuple(HostState(host=item.host, stage=Stage.PLANNED, at=plan.made_at) for item in plan.hosts)


def _plan_of(scene: Scene, plan: Plan, ready: Mapping[str, Double], means: Means) -> Plan:
    """All doubles at once, each with its own transaction; none of them stops another."""
    items = tuple(
        HostPlan(host=key, packages=double.packages, reboot_expected=double.reboot_expected)
        for key, double in ready.items()
    )
    pace = Pace(limit=len(items))
    return planning.freeze(
        Arrangement(waves=(Wave(ring="rehearsal", batches=(Batch(hosts=items),)),), left_out=()),
        kind=KIND,
        now=means.clock(),
        made_by=means.who,
        inventory_digest=scene.transport.inventory.digest,
        content_digest=plan.content_digest,
        pace=pace,
        failure_budget=len(items) + 1,
        reboot=plan.reboot,
    )


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What the watched installation of one double showed."""

    restarted: tuple[str, ...] = ()
    seconds: int = 0


class _Watched(PatchChange):
    """Patching as ever, with a look at what it restarts and how long it takes."""

    def __init__(self, scene: Scene, plan: Plan) -> None:
        # The lab's mirror has the very packages: a snapshot in its place would be none of the lab's.
        here = replace(plan, snapshots=())
        super().__init__(scene.transport, scene.transport.inventory, scene.settings, plan=here)
        self._lab = scene.fleet.name
        self.seen: dict[str, _Seen] = {}

    def install(self, host: Host, item: HostPlan, state: HostState, claim: Claim) -> Installed:
        before, began = self._units(host), time.monotonic()
        try:
            return super().install(host, item, state, claim)
        finally:
            took = round(time.monotonic() - began)
            self.seen[host.key] = _Seen(restarted=restarted(before, self._units(host)), seconds=took)

    def _units(self, host: Host) -> str:
        return lab.execute(self._lab, host.name, _UNITS).stdout


def restarted(before: str, after: str) -> tuple[str, ...]:
    """The services that ran before and run as another invocation now, from what `systemctl show` told."""
    old, new = _invocations(before), _invocations(after)
    return tuple(sorted(unit for unit, one in old.items() if unit in new and new[unit] != one and one))


def _invocations(told: str) -> dict[str, str]:
    blocks = (dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in told.split("\n\n"))
    ours = {block["Id"]: block.get("InvocationID", "") for block in blocks if "Id" in block}
    return {unit: one for unit, one in ours.items() if not unit.startswith(("opsctl-", "user@", "apt-daily"))}


def _trial(
    scene: Scene,
    key: str,
    double: Double,
    alike: tuple[str, ...] | OpsctlError,
    state: HostState | None,
    change: _Watched,
) -> Trial:
    seen, lacks = change.seen.get(key, _Seen()), _lacks(scene, double)
    why = alike.message if isinstance(alike, OpsctlError) else f"cannot be had: {few(lacks)}" if lacks else ""
    took = (state.at - state.started_at).total_seconds() if state and state.started_at else 0
    return Trial(
        double=key.partition(".")[2],
        hosts=double.hosts,
        os_release=double.os_release,
        architecture=double.architecture,
        installed=len(double.installed),
        packages=len(double.packages),
        stage=state.stage if state else None,
        reason=state.reason if state else f"not run: {why}",
        not_alike=() if isinstance(alike, OpsctlError) else alike,
        restarted=seen.restarted,
        reboot=bool(state and (state.reboot or "a reboot is required" in state.notes)),
        install_seconds=seen.seconds,
        seconds=round(took),
        notes=tuple(note for note in state.notes) if state else (),
    )
