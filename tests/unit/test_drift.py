"""NetBox against what hosts say: every kind of difference, what is suggested, and what is not taken for agreement."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.inventory import corrections
from opsctl.inventory.intended import Intended, Primary, of_copy
from opsctl.model.host import Host, Service
from opsctl.monitor.probe import Disk, Memory, Probe, parse
from opsctl.overview.drift import PARTS, compare, suggestions

GIB = 1 << 30
WEB = Host(
    name="ange-web1", tenant="ange", address="192.0.2.11", role="web", platform="debian-12", record="virtual-machine/1",
)  # fmt: skip
RAM = Memory(total=2 * GIB - 90_000_000, available=1, swap_total=0, swap_free=0, installed=2 * GIB)
AGREES = Probe(
    hostname="ange-web1", os_id="debian", os_version="12", cpus=2, memory=RAM, disks=(Disk(name="vda", size=10 * GIB),),
    listening=(("0.0.0.0", 80), ("0.0.0.0", 22), ("127.0.0.1", 9999), ("::ffff:127.0.0.1", 9998), ("::", 9100)),
    addresses=("192.0.2.11/24",),
)  # fmt: skip
INTENDED = Intended(
    record="virtual-machine/1", name="Ange-Web1.ange.example", platform="debian-12", vcpus=2.0, memory=2048, disk=10240,
    address4=Primary(id=7, address="192.0.2.11"), services=(Service(name="http", port=80),),
)  # fmt: skip


def whats(intended: Intended | None, probe: Probe, host: Host = WEB) -> list[str]:
    return [one.what for one in compare(host, intended, probe).differences]


def reasons(intended: Intended | None, probe: Probe, host: Host = WEB) -> dict[str, str]:
    return {one.what: one.why for one in compare(host, intended, probe).uncompared}


def test_a_host_that_is_as_netbox_says_has_no_drift_and_nothing_is_left_uncompared() -> None:
    assert whats(INTENDED, AGREES) == []
    assert reasons(INTENDED, AGREES) == {}


def test_every_kind_of_drift_is_told_and_what_netbox_can_be_told_is_suggested() -> None:
    other = replace(
        AGREES, hostname="web-old", os_version="11", cpus=4, memory=replace(RAM, installed=4 * GIB),
        disks=(Disk(name="vda", size=10 * GIB), Disk(name="vdb", size=30 * GIB)),
        listening=(("0.0.0.0", 22), ("192.0.2.11", 8080)), addresses=("192.0.2.12/24",),
    )  # fmt: skip
    found = compare(WEB, INTENDED, other).differences
    assert [(one.what, one.netbox, one.found) for one in found] == [
        ("name", "Ange-Web1.ange.example", "web-old"),
        ("os_release", "debian-12", "debian-11"),
        ("CPUs", "2", "4"),
        ("memory", "2048 MB", "4096 MB"),
        ("disks", "10240 MB", "42950 MB"),
        ("addresses", "192.0.2.11", "192.0.2.12"),
        ("services", "http tcp/80", "nothing listens"),
        ("services", "-", "tcp/8080 listens"),
    ]
    assert [(one.field, one.value, bool(one.doubt)) for one in suggestions(found)] == [
        ("name", "web-old", True),
        ("platform", "debian-11", False),
        ("vcpus", 4, False),
        ("memory", 4096, False),
        ("disk", 42950, False),
        ("address", "192.0.2.12/24", False),
        ("remove_services", "http tcp/80", True),
        ("add_services", "tcp-8080 tcp/8080", False),
    ]


@pytest.mark.parametrize("memory", [2000, 2048, 2147])
def test_netboxs_megabytes_may_be_meant_either_way(memory: int) -> None:
    assert whats(replace(INTENDED, memory=memory), AGREES) == []


def test_an_older_kernel_that_does_not_tell_what_is_installed_is_given_its_own_share() -> None:
    assert whats(INTENDED, replace(AGREES, memory=replace(RAM, installed=None))) == []


def test_a_platform_may_leave_the_minor_version_open() -> None:
    rocky = replace(AGREES, os_id="rhel", os_version="9.4")
    assert whats(replace(INTENDED, platform="rhel-9"), rocky) == []
    assert whats(replace(INTENDED, platform="rhel-9.3"), rocky) == ["os_release"]


def test_a_container_has_no_disks_of_its_own_and_the_memory_of_its_limit() -> None:
    inside = replace(AGREES, virtualization="systemd-nspawn", disks=(Disk(name="sda", size=900 * GIB),),
                     memory=replace(RAM, total=64 * GIB, installed=64 * GIB, limit=2 * GIB))  # fmt: skip
    assert whats(INTENDED, inside) == []
    assert reasons(INTENDED, inside) == {"disks": "a container has no disks of its own"}
    unlimited = replace(inside, memory=replace(RAM, total=64 * GIB, installed=64 * GIB))
    assert whats(INTENDED, unlimited) == ["memory"]


def test_what_a_host_could_not_tell_is_no_drift_and_is_said() -> None:
    assert whats(INTENDED, Probe()) == []
    assert set(reasons(INTENDED, Probe()).values()) == {"the host could not tell"}
    assert tuple(reasons(INTENDED, Probe())) == PARTS


def test_what_netbox_does_not_say_is_not_taken_for_right() -> None:
    nothing = Intended(record="virtual-machine/1", name="ange-web1")
    assert reasons(nothing, AGREES) == {
        "os_release": "NetBox gives no platform",
        "CPUs": "NetBox gives no value",
        "memory": "NetBox gives no value",
        "disks": "NetBox gives no value",
        "addresses": "NetBox gives no primary address",
    }


def test_a_device_has_no_sizes_in_netbox() -> None:
    found = reasons(replace(INTENDED, record="device/1", vcpus=None, memory=None, disk=None), AGREES)
    assert found == dict.fromkeys(("CPUs", "memory", "disks"), "NetBox has no such value for devices")


def test_a_record_that_netbox_does_not_show_leaves_every_part_uncompared() -> None:
    assert whats(None, AGREES) == []
    assert tuple(reasons(None, AGREES)) == PARTS
    assert "virtual-machine/1" in reasons(None, AGREES)["name"]


def test_a_host_without_a_record_is_compared_with_our_own_copy() -> None:
    own = replace(WEB, record="", platform="debian-13", services=(Service(name="web", port=80),))
    assert whats(of_copy(own), AGREES, own) == ["os_release"]
    assert reasons(of_copy(own), AGREES, own)["memory"] == "the inventory holds no sizes"
    six = replace(own, address="2001:db8::1")
    assert "addresses" in whats(of_copy(six), AGREES, six)


def test_services_on_udp_are_said_to_be_uncompared() -> None:
    with_dns = replace(INTENDED, services=(*INTENDED.services, Service(name="dns", port=53, protocol="udp")))
    assert whats(with_dns, AGREES) == []
    assert reasons(with_dns, AGREES) == {"services": "only TCP is compared, not udp/53"}


def test_a_host_with_several_addresses_is_corrected_to_the_one_that_reached_it_or_to_none() -> None:
    several = replace(AGREES, addresses=("172.17.0.1/16", "192.0.2.11/24", "2001:db8::9/64"))
    wrong = replace(INTENDED, address4=Primary(id=7, address="192.0.2.99"))
    (found,) = compare(WEB, wrong, several).differences
    assert found.found == "172.17.0.1, 192.0.2.11"
    assert found.suggestion is not None
    assert found.suggestion.value == "192.0.2.11/24"
    (unsure,) = compare(replace(WEB, address="198.51.100.1"), wrong, several).differences
    assert unsure.suggestion is None


def test_a_disk_that_is_a_sum_of_virtual_disks_is_not_corrected_as_a_whole() -> None:
    (found,) = compare(WEB, replace(INTENDED, disk=90_000, virtual_disks=2), AGREES).differences
    assert "2 virtual disks" in found.netbox
    assert found.suggestion is None


@given(st.recursive(st.none() | st.integers() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=3)))
def test_no_answer_of_a_host_makes_the_comparison_stumble(value: object) -> None:
    names = ("hostname", "cpus", "memory", "disks", "addresses", "listening", "os")
    compare(WEB, INTENDED, parse(dict.fromkeys(names, value)))


@pytest.mark.parametrize(
    "address", ["127.0.0.1/8", "169.254.0.9/16", "::1/128", "fe80::1/64", "fe80::1%a\n  - host: b/64", "ff02::1/64"]
)
def test_an_address_that_no_other_machine_reaches_is_never_suggested(address: str) -> None:
    field = "address6" if ":" in address else "address4"
    meant = Intended(record=WEB.record, name=WEB.name, **{field: Primary(id=7, address="2001:db8::1")})  # type: ignore[arg-type]
    found = compare(WEB, meant, replace(AGREES, addresses=(address,))).differences
    assert [one.what for one in found if one.what == "addresses"] == ["addresses"]
    assert not [one for one in suggestions(found) if one.field.startswith("address")]


def test_what_a_host_boasts_of_is_told_and_never_makes_the_file_for_review_unusable(tmp_path: Path) -> None:
    much = 10**18
    boasts = replace(
        AGREES, cpus=much, memory=replace(RAM, installed=much), disks=(Disk(name="a", size=much),),
        addresses=("192.0.2.12/24",),
    )  # fmt: skip
    found = compare(WEB, INTENDED, boasts).differences
    assert [one.what for one in found] == ["CPUs", "memory", "disks", "addresses"]
    file = tmp_path / "corrections.yml"
    file.write_text(corrections.text(suggestions(found)))
    (read,) = corrections.read(file, [WEB])
    assert (read.vcpus, read.memory, read.disk, read.address) == (None, None, None, "192.0.2.12/24")
