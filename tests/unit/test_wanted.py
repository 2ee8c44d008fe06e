"""Records that NetBox should have: the reviewed file, and what is lacking of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from opsctl.errors import ConfigError
from opsctl.inventory import wanted
from opsctl.inventory.lacking import There, decide
from opsctl.inventory.named import nearest
from opsctl.inventory.rules import MAPPED, Rules, rules
from opsctl.inventory.wanted import Place, Wanted
from opsctl.model.host import Host, Service

WEB = Wanted(
    name="web1", tenant="ange", role="web", address="192.0.2.11/24", site="hall", cluster="pve", platform="debian-12",
    services=(Service(name="http", port=80),),
)  # fmt: skip
HOST = Host(name="web1", tenant="ange", address="192.0.2.11", role="web", platform="ubuntu-22.04", port=2222)
RECORD = "  - {name: web1, tenant: ange, cluster: pve, role: web, address: 192.0.2.11/24, PLUS}\n"


def chosen(tenants: tuple[str, ...] = (), translate: tuple[str, ...] = (), port: str = "") -> Rules:
    texts = {**dict.fromkeys(MAPPED, ""), "serves": "", "prefer": "ipv4", "port": port}
    return rules(texts, {"statuses": ("active",), "tenants": tenants, "translate": translate})


def read(path: Path, *records: str) -> tuple[Wanted, ...]:
    path.write_text("version: 1\nrecords:\n" + "".join(records))
    return wanted.read(path)


def test_a_host_becomes_the_record_from_which_a_sync_would_make_it() -> None:
    words = chosen(("anges-kommun=ange",), ("role:webb=web",), port="field:ssh_port")
    found = wanted.of_host(HOST, words, Place(site="hall", cluster="pve"))
    assert (found.tenant, found.role, found.platform, found.fields) == (
        "anges-kommun", "webb", "ubuntu-22-04", {"ssh_port": 2222},
    )  # fmt: skip
    assert (found.kind, found.address) == ("virtual-machine", "192.0.2.11/32")
    assert wanted.of_host(HOST, chosen(port="tag:port-"), Place()).tags == ("port-2222",)
    device = wanted.of_host(replace(HOST, address="2001:db8::1"), chosen(), Place(device_type="server"))
    assert (device.kind, device.address, device.family) == ("device", "2001:db8::1/128", 6)


def test_what_netbox_could_not_say_is_told_and_a_tenant_that_it_does_not_have_refused() -> None:
    assert "its port 2222 has no place in NetBox" in wanted.unsaid(HOST, chosen())
    assert wanted.unsaid(HOST, chosen(port="tag:port-")) == ""
    with pytest.raises(ConfigError, match="which tenant of NetBox is ange"):
        wanted.of_host(HOST, chosen(("x=sundsvall",)), Place())


def test_the_file_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    records = (
        replace(WEB, fields={"ssh_port": 2222, "owner": "IT: drift # 1"}, tags=("ring-early", "a_b")),
        replace(WEB, name="Web2.ange.example", address="2001:db8::2/64", kind="device", device_type="server",
                cluster="", vrf="inside", interface="eth 0"),
    )  # fmt: skip
    (tmp_path / "records.yml").write_text(wanted.text(records))
    found = wanted.read(tmp_path / "records.yml")
    assert {one.name: replace(one, where="") for one in found} == {one.name: one for one in records}
    assert wanted.holds(tmp_path / "records.yml")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("kind: container", "kind: 'container' is not known"),
        ("kind: device", "device_type is missing"),
        ("device_type: server", "a virtual machine has none"),
        ("status: gone", "status: 'gone' is not known"),
        ("platform: 'debian 12'", "platform: 'debian 12' is not allowed"),
        ("tags: ['ring early']", "tags: 'ring early' is not allowed"),
        ("fields: {opsctl_takeover: done}", "opsctl_takeover is opsctl's own"),
        ("fields: {a: [1, 2]}", "a is a list"),
        ("services: [{name: web}]", "port is missing"),
        ("services: [{name: web, port: 0}]", "from 1 to 65535"),
        ("primary: 192.0.2.1", "'primary' is not known here"),
        ('interface: "a\\x1b[31m"', "control characters"),
    ],
)  # fmt: skip
def test_a_fault_of_the_file_is_told_with_its_line(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "r.yml", RECORD.replace("PLUS", more))
    assert any(said in str(problem) and "r.yml:3" in str(problem) for problem in caught.value.problems), caught.value


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: web1", "name: all", "reserved word"),
        ("name: web1", "name: ../x", "characters that no host's name may have"),
        ("address: 192.0.2.11/24", "address: 127.0.0.1/8", "is a loopback address"),
        ("address: 192.0.2.11/24", "address: web1", "'web1' is no address"),
        ("role: web", 'role: ""', "role is empty"),
        ("cluster: pve", "platform: debian-12", "wants a cluster, a site, or both"),
    ],
)
def test_a_record_that_no_sync_could_take_over_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "r.yml", RECORD.replace(", PLUS", "").replace(old, new))
    assert any(said in str(problem) for problem in caught.value.problems), caught.value.problems


def test_one_name_and_one_address_belong_to_one_record(tmp_path: Path) -> None:
    plain = RECORD.replace(", PLUS", "")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "r.yml", plain, plain.replace("192.0.2.11", "192.0.2.12"))
    assert "web1 is there twice" in str(caught.value.problems[0])
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "r.yml", plain, plain.replace("web1", "web2"))
    assert "address: 192.0.2.11 is also web1's" in str(caught.value.problems[0])
    inside = plain.replace("web1", "web2").replace("role", "vrf: inside, role")
    assert len(read(tmp_path / "r.yml", plain, inside)) == 2


def test_a_file_of_corrections_is_no_file_of_records(tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text("version: 1\nhosts:\n  - {host: ange.web1, memory: 4096}\n")
    assert not wanted.holds(tmp_path / "c.yml")


def test_of_a_record_that_is_not_there_everything_is_lacking() -> None:
    lack = decide("ange.web1", WEB, None)
    assert lack
    assert (lack.interface, lack.address, lack.primary, lack.services) == (True, True, True, WEB.services)


VALUES = {"site": "hall", "cluster": "pve", "role": "web", "platform": "debian-12", "status": "active"}


@pytest.mark.parametrize(
    ("there", "lacking"),
    [
        (There(id=1, values=VALUES), (True, True, True)),
        (There(id=1, values=VALUES, interface=2), (False, True, True)),
        (There(id=1, values=VALUES, interface=2, address=3), (False, False, True)),
        (There(id=1, values=VALUES, interface=2, address=3, primary={4: "192.0.2.11"}), (False, False, False)),
        (There(id=1, values=VALUES, primary={6: "2001:db8::1"}), (True, True, True)),
    ],
)
def test_of_a_record_that_was_made_in_part_the_rest_is_lacking(there: There, lacking: tuple[bool, ...]) -> None:
    lack = decide("ange.web1", WEB, there)
    assert (lack.interface, lack.address, lack.primary) == lacking
    assert lack.services == WEB.services
    whole = replace(there, primary={4: "192.0.2.11"}, services=frozenset({"http"}))
    assert not decide("ange.web1", WEB, whole)


def test_what_netbox_says_otherwise_stays_and_is_told() -> None:
    there = There(id=1, values={**VALUES, "role": "file", "platform": ""}, primary={4: "192.0.2.99"})
    lack = decide("ange.web1", WEB, there)
    assert not lack, "nothing is added to a machine that has another address"
    assert [(d.field, d.netbox, d.file) for d in lack.differs] == [
        ("role", "file", "web"), ("platform", "", "debian-12"), ("primary address", "192.0.2.99", "192.0.2.11"),
    ]  # fmt: skip


def test_the_nearest_name_is_told_and_where_nothing_is_near_what_there_is() -> None:
    assert nearest("ange-hal", ["sundsvall-hall", "ange-hall"]) == "nearest: ange-hall"
    assert nearest("WEB", ["Web", "db"]) == "nearest: Web"
    assert nearest("xyz", [f"s{n}" for n in range(10)]).startswith("there are: s0, s1")
    assert nearest("xyz", []) == ""
