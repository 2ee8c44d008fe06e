"""A second person for a plan: what is signed, who may, what is kept, and what must not begin without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from opsctl.errors import Refused
from opsctl.model import wire
from opsctl.model.approval import SECOND_PERSON, Approval, Standing, standing
from opsctl.model.rollout import HostPlan, Plan, RolloutState, Status
from opsctl.rollout import lines
from opsctl.rollout.means import Means
from opsctl.rollout.plan import hash_of
from opsctl.state import signing
from opsctl.state.ledger import Head
from opsctl.state.signing import Operators
from opsctl.state.store import Store

FACT = "approvals"
_OVER = (Status.DONE, Status.ABORTED)


@dataclass(frozen=True, kw_only=True)
class _Kept:
    approvals: tuple[Approval, ...] = ()


def message(plan: Plan) -> str:
    """What a second person signs: the plan's hash, with its name and who made it."""
    return f"opsctl: approve {plan.id}, planned by {plan.made_by}, sha256 {plan.hash}\n"


def may_follow(plan: Plan) -> bool:
    """An emergency may begin without, and so may what takes a rollout back; the approval follows."""
    return bool(plan.emergency or plan.rollback_of)


def given(store: Store, plan: Plan) -> tuple[Approval, ...]:
    """The approvals that are kept of this plan, as it is."""
    fact = store.fact(f"rollout:{plan.id}", FACT)
    kept = wire.from_document(_Kept, fact.value) if fact else _Kept()
    return tuple(one for one in kept.approvals if one.plan_hash == plan.hash)


def of(store: Store, state: RolloutState, now: datetime) -> Standing:
    """How a rollout's approval stands, by what was kept; what must not begin without is judged anew (`refuse_without`).

    An emergency that was taken back before it began owes nothing.
    """
    plan = state.plan
    return standing(
        rings=plan.approval,
        may_follow=may_follow(plan) and not (state.status is Status.ABORTED and state.started_at is None),
        given=given(store, plan), begun=state.started_at, now=now,
    )  # fmt: skip


# --- who may --------------------------------------------------------------------------------------------------------


def person_of(who: str) -> str:
    """The person in a login as plans and ledger write it: `anna`, or `anna as opsctl`."""
    return who.partition(" as ")[0]


def may_approve(plan: Plan, operators: Operators) -> tuple[str, ...]:
    """One name of each person of the operators but the planner."""
    planner = person_of(plan.made_by)
    return tuple(names[0] for names in operators.people if not any(operators.same_person(n, planner) for n in names))


def why_not(plan: Plan, operators: Operators, name: str) -> str:
    """Why this person must not approve a plan; empty where they may. Pure."""
    if operators.same_person(name, person_of(plan.made_by)):
        return f"{name} planned it ({plan.made_by}): a second person must approve it"
    return ""


def how(plan: Plan, operators: Operators) -> str:
    """Who may approve a plan, and the command lines."""
    people = ", ".join(may_approve(plan, operators))
    who = f"who may: {people}" if people else f"nobody may yet: {operators.path} names the keys of those who may"
    return (
        f"{who}: {lines.approve(plan.id)}; where the key lies on another machine: "
        f"{signing.command(message(plan), f'{plan.id}.sig')} "
        f"and here: {lines.approve(plan.id)} --signature {plan.id}.sig"
    )


# --- giving it ------------------------------------------------------------------------------------------------------


def refuse_to_approve(state: RolloutState) -> None:
    """Raise Refused for a plan that nobody need approve any more, or that is not the one that was made."""
    plan = state.plan
    if hash_of(plan) != plan.hash:
        raise Refused(f"{plan.id} was altered in the store: nothing of it can be approved", hint=lines.plan(plan.kind))
    if state.status in _OVER and not may_follow(plan):
        raise Refused(f"{plan.id} is {state.status}: it needs no approval any more", hint=lines.plan(plan.kind))


def entries_for(plan: Plan, operators: Operators, who: str) -> tuple[signing.Entry, ...]:
    """The keys with which the agent may sign for whoever asks: their own where they are named, else any but the
    planner's."""
    others = [one for one in operators.entries if not why_not(plan, operators, one.names[0])]
    own = [one for one in others if operators.same_person(one.names[0], person_of(who))]
    return tuple(own or others)


def refuse_own(plan: Plan, who: str) -> None:
    """Raise Refused where the planner's own login would sign: whose key lies at hand there is no second person."""
    if signing.plain(person_of(who)) == signing.plain(person_of(plan.made_by)):
        raise Refused(
            f"{who} planned {plan.id}: a second person must approve it, from another login",
            hint=f"signed on another machine it can be handed in: {lines.approve(plan.id)} --signature FILE",
        )


def judged(operators: Operators, plan: Plan, signature: str, *, who: str, now: datetime) -> Approval:
    """A signature as an approval of this plan. Raises Refused for one that does not count."""
    signer = signing.verify(operators, message(plan), signature, now)
    if why := why_not(plan, operators, signer.person):
        raise Refused(f"{plan.id} is not approved: {why}", hint=how(plan, operators))
    return Approval(
        plan=plan.id, plan_hash=plan.hash, person=signer.person, key=signer.key, at=now, handed_in_by=who,
        signature=signature.strip(),
    )  # fmt: skip


def keep(means: Means, approval: Approval) -> Head | None:
    """Enter an approval in the ledger and keep it with the plan."""
    detail: dict[str, object] = {"plan": approval.plan, "plan_hash": approval.plan_hash}
    detail |= {"person": approval.person, "key": approval.key, "signature": approval.signature}
    plan = means.journal.load(approval.plan).plan
    hosts = [item.host for item in plan.hosts]
    verb = f"{plan.kind} approve"
    with means.ledger.act(verb, hosts, detail, means.who, means.clock) as act, means.store.transaction():
        others = tuple(one for one in given(means.store, plan) if one.key != approval.key)
        kept = _Kept(approvals=(*others, approval))
        means.store.put_fact(f"rollout:{approval.plan}", FACT, wire.dumps(kept), means.clock())
    return act.head


# --- what must not begin without it ---------------------------------------------------------------------------------


def lacking(means: Means, plan: Plan) -> str:
    """Why a plan that asks for a second person must not begin; empty where it may. Each signature is judged anew."""
    if not plan.approval or may_follow(plan):
        return ""
    operators, whys = signing.load(means.settings.inventories), []
    for one in given(means.store, plan):
        try:
            judged(operators, plan, one.signature, who=one.handed_in_by, now=means.clock())
        except Refused as error:
            whys.append(f"the approval of {one.person} no longer counts: {error.message}")
        else:
            return ""
    return f"ring {', '.join(plan.approval)} {SECOND_PERSON}: {'; '.join(whys) or 'nobody has approved it'}"


def refuse_without(means: Means, plan: Plan) -> None:
    """Raise Refused, saying who may approve and how, where a plan must not begin without it."""
    if why := lacking(means, plan):
        operators = signing.load(means.settings.inventories)
        raise Refused(f"{plan.id} may not start: {why}", hint=how(plan, operators))


def refuse_to_go_on(means: Means, state: RolloutState) -> None:
    """Raise Refused where all that is left of a rollout are untouched hosts of rings that nobody has approved.

    What is in the middle is always finished: `waits` holds back the rest.
    """
    plan = state.plan
    rings = {item.host: wave.ring for wave in plan.waves for item in wave.hosts}
    left = state.open_hosts
    if left and all(host.untouched and rings[host.host] in plan.approval for host in left):
        refuse_without(means, plan)


def waits(means: Means, plan: Plan) -> Callable[[HostPlan], str]:
    """Why a host that was not begun with must wait for a second person; judged once, where a run begins."""
    why = lacking(means, plan)
    rings: Mapping[str, str] = {item.host: wave.ring for wave in plan.waves for item in wave.hosts} if why else {}
    return lambda item: f"{why}: {lines.approve(plan.id)}" if rings.get(item.host) in plan.approval else ""
