"""Questions to the services of a rollout's hosts: what is asked, what counts, what is kept."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from opsctl.model.host import Host, Service
from opsctl.model.probing import Probed, Probing
from opsctl.model.rollout import Reference
from opsctl.rollout import gates, probing, shown
from opsctl.rollout.probing import Prober, _Count

NOW = datetime(2026, 11, 28, 1, tzinfo=UTC)
ONE = Probed(service="http", target="tcp 192.0.2.1:80", hosts=("ange.ange-web1",))


def host(name: str, *services: Service, jump: str = "") -> Host:
    return Host(
        name=name, tenant="ange", address="192.0.2.1", role="web", platform="debian-12", services=services, jump=jump
    )


def test_a_web_address_is_asked_once_for_all_its_hosts_and_a_port_only_where_it_is_in_reach() -> None:
    web = Service(name="web", port=443, url="https://e-tjanst.example/")
    ssh, dns = Service(name="app", port=8099), Service(name="dns", port=53, protocol="udp")
    found = probing.targets([host("a", web, ssh), host("b", web, dns), host("c", web, ssh, jump="a")])
    assert [(one.target, one.hosts) for one in found] == [
        ("https://e-tjanst.example/", ("ange.a", "ange.b", "ange.c")),
        ("tcp 192.0.2.1:8099", ("ange.a",)),
    ]
    assert [one.single for one in found] == [False, True]


def test_nothing_is_lost_before_the_first_answer() -> None:
    count = _Count(ONE)
    count.take("no route", 0, 1)
    assert (count.probed.answered, count.probed.lost, count.probed.why) == (0, 0, "no route")
    assert "never answered from here: no route" in str(count.probed)


def test_an_outage_lasts_from_the_first_lost_question_to_the_next_answer() -> None:
    count = _Count(ONE)
    for why, begun, now in (("", 0, 0.1), ("x", 1, 4), ("x", 5, 8), ("", 9, 9.5), ("x", 10, 11), ("", 11, 11.5)):
        count.take(why, begun, now)
    assert (count.probed.answered, count.probed.lost, count.probed.longest_outage) == (3, 3, 8.5)
    assert str(count.probed).endswith("3 answered, 3 lost, longest outage 8.5 s")


def test_an_outage_that_does_not_end_counts_as_far_as_it_was_seen() -> None:
    count = _Count(ONE)
    count.take("", 0, 0.1)
    count.take("x", 1, 4)
    assert count.probed.longest_outage == 3


def test_a_later_run_goes_on_counting_and_what_it_saw_is_kept() -> None:
    before = Probing(at=NOW, services=(Probed(service="http", target=ONE.target, hosts=ONE.hosts, answered=7, lost=2),))
    found: list[Probing] = []
    asked = threading.Event()

    def ask(_target: str) -> str:
        asked.set()
        return ""

    prober = Prober((ONE,), before, clock=lambda: NOW, keep=found.append, ask=ask)
    with prober.asking():
        assert asked.wait(30)
        deadline = time.monotonic() + 30
        while prober.seen().answered == 7:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert (found[-1].answered > 7, found[-1].lost) == (True, 2)


def test_a_question_that_hangs_keeps_nobody_from_the_end() -> None:
    hangs = threading.Event()
    prober = Prober((ONE,), None, clock=lambda: NOW, keep=lambda _seen: None, ask=lambda _target: str(hangs.wait(60)))
    began = time.monotonic()
    with prober.asking():
        pass
    assert time.monotonic() - began < 30
    hangs.set()


def test_more_services_than_the_most_are_told_of() -> None:
    many = tuple(Probed(service="a", target=f"tcp 192.0.2.1:{port}", hosts=()) for port in range(1, probing.MOST + 4))
    assert Prober(many, None, clock=lambda: NOW, keep=lambda _seen: None).seen().left_out == 3


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("status", "why"), [(200, ""), (302, ""), (404, ""), (503, "status 503")])
def test_an_error_of_the_server_is_no_answer_and_no_redirect_is_followed(port: int, status: int, why: str) -> None:
    assert probing.ask(f"http://127.0.0.1:{port}/{status}") == why


def test_a_port_answers_while_something_listens(port: int) -> None:
    assert probing.ask(f"tcp 127.0.0.1:{port}") == ""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert "refused" in probing.ask(f"tcp 127.0.0.1:{bound.getsockname()[1]}")


def test_status_names_the_services_that_lost_something() -> None:
    well = Probed(service="a", target="tcp 192.0.2.1:1", hosts=("x",), answered=5)
    ill = Probed(service="b", target="tcp 192.0.2.1:2", hosts=("x",), answered=3, lost=1, longest_outage=1.04)
    assert shown.probing_lines(Probing(at=NOW, services=(well, ill))) == [
        "probes: 8 answered, 1 lost, of 2 services",
        "probes: b (tcp 192.0.2.1:2): 3 answered, 1 lost, longest outage 1.0 s",
    ]
    assert shown.probing_lines(None) == []


def test_a_service_that_ran_must_run_and_one_that_answered_over_http_must_answer() -> None:
    before = Reference(boot_id="a", listening=(80,), answering=(80,), running=("cron.service", "x.service"), http=(80,))
    after = Reference(boot_id="b", listening=(80,), answering=(80,), failed_units=("x.service",))
    assert gates.what_got_worse(before, after) == (
        "unit x.service has failed",
        "unit cron.service no longer runs",
        "tcp 80 no longer answers over HTTP",
    )
