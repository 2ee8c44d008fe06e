"""What ends with a rollout that is aborted, and what it leaves behind for a person."""

from __future__ import annotations

from opsctl.model.rollout import RESTING, UNTOUCHED, HostState, Plan, RolloutState, Stage
from opsctl.rollout import claims
from opsctl.state.leases import Leases
from opsctl.state.store import Store


def in_the_middle(state: RolloutState) -> tuple[HostState, ...]:
    """Hosts that nobody will look after once the rollout is aborted: drained, unknown, or changed halfway."""
    return tuple(
        host
        for host in state.hosts
        if host.drained or host.stage is Stage.UNKNOWN or host.stage not in (RESTING | UNTOUCHED)
    )


def release(plan: Plan, store: Store) -> None:
    """Give back what a rollout still holds whose process is gone."""
    leases = Leases(store)
    leases.release([lease for lease in leases.held() if lease.holder == claims.holder(plan)])
