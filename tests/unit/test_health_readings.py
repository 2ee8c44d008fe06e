"""A host's health: how it is read there, and how readings in a row are judged here."""

from __future__ import annotations

import http.server
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from opsctl.errors import HostFailed, Unreachable
from opsctl.hostside import health
from opsctl.model.host import Host
from opsctl.model.rollout import Reference
from opsctl.rollout import contact
from opsctl.rollout.recent import Recent
from opsctl.ssh.session import Transport

# As `systemctl show` of systemd 252 prints them: units without a Type of their own leave it out.
UNITS = """\
Type=notify
BusName=
Id=ssh.service
TriggeredBy=
ActiveState=active
SubState=running
UnitFileState=enabled
Transient=no

Id=init.scope
TriggeredBy=
ActiveState=active
SubState=running
UnitFileState=
Transient=yes

Type=notify
BusName=
Id=dbus.service
TriggeredBy=dbus.socket
ActiveState=active
SubState=running
UnitFileState=static
Transient=no

Type=simple
BusName=
Id=byhand.service
TriggeredBy=
ActiveState=active
SubState=running
UnitFileState=disabled
Transient=no

Id=backup.mount
TriggeredBy=
ActiveState=failed
SubState=failed
UnitFileState=enabled
Transient=no

Type=simple
BusName=
Id=quiet.service
TriggeredBy=
ActiveState=inactive
SubState=dead
UnitFileState=enabled
Transient=no
"""


# --- on the host -----------------------------------------------------------------------------------------------------


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host of these units that listens nowhere."""
    monkeypatch.setattr(health, "command", lambda *words: "running\n" if "is-system-running" in words else UNITS)
    monkeypatch.setattr(health, "listening", set)


def test_units_that_failed_and_services_that_run_are_told_apart(calm: None) -> None:
    [found] = health.main({})["readings"]
    assert found["failed_units"] == ["backup.mount"]
    assert found["running"] == ["byhand.service", "ssh.service"]


def test_whether_the_host_still_starts_is_told_only_where_it_is_asked(calm: None) -> None:
    assert health.main({})["readings"][0]["starting"] is None
    assert health.main({"boot": True})["readings"][0]["starting"] is False


def test_several_readings_have_a_pause_between_them_and_an_end(calm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    assert len(health.main({"times": 3, "pause": 0.5})["readings"]) == 3
    assert slept == [0.5, 0.5]
    monkeypatch.setattr(health, "AT_MOST", 0.0)
    assert len(health.main({"times": 20, "pause": 9})["readings"]) == 1


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers with the status in its path."""

    def do_GET(self) -> None:
        if self.path == "/nonsense":
            self.wfile.write(b"hello\r\n")
            return
        status = 200 if self.headers["Host"] == "www.ange.example" else 421
        self.send_response(int(self.path.strip("/") or status))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Nothing."""


@contextmanager
def web(trust: ssl.SSLContext | None = None) -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        if trust is not None:
            server.socket = trust.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def status(port: int, path: str = "/", *, tls: bool = False) -> int:
    return health.status_of("127.0.0.1", {"port": port, "path": path, "host": "www.ange.example", "tls": tls})


def test_a_service_is_asked_over_http_by_its_own_name() -> None:
    with web() as port:
        assert status(port) == 200
        assert status(port, "/503") == 503
        assert status(port, "/404") == 404
        assert status(port, "/nonsense") == 0
        asked = {"port": port, "path": "/503", "host": "www.ange.example", "tls": False}
        assert not health.answers_http(asked, {("0.0.0.0", port)})
        assert health.answers_http({**asked, "path": "/404"}, {("0.0.0.0", port)})
    assert status(port) == 0


@pytest.mark.parametrize("path", ["/a b", "/\r\nX: y", "/ö", "/\x00"])
def test_a_path_that_is_none_is_never_sent(path: str) -> None:
    with web() as port:
        assert status(port, path) == 0


def test_a_certificate_proves_nothing_to_the_host_itself(tmp_path: Path) -> None:
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(self_signed(tmp_path / "both.pem"))
    with web(trust) as port:
        assert status(port, tls=True) == 200
        assert status(port) == 0


def self_signed(file: Path) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(text + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return file


# --- here ------------------------------------------------------------------------------------------------------------

HOST = Host(name="web1", tenant="ange", address="192.0.2.1", role="web", platform="debian-12")
BEFORE = Reference(boot_id="a", listening=(80,), running=("web.service",))
WELL: Mapping[str, object] = {
    "boot_id": "a", "failed_units": [], "listening": [80], "answering": [], "running": ["web.service"], "http": [],
}  # fmt: skip
ILL: Mapping[str, object] = {**WELL, "failed_units": ["web.service"]}


@dataclass
class FakeTransport:
    """A host whose readings come in this order, as many to a trip as are asked for, or as it gives."""

    readings: list[Mapping[str, object]]
    gives: int = 20
    asked: list[object] = field(default_factory=list)

    def run(self, host: Host, script: str, arguments: Mapping[str, object], *, timeout: float) -> object:
        assert script.startswith('"""Short readings')
        self.asked.append(arguments["times"])
        count = min(cast(int, arguments["times"]), self.gives)
        now, self.readings = self.readings[:count], self.readings[count:]
        if not now:
            raise Unreachable(host.key, "no answer")
        return {"readings": now}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact, "PAUSE", 0.0)


def wait(transport: FakeTransport, *, good: int = 3, seconds: float = 60) -> list[object]:
    contact.wait_until_well(cast(Transport, transport), HOST, BEFORE, seconds=seconds, good=good)
    return transport.asked


def test_a_host_that_is_well_is_asked_once_for_all_its_good_readings() -> None:
    assert wait(FakeTransport([WELL, WELL, WELL])) == [3]


def test_one_bad_reading_among_good_ones_begins_the_count_anew() -> None:
    transport = FakeTransport([WELL, ILL, WELL, WELL, WELL])
    assert wait(transport) == [3, 2]
    assert transport.readings == []
    assert wait(FakeTransport([WELL, WELL, ILL, WELL, WELL, WELL])) == [3, 3]


def test_a_host_that_reads_less_often_than_asked_is_asked_for_the_rest() -> None:
    assert wait(FakeTransport([WELL] * 3, gives=2)) == [3, 1]


def test_a_lost_connection_makes_no_good_reading() -> None:
    with pytest.raises(Unreachable):
        wait(FakeTransport([WELL, WELL], gives=2))


def test_a_host_that_stays_ill_has_failed_with_what_got_worse() -> None:
    with pytest.raises(HostFailed, match=r"unit web\.service has failed"):
        wait(FakeTransport([ILL] * 4), seconds=-1)


def test_an_answer_without_a_reading_is_no_pass() -> None:
    def answers(answer: object) -> Callable[..., object]:
        return lambda *_args, **_words: answer

    given: tuple[object, ...] = ({"readings": []}, {}, None, {"readings": [{}]}, dict(WELL))
    for answer in given:
        transport = FakeTransport([])
        transport.run = answers(answer)  # type: ignore[method-assign]
        with pytest.raises(HostFailed, match="not understood"):
            wait(transport, good=1)


# --- readings of a moment ago ----------------------------------------------------------------------------------------


def test_a_reading_of_the_last_second_is_not_taken_again_and_an_older_one_is() -> None:
    now, asked = [100.0], list[str]()

    def ask(hosts: Sequence[Host]) -> Mapping[str, Reference | str]:
        asked.extend(host.key for host in hosts)
        return {host.key: "no answer" for host in hosts}

    other = replace(HOST, name="web2")
    recent = Recent(lambda: now[0])
    recent.keep(HOST, BEFORE)
    assert recent.or_asked([HOST, other], ask) == {"ange.web1": BEFORE, "ange.web2": "no answer"}
    assert asked == ["ange.web2"]
    recent.keep(other, BEFORE)
    recent.touched(other)
    assert recent.or_asked([other], ask) == {"ange.web2": "no answer"}
    now[0] = 101.0
    assert recent.or_asked([HOST], ask) == {"ange.web1": "no answer"}
