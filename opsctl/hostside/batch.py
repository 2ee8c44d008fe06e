"""Runs many read-only commands on a host and answers with what each one printed.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl. Each command runs in /bin/sh
with the same small environment, in a process group of its own, with limits on its time and on what it may print.
Where the text of direct.py is given, what needs no process is answered without one, and the units of several
`systemctl show` are asked for at once: byte for byte the same answers.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import selectors
import signal
import subprocess
import threading
import time
import types
from typing import Any

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
}


# `systemctl show` of one unit with chosen properties; several units are told apart by an empty line (systemctl(1)).
SHOW = re.compile(r"(systemctl show(?: -p [A-Za-z]+)+) ([A-Za-z0-9_@.-]+\.[a-z]+)")


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """Answer `commands`, each with at most `seconds` of time and `limit` bytes a stream, `parallel` at once."""
    seconds, limit = arguments.get("seconds", 30), arguments.get("limit", 1 << 20)
    commands = arguments["commands"]
    known = without_a_shell(commands, arguments["direct"], seconds, limit) if arguments.get("direct") else {}
    rest = iter([command for command in commands if command not in known])

    def work() -> None:
        for command in rest:  # one iterator for all: each takes the next command that nobody has taken
            known[command] = run(command, seconds, limit)

    # Without concurrent.futures: to import it takes longer than most commands.
    others = [threading.Thread(target=work) for _ in range(arguments.get("parallel", 2) - 1)]
    for thread in others:
        thread.start()
    work()
    for thread in others:
        thread.join()
    # What a thread left behind when it failed is asked for here, where a failure is heard.
    return {"answers": [known.get(command) or run(command, seconds, limit) for command in commands]}


def without_a_shell(commands: list[str], direct: str, seconds: float, limit: int) -> dict[str, dict[str, Any]]:
    """The answers that cost no process of their own, by command."""
    module = types.ModuleType("opsctl_direct")
    exec(compile(direct, "<direct>", "exec"), module.__dict__)
    at = time.time()
    answers = module.main({"commands": commands, "path": ENVIRONMENT["PATH"]})
    found = {command: said(*answer, at=at) for command, answer in answers.items() if len(answer[1]) <= limit}
    together: dict[str, list[str]] = {}
    for command in commands:
        shown = SHOW.fullmatch(command)
        if shown:
            together.setdefault(shown[1], []).append(shown[2])
    for asked, units in together.items():
        found.update(shown_at_once(asked, units, seconds, limit))
    return found


def shown_at_once(asked: str, units: list[str], seconds: float, limit: int) -> dict[str, dict[str, Any]]:
    """One `systemctl show` for several units, cut into the answers of each; nothing where that is not surely right."""
    if len(units) < 2:
        return {}
    whole = run(asked + " " + " ".join(units), seconds, limit)
    blocks = base64.b64decode(whole["stdout"]).rstrip(b"\n").split(b"\n\n")
    if whole["exit_code"] or whole["stderr"] or whole["fault"] or len(blocks) != len(units):
        return {}
    return {
        asked + " " + unit: said(0, block.lstrip(b"\n") + b"\n", b"", at=whole["at"])
        for unit, block in zip(units, blocks)  # noqa: B905 - Python 3.9
    }


def said(exit_code: int, out: bytes, err: bytes, *, at: float, fault: str = "") -> dict[str, Any]:
    return {
        "exit_code": exit_code,
        "stdout": base64.b64encode(out).decode("ascii"),
        "stderr": base64.b64encode(err).decode("ascii"),
        "fault": fault,
        "at": at,
    }


def run(command: str, seconds: float, limit: int) -> dict[str, Any]:
    started = time.time()
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )
    out, err, fault = listen(process, started + seconds, limit)
    if not fault:
        # Its streams are closed, and it may still go on.
        try:
            process.wait(max(started + seconds - time.time(), 0.1))
        except subprocess.TimeoutExpired:
            fault = "too slow"
    if fault:
        stop(process)
    return said(process.wait(), out, err, at=started, fault=fault)


def listen(process: subprocess.Popen[bytes], deadline: float, limit: int) -> tuple[bytes, bytes, str]:
    """Both streams up to `limit` bytes each; the fault is empty, `too slow` or `too much`."""
    assert process.stdout is not None
    assert process.stderr is not None
    heard = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    fault = ""
    with selectors.DefaultSelector() as selector:
        for stream in heard:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map() and not fault:
            ready = selector.select(max(deadline - time.time(), 0))
            if not ready:
                fault = "too slow"
            for key, _ in ready:
                piece = os.read(key.fd, 65536)
                if not piece:
                    selector.unregister(key.fileobj)
                heard[key.fd] += piece
                if len(heard[key.fd]) > limit:
                    fault = "too much"
    out, err = (bytes(heard[stream][:limit]) for stream in heard)
    process.stdout.close()
    process.stderr.close()
    return out, err, fault


def stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
