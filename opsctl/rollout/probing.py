"""Asks every service of a rollout's hosts once a second while the rollout runs, and counts who answered.

From the control node, as residents do: over HTTP at the web address where the service has one, else by a connection to
its port. A light touch: few threads, each question bounded, nothing read beyond the head of an answer. What it counts
lies beside the store, written every few seconds, so that a killed process takes little with it; the end of each run
stands in the rollout's log.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from opsctl.errors import StoreError
from opsctl.model import wire
from opsctl.model.host import Host
from opsctl.model.probing import Probed, Probing
from opsctl.rollout.journal import Journal
from opsctl.state.store import Store

PROBED = "probed"  # kind of line in the log of a rollout
MOST = 200
_EVERY, _SECONDS, _KEEP_EVERY, _WORKERS = 1.0, 3.0, 5.0, 8
_ROLLOUTS = 20
Ask = Callable[[str], str]


def targets(hosts: Iterable[Host]) -> tuple[Probed, ...]:
    """What is asked, each address once; nothing of UDP, and no port of a host that is reached through another."""
    found: dict[str, Probed] = {}
    for host in hosts:
        for service in host.services:
            if service.protocol != "tcp" or (host.jump and not service.url):
                continue
            address = f"[{host.address}]" if ":" in host.address else host.address
            target = service.url or f"tcp {address}:{service.port}"
            one = found.get(target) or Probed(service=service.name, target=target, hosts=())
            found[target] = replace(one, hosts=(*one.hosts, host.key))
    return tuple(found[target] for target in sorted(found))


def ask(target: str) -> str:
    """Why a service does not answer, or empty. An answer over HTTP with an error of the server (5xx) is none."""
    try:
        if target.startswith("tcp "):
            address, _, port = target.removeprefix("tcp ").rpartition(":")
            socket.create_connection((address.strip("[]"), int(port)), timeout=_SECONDS).close()
            return ""
        return _asked_over_http(target)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__


def _asked_over_http(url: str) -> str:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    seeker = kind(parts.hostname or "", parts.port, timeout=_SECONDS)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        seeker.request("GET", path, headers={"User-Agent": "opsctl", "Connection": "close"})
        status = seeker.getresponse().status
        return f"status {status}" if status >= 500 else ""
    finally:
        seeker.close()


@dataclass
class _Count:
    """One target while it is asked; `since`: when the outage began that goes on now."""

    probed: Probed
    since: float | None = None
    asked: bool = False

    def take(self, why: str, begun: float, now: float) -> None:
        one = self.probed
        if why and not one.answered:
            self.probed = replace(one, why=why[:200])
            return
        if why:
            self.since = begun if self.since is None else self.since
            one = replace(one, lost=one.lost + 1, why=why[:200])
        else:
            one = replace(one, answered=one.answered + 1)
        if self.since is not None:
            one = replace(one, longest_outage=max(one.longest_outage, round(now - self.since, 3)))
        if not why:
            self.since = None
        self.probed = one


class Prober:
    """The questions of one run; goes on counting from what earlier runs kept."""

    def __init__(
        self,
        wanted: tuple[Probed, ...],
        before: Probing | None,
        *,
        clock: Callable[[], datetime],
        keep: Callable[[Probing], None],
        ask: Ask = ask,
    ) -> None:
        known = {one.target: one for one in before.services} if before else {}
        self._counts = [_Count(known.get(one.target, one)) for one in wanted[:MOST]]
        self._left_out = max(0, len(wanted) - MOST)
        self._clock, self._keep, self._ask = clock, keep, ask
        self._work: queue.SimpleQueue[_Count | None] = queue.SimpleQueue()
        self._over = threading.Event()
        self._guard = threading.Lock()

    def seen(self) -> Probing:
        with self._guard:
            services = tuple(count.probed for count in self._counts)
        return Probing(at=self._clock(), services=services, left_out=self._left_out)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask meanwhile. Its threads never keep the program from ending; a question under way is not waited for."""
        if not self._counts:
            yield
            return
        workers = min(_WORKERS, len(self._counts))
        threads = [threading.Thread(target=self._answer, daemon=True) for _ in range(workers)]
        threads.append(threading.Thread(target=self._pace, daemon=True))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for _ in range(workers):
                self._work.put(None)
            threads[-1].join(_SECONDS)
            self._keep_now()

    def _pace(self) -> None:
        kept = time.monotonic()
        while True:
            for count in self._counts:
                if not count.asked:  # one that hangs is not asked again meanwhile
                    count.asked = True
                    self._work.put(count)
            if self._over.wait(_EVERY):
                return
            if time.monotonic() - kept > _KEEP_EVERY:
                kept = time.monotonic()
                self._keep_now()

    def _answer(self) -> None:
        while (count := self._work.get()) is not None and not self._over.is_set():
            begun = time.monotonic()
            why = self._ask(count.probed.target)
            with self._guard:
                count.take(why, begun, time.monotonic())
                count.asked = False

    def _keep_now(self) -> None:
        # A full disk must not end a rollout: the count is lost, and nothing else.
        with suppress(OSError, StoreError):
            self._keep(self.seen())


def kept(journal: Journal, rollout: str) -> Probing | None:
    """What the runs of a rollout counted so far; None where nobody did."""
    lines = journal.log.of(rollout, kind=PROBED)
    found = [_understood(lines[-1].detail)] if lines else []
    with suppress(OSError, ValueError):
        found.append(_understood(json.loads(_file(journal, rollout).read_text())))
    return max((one for one in found if one is not None), key=lambda one: one.at, default=None)


def _understood(detail: object) -> Probing | None:
    with suppress(TypeError, ValueError, KeyError):
        return wire.from_document(Probing, detail)
    return None


def _file(journal: Journal, rollout: str) -> Path:
    return journal.file(rollout, "probes")


def _write(path: Path, seen: Probing) -> None:
    part = path.with_suffix(".probes.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o660)
    with os.fdopen(handle, "w") as stream:
        stream.write(wire.dumps(seen))
    part.replace(path)


@contextmanager
def probing(journal: Journal, rollout: str, hosts: Iterable[Host], clock: Callable[[], datetime]) -> Iterator[None]:
    """Ask the services of these hosts while a rollout runs, and keep what was counted with it."""
    path = _file(journal, rollout)
    prober = Prober(targets(hosts), kept(journal, rollout), clock=clock, keep=lambda seen: _write(path, seen))
    with prober.asking():
        yield
    seen = prober.seen()
    if seen.services:
        detail: Mapping[str, object] = wire.as_document(seen)
        journal.log.add(rollout, PROBED, detail, seen.at)


def outages(store: Store, kind: str) -> Mapping[str, float]:
    """Seconds of the longest outage, by host, of what each alone answered for in the newest rollouts of a kind."""
    found: dict[str, float] = {}
    journal = Journal(store)
    for saved in [one for one in store.rollouts() if one.id.startswith(f"{kind}-")][:_ROLLOUTS]:
        seen = kept(journal, saved.id)
        for one in seen.services if seen else ():
            if one.single and one.answered:
                found[one.hosts[0]] = max(found.get(one.hosts[0], 0.0), one.longest_outage)
    return found
