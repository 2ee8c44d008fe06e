"""Drives a rollout: the only place where one has effects.

The main thread decides and saves; worker threads do nothing but one effect at a time and report its outcome. Each
state is in the store before its effect begins, so whatever happens to this process, `resume` begins where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from opsctl.errors import Interrupted, OpsctlError, StoreError
from opsctl.model.rollout import Batch, HostState, RolloutState, Stage, Status, Wave
from opsctl.rollout import gates, machine
from opsctl.rollout.between import Between
from opsctl.rollout.change import Claim
from opsctl.rollout.claims import Claims
from opsctl.rollout.flight import Flight, Outcome, event_of
from opsctl.rollout.heeding import Heeding, why_not_skipped
from opsctl.rollout.holding import MONITORING, Holding, who_waits
from opsctl.rollout.machine import Event, Kind, Step
from opsctl.rollout.parts import Drivers, Progress
from opsctl.rollout.resume import how_to_go_on
from opsctl.rollout.silencing import SILENCED, Quiet
from opsctl.state.wishes import Kind as Wished
from opsctl.state.wishes import Wish

_QUIET = frozenset({Stage.PLANNED, Stage.LEASED, Stage.SILENCED})
_GLANCE = 0.5  # seconds between looks at the stop flag, the wishes and the leases
# Stopped, but not over: what it claims stays claimed for a while.
_KEEPS = frozenset({Status.PAUSED, Status.HALTED, Status.INTERRUPTED})
_BATCH = ""  # the key under which the one effect of a whole batch flies


class Driver:
    """Works through one rollout, from wherever it stands."""

    def __init__(self, state: RolloutState, parts: Drivers) -> None:
        self._state = state
        self._parts = parts
        self._plan = state.plan
        self._items = {item.host: item for item in state.plan.hosts}
        self._hosts = {key: parts.inventory.host(key) for key in self._items}
        self._now = {host.host: host for host in state.hosts}
        self._flight = Flight()
        self._flying: dict[str, Step] = {}
        self._prepared: set[str] = set()
        self._claiming = Claims(state.plan, parts.leases, parts.limits, parts.clock)
        self._claims: Mapping[str, Claim] = {}
        self._heeding = Heeding(parts.journal.wishes, state.plan.id, parts.clock)
        self._beat: Callable[[], None] = lambda: None
        self._holding = Holding(
            state.plan, self._now, limits=parts.limits, closed=parts.closed, alerting=parts.alerting, down=parts.down,
            gone=parts.gone, stopped=parts.stop.is_set, nothing_new=lambda: self._nothing_new,
        )  # fmt: skip
        self._quiet = Quiet(parts.silencer, self._hosts, lambda text: self._say("", text))
        self._decided = state.status is Status.HALTED  # a person has seen what stopped it, and goes on
        self._unanswered = ""  # what monitoring could not tell: nothing new starts without it
        self._between = Between(
            state.plan, parts.change, {k: one for k, one in self._hosts.items() if k not in parts.gone}, self._now,
            gate=parts.gate, clock=parts.clock, glance=self._glance, shut=parts.closed,
            stopped=lambda: parts.stop.is_set() or self._heeding.nothing_new, say=lambda text: self._say("", text),
        )  # fmt: skip

    # --- the rollout as a whole ----------------------------------------------------------------------------------

    @contextmanager
    def alone(self, runner: str) -> Iterator[None]:
        """Nobody else works on this rollout or on its hosts meanwhile: nothing is written and no host asked before.

        Raises Locked where others are at it, StalePlan where they have been.
        """
        since, journal = self._parts.clock(), self._parts.journal
        with journal.alone(self._plan.id, runner) as self._beat, self._claiming.held() as self._claims:
            journal.refuse_moved(self._state)
            self._heeding.begin(since)
            self._state = replace(self._state, runner=runner)
            yield

    def run(self) -> RolloutState:
        """Work, within `alone`, until the end, a stop, a halt or a pause; the state then saved.

        Raises Interrupted where a person leaves in the middle of the work.
        """
        parts = self._parts
        self._state = parts.journal.save_status(self._state, Status.RUNNING, parts.clock())
        try:
            parts.journal.save_hosts(self._state)
            status, reason = self._work()
        except KeyboardInterrupt:
            told = self._left_at_once()
            with suppress(StoreError):
                self._end(Status.INTERRUPTED, told)
            raise Interrupted(told, hint=how_to_go_on(self._state)) from None
        except BaseException as error:
            with suppress(StoreError):
                told = error.message if isinstance(error, OpsctlError) else f"{type(error).__name__}: {error}"
                self._end(Status.INTERRUPTED, told)
            raise
        return self._end(status, reason)

    def _end(self, status: Status, reason: str) -> RolloutState:
        if status in _KEEPS:
            left = [item for key, item in self._items.items() if self._now[key].stage is not Stage.DONE]
            self._claiming.keep(self._parts.keeps(left or list(self._items.values())))
        middle = [key for key, state in self._now.items() if _in_the_middle(state)]
        self._quiet.over(middle if status in _KEEPS else (), self._claiming.kept_until)
        moved = self._parts.journal.save_status(self._state, status, self._parts.clock(), reason=reason)
        self._state = replace(moved, hosts=tuple(self._now[key] for key in self._items))
        self._heeding.over(status)
        return self._state

    def _left_at_once(self) -> str:
        drained = [state.host for state in self._now.values() if state.drained]
        touched = [key for key, state in self._now.items() if state.stage in (Stage.INSTALLING, Stage.REBOOTING)]
        told = ["left at once"]
        told += [f"still drained: {', '.join(drained)}"] if drained else []
        told += (
            [f"at work on the host: {', '.join(f'{key} ({self._now[key].stage})' for key in touched)}"]
            if touched
            else []
        )
        return "; ".join(told)

    def _work(self) -> tuple[Status, str]:
        self._reconcile()
        self._silence_again()
        ungated: tuple[int, int, Wave, Batch] | None = None
        for w, b, wave, batch in self._plan.batches():
            if not any(self._open(item.host) for item in batch.hosts):
                ungated = w, b, wave, batch
                continue
            if ungated is not None and not (verdict := self._gate(*ungated, again=True)).passed:
                # Only at a resume: the process may have died between this batch and its gate.
                return self._stopped(verdict)
            ungated = None
            self._glance()
            if self._parts.stop.is_set():
                break
            if self._all_shut(batch):
                continue
            self._say("", f"wave {w} ({wave.ring}), batch {b}: {', '.join(item.host for item in batch.hosts)}")
            self._work_on(batch)
            self._unanswered = self._unanswered or self._holding.alerts_unknown
            verdict = self._gate(w, b, wave, batch)
            if not verdict.passed:
                return self._stopped(verdict)
        if ungated is not None and not self._decided and not (verdict := self._gate(*ungated, again=True)).passed:
            return self._stopped(verdict)
        return self._judged()

    def _judged(self) -> tuple[Status, str]:
        if self._parts.stop.is_set():
            return Status.INTERRUPTED, self._parts.stopped_by()
        if any(map(self._open, self._now)) and (asked := self._heeding.verdict()):
            return asked
        if self._unanswered and any(map(self._open, self._now)):
            return Status.PAUSED, self._unanswered
        waiting = {host: why for host, why in self._holding.waiting.items() if not self._now[host].resting}
        if waiting:
            return Status.PAUSED, who_waits(waiting)
        drained = [state.host for state in self._now.values() if state.drained]
        return (Status.HALTED, f"still drained: {', '.join(drained)}") if drained else (Status.DONE, "")

    def _stopped(self, verdict: gates.Verdict) -> tuple[Status, str]:
        self._say("", f"stopped: {verdict.reason}")
        fails = verdict.answer is gates.Answer.FAIL
        if (self._heeding.aborts or not fails) and (asked := self._heeding.verdict(verdict.reason)):
            return asked
        if not fails and self._parts.stop.is_set():
            return Status.INTERRUPTED, f"{self._parts.stopped_by()}; {verdict.reason}"
        return (Status.HALTED if fails else Status.PAUSED), verdict.reason

    def _gate(self, w: int, b: int, wave: Wave, batch: Batch, *, again: bool = False) -> gates.Verdict:
        """What becomes of the rollout after a batch; its alerts are heard again. `again`: it may have been asked."""
        verdict = self._between.verdict(w, wave, batch)
        self._quiet.lift(item.host for item in batch.hosts if self._now[item.host].stage is Stage.DONE)
        journal = self._parts.journal
        told = again and journal.gate_passed(self._plan.id, w, b)
        journal.note_gate(self._plan.id, w, b, str(verdict.answer), verdict.reason, self._parts.clock())
        last = b == len(wave.batches) and not any(self._open(item.host) for item in wave.hosts)
        if verdict.passed and last and not told:
            self._parts.passed(w, wave, self._now)
        return verdict

    def _silence_again(self) -> None:
        """Only at a resume: silences of hosts in the middle may have ended. Such hosts are finished also without."""
        chosen = [key for key, state in self._now.items() if state.stage in SILENCED and key not in self._parts.gone]
        if chosen and (why := self._quiet.again(chosen, self._claiming.until)):
            self._unanswered = f"{MONITORING}: {why}"

    def _reconcile(self) -> None:
        """Hosts whose fate is unknown are taken up where they were lost: each step asks the host itself first."""
        for state in list(self._now.values()):
            if state.stage is Stage.UNKNOWN:
                self._save(machine.advance(state, Event(kind=Kind.RECONCILED, at=self._parts.clock())))

    # --- one batch -----------------------------------------------------------------------------------------------

    def _work_on(self, batch: Batch) -> None:
        keys = [item.host for item in batch.hosts]
        while True:
            ready_together = [key for key in keys if key not in self._flying and self._go_on(key)]
            if not self._flying and ready_together:
                self._prepare(ready_together)
            if not self._flying:
                return
            self._take(self._wait())

    def _go_on(self, key: str) -> bool:
        """Take a host as far as it goes without waiting; True where it waits for its batch's one effect."""
        while True:
            state = self._now[key]
            step = machine.next_step(state, drains=self._items[key].drains)
            if step is None or self._holding.holds_back(state, step):
                return False
            if step is Step.INSTALL and self._parts.change.together and key not in self._prepared:
                self._holding.leaves(key)  # the others of the batch that are asked now go out together with it
                return True
            if step in machine.EFFECTS:
                self._save(machine.begin(state, step, self._parts.clock()))
                self._fly(key, step, self._effect(key, step))
                return False
            self._save(machine.advance(state, Event(kind=machine.ended(step), at=self._parts.clock())))

    @property
    def _nothing_new(self) -> bool:
        return self._heeding.nothing_new or bool(self._unanswered)

    def _all_shut(self, batch: Batch) -> bool:
        """Nothing of this batch may start now, and nothing of it has."""
        waiting = [item.host for item in batch.hosts if self._open(item.host)]
        none = self._nothing_new
        return all(self._now[key].untouched and (none or bool(self._holding.shut(key))) for key in waiting)

    def _open(self, key: str) -> bool:
        return machine.next_step(self._now[key], drains=False) is not None

    def _prepare(self, keys: Sequence[str]) -> None:
        now = self._parts.clock()
        for key in keys:
            self._save(machine.begin(self._now[key], Step.INSTALL, now))
        self._prepared.update(keys)
        hosts, claims = [self._hosts[key] for key in keys], {key: self._claims[key] for key in keys}
        self._fly(_BATCH, Step.INSTALL, lambda: self._parts.change.prepare(hosts, claims))

    # --- effects and their outcomes --------------------------------------------------------------------------------

    def _effect(self, key: str, step: Step) -> Callable[[], object]:
        change, host, item, state = self._parts.change, self._hosts[key], self._items[key], self._now[key]
        until = self._claiming.until
        effects: Mapping[Step, Callable[[], object]] = {
            Step.SILENCE: lambda: self._quiet.put(key, until),
            Step.PRECHECK: lambda: change.precheck(host, item, state, self._claims[key]),
            Step.DRAIN: lambda: change.drain(host, item, self._claims[item.drain_through or key]),
            Step.INSTALL: lambda: change.install(host, item, state, self._claims[key]),
            Step.REBOOT: lambda: change.reboot(host, state, self._claims[key]),
            Step.VERIFY: lambda: change.verify(host, item, state),
            Step.UNDRAIN: lambda: change.undrain(host, item, self._claims[item.drain_through or key]),
        }
        return effects[step]

    def _fly(self, key: str, step: Step, effect: Callable[[], object]) -> None:
        self._flying[key] = step
        self._flight.begin(key, step, effect)

    def _wait(self) -> Outcome:
        while True:
            if outcome := self._flight.landed(_GLANCE):
                return outcome
            self._glance()

    def _take(self, outcome: Outcome) -> None:
        del self._flying[outcome.key]
        self._taken(outcome)
        self._glance()

    def _taken(self, outcome: Outcome) -> None:
        error = outcome.error
        if error is not None and (outcome.key == _BATCH or not isinstance(error, OpsctlError)):
            raise error
        if outcome.key == _BATCH:
            return
        if outcome.step is Step.SILENCE and error is not None:
            # Nothing was touched, and nothing will be: the host stays as it is.
            self._unanswered = f"{MONITORING}: {outcome.key} is not silenced: {_message(error)}"
            return
        self._save(
            machine.advance(self._now[outcome.key], event_of(outcome, self._now[outcome.key], self._parts.clock()))
        )

    def _glance(self) -> None:
        """Call it often, whatever is waited for: keeps the leases, shows that we live, sees what persons ask."""
        if self._claiming.renew():
            self._quiet.renew(self._claiming.until)
        self._beat()
        for wish in self._heeding.new():
            if wish.kind is Wished.SKIP:
                self._skip(wish)
            else:
                self._say("", f"{wish}; nothing new starts, what is under way is finished")

    def _skip(self, wish: Wish) -> None:
        """A host that nobody has touched, or of which nobody knows; one under way is asked again at the next glance."""
        state = self._now.get(wish.host)
        if why := why_not_skipped(state):
            self._heeding.answer(wish, f"not skipped: {why}")
            self._say("", f"{wish}; not skipped: {why}")
        elif state is not None and wish.host not in self._flying:
            self._save(machine.advance(state, Event(kind=Kind.SKIPPED, at=self._parts.clock(), reason=str(wish))))
            self._heeding.answer(wish, "skipped")

    def _save(self, state: HostState) -> None:
        if state is self._now[state.host]:
            return
        self._parts.journal.save_host(self._plan.id, state)
        before = self._now[state.host]
        shown = state.stage is not before.stage
        self._now[state.host] = state
        self._holding.moved(before, state)
        if state.stage is Stage.SILENCED:
            self._quiet.holds(state.host)
        elif state.stage in (Stage.FAILED, Stage.SKIPPED):
            self._quiet.lift([state.host])  # a failed host's alert is true: it tells
        if shown and state.stage not in _QUIET:
            self._say(state.host, f"{state.stage}{': ' + state.reason if state.reason else ''}")
        elif before.drained and not state.drained:
            self._say(state.host, f"undrained; it stays {state.stage}")

    def _say(self, key: str, text: str) -> None:
        self._parts.observe(Progress(host=key, text=text, at=self._parts.clock()))


def _in_the_middle(state: HostState) -> bool:
    """Something was begun on it, and nobody has said that this failed."""
    return not state.untouched and state.stage not in (Stage.DONE, Stage.FAILED, Stage.SKIPPED)


def _message(error: BaseException) -> str:
    return error.message if isinstance(error, OpsctlError) else type(error).__name__
