"""Runs one program inside a virtual machine: python -I guest.py SOCKET -- PROGRAM ARGUMENTS...

The machine's own guest agent (qemu-ga) does it, over a virtio serial port: no network is needed, as with a container.
Output and exit code are passed on; input is not read unless `--input` stands before the socket. Runs as a process of
its own and imports nothing of opsctl. Protocol: QEMU Guest Agent Protocol Reference, QEMU 7.2.
"""

from __future__ import annotations

import base64
import json
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

_ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG=C.UTF-8",
    "HOME=/root",
    "DEBIAN_FRONTEND=noninteractive",
)
_AT_HOME = ("-c", 'cd /root && exec "$@"', "guest")
_SILENCE = 30.0  # the agent answers at once, whatever its programs do; a busy machine takes its time
_FIRST_LOOK, _LONGEST_LOOK = 0.01, 0.3


class NoAnswer(Exception):
    """The agent does not answer: the machine is off, still starting, or stands still."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A program that ended; `code` is 128 and the signal's number where one ended it, as a shell has it."""

    code: int
    output: bytes
    errors: bytes


def run(path: str, argv: Sequence[str], *, text: bytes | None = None, silence: float = _SILENCE) -> Ended:
    """Runs a program as root and waits for its end; raises NoAnswer when the agent is silent for so long."""
    arguments: dict[str, Any] = {"path": "/bin/sh", "arg": [*_AT_HOME, *argv], "env": list(_ENVIRONMENT)}
    if text is not None:
        arguments["input-data"] = base64.b64encode(text).decode()
    pid = ask(path, "guest-exec", {**arguments, "capture-output": True}, silence=silence)["pid"]
    pause = _FIRST_LOOK
    while not (found := ask(path, "guest-exec-status", {"pid": pid}, silence=silence))["exited"]:
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_LOOK)
    code = 128 + found["signal"] if found.get("signal") else found["exitcode"]
    return Ended(code=code, output=_bytes(found, "out-data"), errors=_bytes(found, "err-data"))


def _bytes(found: dict[str, Any], name: str) -> bytes:
    return base64.b64decode(found.get(name, ""))


def ask(path: str, command: str, arguments: dict[str, Any], *, silence: float = _SILENCE) -> dict[str, Any]:
    """One command to the agent, and what it returns. The port has one line, so it is given back after each answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(silence)
        try:
            connection.connect(path)
            with connection.makefile("rb") as stream:
                _synchronize(connection, stream)
                connection.sendall(_line(command, arguments))
                answer = json.loads(stream.readline() or b"{}")
        except (OSError, ValueError) as error:
            raise NoAnswer(f"no answer from the machine's agent: {error}") from error
    if "return" not in answer:
        raise NoAnswer(f"the machine's agent refused {command}: {answer.get('error', 'the line was cut')}")
    found: dict[str, Any] = answer["return"]
    return found


def _synchronize(connection: socket.socket, stream: IO[bytes]) -> None:
    """Skips whatever is left of a conversation that was cut short: the byte 0xFF stands in no other answer."""
    number = time.monotonic_ns() % (1 << 31)
    connection.sendall(b"\xff" + _line("guest-sync-delimited", {"id": number}))
    while line := stream.readline():
        start = line.rfind(b"\xff")
        if start >= 0 and json.loads(line[start + 1 :]).get("return") == number:
            return
    raise OSError("the line was cut")


def _line(command: str, arguments: dict[str, Any]) -> bytes:
    return json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"


def main(words: Sequence[str]) -> int:
    cut = words.index("--")
    text = sys.stdin.buffer.read() if "--input" in words[:cut] else None
    try:
        ended = run(words[cut - 1], words[cut + 1 :], text=text)
    except NoAnswer as error:
        sys.stderr.write(f"{error}\n")
        return 255
    sys.stdout.buffer.write(ended.output)
    sys.stderr.buffer.write(ended.errors)
    return ended.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
