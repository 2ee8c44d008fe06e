"""A host's answer is foreign text: whatever comes, a probe is made of it, and what was wrong is said."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.monitor.probe import Clock, Probe, document, parse

ANSWER: dict[str, object] = {
    "hostname": "ange-web1",
    "os": {"id": "debian", "version": "12", "codename": "bookworm", "name": "Debian GNU/Linux 12 (bookworm)"},
    "kernel": "6.1.0-26-amd64",
    "architecture": "x86_64",
    "python": "3.11.2",
    "boot_id": "cfba6510-246a-48d1-8bd1-5b3adab307e1",
    "uptime": 1366.02,
    "load": [1.28, 0.75, 0.36],
    "cpus": 2,
    "memory": {"total": 1000, "available": 250, "swap_total": 0, "swap_free": 0},
    "filesystems": [
        {"mount": "/", "device": "/dev/vda", "type": "ext4", "size": 200, "available": 50,
         "inodes": 10, "inodes_free": 1, "read_only": False},
    ],
    "system_state": "degraded",
    "failed_units": ["backup.service"],
    "units": {"ssh.service": "active", "nftables.service": "not-found"},
    "listening": [["0.0.0.0", 22], ["::1", 5432]],
    "addresses": ["192.0.2.11/24"],
    "virtualization": "kvm",
    "reboot": {"required": True, "packages": ["linux-image-amd64"]},
    "clock_synchronized": True,
    "exporter": {"port": 9100, "answers": False, "detail": "nothing listens on port 9100"},
    "updates": {"packages": ["openssl", "nginx"], "security": ["openssl"], "lists_at": 1795340705.0},
    "faults": {},
    "clock": {"began": 1000.5, "ended": 1001.0},
}  # fmt: skip


def test_a_whole_answer_becomes_a_whole_probe() -> None:
    probe = parse(ANSWER, asked=990.0, answered=992.0)
    assert (probe.hostname, probe.os_name, probe.cpus) == ("ange-web1", "Debian GNU/Linux 12 (bookworm)", 2)
    assert probe.memory is not None
    assert probe.memory.used_percent == 75.0
    assert probe.filesystems is not None
    assert (probe.filesystems[0].used_percent, probe.filesystems[0].inodes_used_percent) == (75.0, 90.0)
    assert probe.updates is not None
    assert (len(probe.updates.packages), probe.updates.security) == (2, ("openssl",))
    assert probe.updates.lists_at == datetime.fromtimestamp(1795340705, UTC)
    assert (probe.reboot_required, probe.reboot_packages) == (True, ("linux-image-amd64",))
    assert probe.listening == (("0.0.0.0", 22), ("::1", 5432))
    assert probe.faults == ()
    assert not probe.container


def test_the_clock_is_reckoned_from_four_time_stamps() -> None:
    """Asked at 990, answered at 992, and in between the host's clock said 1000.5 to 1001: 9.75 s ahead."""
    clock = parse(ANSWER, asked=990.0, answered=992.0).clock
    assert clock == Clock(offset=9.75, error=0.75, synchronized=True)
    assert clock is not None
    assert clock.surely_off == 9.0


def test_without_our_own_time_there_is_no_offset() -> None:
    assert parse(ANSWER).clock is None


@given(st.floats(-1e6, 1e6), st.floats(0, 5), st.floats(0, 5), st.floats(0, 5))
def test_the_true_offset_lies_within_the_stated_error(offset: float, out: float, work: float, back: float) -> None:
    began, ended = 1000.0 + out, 1000.0 + out + work
    answer = {"clock": {"began": began + offset, "ended": ended + offset}}
    clock = parse(answer, asked=1000.0, answered=ended + back).clock
    assert clock is not None
    assert abs(clock.offset - offset) <= clock.error + 1e-6


def test_what_the_store_keeps_reads_back_as_the_same_probe() -> None:
    probe = parse(ANSWER, asked=990.0, answered=992.0)
    assert parse(json.loads(json.dumps(document(probe)))) == probe


def test_an_empty_probe_reads_back_too() -> None:
    assert parse(json.loads(json.dumps(document(Probe())))) == Probe()


def test_a_part_that_the_host_could_not_read_is_none_and_named() -> None:
    probe = parse({**ANSWER, "memory": None, "faults": {"memory": "FileNotFoundError: /proc/meminfo"}})
    assert probe.memory is None
    assert probe.faults == ("memory: FileNotFoundError: /proc/meminfo",)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("memory", {"total": "all"}),
        ("memory", {"total": -1, "available": 0, "swap_total": 0, "swap_free": 0}),
        ("load", "high"),
        ("load", [True]),
        ("cpus", 1.5),
        ("uptime", float("nan")),
        ("filesystems", [{"mount": "/"}]),
        ("listening", [["0.0.0.0"]]),
        ("updates", {"packages": "all", "security": []}),
        ("updates", {"packages": [], "security": [], "lists_at": 1e30}),
        ("exporter", {"port": 9100, "answers": "yes", "detail": ""}),
        ("failed_units", [1]),
        ("clock", {"began": 1}),
    ],
)
def test_a_part_of_another_shape_costs_only_itself(part: str, value: object) -> None:
    probe = parse({**ANSWER, part: value}, asked=990.0, answered=992.0)
    assert probe.faults == (f"{part}: not understood",)
    assert getattr(probe, part) is None
    assert probe.hostname == "ange-web1"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@given(JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(ANSWER, JSON)))
def test_no_answer_at_all_breaks_the_reader(answer: object) -> None:
    probe = parse(answer, asked=0.0, answered=1.0)
    json.dumps(document(probe))


def test_a_container_is_known_by_its_virtualization() -> None:
    assert parse({"virtualization": "systemd-nspawn"}).container
    assert not parse({"virtualization": None}).container


@pytest.mark.parametrize("load", [[], [1.0], [1.0, 2.0, 3.0, 4.0], "123"])
def test_a_load_of_another_shape_is_a_fault_and_no_row_breaks_on_it(load: object) -> None:
    found = parse({"load": load})
    assert found.load is None
    assert found.faults == ("load: not understood",)


def test_no_text_of_a_host_brings_a_line_of_its_own() -> None:
    forged = "x\nange.ange-web2: ok\r\x85\u2028y"
    found = parse({
        "hostname": forged, "kernel": forged, "os": {"name": forged}, "failed_units": [forged],
        "units": {forged: forged}, "faults": {forged: forged},
    })  # fmt: skip
    said = repr(found).encode().decode("unicode_escape", "replace")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("port", [0, 65536, -1])
def test_what_is_no_port_costs_the_whole_listing(port: int) -> None:
    assert parse({**ANSWER, "listening": [["0.0.0.0", 80], ["0.0.0.0", port]]}).listening is None
