"""The lab's package mirror gives what it holds, however lately that was written."""

from __future__ import annotations

import functools
import http.client
import http.server
import threading
from pathlib import Path

from opsctl.lab import serve


def test_a_list_that_changed_within_a_second_is_given_again(tmp_path: Path) -> None:
    (tmp_path / "InRelease").write_text("second")
    handler = functools.partial(serve.Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked = http.client.HTTPConnection(*server.server_address[:2])  # type: ignore[arg-type]
        asked.request("GET", "/InRelease", headers={"If-Modified-Since": "Wed, 01 Jan 2098 00:00:00 GMT"})
        answer = asked.getresponse()
        assert (answer.status, answer.read()) == (200, b"second")
        asked.close()
        server.shutdown()
