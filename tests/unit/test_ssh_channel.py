"""One bounded process: input and output of any size, and an end whatever the process does."""

import sys
import time

import pytest

from opsctl.errors import Refused
from opsctl.ssh import channel

PYTHON = [sys.executable, "-I", "-c"]
MIB = 1 << 20


def test_large_input_and_output_pass_without_a_deadlock() -> None:
    copy = "import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data); sys.stderr.write('done')"
    ended = channel.run([*PYTHON, copy], b"x" * (5 * MIB), timeout=30, largest=6 * MIB)
    assert (ended.code, len(ended.stdout), ended.stderr) == (0, 5 * MIB, b"done")


def test_a_process_that_does_not_read_its_input_is_no_trouble() -> None:
    ended = channel.run([*PYTHON, "print('no')"], b"x" * (5 * MIB), timeout=30, largest=MIB)
    assert (ended.code, ended.stdout) == (0, b"no\n")


def test_too_much_output_ends_it() -> None:
    endless = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    ended = channel.run([*PYTHON, endless], b"", timeout=30, largest=MIB)
    assert (ended.code, ended.why) == (None, "size")
    assert len(ended.stdout) < 2 * MIB


def test_endless_errors_are_cut_but_do_not_end_it() -> None:
    chatty = "import sys\nfor _ in range(200): sys.stderr.write('x' * 65536)\nprint('good')"
    ended = channel.run([*PYTHON, chatty], b"", timeout=30, largest=MIB)
    assert (ended.code, ended.stdout) == (0, b"good\n")
    assert len(ended.stderr) <= 2 * 65536


def test_a_silent_process_is_ended_in_time() -> None:
    began = time.monotonic()
    ended = channel.run([*PYTHON, "import time; time.sleep(60)"], b"", timeout=0.5, largest=MIB)
    assert (ended.code, ended.why) == (None, "timeout")
    assert time.monotonic() - began < 5


def test_a_wish_to_stop_is_heard() -> None:
    asked: list[bool] = []

    def stopped() -> bool:
        asked.append(True)
        return len(asked) > 2

    ended = channel.run([*PYTHON, "import time; time.sleep(60)"], b"", timeout=60, largest=MIB, stopped=stopped)
    assert ended.why == "stopped"


def test_a_child_that_keeps_the_pipes_open_does_not_hold_us() -> None:
    fork = "import os, time\nprint('mine', flush=True)\nif os.fork() == 0:\n    time.sleep(20)\n"
    began = time.monotonic()
    ended = channel.run([*PYTHON, fork], b"", timeout=15, largest=MIB)
    assert (ended.code, ended.stdout) == (0, b"mine\n")
    assert time.monotonic() - began < 10


def test_a_missing_program_is_an_error_of_this_machine() -> None:
    with pytest.raises(Refused, match="not on this machine"):
        channel.run(["/nonexistent/ssh"], b"", timeout=1, largest=1)
