"""Corrections for NetBox: a file that a person reviews, read back with the line of every fault."""

from pathlib import Path

import pytest

from opsctl.errors import ConfigError
from opsctl.inventory.corrections import Correction, Suggestion, read, text
from opsctl.inventory.push import same
from opsctl.model.host import Host, Service

KEY = "ange.ange-web1"
WEB = Host(
    name="ange-web1", tenant="ange", address="192.0.2.11", role="web", platform="debian-12", record="virtual-machine/1"
)
METAL = Host(name="metal", tenant="ange", address="192.0.2.12", role="web", platform="debian-12", record="device/1")
SUGGESTED = (
    Suggestion(host=KEY, field="name", value="web-old", before="ange-web1\nx", doubt="is the host's own name right?"),
    Suggestion(host=KEY, field="memory", value=4096, before="2048 MB"),
    Suggestion(host=KEY, field="address", value="192.0.2.12/24", before="192.0.2.99"),
    Suggestion(host=KEY, field="platform", value="debian-12", before="debian-11"),
    Suggestion(host=KEY, field="add_services", value="tcp-8099 tcp/8099"),
    Suggestion(host=KEY, field="remove_services", value="Mail In tcp/25", before="x", doubt="is it only down?"),
)


def written(folder: Path, content: str) -> Path:
    path = folder / "corrections.yml"
    path.write_text(content, encoding="utf-8")
    return path


def test_suggestions_are_read_back_and_what_is_in_doubt_only_when_a_person_takes_the_marks_away(tmp_path: Path) -> None:
    content = text(SUGGESTED)
    (found,) = read(written(tmp_path, content), [WEB])
    assert (found.memory, found.address, found.platform) == (4096, "192.0.2.12/24", "debian-12")
    assert found.add_services == (Service(name="tcp-8099", port=8099),)
    assert (found.name, found.remove_services) == ("", ())
    assert "# name: web-old  # NetBox: ange-web1\\nx; is the host's own name right?\n" in content
    reviewed = content.replace("    # ", "    ")
    (agreed,) = read(written(tmp_path, reviewed), [WEB])
    assert agreed.name == "web-old"
    assert agreed.remove_services == (Service(name="Mail In", port=25),)


def test_no_suggestions_are_an_empty_file(tmp_path: Path) -> None:
    assert read(written(tmp_path, text(())), [WEB]) == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("memory: lots", "'lots' is not allowed (a whole number from 1"),
        ("memory: 0", "'0' is not allowed"),
        ("vcpus: [1]", "vcpus is not a single value"),
        ("tenant: 1", "tenant is not corrected by opsctl"),
        ("address: 192.0.2.12", "an IPv4 address with its prefix"),
        ("address: 2001:db8::1/64", "an IPv4 address with its prefix"),
        ("address: 127.0.0.1/8", "is a loopback address"),
        ("address6: fe80::1/64", "is a link-local address"),
        ("address6: 'fe80::1%eth0/64'", "names an interface"),
        ("address6: 192.0.2.12/24", "an IPv6 address with its prefix"),
        ("platform: Debian 12", "FAMILY-VERSION"),
        ('name: "{{ x }}"', "letters, digits, dots and hyphens"),
        ("add_services: [http tcp/99999]", "NAME tcp/PORT"),
        ("add_services: http", "not a list"),
    ],
)
def test_a_fault_is_told_with_its_line_and_nothing_is_applied(tmp_path: Path, line: str, said: str) -> None:
    path = written(tmp_path, f"version: 1\nhosts:\n  - host: {KEY}\n    {line}\n")
    with pytest.raises(ConfigError) as caught:
        read(path, [WEB])
    (problem,) = caught.value.problems
    assert problem.where == f"{path}:4"
    assert said in str(problem)


def test_hosts_that_are_unknown_or_there_twice_and_sizes_of_devices_are_refused(tmp_path: Path) -> None:
    entries = "".join(f"  - {{host: {key}, memory: 1}}\n" for key in (KEY, KEY, "ange.nobody", METAL.key))
    with pytest.raises(ConfigError) as caught:
        read(written(tmp_path, f"version: 1\nhosts:\n{entries}"), [WEB, METAL])
    said = [one.what for one in caught.value.problems]
    assert said == [
        f"{KEY} is there twice",
        "ange.nobody is no host that comes from NetBox, or none of the selected ones",
        "memory is not corrected by opsctl",
    ]


def test_a_correction_without_values_asks_for_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, f"version: 1\nhosts:\n  - host: {KEY}\n")
    assert read(path, [WEB]) == (Correction(host=KEY, where=f"{path}:3"),)


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
