"""Ctrl-C, SIGTERM and a lost terminal during long work: the first asks for a clean stop, the second leaves at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BY_HAND = "stopped by hand"
# Nobody may know of this one: the machine that goes down sends it to each of its units.
FROM_OUTSIDE = "stopped by SIGTERM, as a shutdown of its machine sends it"
_WHY = {signal.SIGTERM: FROM_OUTSIDE, signal.SIGHUP: "stopped: its terminal was closed"}


class Stop(threading.Event):
    """A clean stop that was asked for, once it is set; `why` tells by what."""

    why = BY_HAND


@contextmanager
def on_signals(tell: Callable[[str], None]) -> Iterator[Stop]:
    """An event that Ctrl-C, SIGTERM or SIGHUP sets, once; after it they raise KeyboardInterrupt as ever.

    A hang-up that is ignored stays so: that is what nohup asks for.
    """
    stop = Stop()

    def ask(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.why = _WHY.get(signal.Signals(number), BY_HAND)
        stop.set()
        tell("stopping: nothing new starts, what is under way finishes its step (again to leave at once)")

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    heeded = _STOPPING[:-1] if nohup else _STOPPING
    before = {number: signal.signal(number, ask) for number in heeded}
    try:
        yield stop
    finally:
        for number, action in before.items():
            signal.signal(number, action)
