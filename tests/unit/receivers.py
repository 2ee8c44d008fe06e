"""A mail server and a web server on loopback that keep what they are sent: what apprise talks to in tests."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any


@dataclass
class Received:
    """Where a receiver listens, and what came. `release` lets requests go that were made to hang."""

    port: int = 0
    mails: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    posts: list[dict[str, Any]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)


@contextmanager
def mail_server() -> Iterator[Received]:
    """As much of SMTP (RFC 5321) as a sender needs that is not asked to log in."""
    got = Received()

    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            to: list[str] = []
            self._say("220 test")
            while line := self.rfile.readline():
                word = line.strip().upper()
                if word == b"DATA":
                    self._say("354 go on")
                    got.mails.append((to, self._message()))
                    self._say("250 taken")
                elif word == b"QUIT":
                    self._say("221 bye")
                    return
                else:
                    to += [line.strip().decode()[8:]] if word.startswith(b"RCPT TO:") else []
                    self._say("250 test")

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

        def _message(self) -> EmailMessage:
            lines = []
            while (line := self.rfile.readline()) not in (b".\r\n", b""):
                lines.append(line[1:] if line.startswith(b"..") else line)
            return message_from_bytes(b"".join(lines), policy=policy.default)

    yield from _serving(socketserver.ThreadingTCPServer, Session, got)


@contextmanager
def web_server(*, answer: int = 200, hang: bool = False) -> Iterator[Received]:
    """Takes JSON by POST; answers with a code, or not at all until `release`."""
    got = Received()

    class Request(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.asked.set()
            if hang:
                got.release.wait(60)
            got.posts.append(json.loads(body))
            try:
                self.send_response(answer)
                self.end_headers()
            except OSError:
                pass  # whoever asked has left

        def log_message(self, *args: object) -> None:
            """Nothing of this belongs into a test's output."""

    yield from _serving(http.server.ThreadingHTTPServer, Request, got)


def _serving(kind: Any, session: Any, got: Received) -> Iterator[Received]:
    kind.daemon_threads = True
    with kind(("127.0.0.1", 0), session) as server:
        got.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield got
        finally:
            got.release.set()
            server.shutdown()
            thread.join()
