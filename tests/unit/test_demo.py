"""The parts of the demonstration that need no fleet."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsctl import demo
from opsctl.errors import Refused


@pytest.fixture
def service() -> Iterator[str]:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if self.path == "/down" else 200)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _wait(load: demo.Load, requests: int) -> None:
    for _ in range(1000):
        if load.answered + load.failed >= requests:
            return
        threading.Event().wait(0.01)
    pytest.fail("the load never ran")


def test_load_counts_what_was_answered(service: str) -> None:
    load = demo.Load(url=service + "/", every=0.001)
    load.start()
    _wait(load, 5)
    load.stop()
    assert load.answered >= 5
    assert load.failed == 0


def test_load_counts_an_error_page_as_lost(service: str) -> None:
    load = demo.Load(url=service + "/down", every=0.001)
    load.start()
    _wait(load, 3)
    load.stop()
    assert load.answered == 0
    assert load.failed >= 3
    assert any("503" in reason or "Service Unavailable" in reason for reason in load.errors)


def test_demonstration_never_removes_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "demo-workspace").mkdir()
    with pytest.raises(Refused):
        demo._fresh_workspace(tmp_path)


def test_demonstration_replaces_its_own_workspace(tmp_path: Path) -> None:
    first = demo._fresh_workspace(tmp_path)
    (first / "old").touch()
    assert not (demo._fresh_workspace(tmp_path) / "old").exists()
