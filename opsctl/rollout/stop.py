"""Ctrl-C and SIGTERM during long work: the first one asks for a clean stop, the second one leaves at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_signals(tell: Callable[[str], None]) -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, once; after it they raise KeyboardInterrupt as ever."""
    stop = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        tell("stopping: nothing new starts, what is under way finishes its step (again to leave at once)")

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, action in before.items():
            signal.signal(number, action)
