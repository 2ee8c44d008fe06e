"""One rollout from start to stop, for patch and provision alike: signals, ledger and driver put together."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime

from opsctl.errors import Incomplete, Interrupted, Stopped
from opsctl.model.host import Inventory
from opsctl.model.rollout import HostPlan, LeftOut, Plan, RolloutState, Stage, Status
from opsctl.rollout import gates, occasions, runbook
from opsctl.rollout.change import Change
from opsctl.rollout.claims import HELD
from opsctl.rollout.drive import Driver
from opsctl.rollout.journal import Journal
from opsctl.rollout.limits import COMES_AFTER, KEPT_IN, Limits
from opsctl.rollout.notice import Notice
from opsctl.rollout.notify import nobody
from opsctl.rollout.parts import Drivers, Progress
from opsctl.rollout.resume import how_to_go_on
from opsctl.rollout.silencing import Nobody, Silencer
from opsctl.rollout.stop import on_signals
from opsctl.rollout.timing import NEVER, NEXT
from opsctl.rollout.versions import ANOTHER_STATE
from opsctl.state.leases import Leases
from opsctl.state.ledger import Head, Ledger
from opsctl.state.store import Store

# Words of the reasons for which hosts are left out, and what to do about each.
NO_KEY = ("no key is approved for it", "it shows another key than the approved one")
_APPROVE = "compare its key with the owner's, then: opsctl host approve NAME --fingerprints FILE"
_LIMIT = (
    "a cluster, role or site needs its hosts: change clusters: minimum in tenant.yml (or limits), "
    "or bring the others back first"
)
_ORDER = "a primary comes after the others of its cluster: give it their last ring or a later one, or plan once more"
_MIRROR = "hosts whose mirror differs: let them fetch their lists, or mend the mirror: opsctl patch plan --refresh"
_HELD = "see what holds them (opsctl patch status), and resume it or end it"
_WINDOW = "windows that never meet or are too short, or a freeze without end: opsctl calendar --host NAME"
_LATER = "wait for the windows (opsctl calendar), or in an emergency: --emergency --reason TEXT --ticket TEXT"
_LOOK = "opsctl doctor --hosts says why hosts do not answer"
_OUTCOMES = {
    Status.HALTED: "stopped",
    Status.PAUSED: "stopped",
    Status.ABORTED: "stopped",
    Status.INTERRUPTED: "interrupted",
}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a rollout stands after a run, and the ledger's head."""

    state: RolloutState
    head: Head | None

    @property
    def outcome(self) -> str:
        return outcome_of(self.state)


def missed(plan: Plan) -> tuple[str, ...]:
    """The hosts that were to be changed and are not in the plan: they did not answer, or a limit kept them out."""
    return tuple(one.host for one in plan.left_out if one.missed)


def why_missed(plan: Plan) -> str:
    return "left out: " + "; ".join(f"{one.host} ({one.reason})" for one in plan.left_out if one.missed)


def mend_missed(plan: Plan) -> str:
    """What to do so that the next plan has them."""
    found = {_mend(one) for one in plan.left_out if one.missed}
    return (
        "; ".join(text for text in (_APPROVE, _LIMIT, _ORDER, _MIRROR, _HELD, _WINDOW, _LATER, _LOOK) if text in found)
        + "; then begin anew for them"
    )


def _mend(one: LeftOut) -> str:
    if any(words in one.reason for words in NO_KEY):
        return _APPROVE
    if COMES_AFTER in one.reason:
        return _ORDER
    if ANOTHER_STATE in one.reason:
        return _MIRROR
    if HELD in one.reason:
        return _HELD
    if NEVER in one.reason:
        return _WINDOW
    if NEXT in one.reason:
        return _LATER
    return _LIMIT if KEPT_IN in one.reason else _LOOK


def raise_missed(plan: Plan) -> None:
    """Raise Incomplete where a plan is not all that was asked for."""
    if missed(plan):
        raise Incomplete(why_missed(plan), hint=mend_missed(plan))


def outcome_of(state: RolloutState) -> str:
    """The word that the exit code and JSON carry: ok, incomplete, stopped or interrupted.

    A host that was asked for and did not answer when the plan was made is not in the rollout, and yet not done.
    """
    if state.status is Status.DONE:
        return "ok" if state.count(Stage.DONE) == len(state.hosts) and not missed(state.plan) else "incomplete"
    return _OUTCOMES.get(state.status, str(state.status))


def raise_unless_ok(state: RolloutState) -> None:
    """Turn an end that is not good into its error, with what to do next."""
    done, remain = state.count(Stage.DONE), [host.host for host in state.hosts if host.stage is not Stage.DONE]
    told = f"{done} of {len(state.hosts)} hosts done"
    told += f"; remaining: {', '.join(remain)}" if remain else ""
    if missed(state.plan):
        told += f"; {why_missed(state.plan)}"
    match outcome_of(state):
        case "incomplete":
            raise Incomplete(told, hint=how_to_go_on(state) if remain else mend_missed(state.plan))
        case "stopped":
            hint = f"{how_to_go_on(state)}; read {runbook.page(runbook.of_rollout(state))}"
            raise Stopped(f"{state.status}: {state.reason}; {told}", hint=hint)
        case "interrupted":
            raise Interrupted(f"{state.reason}; {told}", hint=how_to_go_on(state))


def execute(
    state: RolloutState,
    change: Change,
    *,
    verb: str,
    who: str,
    store: Store,
    ledger: Ledger,
    inventory: Inventory,
    limits: Limits,
    clock: Callable[[], datetime],
    observe: Callable[[Progress], None],
    down: frozenset[str] = frozenset(),
    gone: frozenset[str] = frozenset(),
    alerting: Callable[[], frozenset[str]] = frozenset,
    closed: Callable[[HostPlan], str] = lambda _item: "",
    keeps: Callable[[Sequence[HostPlan]], datetime | None] = lambda _items: None,
    keep: Callable[[], None] = lambda: None,
    tell: Callable[[Notice], None] = nobody,
    gate: Callable[[gates.Question], gates.Verdict] = lambda _question: gates.PASSED,
    silencer: Silencer | None = None,
    during: AbstractContextManager[None] | None = None,
    moved: str = "",
) -> Ended:
    """Run a rollout until it ends or stops. Raises Locked where somebody else is at it or holds one of its hosts.

    `keep` is called once nobody else can be at it, before its first entry and effect. `tell` sends notices, and returns
    at once. `during` goes on while hosts are worked on. `moved`: what is other than the plan says, for the ledger.
    """
    plan = state.plan
    detail: dict[str, object] = {"rollout": plan.id, "plan_hash": plan.hash}
    detail |= {"ticket": plan.ticket} if plan.ticket else {}
    detail |= {"emergency": plan.emergency} if plan.emergency else {}
    detail |= {"accepted": moved} if moved else {}
    with on_signals(lambda text: observe(Progress(host="", text=text, at=clock()))) as stop:
        parts = Drivers(
            journal=Journal(store),
            leases=Leases(store),
            change=change,
            inventory=inventory,
            limits=limits,
            clock=clock,
            observe=observe,
            stop=stop,
            stopped_by=lambda: stop.why,
            down=down,
            gone=gone,
            alerting=alerting,
            closed=closed,
            keeps=keeps,
            gate=gate,
            silencer=silencer or Nobody(),
            passed=lambda number, wave, now: tell(occasions.wave_passed(plan, number, wave, now, inventory)),
        )
        driver = Driver(state, parts)
        with driver.alone(f"{who}, process {os.getpid()}, since {clock():%Y-%m-%d %H:%M:%SZ}"):
            keep()
            tell(occasions.begun(state, inventory, who))
            with (
                occasions.told_of_a_break(state, inventory, tell),
                ledger.act(verb, [item.host for item in plan.hosts], detail, who, clock) as act,
            ):
                with during or nullcontext():
                    end = driver.run()
                act.outcome = outcome_of(end)
                act.detail["hosts"] = {host.host: str(host.stage) for host in end.hosts}
                act.detail["reason"] = end.reason
            tell(occasions.ended(end, inventory))
    return Ended(state=end, head=act.head)
