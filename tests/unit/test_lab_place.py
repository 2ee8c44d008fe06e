"""Where everything of a lab lies, which subnet it gets, and what else on the machine is told about it."""

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.errors import LabError, UsageError
from opsctl.lab import network
from opsctl.lab.place import MOST_HOSTS, Place

names = st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True)


@given(names, st.integers(1, MOST_HOSTS))
def test_interface_names_fit_the_kernel(name: str, index: int) -> None:
    place = Place(name=name)
    assert len(place.bridge) <= 15
    assert len(place.veth(index)) <= 15
    # systemd-nspawn shortens names that do not fit, and they could not be found again
    assert place.veth(index) == f"vb-{place.machine(index)}"


@given(names, names)
def test_no_path_of_a_lab_is_another_labs(one: str, other: str) -> None:
    if one != other:
        a, b = Place(name=one), Place(name=other)
        assert not a.folder.is_relative_to(b.folder)
        assert a.lock != b.lock
        assert a.group != b.group
        assert a.lock != b.folder


@pytest.mark.parametrize("name", ["", "Demo", "1st", "a/b", "..", "a b", ".lock", "x" * 32, "demo.lock", "å"])
def test_names_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be called"):
        Place(name=name)


codes = st.integers(0, 0xFFFFFF).map(lambda number: f"{number:06x}")
networks = st.tuples(st.integers(0, 2**32 - 1), st.integers(8, 32)).map(lambda at: IPv4Network(at, strict=False))


@given(codes, st.lists(networks, max_size=12))
def test_a_chosen_subnet_overlaps_nothing_and_lies_in_the_labs_range(code: str, taken: list[IPv4Network]) -> None:
    if any(network.RANGE.subnet_of(other) for other in taken):
        return
    try:
        chosen = network.choose(code, taken)
    except LabError:
        return
    assert not any(chosen.network.overlaps(other) for other in taken)
    assert chosen.network.subnet_of(network.RANGE)
    assert network.in_range(str(chosen.network))
    assert network.in_range(str(chosen.host(MOST_HOSTS)))


def test_a_lab_keeps_its_subnet_and_two_labs_get_two() -> None:
    first = network.choose("00000a", [])
    assert first == network.choose("00000a", [IPv4Network("192.0.2.0/24"), IPv4Network("0.0.0.0/0")])
    assert network.choose("00000a", [first.network]) != first


def test_a_machine_that_uses_the_whole_range_is_told_so() -> None:
    with pytest.raises(LabError, match="is free"):
        network.choose("00000a", [IPv4Network("10.0.0.0/8")])


@pytest.mark.parametrize("place", ["192.0.2.1", "10.0.0.1", "10.192.0.1", "web1.example", "", "10.128.0.0/9", "::1"])
def test_addresses_outside_the_range_are_no_labs(place: str) -> None:
    assert not network.in_range(place)


def test_the_machines_own_network_services_are_told_to_keep_off() -> None:
    """Held by its text only: no machine with systemd-networkd or NetworkManager was at hand to try it."""
    bridge = Place(name="demo").bridge
    assert network.networkd_text(bridge) == f"[Match]\nName={bridge} vb-{bridge}n*\n[Link]\nUnmanaged=yes\n"
    assert f"match-device=interface-name:{bridge},interface-name:vb-{bridge}n*" in network.networkmanager_text(bridge)
    assert "managed=0" in network.networkmanager_text(bridge)
