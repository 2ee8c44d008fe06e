"""A NetBox played on loopback from the recordings of a real 4.7.3: listings with pages, fields and filters, and faults.

Rows are the recorded ones and may be changed by a test. `faults` are given out first, one a request, as they are.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

RECORDINGS = Path(__file__).with_name("recordings")
TOKEN = "nbt_0123456789ab." + "A" * 40
PAGES = {
    "virtualization/virtual-machines": ("vms-fields-start-p1", "vms-fields-start-p2", "vms-fields-start-p3"),
    "dcim/devices": ("devices-fields-start-p1", "devices-fields-start-p2"),
    "ipam/services": ("services-p1",),
    "dcim/sites": ("sites",),
    "extras/custom-fields": ("custom-fields",),
}
SLUGS = ("tenant", "role", "site", "platform")
Row = dict[str, Any]


def recorded(name: str) -> bytes:
    return (RECORDINGS / name).read_bytes()


def recorded_rows(path: str) -> list[Row]:
    return [row for page in PAGES[path] for row in json.loads(recorded(f"{page}.json"))["results"]]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One answer that is not NetBox's usual one. `cut` leaves out that many bytes of what was
    promised; `drip` sends one byte every so many seconds."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    drip: float = 0


class Played(ThreadingHTTPServer):
    """The server; `asked` are the request lines, `authorizations` the headers that came with them."""

    daemon_threads = True

    def __init__(self, version: str = "4.7.3") -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.version = version
        self.rows = {path: deepcopy(recorded_rows(path)) for path in PAGES}
        # None: the token may not see the changelog.
        self.changes: list[Row] | None = None
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self.authorizations: set[str] = set()
        self.largest_page = 1000
        self.knows = {*SLUGS, "status", "tag", "id", "id__lt"}
        self.before_answer: Callable[[str], None] = lambda line: None
        self.lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: clients that give up are what many tests are about."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def cursor(self) -> bool:
        return tuple(map(int, self.version.split(".")[:2])) >= (4, 6)

    def change(self, kind: str, number: int, action: str = "update") -> None:
        """An entry of the changelog, as NetBox would write it."""
        assert self.changes is not None
        row = deepcopy(json.loads(recorded("object-changes.json"))["results"][0])
        row |= {"id": len(self.changes) + 1, "changed_object_type": kind, "changed_object_id": number}
        self.changes.append(row | {"action": {"value": action, "label": action}})

    def row(self, path: str, name: str) -> Row:
        return next(row for row in self.rows[path] if row["name"] == name)


@contextmanager
def played(version: str = "4.7.3") -> Iterator[Played]:
    server = Played(version)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def over_tls(server: ThreadingHTTPServer, folder: Path, named: str) -> Path:
    """Let the server speak TLS with a certificate that signs itself, for this name (`DNS:...`, `IP:...`)."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    where = ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=netbox"]
    subprocess.run([*words, *where, "-addext", f"subjectAltName={named}"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return certificate


class _Answers(BaseHTTPRequestHandler):
    server: Played

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.asked.append(self.path)
            server.authorizations.add(self.headers.get("Authorization", ""))
            server.before_answer(self.path)
            fault = server.faults.pop(0) if server.faults else self._usual()
        self.send_response(fault.status)
        self.send_header("Content-Type", fault.content_type)
        self.send_header("Content-Length", str(len(fault.body)))
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self._send(fault)
        except OSError:
            self.close_connection = True  # the client has given up

    def _send(self, fault: Fault) -> None:
        body = fault.body[: len(fault.body) - fault.cut]
        if not fault.drip:
            self.wfile.write(body)
            return
        for number in range(len(body)):
            self.wfile.write(body[number : number + 1])
            self.wfile.flush()
            time.sleep(fault.drip)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Nothing: the tests look at `asked`."""

    def _usual(self) -> Fault:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        path = parts.path.removeprefix("/api/").strip("/")
        if self.headers.get("Authorization") not in (f"Bearer {TOKEN}", "Token " + "b" * 40):
            return Fault(status=403, body=recorded("403-invalid-v2-token.json"))
        if path == "status":
            found = {**json.loads(recorded("status.json")), "netbox-version": self.server.version}
            return Fault(body=json.dumps(found).encode())
        if path == "core/object-changes":
            if self.server.changes is None:
                return Fault(status=403, body=recorded("403-no-permission.json"))
            since = int(query.get("id__gt", ["0"])[0])
            rows = [row for row in self.server.changes if row["id"] > since]
            return self._listing(rows[::-1] if query.get("ordering") == ["-id"] else rows, query)
        if path not in PAGES:
            return Fault(status=404, body=recorded("404-api-path.html"), content_type="text/html")
        rows = self._filtered(self.server.rows[path], query)
        return self._listing(rows[::-1] if query.get("ordering") == ["-id"] else rows, query)

    def _filtered(self, rows: list[Row], query: dict[str, list[str]]) -> list[Row]:
        kept = rows
        asked = {name: values for name, values in query.items() if name in self.server.knows}
        for name in asked.keys() & set(SLUGS):
            kept = [row for row in kept if row.get(name) and row[name]["slug"] in asked[name]]
        if "status" in asked:
            kept = [row for row in kept if row["status"]["value"] in asked["status"]]
        for tag in asked.get("tag", ()):
            kept = [row for row in kept if tag in {each["slug"] for each in row["tags"]}]
        if "id" in asked:
            kept = [row for row in kept if str(row["id"]) in asked["id"]]
        if "id__lt" in asked:
            kept = [row for row in kept if row["id"] < int(asked["id__lt"][0])]
        return sorted(kept, key=lambda row: int(row["id"]))

    def _listing(self, rows: list[Row], query: dict[str, list[str]]) -> Fault:
        limit = min(int(query.get("limit", ["50"])[0]), self.server.largest_page)
        count: int | None = len(rows)
        if "start" in query and self.server.cursor:
            rows, count = [row for row in rows if row["id"] >= int(query["start"][0])], None
            page, more = rows[:limit], len(rows) >= limit
        else:
            offset = int(query.get("offset", ["0"])[0])
            page, more = rows[offset : offset + limit], offset + limit < len(rows)
        fields = query["fields"][0].split(",") if "fields" in query else None
        shown = [{name: value for name, value in row.items() if fields is None or name in fields} for row in page]
        # An address that a client must never follow.
        following = "http://192.0.2.1/stolen" if more else None
        return Fault(body=json.dumps({"count": count, "next": following, "previous": None, "results": shown}).encode())
