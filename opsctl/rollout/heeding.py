"""The driver's side of wishes: which one ends its work, which hosts are to be skipped, and what becomes of each.

A pause that was asked of an earlier process is over once a person resumes. An abort is not: whoever goes on then only
finishes what is in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from opsctl.model.rollout import HostState, Stage, Status
from opsctl.state.wishes import Kind, Wish, Wishes

_STATUS = {Kind.PAUSE: Status.PAUSED, Kind.ABORT: Status.ABORTED}


class Heeding:
    """What one run of a rollout has been asked."""

    def __init__(self, wishes: Wishes, rollout: str, clock: Callable[[], datetime]) -> None:
        self._wishes, self._rollout, self._clock = wishes, rollout, clock
        self._known: set[int] = set()
        self._ending: Wish | None = None

    def begin(self, since: datetime) -> None:
        """A run that a person began at `since` goes over every pause that was asked before."""
        for wish in self._wishes.open(self._rollout):
            if wish.kind is Kind.PAUSE and wish.at < since:
                self._wishes.settle(wish, self._clock(), "over: it was resumed")

    def new(self) -> Iterator[Wish]:
        """The wishes that nobody looked at yet in this run; a skip stays one until it is answered."""
        for wish in self._wishes.open(self._rollout):
            if wish.seq in self._known:
                continue
            self._wishes.saw(wish, self._clock())
            if wish.kind is not Kind.SKIP:
                self._known.add(wish.seq)
                # An abort goes before a pause, and the first of a kind before the next.
                if self._ending is None or (wish.kind, self._ending.kind) == (Kind.ABORT, Kind.PAUSE):
                    self._ending = wish
            yield wish

    def answer(self, wish: Wish, text: str) -> None:
        self._wishes.settle(wish, self._clock(), text)

    @property
    def nothing_new(self) -> bool:
        """A person asked that nothing new starts."""
        return self._ending is not None

    @property
    def aborts(self) -> bool:
        return self._ending is not None and self._ending.kind is Kind.ABORT

    def verdict(self, besides: str = "") -> tuple[Status, str] | None:
        """How the rollout ends because of a wish, and the reason; `besides`: what else would have stopped it."""
        if self._ending is None:
            return None
        return _STATUS[self._ending.kind], "; ".join(text for text in (str(self._ending), besides) if text)

    def over(self, status: Status) -> None:
        """The run is over and its status saved. What it did not come to waits for the next run, but for a pause."""
        for wish in self._wishes.open(self._rollout):
            if wish.kind is Kind.PAUSE or status in (Status.ABORTED, Status.DONE):
                self._wishes.settle(wish, self._clock(), f"the rollout is {status}")


def why_not_skipped(state: HostState | None) -> str:
    """Why a host cannot be skipped any more; empty where it can: nothing was changed yet, or nobody knows what was."""
    if state is None:
        return "it is no host of this rollout"
    if state.stage is Stage.UNKNOWN or (state.untouched and not state.resting):
        return ""
    if state.stage is Stage.FAILED:
        return "it has failed; a resume without --retry leaves it as it is"
    return f"it is {state.stage}" if state.resting else f"it is {state.stage}: what has begun is finished"
