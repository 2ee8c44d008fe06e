"""The emitter of hosts.yml against PyYAML and against our own reader."""

import tempfile
import unicodedata
from dataclasses import fields, replace
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from opsctl.documents import Problems
from opsctl.inventory import emit
from opsctl.inventory.hostfile import read_hosts
from opsctl.inventory.mapping import visible
from opsctl.inventory.record import canonical
from opsctl.inventory.words import sound
from opsctl.model.host import Host, Service

NAMES = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True).filter(
    lambda name: name not in {"all", "any", "none", "self", "default", "localhost", "ungrouped", "example"}
)
TEXTS = st.text(max_size=30).map(lambda text: unicodedata.normalize("NFC", text)).filter(sound)
SERVICES = st.builds(
    Service,
    name=NAMES,
    port=st.integers(1, 65535),
    protocol=st.sampled_from(["tcp", "udp"]),
    serves=st.lists(NAMES, unique=True, max_size=2).map(lambda names: tuple(sorted(names))),
    url=st.sampled_from(["", "http://ange.example/", "https://ange.example/?a=[1]&b={2}#c, d: e".replace(" ", "")]),
)
OBJECTS = st.just("") | st.dictionaries(st.text(), st.text() | st.integers() | st.none(), min_size=1, max_size=3).map(
    lambda found: visible(canonical(found))
)
HOSTS = st.builds(
    Host,
    name=NAMES,
    tenant=st.just("ange"),
    address=st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)),
    role=NAMES,
    platform=st.sampled_from(["debian-12", "ubuntu-24.04", "rhel-9.4", "1e3", "0x1f", "1-2"]),
    port=st.integers(1, 65535),
    ring=NAMES,
    organisation=NAMES | st.just(""),
    site=NAMES | st.just(""),
    cluster=NAMES | st.just(""),
    windows=st.lists(NAMES, unique=True, max_size=3).map(lambda names: tuple(sorted(names))),
    owner=TEXTS,
    criticality=st.sampled_from(["low", "normal", "high", "critical"]),
    services=st.lists(SERVICES, max_size=3, unique_by=lambda s: (s.name, s.port, s.protocol)).map(
        lambda services: tuple(sorted(services, key=lambda s: (s.name, s.port, s.protocol)))
    ),
    reboot=st.sampled_from(["", "never", "always"]),
    balancer=NAMES | st.sampled_from(["", "none"]),
    jump=NAMES | st.just("") | NAMES.map(lambda name: f"sundsvall.{name}".replace("--", "-")),
    status=st.sampled_from(["active", "planned", "offline"]),
    address6=st.just("") | st.just("2001:db8::1"),
    region=NAMES | st.just(""),
    vm_cluster=TEXTS,
    tags=st.lists(TEXTS, max_size=3).map(lambda tags: tuple(sorted(tags))),
    custom=OBJECTS,
    context=OBJECTS,
    record=st.integers(1, 9999).map(lambda number: f"virtual-machine/{number}"),
    stale=TEXTS,
)
DEFAULTS = {field.name: field.default for field in fields(Host)}


@given(st.text())
def test_pyyaml_reads_every_text_back_as_it_was(text: str) -> None:
    written = emit.scalar(text)
    read = yaml.safe_load(f"value: {written}\nlist: [{written}]\nmap: {{a: {written}}}\n")
    assert read == {"value": text, "list": [text], "map": {"a": text}}


@given(st.lists(HOSTS, max_size=6, unique_by=lambda host: host.name))
def test_pyyaml_reads_every_host_back_as_it_was(hosts: list[Host]) -> None:
    read = yaml.safe_load(emit.hosts_file("ange", hosts))
    assert read["version"] == 1
    assert read["tenant"] == "ange"
    expected = sorted(hosts, key=lambda host: host.name)
    assert [item["name"] for item in read["hosts"]] == [host.name for host in expected]
    for item, host in zip(read["hosts"], expected, strict=True):
        for name, default in DEFAULTS.items():
            value = getattr(host, name)
            if name == "services":
                assert [
                    Service(**{**entry, "serves": tuple(entry.get("serves", ()))}) for entry in item.get(name, [])
                ] == list(value)
            elif name in ("windows", "tags"):
                assert item.get(name, []) == list(value)
            elif name != "tenant":
                assert item.get(name, default) == value


@given(
    st.lists(HOSTS.map(lambda host: replace(host, address="192.0.2.1")), max_size=6, unique_by=lambda host: host.name)
)
def test_our_reader_takes_what_the_emitter_wrote_and_the_order_does_not_matter(hosts: list[Host]) -> None:
    text = emit.hosts_file("ange", hosts)
    assert text == emit.hosts_file("ange", hosts[::-1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hosts.yml"
        path.write_text(text, encoding="utf-8")
        problems = Problems()
        found = [located.host for located in read_hosts(path, "ange", problems)]
    assert problems.found == []
    assert found == sorted(hosts, key=lambda host: host.name)
