"""Between two batches: the budget, the hosts' health, the tenants' gates, and the soak between two waves.

Nothing is remembered here: the budget and the soak are told from what is saved of each host, so that a resume asks the
same questions and does not soak anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from opsctl.errors import OpsctlError
from opsctl.model.gate import After, GateKind
from opsctl.model.host import Host
from opsctl.model.rollout import Batch, HostPlan, HostState, Plan, Stage, Wave
from opsctl.rollout import gates
from opsctl.rollout.change import Change
from opsctl.rollout.flight import Flight
from opsctl.rollout.gates import PASSED, Answer, Question, Verdict
from opsctl.rollout.machine import Step

# Seconds between looks at what a person asks, and at the health of a wave that soaks.
_GLANCE = 0.5
_LOOK = timedelta(minutes=1)


class Between:
    """The questions of one rollout. `hosts` are those that are still ours, `now` what is saved of each host.

    `glance` is called often while it waits; `stopped` tells that a person wants no more waiting; `shut` tells why
    nothing may start on a host now.
    """

    def __init__(
        self,
        plan: Plan,
        change: Change,
        hosts: Mapping[str, Host],
        now: Mapping[str, HostState],
        *,
        gate: Callable[[Question], Verdict],
        clock: Callable[[], datetime],
        glance: Callable[[], None],
        stopped: Callable[[], bool],
        shut: Callable[[HostPlan], str],
        say: Callable[[str], None],
    ) -> None:
        self._plan, self._change, self._hosts, self._now = plan, change, hosts, now
        self._gate, self._clock, self._glance = gate, clock, glance
        self._stopped, self._shut, self._say = stopped, shut, say

    def verdict(self, w: int, wave: Wave, batch: Batch) -> Verdict:
        """What becomes of the rollout after a batch; after the last one of a wave it soaks first."""
        found = self._after(After.BATCH, w, wave, batch)
        if not found.passed or batch is not wave.batches[-1]:
            return found
        if w < len(self._plan.waves) and not (soaked := self._soak(wave, self._plan.waves[w])).passed:
            return soaked
        return gates.first_not_passed([found, self._asked(After.WAVE, w, wave, self._done(wave.hosts))])

    def budget(self) -> Verdict:
        whole = gates.budget(self._now.values(), self._plan.failure_budget)
        waves = (
            gates.wave_budget(wave.ring, (self._now[item.host] for item in wave.hosts), wave.budget)
            for wave in self._plan.waves
            if wave.budget
        )
        return gates.first_not_passed([whole, *waves])

    def _after(self, after: After, w: int, wave: Wave, batch: Batch) -> Verdict:
        spent = self.budget()
        done = self._done(batch.hosts)
        if not done:
            return spent
        found = gates.first_not_passed([spent, self._aside(lambda: self._health(done))])
        return found if not found.passed else self._asked(after, w, wave, done)

    def _done(self, items: tuple[HostPlan, ...]) -> dict[str, HostState]:
        states = (self._now[item.host] for item in items if item.host in self._hosts)
        return {state.host: state for state in states if state.stage is Stage.DONE}

    def _health(self, done: Mapping[str, HostState]) -> Verdict:
        references = {key: state.reference for key, state in done.items() if state.reference is not None}
        if not references:
            return PASSED
        return gates.health(references, self._change.health([self._hosts[key] for key in references]))

    def _asked(self, after: After, w: int, wave: Wave, done: Mapping[str, HostState]) -> Verdict:
        tenants = {self._hosts[key].tenant for key in done}
        asked = [
            gate
            for gate in self._plan.gates
            if gate.kind is not GateKind.SOAK
            # An alert may come up while a wave soaks: it is looked for once more.
            and (gate.after is after or (after is After.WAVE and gate.kind is GateKind.ALERTS))
            and any(gate.holds_for(tenant, wave.ring) for tenant in tenants)
        ]
        if not asked or self._stopped():
            return PASSED
        self._say(f"gates after {'batch' if after is After.BATCH else 'wave'}: {', '.join(g.name for g in asked)}")
        question = Question(rollout=self._plan.id, gates=tuple(asked), wave=w, ring=wave.ring, hosts=done)
        found = self._aside(lambda: self._gate(question))
        if found.passed and found.reason:
            self._say(found.reason)
        return found

    def _soak(self, wave: Wave, following: Wave) -> Verdict:
        """Wait until the wave has been well for so long. A person's stop ends the wait, and so does a shut window."""
        done = self._done(wave.hosts)
        ends = gates.soaks_until(
            self._plan.gates, wave.ring, {key: (self._hosts[key].tenant, state.at) for key, state in done.items()}
        )
        if ends is None or ends <= self._clock():
            return PASSED
        until = f"wave {wave.ring} soaks until {ends:%Y-%m-%d %H:%M:%SZ}"
        self._say(until)
        looked = self._clock()
        flight = Flight()  # never begun: its empty queue is what we wait on
        while (now := self._clock()) < ends:
            if self._stopped():
                return Verdict(answer=Answer.INCONCLUSIVE, reason=until)
            if all(map(self._shut, following.hosts)):
                why = self._shut(following.hosts[0])
                return Verdict(answer=Answer.INCONCLUSIVE, reason=f"{until}; the next wave: {why}")
            if now - looked >= _LOOK:
                looked = now
                if not (found := self._aside(lambda: self._health(done))).passed:
                    return found
            flight.landed(_GLANCE)
            self._glance()
        return self._aside(lambda: self._health(done))

    def _aside(self, ask: Callable[[], Verdict]) -> Verdict:
        """Ask in a thread of its own, however long it takes: leases and heartbeat go on. An error is no answer."""
        flight = Flight()
        flight.begin("", Step.VERIFY, ask)
        while (outcome := flight.landed(_GLANCE)) is None:
            self._glance()
        if isinstance(outcome.error, OpsctlError):
            return Verdict(answer=Answer.INCONCLUSIVE, reason=f"a gate gave no answer: {outcome.error.message}")
        if outcome.error is not None:
            raise outcome.error
        assert isinstance(outcome.result, Verdict)
        return outcome.result
