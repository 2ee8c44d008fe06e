"""Ctrl-C, SIGTERM and a lost terminal during long work: the first asks for a clean stop, the second leaves at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def on_signals(tell: Callable[[str], None]) -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM or SIGHUP sets, once; after it they raise KeyboardInterrupt as ever.

    A hang-up that is ignored stays so: that is what nohup asks for.
    """
    stop = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
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
