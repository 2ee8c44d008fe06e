"""A watcher that holds a driver at an exact place: just after it saved that a host is in some stage.

It takes the store's write lock between two of the driver's transactions. What the driver has begun goes on, the effect
on the host among it; its next transition waits for the lock, half a minute at most.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opsctl import lab
from tests.integration.rollouts import FIXED, ORDER, PatchSite

PACKAGE = "opslab-library"

# Seconds around a write in which its transaction may end, and between two looks without one.
_CLOSE, _PAUSE = 0.05, 0.005
_IN_MODIFY = 0x2  # inotify(7)
STAGES = (*ORDER.split(), "failed", "unknown", "skipped")


class Held:
    """A driver that can save nothing until it is let go; which host is in which stage meanwhile."""

    def __init__(self, connection: sqlite3.Connection, host: str, stage: str) -> None:
        self._connection = connection
        self.host, self.stage = host.partition(".")[2], stage

    def let_go(self) -> None:
        self._connection.close()


def hold(
    site: PatchSite, rollout: str, stages: Collection[str], *, host: str = "", drained: bool | None = None
) -> Held:
    """Hold the driver where a host (any, or this one) is in one of these stages, drained or not.

    Where two states are saved in one breath the first may be missed: then it is held at a later one, which `stage`
    tells.
    """
    us, deadline = threading.get_native_id(), time.monotonic() + 120
    folder = site.workspace / ".state"
    before = os.getpriority(os.PRIO_PROCESS, us)
    os.setpriority(os.PRIO_PROCESS, us, -15)
    store = sqlite3.connect(folder / "store.db", timeout=0, isolation_level=None)
    try:
        for found in _between_transactions(store, folder, rollout):
            if held := _fitting(found, stages, host, drained):
                return Held(store, *held)
            assert time.monotonic() < deadline, f"nobody was caught {' or '.join(stages)}: {found}"
        raise AssertionError
    finally:
        os.setpriority(os.PRIO_PROCESS, us, before)


def _fitting(
    found: dict[str, dict[str, Any]], stages: Collection[str], wanted: str, drained: bool | None
) -> tuple[str, str] | None:
    """A host that is in one of the stages; where all are past them, the first of all."""
    ours = {key: state for key, state in found.items() if not (key and wanted) or key.partition(".")[2] == wanted}
    for key, state in ours.items():
        if state["stage"] in stages and drained in (None, state["drained"]):
            return key, str(state["stage"])
    last = max(map(STAGES.index, stages))
    past = [(key, str(state["stage"])) for key, state in ours.items() if STAGES.index(state["stage"]) > last]
    return past[0] if past and len(past) == len(ours) else None


def _between_transactions(store: sqlite3.Connection, folder: Path, rollout: str) -> Iterator[dict[str, dict[str, Any]]]:
    """The states after each of the driver's transactions, with the store locked while the caller looks at them."""
    seen = None
    with _writes(folder) as written:
        stirred = time.monotonic()
        while True:
            changed = store.execute("PRAGMA data_version").fetchone()
            if changed != seen and _locked(store):
                seen = changed
                yield _states(store, rollout)
                store.execute("ROLLBACK")
            # Only around a write every moment counts: two processors have better things to do in between.
            if time.monotonic() - stirred < _CLOSE:
                time.sleep(0)
            elif written(_PAUSE):
                stirred = time.monotonic()


@contextmanager
def _writes(folder: Path) -> Iterator[Callable[[float], bool]]:
    """A function that waits so many seconds at most for the next write into a file of the folder (inotify(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_CLOEXEC)
    assert watch >= 0, os.strerror(ctypes.get_errno())
    try:
        assert libc.inotify_add_watch(watch, os.fsencode(folder), _IN_MODIFY) >= 0, os.strerror(ctypes.get_errno())

        def written(seconds: float) -> bool:
            ready = bool(select.select([watch], [], [], seconds)[0])
            return ready and bool(os.read(watch, 1 << 16))

        yield written
    finally:
        os.close(watch)


def _locked(store: sqlite3.Connection) -> bool:
    try:
        store.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    return True


def _states(store: sqlite3.Connection, rollout: str) -> dict[str, dict[str, Any]]:
    """What the store shows of each host; of a rollout that runs and has saved none, that somebody is planned."""
    rows = store.execute("SELECT host, state FROM host_states WHERE rollout = ?", (rollout,))
    found = {host: json.loads(state) for host, state in rows}
    document = store.execute("SELECT document FROM rollouts WHERE id = ?", (rollout,)).fetchone()
    runs = document is not None and json.loads(document[0])["status"] == "running"
    return found or ({"": {"stage": "planned", "drained": False}} if runs else {})


def kill(running: subprocess.Popen[bytes], held: Held) -> None:
    running.send_signal(signal.SIGKILL)
    running.wait()
    held.let_go()


# --- what the tests with a watcher share -----------------------------------------------------------------------------


def one_ring(site: PatchSite) -> None:
    """All hosts in one ring, so that as many as the limits allow change at once."""
    for source in site.workspace.glob("inventories/*/source.yml"):
        text = source.read_text()
        for ring in ("canary", "early"):
            text = text.replace(f"ring: {ring}", "ring: broad")
        source.write_text(text)
    site.opsctl("inventory", "sync", "--yes")


@contextmanager
def source_off(site: PatchSite) -> Iterator[None]:
    """The source of the inventory cannot be read meanwhile; a rollout works from what it was planned with."""
    sources = sorted(site.workspace.glob("inventories/*/source.yml"))
    assert sources
    for source in sources:
        source.rename(source.with_suffix(".off"))
    try:
        yield
    finally:
        for source in sources:
            source.with_suffix(".off").rename(source)


def newer(site: PatchSite, number: int) -> str:
    """One more version of the one package that these tests install."""
    version = f"{FIXED}.{number}"
    lab.publish(site.fleet.name, PACKAGE, version)
    return version


def server(site: PatchSite, balancer: str, host: str) -> str:
    """How a load balancer sees a host: UP, DRAIN, MAINT, ..."""
    read = "import socket; s=socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock')"
    read += "; s.sendall(b'show stat\\n'); print(s.makefile().read())"
    rows = site.inside(balancer, f'python3 -c "{read}"').splitlines()
    head = rows[0].lstrip("# ").split(",")
    found = [dict(zip(head, row.split(","), strict=False)) for row in rows[1:]]
    return next(row["status"].split()[0] for row in found if row["svname"] == host)
