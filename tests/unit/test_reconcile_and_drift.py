"""The inventory against other lists, NetBox against the hosts themselves, and corrections that a person reviews."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.errors import ConfigError, SetupError
from opsctl.inventory import corrections
from opsctl.inventory.push import Intended, same
from opsctl.inventory.reconcile import read, reconcile
from opsctl.model.host import Host, Quarantined, Service
from opsctl.monitor.probe import Filesystem, Memory, Probe
from opsctl.overview.drift import differences, suggestions

WEB = Host(
    name="ange-web1", tenant="ange", address="192.0.2.11", role="web", platform="debian-12",
    services=(Service(name="web", port=80), Service(name="dns", port=53, protocol="udp")),
)  # fmt: skip
DATABASE = Host(name="ange-db1", tenant="ange", address="192.0.2.21", role="database", platform="debian-12")
AGREES = Probe(
    hostname="ange-web1", os_id="debian", os_version="12", cpus=2, memory=Memory(
        total=2_000_000_000, available=1, swap_total=0, swap_free=0
    ),
    filesystems=(Filesystem(mount="/", type="ext4", size=9_000_000_000, available=1, inodes=1, inodes_free=1,
                            read_only=False),),
    listening=(("0.0.0.0", 80), ("0.0.0.0", 22), ("127.0.0.1", 9999)), addresses=("192.0.2.11/24",),
)  # fmt: skip
INTENDED = Intended(name="ange-web1", vcpus=2.0, memory=2048, disk=10_000)


def test_machines_that_are_in_no_inventory_and_hosts_that_nobody_lists_are_found() -> None:
    machines = read("Name,IP\nange-web1.ange.example,\nold,192.0.2.21\nforgotten,192.0.2.99\nväxjö,\n", "list.csv")
    aside = [Quarantined(tenant="ange", record="virtual-machine/9", reason="characters", name="Växjö")]
    found = reconcile(machines, [WEB, DATABASE, Host(**{**vars(WEB), "name": "lost", "address": ""})], aside)
    assert [(m.line, m.name) for m in found.unlisted] == [(4, "forgotten")]
    assert [m.name for m in found.quarantined] == ["växjö"]
    assert [host.name for host in found.unseen] == ["lost"]
    assert found.both == 2


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "name\n", "name\n\n,\n"])
def test_a_list_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SetupError):
        read(text, "list.csv")


def test_a_spreadsheets_semicolons_and_mark_are_read() -> None:
    assert read("\ufeffhostname;address\nange-web1;192.0.2.11/24\n", "x")[0].address == "192.0.2.11"


@given(st.text())
def test_no_text_at_all_makes_the_reader_stumble(text: str) -> None:
    with contextlib.suppress(SetupError):
        read(text, "list.csv")


def test_a_host_that_is_as_netbox_says_has_no_drift() -> None:
    assert differences(WEB, INTENDED, AGREES) == ()


def test_every_kind_of_drift_is_told_and_what_netbox_can_be_told_is_suggested() -> None:
    other = Probe(
        hostname="web-old", os_id="debian", os_version="11", cpus=4, memory=Memory(
            total=4_000_000_000, available=1, swap_total=0, swap_free=0
        ),
        filesystems=(Filesystem(mount="/", type="ext4", size=40_000_000_000, available=1, inodes=1, inodes_free=1,
                                read_only=False),),
        listening=(("0.0.0.0", 8080),), addresses=("192.0.2.12/24",),
    )  # fmt: skip
    found = differences(WEB, INTENDED, other)
    assert [one.what for one in found] == [
        "name", "os_release", "CPUs", "memory", "disk", "address", "service", "service",
    ]  # fmt: skip
    assert suggestions(found) == {"ange.ange-web1": {"vcpus": 4, "memory": 4000, "disk": 40000}}


def test_what_a_host_could_not_tell_is_no_drift() -> None:
    assert differences(WEB, INTENDED, Probe()) == ()


def test_corrections_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    wanted: dict[str, dict[str, str | int | None]] = {"ange.ange-web1": {"vcpus": 4, "name": "web:1 #x", "disk": 40000}}
    path = tmp_path / "corrections.yml"
    path.write_text(corrections.text(wanted))
    assert corrections.read(path) == wanted
    path.write_text("version: 1\nhosts:\n  - host: a\n    vcpus: [1]\n  - {host: a, more: 1}\nx: 1\n")
    with pytest.raises(ConfigError) as caught:
        corrections.read(path)
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("before", "after", "equal"),
    [
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00+00:00", True),
        ("2026-11-22T10:00:00.500Z", "2026-11-22T10:00:00Z", True),
        ("2026-11-22T10:00:01Z", "2026-11-22T10:00:00Z", False),
        (None, "x", False), (3, 3, True), ("debian", "debian 12", False),
    ],
)  # fmt: skip
def test_a_time_is_the_same_however_it_is_written(before: object, after: object, equal: bool) -> None:
    assert same(before, after) is equal
