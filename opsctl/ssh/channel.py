"""One process whose input, output and life are bounded: how every ssh client is run."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from opsctl.errors import Refused

_BLOCK = 1 << 16
# Messages in English, to be recognised; and ssh runs its proxy commands with $SHELL, which a service account may lack.
_ENVIRONMENT = {"LC_ALL": "C", "SHELL": "/bin/sh"}
_GLANCE = 0.2  # seconds between looks at whether the process has ended or somebody wants us to stop


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended; `code` is None when it was killed because of `why` (timeout, size, stopped)."""

    code: int | None
    stdout: bytes
    stderr: bytes
    why: str = ""


def run(
    command: Sequence[str],
    given: bytes,
    *,
    timeout: float,
    largest: int,
    stopped: Callable[[], bool] = lambda: False,
) -> Ended:
    """Run a command with `given` on its stdin; at most `largest` bytes of stdout and the first of stderr are kept.

    The end of the process counts, not the end of its output: a shared connection left in the background may hold
    the pipes for minutes. It is seen at once. Killing it ends only this client.
    """
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env={**os.environ, **_ENVIRONMENT},
        )  # fmt: skip
    except FileNotFoundError:
        raise Refused(f"{command[0]} is not on this machine", hint="apt-get install openssh-client") from None
    try:
        streams = _Streams(given, process)
    except OSError:  # no more files on this machine: nobody would see its end
        process.kill()
        process.wait()
        raise
    deadline = time.monotonic() + timeout
    why = ""
    try:
        while process.poll() is None and not why:
            streams.move(_GLANCE)
            if len(streams.stdout) > largest:
                why = "size"
            elif time.monotonic() > deadline:
                why = "timeout"
            elif stopped():
                why = "stopped"
        if not why:
            streams.move(0, until_dry=True)
    finally:
        if process.poll() is None:
            process.kill()
        code = process.wait()
        streams.close()
    return Ended(code=None if why else code, stdout=bytes(streams.stdout), stderr=bytes(streams.stderr), why=why)


class _Streams:
    """The three pipes of a process, moved without ever blocking on one of them, and a look-out for its end."""

    def __init__(self, given: bytes, process: subprocess.Popen[bytes]) -> None:
        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        self._left = memoryview(given)
        self._stdin = stdin
        self._pipes = (stdin, stdout, stderr)
        self.stdout, self.stderr = bytearray(), bytearray()
        self._selector = selectors.DefaultSelector()
        self._end = os.pidfd_open(process.pid)
        self._selector.register(self._end, selectors.EVENT_READ)
        for pipe in self._pipes:
            os.set_blocking(pipe.fileno(), False)
        self._selector.register(stdin, selectors.EVENT_WRITE)
        self._selector.register(stdout, selectors.EVENT_READ, self.stdout)
        self._selector.register(stderr, selectors.EVENT_READ, self.stderr)

    def move(self, timeout: float, *, until_dry: bool = False) -> None:
        """Move what can be moved; return at the end of the process, which is told once, or after `timeout` seconds."""
        while ready := self._selector.select(timeout):
            for key, _ in ready:
                if key.fd == self._end:
                    self._selector.unregister(self._end)
                else:
                    self._write() if key.data is None else self._read(key.fileobj, key.data)
            if not until_dry:
                return

    def _write(self) -> None:
        try:
            written = os.write(self._stdin.fileno(), self._left[:_BLOCK])
        except BlockingIOError:
            return
        except BrokenPipeError:
            written = len(self._left)
        self._left = self._left[written:]
        if not self._left:
            self._selector.unregister(self._stdin)
            self._stdin.close()

    def _read(self, pipe: object, into: bytearray) -> None:
        assert hasattr(pipe, "fileno")
        try:
            block = os.read(pipe.fileno(), _BLOCK)
        except BlockingIOError:
            return
        if not block:
            self._selector.unregister(pipe.fileno())
        elif into is self.stdout or len(into) < _BLOCK:
            into += block

    def close(self) -> None:
        self._selector.close()
        os.close(self._end)
        for pipe in self._pipes:
            try:
                pipe.close()
            except BrokenPipeError:
                continue
