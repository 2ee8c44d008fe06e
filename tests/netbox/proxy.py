"""A small proxy in front of a real NetBox that breaks some of its answers, as proxies and networks do."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.netbox.played import Fault

Break = Callable[[str, Fault], Fault]


@dataclass(frozen=True, kw_only=True)
class Silence(Fault):
    """No answer at all for some seconds."""

    seconds: float = 1


class Proxy(ThreadingHTTPServer):
    """`spoil(path, answer)` may give another answer than NetBox's; `asked`, `methods` and `bodies` are what came in."""

    daemon_threads = True

    def __init__(self, address: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passed)
        self.behind = urlsplit(address).netloc
        self.spoil: Break = lambda path, answer: answer
        self.asked: list[str] = []
        self.methods: list[str] = []
        self.bodies: list[bytes] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients that give up are what many tests are about."""


@contextmanager
def in_front_of(address: str) -> Iterator[Proxy]:
    server = Proxy(address)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Passed(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        behind = http.client.HTTPConnection(self.server.behind, timeout=60)
        names = ("Authorization", "Content-Type")
        passed = {name: self.headers[name] for name in names if name in self.headers}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(self.path)
        self.server.methods.append(self.command)
        self.server.bodies.append(body)
        behind.request(self.command, self.path, body=body or None, headers=passed)
        answer = behind.getresponse()
        kind = answer.headers.get("Content-Type", "")
        shown = self.server.spoil(self.path, Fault(status=answer.status, body=answer.read(), content_type=kind))
        behind.close()
        if isinstance(shown, Silence):
            time.sleep(shown.seconds)
        self.send_response(shown.status)
        self.send_header("Content-Type", shown.content_type)
        self.send_header("Content-Length", str(len(shown.body)))
        for name, value in shown.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self._send(shown)

    do_POST = do_PATCH = do_DELETE = do_OPTIONS = do_GET  # noqa: N815 - the base class names them so

    def _send(self, shown: Fault) -> None:
        body = shown.body[: len(shown.body) - shown.cut]
        if not shown.drip:
            self.wfile.write(body)
            return
        for number in range(len(body)):
            self.wfile.write(body[number : number + 1])
            self.wfile.flush()
            time.sleep(shown.drip)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Nothing: the tests look at `asked`."""
