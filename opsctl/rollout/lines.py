"""The command lines that messages name, right for each kind of rollout. Pure."""

from __future__ import annotations

from opsctl.model.rollout import Plan

# The verb with which a frozen plan of each kind begins.
BEGINS = {"patch": "patch start", "provision": "provision apply"}


def kind_of(rollout: str) -> str:
    """The kind of a rollout, by its id; empty where it is none of ours."""
    return next((kind for kind in BEGINS if rollout.startswith(f"{kind}-")), "")


def plan(kind: str) -> str:
    return f"opsctl {kind} plan"


def begin(made: Plan) -> str:
    return f"opsctl {BEGINS.get(made.kind, made.kind)} {made.id}"


def approve(rollout: str) -> str:
    return f"opsctl {kind_of(rollout)} approve {rollout}"


def resume(made: Plan) -> str:
    return f"opsctl {made.kind} resume {made.id}"


def pause(rollout: str) -> str:
    return f"opsctl {kind_of(rollout)} pause {rollout}"


def abort(rollout: str) -> str:
    return f"opsctl {kind_of(rollout)} abort {rollout}"


def attach(rollout: str) -> str:
    return f"opsctl {kind_of(rollout)} attach {rollout}"


def status(kind: str) -> str:
    return f"opsctl {kind} status"


def resume_or_abort(rollout: str) -> str:
    """What a person may do with a rollout whose process is gone."""
    kind = kind_of(rollout)
    return f"opsctl {kind} resume {rollout}, or end it for good: opsctl {kind} abort {rollout}"
