"""What asks long work to stop, and what does not."""

from __future__ import annotations

import os
import signal

import pytest

from opsctl.rollout.stop import BY_HAND, FROM_OUTSIDE, on_signals


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (signal.SIGINT, BY_HAND),
        (signal.SIGTERM, FROM_OUTSIDE),
        (signal.SIGHUP, "stopped: its terminal was closed"),
    ],
)
def test_the_first_signal_asks_and_tells_why_and_the_second_one_leaves(number: signal.Signals, why: str) -> None:
    before = signal.signal(number, signal.default_int_handler)
    said: list[str] = []
    try:
        with on_signals(said.append) as stop:
            os.kill(os.getpid(), number)
            assert stop.is_set()
            assert (len(said), stop.why) == (1, why)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_work_under_nohup_outlives_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with on_signals(lambda _text: None) as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)
