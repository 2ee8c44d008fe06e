"""Runs many read-only commands on a host and answers with what each one printed.

Runs as root on the host: standard library only, Python 3.9, imports nothing of opsctl. Each command runs in /bin/sh
with the same small environment, in a process group of its own, with limits on its time and on what it may print.
"""

from __future__ import annotations

import base64
import contextlib
import os
import selectors
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
}


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """Answer `commands`, each with at most `seconds` of time and `limit` bytes a stream, `parallel` at once."""
    seconds, limit = arguments.get("seconds", 30), arguments.get("limit", 1 << 20)
    with ThreadPoolExecutor(max_workers=arguments.get("parallel", 2)) as pool:
        return {"answers": list(pool.map(lambda command: run(command, seconds, limit), arguments["commands"]))}


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
    return {
        "exit_code": process.wait(),
        "stdout": base64.b64encode(out).decode("ascii"),
        "stderr": base64.b64encode(err).decode("ascii"),
        "fault": fault,
        "at": started,
    }


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
