"""Runs one command of a host's handling on the control node: no shell, a bounded time, a bounded and clean word of it.

It may have been run before and been cut off with us: it must do no harm when it is run again. Whether one that a
killed opsctl began still runs is told by a lock that it inherited: the next one waits for its end first.
"""

from __future__ import annotations

import fcntl
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from opsctl.rollout.notice import plain

Run = Callable[[Sequence[str], float, Path], str]
_KEPT = 4096  # bytes of what it said last
_TOLD = 300
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def filled(words: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """The command with its placeholders replaced, each once: a value that looks like one stays as it is."""
    return tuple(re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), word) for word in words)


def run(words: Sequence[str], seconds: float, lock: Path) -> str:
    """Run a command to its end; why it did not do its work, or empty. Exit code 0 alone is good."""
    with _alone(lock, seconds) as handle:
        try:
            started = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/",
                env=_environment(), start_new_session=True, pass_fds=(handle,),
            )  # fmt: skip
        except OSError as error:
            return f"{words[0]} cannot be run: {error.strerror or error}"
        assert started.stdout is not None
        with started, started.stdout as stream:
            said = _said(started, stream, time.monotonic() + seconds)
            late = started.poll() is None
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)  # what it left behind too
            code = started.wait()
    told = plain(said.decode("utf-8", "replace")[-_TOLD:], _TOLD)
    if late:
        return f"{words[0]} was ended after {seconds:g} s{f': {told}' if told else ''}"
    return f"{words[0]} ended with {code}{f': {told}' if told else ''}" if code else ""


def _said(started: subprocess.Popen[bytes], stream: IO[bytes], deadline: float) -> bytes:
    """The last of what it says, until it ends or its time is over; what it leaves behind may hold the stream open."""
    kept = b""
    os.set_blocking(stream.fileno(), False)
    with selectors.DefaultSelector() as ready:
        ready.register(stream, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            over = started.poll() is not None
            piece = os.read(stream.fileno(), 65536) if ready.select(0 if over else 0.1) else None
            if piece:
                kept = (kept + piece)[-_KEPT:]
            elif over:
                break
            elif piece == b"":
                with suppress(subprocess.TimeoutExpired):
                    started.wait(max(0.0, deadline - time.monotonic()))
    return kept


def _environment() -> dict[str, str]:
    given = {name: os.environ[name] for name in ("HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK") if name in os.environ}
    return {"PATH": _PATH, "LC_ALL": "C.UTF-8", **given}


@contextmanager
def _alone(lock: Path, seconds: float) -> Iterator[int]:
    """A lock that lives as long as the command; an earlier one has had its own time when so much has passed."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o660)
    try:
        deadline = time.monotonic() + seconds
        while not _locked(handle) and time.monotonic() < deadline:
            time.sleep(0.1)
        yield handle
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Hooking:
    """How the commands of one rollout are run: `lock` gives the file that tells whether one still runs for a host."""

    rollout: str
    lock: Callable[[str], Path]
    run: Run = run
