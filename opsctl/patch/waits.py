"""Why a host was not patched, as a kind that can be counted over a year: from plans and rollouts. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from opsctl.model.rollout import Plan, RolloutState, Stage, Status
from opsctl.rollout.limits import COMES_AFTER, KEPT_IN
from opsctl.rollout.versions import ANOTHER_STATE
from opsctl.state.updates import Kept

FREEZE, WINDOW, HELD, UNREACHABLE, LIMIT, MIRROR = "freeze", "window", "held", "unreachable", "limit", "mirror"
REMOVAL, LISTS, EXCLUDED, UNMANAGED, FAILED, UNKNOWN = "removal", "lists", "excluded", "unmanaged", "failed", "unknown"
SKIPPED, WAITING, OTHER = "skipped", "waiting", "other"
# What the account itself finds out.
UNREAD, UNPLANNED = "unread", "unplanned"
KINDS = (
    FREEZE, WINDOW, HELD, UNREACHABLE, LIMIT, MIRROR, REMOVAL, LISTS, EXCLUDED, UNMANAGED, FAILED, UNKNOWN, SKIPPED,
    WAITING, UNREAD, UNPLANNED, OTHER,
)  # fmt: skip
# Words by which a reason of a plan is known again, the first that fits.
_KNOWN = (
    ("freeze ", FREEZE), ("outside its window", WINDOW), ("min left until", WINDOW), ("held: ", HELD),
    ("kept back: ", HELD), ("unreachable", UNREACHABLE), ("refused", UNREACHABLE), (KEPT_IN, LIMIT),
    (COMES_AFTER, LIMIT), (ANOTHER_STATE, MIRROR), ("the updates would remove", REMOVAL), ("package lists", LISTS),
    ("excluded", EXCLUDED), ("not managed", UNMANAGED),
)  # fmt: skip
_STAGES = {Stage.FAILED: FAILED, Stage.UNKNOWN: UNKNOWN, Stage.SKIPPED: SKIPPED}


def of_plan(made: Plan) -> Iterator[Kept]:
    """Each host that a plan leaves out although it may want something; one that is current waits for nothing."""
    for one in made.left_out:
        if not one.reason.startswith("current") or HELD in one.reason or "kept back" in one.reason:
            yield _kept(one.host, made.made_at, kind_of(one.reason), one.reason)


def of_rollout(state: RolloutState) -> Iterator[Kept]:
    """Each host of a rollout that stopped or ended without it."""
    for host in state.hosts:
        if (kind := _STAGES.get(host.stage)) is not None:
            yield _kept(host.host, host.at, kind, host.reason)
        elif host.stage is not Stage.DONE and state.status is not Status.RUNNING:
            yield _kept(host.host, state.at, WAITING, f"{state.plan.id} is {state.status}: {state.reason}")


def kind_of(reason: str) -> str:
    return next((kind for words, kind in _KNOWN if words in reason), OTHER)


def _kept(host: str, at: datetime, kind: str, said: str) -> Kept:
    return Kept(host=host, day=f"{at:%Y-%m-%d}", kind=kind, said=said[:300])
