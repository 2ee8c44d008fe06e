"""How long the patching of a host takes: as long as the longest of its last few times, which the store remembers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from opsctl.model import wire
from opsctl.model.rollout import HostState, Stage
from opsctl.state.store import Store

_ROLLOUTS, _TIMES = 20, 5


def from_history(store: Store, kind: str, *, longest: timedelta) -> Mapping[str, timedelta]:
    """The expected time of each host that the newest rollouts finished at their first attempt.

    What took more than `longest` was waiting, not work: the rollout was paused in between.
    """
    times: dict[str, list[timedelta]] = {}
    newest = [saved.id for saved in store.rollouts() if saved.id.startswith(f"{kind}-")][:_ROLLOUTS]
    for rollout in newest:
        for key, saved in store.host_states(rollout).items():
            state = wire.loads(HostState, saved.state_json)
            if state.stage is Stage.DONE and state.attempt == 1 and state.started_at is not None:
                took = state.at - state.started_at
                if took <= longest:
                    times.setdefault(key, []).append(took)
    return {key: max(found[:_TIMES]) for key, found in times.items()}
