"""Alerts and silences over real HTTP, from servers of the test's own: labels, faults, the token's secrecy."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from opsctl import config
from opsctl.config import Settings
from opsctl.errors import ConfigError
from opsctl.model.host import Host, Inventory, Tenant
from opsctl.monitor.alertmanager import Silences
from opsctl.monitor.alerts import Alerts, Labels
from opsctl.monitor.remote import MonitoringSilent, Remote, read_token

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def host(tenant: str, name: str) -> Host:
    return Host(name=name, tenant=tenant, address="192.0.2.1", role="app", platform="debian-12")


STOCK = Inventory(
    tenants=(Tenant(name="ange", title="Ånge"), Tenant(name="bollnas", title="Bollnäs")),
    hosts=(host("ange", "web1"), host("ange", "db1"), host("bollnas", "web1")),
)


@dataclass
class Server:
    """Answers what the test says; remembers what it was asked."""

    address: str = ""
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    asked: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    otherwise: Callable[[str, str, bytes], tuple[int, bytes]] = lambda method, path, body: (404, b"")


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            state.asked.append((self.command, self.path, self.headers.get("Authorization", ""), body))
            code, content = state.answers.pop(0) if state.answers else state.otherwise(self.command, self.path, body)
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = _any  # noqa: N815 - the library's names

        def log_message(self, *_words: object) -> None:
            """Nothing on the screen."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        state.address = f"http://127.0.0.1:{listening.server_port}"
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield state
        listening.shutdown()


def remote(server: Server, name: str = "prometheus", token: str = "") -> Remote:
    return Remote(name, server.address, token=token, timeout=5, pause=0)


def prometheus(*rows: tuple[dict[str, str], str], at: str = "2026-11-22T02:59:01.123456789Z") -> bytes:
    alerts = [{"labels": labels, "state": state, "activeAt": at} for labels, state in rows]
    return json.dumps({"status": "success", "data": {"alerts": alerts}}).encode()


def alerts(server: Server, labels: Labels | None = None) -> Alerts:
    return Alerts([remote(server)], labels or Labels(), STOCK)


def test_an_alert_belongs_to_the_host_that_its_labels_name(server: Server) -> None:
    rows = (
        ({"alertname": "Down", "host": "web1", "tenant": "ange"}, "firing"),
        ({"alertname": "Down", "host": "web1", "tenant": "bollnas"}, "pending"),
        ({"alertname": "Disk", "host": "db1"}, "firing"),  # without a tenant: only one has such a host
        ({"alertname": "Odd", "host": "web1"}, "firing"),  # two have, so nobody's
        ({"alertname": "Strange", "host": "nobody", "tenant": "ange"}, "firing"),
        ({"alertname": "Watchdog"}, "firing"),
    )
    server.answers = [(200, prometheus(*rows))]
    found = alerts(server).firing()
    assert [(one.host, one.name) for one in found] == [("ange.db1", "Disk"), ("ange.web1", "Down")]
    assert found[0].since == datetime(2026, 11, 22, 2, 59, 1, 123456, tzinfo=UTC)


def test_the_labels_and_the_alerts_that_do_not_count_can_be_chosen(server: Server) -> None:
    rows = (
        ({"alertname": "Down", "node": "web1", "kommun": "ange"}, "firing"),
        ({"alertname": "UpdatesWait", "node": "db1", "kommun": "ange"}, "firing"),
    )
    server.answers = [(200, prometheus(*rows))]
    labels = Labels(host="node", tenant="kommun", ignored=frozenset({"UpdatesWait"}))
    assert alerts(server, labels).hosts() == {"ange.web1"}


def test_what_alertmanager_knows_counts_also_where_it_is_silenced(server: Server) -> None:
    row = {"labels": {"alertname": "Down", "host": "web1", "tenant": "ange"}, "startsAt": "2026-11-22T02:00:00Z"}
    server.answers = [(200, json.dumps([row]).encode())]
    assert Alerts([remote(server, "alertmanager")], Labels(), STOCK).hosts() == {"ange.web1"}
    assert "silenced=true" in server.asked[0][1]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((503, b"starting up"), "answers 503: starting up"),
        ((401, b""), "refuses us"),
        ((302, b""), "sends us elsewhere"),
        ((200, b"<html>log in</html>"), "not JSON"),
        ((200, b'{"status": "error"}'), "does not answer as Prometheus does"),
        ((200, b"[1, 2]"), "does not answer as Prometheus does"),
        ((200, b'{"status": "success", "data": {"alerts": [{"labels": [], "state": "firing"}]}}'), "as Prometheus"),
    ],
)
def test_an_answer_that_is_none_is_never_taken_for_no_alert(
    server: Server, answer: tuple[int, bytes], told: str
) -> None:
    server.answers = [answer, answer]
    with pytest.raises(MonitoringSilent) as silent:
        alerts(server).hosts()
    assert told in silent.value.message
    assert "OPSCTL_MONITOR_PROMETHEUS=" in silent.value.hint


def test_a_server_that_does_not_answer_at_first_is_asked_once_more(server: Server) -> None:
    server.answers = [(503, b""), (200, prometheus())]
    assert alerts(server).hosts() == frozenset()


def test_nobody_listens_is_told_in_our_own_words() -> None:
    with pytest.raises(MonitoringSilent, match="nothing listens there"):
        Remote("prometheus", "http://127.0.0.1:1", pause=0).get("/api/v1/alerts")


def test_the_token_is_sent_in_the_header_and_shown_nowhere(server: Server) -> None:
    secret = "s3cret-token-of-monitoring"
    server.otherwise = lambda method, path, body: (500, f"you sent Bearer {secret}".encode())
    with pytest.raises(MonitoringSilent) as silent:
        Alerts([remote(server, token=secret)], Labels(), STOCK).hosts()
    assert server.asked[0][2] == f"Bearer {secret}"
    assert secret not in silent.value.message + silent.value.hint


# --- silences ------------------------------------------------------------------------------------------------------


@dataclass
class Manager:
    """Keeps silences as Alertmanager does: one that is sent with its id and its beginning is changed in place."""

    kept: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if method == "GET":
            return 200, json.dumps([{"id": key, **one} for key, one in self.kept.items()]).encode()
        if method == "DELETE":
            self.kept[path.rpartition("/")[2]]["status"] = {"state": "expired"}
            return 200, b""
        given = json.loads(body)
        known = given.pop("id", "")
        if known and self.kept[known]["startsAt"] != given["startsAt"]:
            self.kept[known]["status"] = {"state": "expired"}
            known = ""
        name = known or f"s{len(self.kept)}"
        self.kept[name] = {**given, "status": {"state": "active"}}
        return 200, json.dumps({"silenceID": name}).encode()

    @property
    def active(self) -> dict[str, str]:
        return {
            one["comment"].rpartition(" ")[2]: one["endsAt"]
            for one in self.kept.values()
            if one["status"]["state"] == "active"
        }


@pytest.fixture
def manager(server: Server) -> Manager:
    found = Manager()
    server.otherwise = found.answer
    return found


@pytest.fixture
def silences(server: Server) -> Silences:
    return Silences(remote(server, "alertmanager"), Labels())


WEB, DB = STOCK.hosts[:2]


def test_a_silence_names_rollout_and_host_and_matches_the_host_alone(manager: Manager, silences: Silences) -> None:
    silences.put("patch-1", WEB, NOW, NOW + timedelta(minutes=15))
    (one,) = manager.kept.values()
    assert [(m["name"], m["value"]) for m in one["matchers"]] == [("host", "web1"), ("tenant", "ange")]
    assert (one["createdBy"], one["comment"]) == ("opsctl", "rollout patch-1 changes ange.web1")
    assert one["endsAt"] == "2026-11-22T03:15:00.000Z"


def test_a_second_call_goes_on_with_the_silence_that_is_there(manager: Manager, silences: Silences) -> None:
    first = silences.put("patch-1", WEB, NOW, NOW + timedelta(minutes=15))
    later = NOW + timedelta(minutes=5)
    assert silences.put("patch-1", WEB, later, later + timedelta(minutes=15)) == first
    silences.renew("patch-1", [WEB], later, later + timedelta(minutes=20))
    assert (len(manager.kept), manager.active) == (1, {"ange.web1": "2026-11-22T03:25:00.000Z"})


def test_one_that_was_ended_by_hand_is_made_anew(manager: Manager, silences: Silences) -> None:
    first = silences.put("patch-1", WEB, NOW, NOW + timedelta(minutes=15))
    manager.kept[first]["status"] = {"state": "expired"}
    assert silences.put("patch-1", WEB, NOW, NOW + timedelta(minutes=15)) != first


def test_only_this_rollouts_silences_are_lifted(manager: Manager, silences: Silences) -> None:
    until = NOW + timedelta(minutes=15)
    silences.put("patch-1", WEB, NOW, until)
    silences.put("patch-1", DB, NOW, until)
    silences.put("patch-2", WEB, NOW, until)
    theirs = {"createdBy": "anna", "comment": "rollout patch-1 changes ange.web1", "status": {"state": "active"}}
    manager.kept["theirs"] = {**theirs, "startsAt": "x", "endsAt": "never"}
    silences.lift("patch-1", ["ange.db1"])
    assert {one.host for one in silences.of_rollout("patch-1")} == {"ange.web1"}
    silences.lift("patch-1")
    assert silences.of_rollout("patch-1") == ()
    assert [one.rollout for one in silences.of_rollout("patch-2")] == ["patch-2"]
    assert manager.kept["theirs"]["status"] == {"state": "active"}


@pytest.mark.parametrize("body", [b"{}", b"[1]", b'[{"status": {}}]', b"null"])
def test_silences_that_cannot_be_read_are_not_taken_for_none(server: Server, silences: Silences, body: bytes) -> None:
    server.otherwise = lambda method, path, sent: (200, body)
    with pytest.raises(MonitoringSilent):
        silences.of_rollout("patch-1")


# --- settings ------------------------------------------------------------------------------------------------------


def settings(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "opsctl.yml").write_text(f"version: 1\nmonitor:\n{text}", encoding="utf-8")
    return config.load(tmp_path, {})


def test_nothing_is_asked_where_nobody_is_named(tmp_path: Path) -> None:
    found = settings(tmp_path, "  timeout: 5\n")
    assert not Alerts.of(found, STOCK).asked
    assert Silences.of(found) is None
    assert read_token(found) == ""


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://prometheus.example", "plain http"),
        ("https://anna:pw@prometheus.example", "holds a user or password"),
        ("ftp://prometheus.example", "is not an address"),
        ("https://prometheus.example?x=1", "is not an address"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(tmp_path: Path, address: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        Remote.of(settings(tmp_path, f"  prometheus: {address}\n"), "prometheus")
    assert "opsctl.yml:3" in refused.value.message


def test_plain_http_is_for_this_machine_or_where_somebody_allows_it(tmp_path: Path) -> None:
    assert Remote.of(settings(tmp_path, "  prometheus: http://127.0.0.1:9090/\n"), "prometheus")
    allowed = settings(tmp_path, '  prometheus: http://mon.example:9090\n  allow_http: "yes"\n')
    assert Remote.of(allowed, "prometheus")


def test_the_token_comes_from_a_private_file_or_a_command(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("abcd1234\n", encoding="utf-8")
    file.chmod(0o644)
    named = settings(tmp_path, "  token_file: token\n")
    with pytest.raises(ConfigError, match="can be read by others"):
        read_token(named)
    file.chmod(0o600)
    assert read_token(named) == "abcd1234"
    assert read_token(settings(tmp_path, "  token_command: [echo, efgh5678]\n")) == "efgh5678"
    with pytest.raises(ConfigError, match="are both given"):
        read_token(settings(tmp_path, "  token_file: token\n  token_command: [echo, x]\n"))
