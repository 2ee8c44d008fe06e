"""The connection to NetBox: pages, retries, and a message of its own for everything that can go wrong."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsctl import config
from opsctl.errors import ConfigError, FuseTripped
from opsctl.inventory import netbox as room
from opsctl.inventory import token
from opsctl.inventory.address import checked_address, checked_authorities
from opsctl.inventory.answers import Answer, document
from opsctl.inventory.netbox import NetBox
from opsctl.inventory.pull import filters, pull
from tests.netbox.played import TOKEN, Fault, Played, over_tls, played, recorded

HTML = "text/html; charset=utf-8"


@pytest.fixture(name="server")
def _server() -> Iterator[Played]:
    with played() as server:
        yield server


@pytest.fixture(name="waits")
def _waits() -> list[float]:
    return []


@pytest.fixture(name="netbox")
def _netbox(server: Played, waits: list[float]) -> Iterator[NetBox]:
    netbox = NetBox(server.address, TOKEN, timeout=1, wait=waits.append)
    yield netbox
    netbox.close()


def refusal(netbox: NetBox) -> tuple[str, str]:
    with pytest.raises(FuseTripped) as caught:
        netbox.server()
    assert TOKEN.partition(".")[2] not in caught.value.message + caught.value.hint
    assert TOKEN.partition(".")[2] not in str(caught.value.__cause__)
    return caught.value.message, caught.value.hint


def test_a_pull_has_every_record_with_its_services_and_the_regions(netbox: NetBox, server: Played) -> None:
    found = pull(netbox, {})
    assert found.version == "4.7.3"
    assert [r.id for r in found.records if r.kind == "virtual-machine"] == list(range(1, 54))
    assert [r.id for r in found.records if r.kind == "device"] == [1, 2, 3, 4, 5, 6]
    second = found.ports["virtual-machine/2"]
    assert [(p.name, p.protocol, p.port) for p in second] == [("dns", "tcp", 53), ("dns", "udp", 53)]
    assert found.regions["sdl-dc1"] == "region-sundsvall"
    assert server.authorizations == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("said", [TOKEN, TOKEN.partition(".")[2]])
@pytest.mark.parametrize("status", [302, 400, 403, 500])
def test_a_server_that_gives_the_token_back_does_not_get_it_into_a_message(
    netbox: NetBox, server: Played, status: int, said: str
) -> None:
    body = json.dumps({"detail": f"Authorization: Bearer {said}"}).encode()
    headers = {"Location": f"https://elsewhere.example/?token={said}"} if status == 302 else {}
    server.faults = [Fault(status=status, body=body, headers=headers)] * 4
    refusal(netbox)


@pytest.mark.parametrize("given", ["nbt_12345678.", "nbt_12345678.a"])
def test_no_part_of_a_short_token_is_taken_out_of_the_answers(server: Played, given: str) -> None:
    server.faults = [Fault(body=b'{"netbox-version": "4.7.3-a"}')]
    netbox = NetBox(server.address, given)
    assert netbox.server().version == "4.7.3-a"
    netbox.close()


@pytest.mark.parametrize("version", ["4.5.0", "4.7.3"])
@pytest.mark.parametrize("row", [{"id": 7}, {"id": 0}, {"id": None}, {}])
def test_a_listing_that_gives_the_same_page_for_ever_ends(version: str, row: dict[str, object]) -> None:
    page = Fault(body=json.dumps({"count": 9, "next": "x", "results": [row]}).encode())
    with played(version) as server:
        netbox = NetBox(server.address, TOKEN, wait=lambda _seconds: None)
        server.faults = [page] * 3
        with pytest.raises(FuseTripped, match="the pages of the listing do not go on"):
            list(netbox.rows("dcim/devices", {}, cursor=server.cursor))
        netbox.close()


@pytest.mark.parametrize("size", [1, 7, 53, 54])
@pytest.mark.parametrize("version", ["4.7.3", "4.4.0"])
def test_pages_of_any_size_give_every_record_once(version: str, size: int) -> None:
    with played(version) as server:
        server.largest_page = size
        found = pull(NetBox(server.address, TOKEN), {})
        assert len(found.records) == 59
        assert all("offset" not in line for line in server.asked) == server.cursor or size > 53
        assert not any("192.0.2.1" in line for line in server.asked)


@pytest.mark.parametrize("known", [True, False])
def test_a_listing_is_cut_by_ids_and_whole_also_where_the_server_ignores_the_cut(known: bool) -> None:
    with played() as server:
        if not known:
            server.knows.remove("id__lt")
        found = pull(NetBox(server.address, TOKEN, page=20), {})
        asked = [line for line in server.asked if "virtual-machines" in line and "config_context" in line]
        starts = {re.findall(r"start=(\d+)", line)[0] for line in asked}
    assert [r.id for r in found.records if r.kind == "virtual-machine"] == list(range(1, 54))
    assert {"1", "18", "36"} <= starts
    assert len(asked) == 3 or not known


@pytest.mark.parametrize("version", ["4.7.3", "4.4.0"])
def test_a_record_that_is_deleted_between_two_pages_takes_no_other_with_it(version: str) -> None:
    with played(version) as server:
        server.largest_page = 10
        machines = server.rows["virtualization/virtual-machines"]

        def delete_the_first(line: str) -> None:
            if "virtual-machines" in line and "config_context" in line and ("start=11" in line or "offset=10" in line):
                machines[:] = [row for row in machines if row["id"] != 1]

        server.before_answer = delete_the_first
        found = pull(NetBox(server.address, TOKEN), {})
        assert [r.id for r in found.records if r.kind == "virtual-machine"] == list(range(2, 54))


def test_an_old_server_has_its_services_in_other_fields() -> None:
    with played("4.2.9") as server:
        for row in server.rows["ipam/services"]:
            parent = "virtual_machine" if row.pop("parent_object_type") == "virtualization.virtualmachine" else "device"
            row[parent] = {"id": row.pop("parent_object_id")}
            protocol, _, port = row.pop("port_mappings")[0].partition("/")
            row["protocol"], row["ports"] = {"value": protocol}, [int(port)]
        found = pull(NetBox(server.address, TOKEN), {})
        second = found.ports["virtual-machine/2"]
        assert [(p.name, p.protocol, p.port) for p in second] == [("dns", "tcp", 53)]


def test_a_server_older_than_we_read_is_refused_with_its_version(server: Played, netbox: NetBox) -> None:
    server.version = "3.7.8"
    message, _ = refusal(netbox)
    assert "is NetBox 3.7.8; opsctl reads 4.2 and newer" in message


def test_a_token_of_the_first_kind_is_sent_as_such(server: Played) -> None:
    NetBox(server.address, "b" * 40).server()
    assert server.authorizations == {"Token " + "b" * 40}


def test_a_filter_that_netbox_would_ignore_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    (tmp_path / "opsctl.yml").write_text("version: 1\nnetbox: {filters: [tenannt=ange]}\n")
    with pytest.raises(ConfigError, match="'tenannt=ange' is not known") as caught:
        filters(config.load(tmp_path, {}))
    assert "role, site, platform, status, tag" in caught.value.hint


def test_records_that_no_filter_asked_for_are_refused(server: Played, netbox: NetBox) -> None:
    assert len(pull(netbox, {"tenant": ("ange",)}).records) == 5
    server.knows.discard("tenant")
    with pytest.raises(FuseTripped, match=r"although the filters do not ask for it; nothing was written"):
        pull(netbox, {"tenant": ("ange",)})


def test_a_token_that_shows_a_host_and_not_its_site_is_refused(server: Played, netbox: NetBox) -> None:
    gone = server.row("virtualization/virtual-machines", "sdl-app-00008")["site"]["slug"]
    server.rows["dcim/sites"][:] = [row for row in server.rows["dcim/sites"] if row["slug"] != gone]
    with pytest.raises(FuseTripped, match=f"at the site {gone}, and not that site; nothing was written"):
        pull(netbox, {})


def test_a_site_that_is_made_while_its_hosts_are_read_is_looked_at_again(server: Played, netbox: NetBox) -> None:
    whole, every = pull(netbox, {}), list(server.rows["dcim/sites"])
    server.rows["dcim/sites"].pop(0)
    asked = len(server.asked)

    def make(line: str) -> None:
        if sum("dcim/sites" in one for one in server.asked[asked:]) == 2:
            server.rows["dcim/sites"][:] = every

    server.before_answer = make
    assert pull(netbox, {}) == whole


@pytest.mark.parametrize(
    ("name", "said", "next_"),
    [
        ("403-invalid-v2-token", "the token is wrong (403: Invalid v2 token)", "config show"),
        ("403-invalid-v1-token", "the token is wrong (403: Invalid v1 token)", "config show"),
        ("403-no-token", "NetBox saw no token", "OPSCTL_NETBOX_TOKEN"),
        ("403-no-permission", "has no permission for this", "`view`"),
        ("403-malformed-header", "cannot read the token", "nbt_KEY.TOKEN"),
        ("403-v2-token-without-dot", "cannot read the token", "nbt_KEY.TOKEN"),
    ],
)
def test_each_refusal_of_a_token_has_its_own_message(
    server: Played, netbox: NetBox, waits: list[float], name: str, said: str, next_: str
) -> None:
    server.faults = [Fault(status=403, body=recorded(f"{name}.json"))]
    message, hint = refusal(netbox)
    assert said in message
    assert next_ in hint
    assert not waits


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(status=404, body=recorded("404-api-path.html"), content_type=HTML), "there is no API at this address"),
        (Fault(status=302, headers={"Location": "https://login.example/?x=1"}), "redirected to https://login.example"),
        (Fault(body=b"<html>Log in</html>", content_type=HTML), "the answer is text/html; charset=utf-8, not JSON"),
        (Fault(body=b'{"netbox-version": "4.'), "cut off or broken"),
        (Fault(body=b'{"hello": "world"}'), "does not answer as NetBox does"),
        (Fault(body=b"[" * 100_000), "cut off or broken"),
        (Fault(status=400, body=recorded("400-bad-filter-value.json")), "finns-inte is not one of"),
        (Fault(status=400, body=recorded("400-bad-start.json")), "Invalid 'start' parameter"),
        (Fault(status=401, body=b"no", content_type=HTML), "wants a login of its own"),
        (Fault(status=403, body=b"<h1>no", content_type=HTML), "something in front of NetBox refuses us"),
    ],
    ids=lambda value: value.replace(" ", "-")[:30] if isinstance(value, str) else "",
)
def test_what_asking_again_cannot_mend_is_told_at_once(
    server: Played, netbox: NetBox, waits: list[float], fault: Fault, said: str
) -> None:
    server.faults = [fault]
    message, hint = refusal(netbox)
    assert said in message
    assert hint
    assert len(server.asked) == 1
    assert not waits


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(status=500, body=recorded("500-database-down.json")), "broken (500: OperationalError"),
        (Fault(status=502, body=b"<h1>Bad gateway", content_type=HTML), "broken (502)"),
        (Fault(status=429, headers={"Retry-After": "7"}), "asked too often (429)"),
        (Fault(body=b'{"a": "' + b"x" * 1000 + b'"}', cut=500), "the answer is cut off"),
    ],
    ids=["500", "502", "429", "cut"],
)
def test_what_may_pass_is_asked_again_a_few_times_and_then_told(
    server: Played, netbox: NetBox, waits: list[float], fault: Fault, said: str
) -> None:
    server.faults = [fault] * 2
    assert netbox.server().version == "4.7.3"
    assert waits == ([7.0, 7.0] if fault.status == 429 else [0.5, 1.0])
    server.faults = [fault] * 10
    message, _ = refusal(netbox)
    assert said in message
    assert len(waits) == 2 + room.TRIES - 1


def test_nobody_waits_for_hours_because_a_server_says_so(server: Played, netbox: NetBox, waits: list[float]) -> None:
    server.faults = [Fault(status=503, headers={"Retry-After": "86400"})]
    netbox.server()
    assert waits == [30.0]


def test_a_name_that_acts_on_terminals_is_not_repeated_in_a_message(server: Played, netbox: NetBox) -> None:
    server.faults = [Fault(status=302, headers={"Location": "\x1b]0;owned\x07"})]
    message, _ = refusal(netbox)
    assert "\x1b" not in message
    assert "owned" in message


def test_a_closed_port_and_an_unknown_name_are_told_apart(waits: list[float]) -> None:
    with played() as server:
        address = server.address
    message, hint = refusal(NetBox(address, TOKEN, timeout=1, wait=waits.append))
    assert "connection refused" in message
    assert "is NetBox running" in hint
    message, _ = refusal(NetBox("http://netbox.invalid", TOKEN, timeout=1, wait=waits.append))
    assert "no machine has this name" in message


def test_a_silent_server_ends_at_the_time_out(server: Played, waits: list[float]) -> None:
    netbox = NetBox(server.address, TOKEN, timeout=0.3, wait=waits.append)
    server.before_answer = lambda line: time.sleep(0.6)
    message, hint = refusal(netbox)
    assert "no answer within 0.3 seconds" in message
    assert "netbox.timeout" in hint


def test_an_answer_that_drips_ends_at_the_time_out_too(server: Played, waits: list[float]) -> None:
    netbox = NetBox(server.address, TOKEN, timeout=0.3, wait=waits.append)
    server.faults = [Fault(body=b'{"netbox-version": "4.7.3"}', drip=0.1)] * room.TRIES
    message, _ = refusal(netbox)
    assert "the answer was not there after 0.3 seconds" in message


def test_a_certificate_that_does_not_fit_is_refused_without_a_retry(tmp_path: Path, waits: list[float]) -> None:
    with played() as server:
        certificate = over_tls(server, tmp_path, "DNS:elsewhere.example")
        address = f"https://127.0.0.1:{server.server_port}"
        for ca_file in ("", str(certificate)):
            message, hint = refusal(NetBox(address, TOKEN, timeout=2, ca_file=ca_file, wait=waits.append))
            assert "the certificate does not fit" in message
            assert "netbox.ca_file" in hint
    assert not waits


def test_a_certificate_of_an_authority_of_our_own_is_believed_and_only_then(tmp_path: Path) -> None:
    with played() as server:
        certificate = over_tls(server, tmp_path, "IP:127.0.0.1")
        address = f"https://127.0.0.1:{server.server_port}"
        assert NetBox(address, TOKEN, timeout=2, ca_file=str(certificate)).server().version == "4.7.3"
        message, _ = refusal(NetBox(address, TOKEN, timeout=2))
        assert "its signer is unknown" in message


def test_a_port_that_does_not_speak_tls_is_told_as_such(server: Played) -> None:
    message, hint = refusal(NetBox(server.address.replace("http:", "https:"), TOKEN, timeout=2))
    assert "there is no TLS connection to be had" in message
    assert "is the port of netbox.url right?" in hint


@pytest.mark.parametrize(("text", "said"), [(None, "No such file"), ("no certificate", "holds no certificates")])
def test_a_file_of_authorities_that_cannot_be_used_is_refused_before_anything_is_asked(
    tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "own.pem").write_text(text)
    with pytest.raises(ConfigError, match=f"netbox.ca_file {tmp_path}/own.pem.*{said}"):
        checked_authorities(settings_of(tmp_path, "netbox: {ca_file: own.pem}\n"))


def settings_of(folder: Path, text: str, environ: dict[str, str] | None = None) -> config.Settings:
    (folder / "opsctl.yml").write_text(f"version: 1\n{text}")
    return config.load(folder, environ or {})


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "there is no address of NetBox"),
        ("netbox.example", "not the address of a NetBox"),
        ("ftp://netbox.example", "not the address of a NetBox"),
        ("https://netbox.example:70000", "not the address of a NetBox"),
        ("https://netbox.example/?x=1", "not the address of a NetBox"),
        ("https://anna:secret@netbox.example", "holds a user or password"),
        ("https://netbox.example/api/", "ends with /api"),
        ("http://netbox.example", "plain http"),
        ("http://localhost.example", "plain http"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(tmp_path: Path, address: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        checked_address(settings_of(tmp_path, "", {"OPSCTL_NETBOX_URL": address} if address else {}))
    assert "secret" not in caught.value.hint


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8000", "http://[::1]:8000/", "http://localhost", "https://n.example/netbox/"]
)
def test_https_and_this_very_machine_are_good_addresses(tmp_path: Path, address: str) -> None:
    assert checked_address(settings_of(tmp_path, "", {"OPSCTL_NETBOX_URL": address})) == address.rstrip("/")


def test_the_token_comes_from_variable_file_or_command_and_is_said_once(tmp_path: Path) -> None:
    file = tmp_path / "ange.token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    by_file = "netbox: {token_file: '{tenant}.token'}\n"
    assert token.read(settings_of(tmp_path, by_file), "ange") == TOKEN
    assert token.for_each_tenant(settings_of(tmp_path, by_file))
    by_command = f"netbox: {{token_command: [cat, '{tmp_path}/{{tenant}}.token']}}\n"
    assert token.read(settings_of(tmp_path, by_command), "ange") == TOKEN
    variable = {"OPSCTL_NETBOX_TOKEN": "c" * 40}
    assert token.read(settings_of(tmp_path, by_file, variable), "ange") == "c" * 40
    with pytest.raises(ConfigError, match="given 2 times"):
        token.read(settings_of(tmp_path, "netbox: {token: abcdefgh, token_file: x}\n"))
    with pytest.raises(ConfigError, match="there is no token"):
        token.read(settings_of(tmp_path, ""))


def test_the_tokens_file_may_lie_in_the_operators_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home/netbox.token").write_text(TOKEN)
    (tmp_path / "home/netbox.token").chmod(0o600)
    assert token.read(settings_of(tmp_path, "netbox: {token_file: ~/netbox.token}\n")) == TOKEN


def test_a_token_that_others_can_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with pytest.raises(ConfigError, match="No such file") as missing:
        token.read(settings_of(tmp_path, "netbox: {token_file: token}\n"))
    assert "write the token into that file" in missing.value.hint
    file.write_text(TOKEN)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others"):
        token.read(settings_of(tmp_path, "netbox: {token_file: token}\n"))
    file.chmod(0o600)
    file.write_text("two words")
    with pytest.raises(ConfigError, match="does not hold a token"):
        token.read(settings_of(tmp_path, "netbox: {token_file: token}\n"))
    with pytest.raises(ConfigError, match="ended with 1"):
        token.read(settings_of(tmp_path, "netbox: {token_command: ['false']}\n"))
    with pytest.raises(ConfigError, match="No such file"):
        token.read(settings_of(tmp_path, "netbox: {token_command: [no-such-command]}\n"))


@pytest.mark.parametrize(
    "body",
    [
        b'{"detail": "1 of 2 could not be created.", "errors": [{"index": 1, "errors": {"name": ["is taken"]}}]}',
        b'[{}, {"name": ["is taken"]}]',
    ],
    ids=["4.7", "before"],
)
def test_a_bulk_write_that_is_refused_says_what_is_wrong_and_that_none_of_it_was_taken(body: bytes) -> None:
    answer = Answer(status=400, content_type="application/json", body=body)
    with pytest.raises(FuseTripped, match=r"is taken.*NetBox took none of this"):
        document(answer, "POST https://netbox.example/api/ipam/services/", needs="add on ipam.service")


def test_a_token_for_each_tenant_is_none_for_what_belongs_to_all(tmp_path: Path) -> None:
    (tmp_path / "opsctl.yml").write_text('version: 1\nnetbox: {token_file: "{tenant}.token"}\n')
    with pytest.raises(ConfigError, match="each tenant has a token of its own"):
        token.read(config.load(tmp_path, {}))
    given = config.load(tmp_path, {"OPSCTL_NETBOX_TOKEN": TOKEN})
    assert token.read(given) == token.read(given, "ange") == TOKEN
