"""Serves a lab's package archive over HTTP, on one address: python -I serve.py FOLDER ADDRESS PORT.

Runs as a process of its own and imports nothing of opsctl.
"""

from __future__ import annotations

import functools
import http.server
import io
import sys
from typing import BinaryIO


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Writes down errors only."""

    protocol_version = "HTTP/1.1"

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """Whole, always: two versions of a list may be of one second, and by its time the second one is not newer."""
        del self.headers["If-Modified-Since"]
        return super().send_head()

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Forty hosts that update are no news."""


def main(folder: str, address: str, port: str) -> None:
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer((address, int(port)), handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:4])
