"""What holds a host of a running rollout back from its next step, and which hosts are out of service meanwhile.

Asked before each step of a host that nobody has touched yet: a stop, the budget, its window, its turn, the limits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from opsctl.errors import OpsctlError
from opsctl.model.rollout import HostPlan, HostState, Plan, Stage
from opsctl.rollout.limits import Limits
from opsctl.rollout.machine import Step

MONITORING = "monitoring does not answer"


class Holding:
    """The restraints of one run. `now` is what the driver has saved of each host, read anew at every question.

    `stopped` tells of Ctrl-C, `nothing_new` of all else for which nothing new may start. `down`, `gone`, `alerting` and
    `closed` are as for rollout.parts.Drivers.
    """

    def __init__(
        self,
        plan: Plan,
        now: Mapping[str, HostState],
        *,
        limits: Limits,
        closed: Callable[[HostPlan], str],
        alerting: Callable[[], frozenset[str]],
        down: frozenset[str],
        gone: frozenset[str],
        stopped: Callable[[], bool],
        nothing_new: Callable[[], bool],
    ) -> None:
        self._plan, self._now, self._limits = plan, now, limits
        self._asked_closed, self._alerting, self._down, self._gone = closed, alerting, down, gone
        self._stopped, self._nothing_new = stopped, nothing_new
        self._items = {item.host: item for item in plan.hosts}
        self._wave = {item.host: w for w, _, _, batch in plan.batches() for item in batch.hosts}
        self._closed: set[str] = set()
        self._failed = Counter(self._wave[key] for key, one in now.items() if one.counts_against_budget)
        self._out = {key for key in (*down, *now) if self._is_out(key)}
        self.alerts_unknown = ""
        self.waiting: dict[str, str] = {}

    def holds_back(self, state: HostState, step: Step) -> bool:
        """Nothing new starts after a stop or with the budget spent; what is drained goes on to its undrain.

        The reason of a host that waits for another time, or for others, is in `waiting`.
        """
        if self._stopped() and not state.drained and step is not Step.FINISH:
            return True
        if not state.untouched:
            return False
        if self._spent or self._nothing_new() or self.shut(state.host):
            return True
        if step not in (Step.DRAIN, Step.INSTALL):
            return False
        why = self._why_not(state.host)
        if why:
            self.waiting[state.host] = why
        return bool(why)

    def shut(self, key: str) -> str:
        """Why nothing may start on a host now: its window or a freeze, or an earlier ring that waits for its own."""
        why = self._asked_closed(self._items[key])
        (self._closed.add if why else self._closed.discard)(key)
        if not why and (first := [other for other in self._closed if self._wave[other] < self._wave[key]]):
            why = f"an earlier ring has not had its turn ({min(first)})"
        if why:
            self.waiting[key] = why
        return why

    def leaves(self, key: str) -> None:
        """A host is about to go out of service: whoever is asked next must know."""
        self._out.add(key)

    def moved(self, before: HostState, after: HostState) -> None:
        """A new state of a host was saved."""
        self._failed[self._wave[after.host]] += after.counts_against_budget - before.counts_against_budget
        (self._out.add if self._is_out(after.host) else self._out.discard)(after.host)

    @property
    def _spent(self) -> bool:
        """Too many have failed, over all or in one wave."""
        whole = self._failed.total() >= self._plan.failure_budget
        return whole or any(
            wave.budget and self._failed[w] >= wave.budget for w, wave in enumerate(self._plan.waves, 1)
        )

    def _why_not(self, key: str) -> str:
        """Why a host may not leave its service now; alerts that nobody can tell are no good ones."""
        try:
            alerting, self.alerts_unknown = self._alerting(), ""
        except OpsctlError as error:
            self.alerts_unknown = f"{MONITORING}: {error.message}"
            return self.alerts_unknown
        return self._limits.why_not(key, self._out | alerting, self._undone(key))

    def _undone(self, key: str) -> set[str]:
        """The hosts of this rollout that come before this one and are not done."""
        before = self._limits.after.get(key, frozenset()) & self._now.keys()
        return {other for other in before if self._now[other].stage is not Stage.DONE}

    def _is_out(self, key: str) -> bool:
        """Down, drained, failed or unknown, or in the middle of its own change."""
        state = self._now.get(key)
        if state is None or state.stage is Stage.PLANNED:
            return key in self._down or bool(state and state.drained)
        if state.stage is Stage.SKIPPED:
            away = key in self._down or key in self._gone
            return away or state.drained or not state.untouched
        if state.stage is Stage.DONE:
            return False
        return state.stage in (Stage.FAILED, Stage.UNKNOWN) or not state.untouched or key in self._down


def who_waits(waiting: Mapping[str, str], most: int = 5) -> str:
    """Each reason once, with the hosts that wait for it."""
    by_reason: dict[str, list[str]] = {}
    for host, why in waiting.items():
        by_reason.setdefault(why, []).append(host)
    told = []
    for why, hosts in by_reason.items():
        rest = f" and {len(hosts) - most} more" if len(hosts) > most else ""
        told.append(f"{', '.join(hosts[:most])}{rest} {'waits' if len(hosts) == 1 else 'wait'}: {why}")
    return "; ".join(told)
