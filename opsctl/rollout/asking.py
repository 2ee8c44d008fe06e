"""A person stops a rollout, or takes a host out of it, from another terminal.

Where a process works on the rollout, it is asked by a wish in the store; where none does, the same is done at once,
under the same lock. Which of the two holds is decided again when the process ends before it has seen the wish.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from opsctl.errors import Locked, Refused
from opsctl.model.rollout import RolloutState, Stage, Status
from opsctl.rollout import claims, lines, machine
from opsctl.rollout.abort import in_the_middle, release
from opsctl.rollout.heeding import why_not_skipped
from opsctl.rollout.journal import Journal
from opsctl.rollout.limits import Limits
from opsctl.state.leases import Leases
from opsctl.state.ledger import Act, Head, Ledger
from opsctl.state.store import Store
from opsctl.state.wishes import Kind, Wish

# A process that works on hosts looks at least so often, but for a reading of many hosts between two batches.
PATIENCE = 15.0
_PAUSE = 0.1


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What became of it: the wish where a process was asked, None where it was done at once; the rollout as it is."""

    state: RolloutState
    wish: Wish | None
    head: Head | None


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Who asks, and with what. `keeps`: until when a rollout that is paused now keeps its hosts from others."""

    store: Store
    ledger: Ledger
    who: str
    clock: Callable[[], datetime]
    reason: str = ""
    patience: float = PATIENCE

    @property
    def journal(self) -> Journal:
        return Journal(self.store)

    def pause(self, state: RolloutState, limits: Limits, keeps: Callable[[], datetime]) -> Asked:
        """Nothing new starts; its hosts stay claimed. Raises Refused where there is nothing to pause."""

        def at_once(now: RolloutState, words: str) -> RolloutState:
            refuse_pause(now, "")
            claims.keep(now.plan, Leases(self.store), limits, self.clock(), keeps())
            return self.journal.save_status(now, Status.PAUSED, self.clock(), reason=words)

        refuse_pause(state, self.journal.at_work(state.plan.id))
        return self._do(Kind.PAUSE, state, "", at_once)

    def abort(self, state: RolloutState) -> Asked:
        """End it for good: hosts under way are finished first where a process is at it; its leases are free."""

        def at_once(now: RolloutState, words: str) -> RolloutState:
            refuse_abort(now)
            release(now.plan, self.store)  # first: after a kill right here it can be aborted once more
            return self.journal.save_status(now, Status.ABORTED, self.clock(), reason=words)

        refuse_abort(state)
        return self._do(Kind.ABORT, state, "", at_once)

    def skip(self, state: RolloutState, host: str) -> Asked:
        """Leave a host out of it, with the reason. Raises Refused where it has begun or is at its end."""

        def at_once(now: RolloutState, words: str) -> RolloutState:
            refuse_skip(now, host)
            event = machine.Event(kind=machine.Kind.SKIPPED, at=self.clock(), reason=words)
            hosts = tuple(machine.advance(one, event) if one.host == host else one for one in now.hosts)
            moved = replace(now, hosts=hosts)
            self.journal.save_hosts(moved)
            return moved

        refuse_skip(state, host)
        return self._do(Kind.SKIP, state, host, at_once)

    def _do(
        self, kind: Kind, state: RolloutState, host: str, at_once: Callable[[RolloutState, str], RolloutState]
    ) -> Asked:
        plan, hosts = state.plan, [host] if host else [item.host for item in state.plan.hosts]
        detail: dict[str, object] = {"rollout": plan.id, "plan_hash": plan.hash}
        detail |= {"reason": self.reason} if self.reason else {}
        with self.ledger.act(f"{plan.kind} {kind}", hosts, detail, self.who, self.clock) as act:
            done, wish = self._done_or_asked(kind, state, host, at_once)
            if wish is None:
                self._told(act, done)
            else:
                act.detail["wish"] = wish.seq
        return Asked(state=done, wish=wish, head=act.head)

    def _done_or_asked(
        self, kind: Kind, state: RolloutState, host: str, at_once: Callable[[RolloutState, str], RolloutState]
    ) -> tuple[RolloutState, Wish | None]:
        wish: Wish | None = None
        while True:
            with self._alone(state.plan.id, kind) as alone:
                if alone:
                    return self._at_once(state, kind, host, wish, at_once), None
            wish = self._seen(wish or self._ask(state.plan.id, kind, host))
            if wish.seen or self.journal.at_work(state.plan.id):
                return self.journal.load(state.plan.id), wish

    @contextmanager
    def _alone(self, rollout: str, kind: Kind) -> Iterator[bool]:
        """Whether nobody works on the rollout; then nobody does within the block."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self.journal.alone(rollout, f"{self.who}, process {os.getpid()}: {kind}"))
            except Locked:
                yield False
                return
            yield True

    def _at_once(
        self,
        state: RolloutState,
        kind: Kind,
        host: str,
        wish: Wish | None,
        at_once: Callable[[RolloutState, str], RolloutState],
    ) -> RolloutState:
        if wish is None:
            self.journal.refuse_moved(state)  # nobody may have worked on it since a person looked
            wish = Wish(
                rollout=state.plan.id, seq=0, kind=kind, who=self.who, at=self.clock(), host=host, reason=self.reason
            )
        answer = "done at once: no process was at it any more"
        try:
            return at_once(self.journal.load(state.plan.id), str(wish))
        except Refused as refused:
            answer = refused.message
            raise
        finally:
            self.journal.wishes.settle(wish, self.clock(), answer)

    def _ask(self, rollout: str, kind: Kind, host: str) -> Wish:
        wishes = self.journal.wishes
        return wishes.ask(rollout, kind, who=self.who, at=self.clock(), host=host, reason=self.reason)

    def _seen(self, wish: Wish) -> Wish:
        """The wish once its process has seen it, or has ended, or after a while."""
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            wish = self.journal.wishes.again(wish)
            answered = wish.settled if wish.kind is Kind.SKIP else wish.seen
            if answered or not self.journal.at_work(wish.rollout):
                break
            time.sleep(_PAUSE)
        return self.journal.wishes.again(wish)

    def _told(self, act: Act, done: RolloutState) -> None:
        left = in_the_middle(done)
        if done.status is Status.ABORTED:
            act.detail["in_the_middle"] = {host.host: str(host.stage) for host in left}
            act.outcome = "incomplete" if left else "ok"


def refuse_pause(state: RolloutState, at_work: str) -> None:
    """Raise Refused where nothing goes on that could be paused."""
    plan = state.plan.id
    if state.status is Status.PLANNED and not at_work:
        raise Refused(f"{plan} has not begun: there is nothing to pause", hint=f"end it: {lines.abort(plan)}")
    if not at_work and state.status not in (Status.RUNNING, Status.INTERRUPTED):
        hint = "" if state.status in (Status.DONE, Status.ABORTED) else lines.resume_or_abort(plan)
        raise Refused(f"{plan} is {state.status} already: nothing of it starts by itself", hint=hint)


def refuse_abort(state: RolloutState) -> None:
    """Raise Refused where there is nothing to abort."""
    if state.status in (Status.DONE, Status.ABORTED):
        raise Refused(f"{state.plan.id} is {state.status}: there is nothing to abort")


def refuse_skip(state: RolloutState, host: str) -> None:
    """Raise Refused where a host cannot be left out of a rollout any more."""
    found = next((one for one in state.hosts if one.host == host), None)
    if state.status in (Status.DONE, Status.ABORTED):
        raise Refused(f"{state.plan.id} is {state.status}: nothing of it can be skipped")
    if why := why_not_skipped(found):
        hint = f"{lines.resume(state.plan)} --retry tries it again" if found and found.stage is Stage.FAILED else ""
        raise Refused(f"{host} cannot be skipped: {why}", hint=hint)
