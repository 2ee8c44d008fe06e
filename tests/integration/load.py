"""Residents at an e-service while a test goes on: steady, over several connections that are kept open."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Load:
    """Asks until it is told that the work is over and at least `least` requests were answered.

    A request that fails on a connection that the server had closed before is asked again once, as browsers do
    (RFC 9112, 9.3.1): a GET may be repeated. Every other one without a good answer is lost.
    """

    url: str
    least: int = 0
    connections: int = 4
    seconds: float = 300
    answered: int = 0
    lost: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Load:
        self.threads = [threading.Thread(target=self._ask) for _ in range(self.connections)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.end = time.monotonic() + self.seconds
        for thread in self.threads:
            thread.join()

    def _enough(self) -> bool:
        if not self.over.is_set():
            return False
        return self.answered >= self.least or time.monotonic() > self.end or bool(self.lost)

    def _ask(self) -> None:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        while not self._enough():
            reused = connection.sock is not None
            why = self._once(connection, parts.path or "/")
            if reused and why == "closed":
                why = self._once(connection, parts.path or "/")
            with self.guard:
                self.answered += not why
                self.lost += [why] if why else []
            time.sleep(0.002)
        connection.close()

    def _once(self, connection: http.client.HTTPConnection, path: str) -> str:
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            connection.close()
            return "closed"
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return str(error) or type(error).__name__
        return "" if answer.status == 200 else f"status {answer.status}"
