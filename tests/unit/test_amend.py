"""What a reviewed correction changes in NetBox: record, address, services; old versions; what is refused."""

from dataclasses import replace

import pytest

from opsctl.inventory.amend import Act, Amendments
from opsctl.inventory.corrections import Correction
from opsctl.inventory.intended import Intended, Primary
from opsctl.inventory.netbox import Row, Server
from opsctl.inventory.record import Port, ServiceRecord
from opsctl.model.host import Service

VMS, ADDRESSES, SERVICES = "virtualization/virtual-machines", "ipam/ip-addresses", "ipam/services"
WEB = ServiceRecord(id=8, parent="virtual-machine/1", ports=(
    Port(name="Web", protocol="tcp", port=80), Port(name="Web", protocol="tcp", port=443),
))  # fmt: skip
NOW = Intended(
    record="virtual-machine/1", name="ange-web1", platform="debian-11", vcpus=2.0, memory=2048, disk=10_000,
    address4=Primary(id=7, address="192.0.2.99"), listed=(WEB,), tenant="ange",
)  # fmt: skip
WANTED = Correction(host="ange.ange-web1", where="corrections.yml:3")
OWN = {"id": 9, "address": "192.0.2.11/24", "assigned_object": {"virtual_machine": {"id": 1}}}
OTHERS = {"id": 9, "address": "192.0.2.11/24", "assigned_object": {"display": "eth0", "virtual_machine": {"id": 2}}}


def amended(
    *, now: Intended | None = NOW, version: str = "4.7.3", there: list[Row] | None = None, **wanted: object
) -> Amendments:
    platforms = {"debian-12": {"debian-12": 5}, "debian-13": {"debian-13": 6, "trixie": 7}}
    found = Amendments(server=Server(version=version), platforms=platforms, holders=lambda _: there or [])
    found.add(replace(WANTED, **wanted), now)  # type: ignore[arg-type]
    return found


def refused(found: Amendments) -> str:
    (problem,) = found.problems
    assert problem.where == "corrections.yml:3"
    return problem.what


def test_values_of_a_record_are_changed_together_and_those_that_are_right_are_left_alone() -> None:
    found = amended(vcpus=2, memory=4096, platform="debian-12")
    assert found.acts == [Act(method="PATCH", path=VMS, body={"id": 1, "memory": 4096, "platform": 5})]
    assert [(one.field, one.before, one.after) for one in found.writes] == [
        ("memory", 2048, 4096), ("platform", "debian-11", "debian-12"),
    ]  # fmt: skip
    assert amended(memory=2048, platform="debian-11").acts == []


@pytest.mark.parametrize(
    ("values", "other"),
    [
        ({"name": "ange-db7"}, "ange.ange-db7"),
        ({"tenant": "sundsvall"}, "sundsvall.ange-web1"),
        ({"tenant": ""}, "nobody.ange-web1"),
    ],
)
def test_a_record_that_is_another_host_by_now_is_not_corrected(values: dict[str, str], other: str) -> None:
    now = Intended(**{**vars(NOW), **values})
    assert refused(amended(now=now, memory=4096)) == f"ange.ange-web1: its record is {other} in NetBox now"
    assert amended(now=now, memory=4096).acts == []


@pytest.mark.parametrize("name", ["ANGE-web1.example.org", "two words", "web1"])
def test_a_record_whose_name_is_another_spelling_none_or_corrected_already_is_still_the_hosts(name: str) -> None:
    assert amended(now=replace(NOW, name=name), name="web1", memory=4096).problems == []


def test_a_primary_address_is_corrected_itself_or_gives_way_to_the_records_own_right_one() -> None:
    assert amended(address="192.0.2.11/24").acts == [
        Act(method="PATCH", path=ADDRESSES, body={"id": 7, "address": "192.0.2.11/24"})
    ]
    assert amended(address="192.0.2.11/24", there=[OWN]).acts == [
        Act(method="PATCH", path=VMS, body={"id": 1, "primary_ip4": 9})
    ]
    assert amended(address="192.0.2.99/24").acts == []


def test_an_address_that_another_record_has_is_refused() -> None:
    found = amended(address="192.0.2.11/24", there=[OTHERS])
    assert "NetBox has 192.0.2.11 already, on another interface (eth0)" in refused(found)
    assert found.acts == []
    assert "has no primary_ip6" in refused(amended(address6="2001:db8::1/64"))


def test_a_new_service_is_made_once_and_an_old_one_loses_its_port_or_goes() -> None:
    new = Service(name="opslab", port=8099)
    (made,) = amended(add_services=(new, Service(name="again", port=80))).acts
    assert (made.method, made.body["port_mappings"]) == ("POST", ["tcp/8099"])
    http, https = Service(name="x", port=80), Service(name="x", port=443)
    assert amended(remove_services=(http,)).acts == [
        Act(method="PATCH", path=SERVICES, body={"id": 8, "port_mappings": ["tcp/443"]})
    ]
    assert amended(remove_services=(http, https)).acts == [Act(method="DELETE", path=SERVICES, body={"id": 8})]
    assert amended(remove_services=(new,)).acts == []


@pytest.mark.parametrize(
    ("version", "parent", "ports"),
    [
        ("4.2.9", {"virtual_machine": 1}, {"protocol": "tcp", "ports": [8099]}),
        (
            "4.6.0",
            {"parent_object_type": "virtualization.virtualmachine", "parent_object_id": 1},
            {"protocol": "tcp", "ports": [8099]},
        ),
        (
            "4.7.0",
            {"parent_object_type": "virtualization.virtualmachine", "parent_object_id": 1},
            {"port_mappings": ["tcp/8099"]},
        ),
    ],
)
def test_each_version_is_told_of_a_service_in_its_own_words(
    version: str, parent: dict[str, object], ports: dict[str, object]
) -> None:
    (made,) = amended(version=version, add_services=(Service(name="opslab", port=8099),)).acts
    assert made.body == {"name": "opslab", **parent, **ports}


def test_what_netbox_could_not_take_is_refused_beforehand() -> None:
    assert "NetBox has no platform for debian-14" in refused(amended(platform="debian-14"))
    assert "NetBox has 2 platforms: debian-13, trixie for debian-13" in refused(amended(platform="debian-13"))
    assert "sum of 3 virtual disks" in refused(amended(now=replace(NOW, virtual_disks=3), disk=5))
    assert "does not show its record" in refused(amended(now=None, memory=1))
