"""From NetBox's records to hosts: the mapping, what it refuses, and what stays as it was."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.config import BY_NAME
from opsctl.documents import Problems
from opsctl.errors import ConfigError
from opsctl.inventory.emit import hosts_file
from opsctl.inventory.hostfile import HostFile, read_file
from opsctl.inventory.mapping import Unusable, host_name, to_host
from opsctl.inventory.quarantine import Sorted, sort_out
from opsctl.inventory.record import (
    Malformed,
    Port,
    Ports,
    Record,
    ServiceRecord,
    Texts,
    ports_of,
    read_record,
    read_service,
)
from opsctl.inventory.rules import MAPPED, Rules, rules
from opsctl.inventory.take import refuse_missing_fields
from opsctl.model.host import Host, Organisation, Site, Tenant, Window
from tests.netbox.played import recorded_rows

RINGS = ("canary", "early", "broad", "last")
WINDOWS = tuple(Window(name=name, days=("mon",), start="22:00", end="23:00") for name in ("nights", "sundays"))
TENANTS = (
    Tenant(
        name="ange",
        title="Ånge",
        rings=RINGS,
        windows=WINDOWS,
        organisations=(Organisation(name="skola", title="Skolan"),),
    ),
    Tenant(
        name="sundsvall",
        title="Sundsvall",
        rings=RINGS,
        windows=WINDOWS,
    ),
)
LISTS: dict[str, Sequence[str]] = {
    "statuses": ("active", "planned", "staged", "offline", "failed", "paused"),
    "tenants": (),
    "translate": ("ring:0=canary", "ring:1=early", "ring:2=broad", "ring:3=last", "windows:wed 22:00-01:00=nights",
                  "windows:sun 01:00-06:00=sundays", "windows:tue 02:00-05:00=nights"),
}  # fmt: skip
TEXTS = {
    "ring": "tag:patch-ring-", "windows": "field:maintenance_window", "owner": "field:service_owner",
    "criticality": "field:criticality", "cluster": "", "jump": "", "port": "",
    "reboot": "", "balancer": "", "serves": "", "prefer": "ipv4",
}  # fmt: skip
REGIONS = {"sdl-dc1": "region-sundsvall", "ange-kh": "region-ange"}


def chosen(lists: dict[str, Sequence[str]] | None = None, **texts: str) -> Rules:
    return rules({**TEXTS, **texts}, {**LISTS, **(lists or {})})


def record(**values: object) -> Record:
    plain = Record(
        kind="virtual-machine", id=1, name="ange-web1", status="active", tenant="ange", site="ange-kh", role="web",
        platform="debian-12", fields={}, address4="192.0.2.1",
    )  # fmt: skip
    return replace(plain, **values)  # type: ignore[arg-type] # a test's own choice of fields


def host(found: Record, rules_: Rules | None = None, ports: Sequence[Port] = ()) -> Host:
    return to_host(found, ports, rules_ or chosen(), {tenant.name: tenant for tenant in TENANTS}, REGIONS)


def recorded() -> list[Record]:
    texts = Texts()
    records = [read_record("device", row, texts) for row in recorded_rows("dcim/devices")]
    records += [read_record("virtual-machine", row, texts) for row in recorded_rows("virtualization/virtual-machines")]
    return records


def recorded_ports() -> Ports:
    return ports_of(found for row in recorded_rows("ipam/services") if (found := read_service(row)))


def sorted_out(
    records: Sequence[Record], before: Sequence[Host] = (), others: Sequence[Host] = (), ports: Ports | None = None
) -> Sorted:
    address = "https://netbox.example"
    return sort_out(records, ports or {}, chosen(), TENANTS, REGIONS, before=before, others=others, address=address)


def test_the_recorded_fleet_gives_its_ordinary_hosts_and_puts_every_odd_record_aside() -> None:
    found = sorted_out(recorded(), ports=recorded_ports())
    by_name = {host.name: host for host in found.hosts}
    assert len(found.hosts) + len(found.quarantined) + sum(found.left_out.values()) == 59
    kinds = ("file", "dc", "web", "app", "db", "monitoring", "hw")
    ordinary = [name for name in by_name if name[4:].split("-")[0] in kinds]
    assert len(ordinary) == 28
    assert set(by_name) - set(ordinary) == {"sdl-v6-01", "sdl-dual-01"}
    app = by_name["sdl-app-00005"]
    assert (app.ring, app.criticality, app.owner) == ("last", "critical", "förvaltning@ange.example")
    assert (app.vm_cluster, app.region, app.record) == ("sdl-pve-01", "region-sundsvall", "virtual-machine/6")
    assert json.loads(app.context)["kommun"] == "Sundsvall"
    assert by_name["sdl-web-00002"].windows == ("nights",)
    assert not by_name["sdl-web-00002"].managed, "Windows is shown, never managed"
    assert by_name["sdl-dual-01"].address == "10.98.0.10"
    assert by_name["sdl-dual-01"].address6 == "2001:db8:20::11"
    assert by_name["sdl-web-00006"].platform == "ubuntu-22.04"


def test_every_odd_record_says_why_with_its_id_and_link() -> None:
    reasons = {one.record: one for one in sorted_out(recorded()).quarantined}
    for number, reason in {
        25: "no primary address", 26: "characters", 27: "no primary address", 31: "no tenant", 32: "characters",
        33: "characters", 34: "characters", 35: "characters", 36: "characters", 37: "characters", 40: "characters",
        41: "characters", 42: "reserved word", 43: "reserved word", 44: "characters", 45: "characters",
        46: "characters", 47: "characters", 48: "characters", 52: "is a loopback address",
        53: "is a link-local address",
    }.items():  # fmt: skip
        assert reason in reasons[f"virtual-machine/{number}"].reason, number
    assert reasons["device/5"].reason == "no name"
    assert reasons["virtual-machine/42"].link == "https://netbox.example/virtualization/virtual-machines/42/"
    assert reasons["virtual-machine/31"].tenant == ""


@pytest.mark.parametrize(
    ("given_", "name"),
    [("Ange-WEB1", "ange-web1"), ("web1.ange.example", "web1"), ("a" * 63, "a" * 63), ("1", "1")],
)
def test_a_name_has_one_normal_form(given_: str, name: str) -> None:
    assert host_name(given_) == name


@pytest.mark.parametrize(
    "given_", ["", " ", " web1", "web_1", "-oProxyCommand=id", "all", "ALL", "none", "localhost.localdomain", "a" * 64,
               "web1\n", "web..1", "väg1", "web[1:3]", "../web", "{{ x }}", "web1.{{ x }}"],
)  # fmt: skip
def test_a_name_that_could_mean_something_else_is_refused(given_: str) -> None:
    with pytest.raises(Unusable):
        host_name(given_)


@given(st.text())
def test_whatever_a_name_is_it_becomes_a_plain_one_or_is_refused(text: str) -> None:
    try:
        name = host_name(text)
    except Unusable:
        return
    assert name.isascii()
    assert name.replace("-", "a").isalnum()
    assert not name.startswith("-")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"tenant": ""}, "no tenant"),
        ({"tenant": "bollnas"}, "unknown tenant 'bollnas'"),
        ({"role": ""}, "no role"),
        ({"role": "web server"}, "role 'web server' cannot be a name"),
        ({"site": "all"}, "site 'all' cannot be a name"),
        ({"platform": "-debian"}, "is not FAMILY-VERSION"),
        ({"status": "gone"}, "status 'gone' is not known"),
        ({"address4": ""}, "no primary address"),
        ({"address4": "127.0.0.2"}, "is a loopback address"),
        ({"address6": "fe80::1"}, "is a link-local address"),
        ({"address4": "192.0.2.1; id"}, "is not an IP address"),
        ({"tags": ("patch-ring-9",)}, "ring '9' is not known"),
        ({"tags": ("patch-ring-0", "patch-ring-1")}, "ring is given 2 times: 0, 1"),
        ({"fields": {"maintenance_window": "at noon"}}, "window 'at noon' is not known"),
        ({"fields": {"criticality": "huge"}}, "criticality 'huge' is not known"),
        ({"fields": {"service_owner": "\x1b[31mred"}}, "owner holds control characters"),
        ({"cluster": "a\u202eb"}, "cluster's name holds control characters"),
    ],
)
def test_a_record_that_cannot_be_used_says_why(values: dict[str, object], reason: str) -> None:
    with pytest.raises(Unusable) as caught:
        host(record(**values))
    assert reason in str(caught.value)


def test_what_opsctl_does_not_manage_needs_no_address() -> None:
    assert host(record(address4="", platform="windows-2022")).address == ""
    assert host(record(address4="", status="planned")).address == ""
    assert not host(record(platform="")).managed


def test_a_tenant_of_netbox_may_be_an_administration_of_ours() -> None:
    rules_ = chosen({"tenants": ("ange=ange", "ange-skola=ange/skola")})
    assert host(record(tenant="ange-skola"), rules_).organisation == "skola"
    assert rules_.slugs(["ange"]) == ("ange", "ange-skola")
    with pytest.raises(Unusable, match="unknown tenant 'sundsvall'"):
        host(record(tenant="sundsvall"), rules_)


def test_how_a_host_is_connected_to_comes_from_netbox_only_where_opsctl_yml_says_so() -> None:
    hostile = {"ansible_connection": "local", "ansible_ssh_common_args": "-oProxyCommand=id", "jump": "x", "port": 1}
    found = host(record(context=json.dumps(hostile), fields={**hostile, "opsctl_last_seen": "2026"}))
    assert (found.port, found.jump) == (22, "")
    assert json.loads(found.custom) == hostile, "kept as data, ours left out"


TUNNELLED = chosen(jump="field:jump", port="field:ssh_port")


def test_port_and_jump_host_come_from_where_the_mapping_says() -> None:
    found = host(record(fields={"jump": "ange.bastion", "ssh_port": 2222}), TUNNELLED)
    assert (found.jump, found.port, found.custom) == ("bastion", 2222, "")
    translated = chosen({"translate": ("jump:ange-kh=bastion",)}, jump="site")
    assert host(record(), translated).jump == "bastion"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ssh_port": "22 -oProxyCommand=id"}, "is not a port"),
        ({"ssh_port": 65536}, "is not a port"),
        ({"ssh_port": True}, "is not a port"),
        ({"ssh_port": "٢٢"}, "is not a port"),
        ({"jump": "-oProxyCommand=id"}, "is not a host's name"),
        ({"jump": "root@bastion"}, "is not a host's name"),
        ({"jump": "a,b"}, "is not a host's name"),
        ({"jump": ["a", "b"]}, "jump is given 2 times"),
        ({"jump": "sundsvall.bastion"}, "another tenant's host"),
    ],
)
def test_a_port_or_jump_host_that_is_none_is_no_connection_option(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        host(record(fields=fields), TUNNELLED)


HANDLED = chosen({"translate": ("reboot:no=never",)}, reboot="tag:reboot-", balancer="field:lb")


def test_how_a_host_is_handled_in_a_rollout_comes_from_where_the_mapping_says() -> None:
    found = host(record(tags=("reboot-always", "other"), fields={"lb": "Ange-LB1"}), HANDLED)
    assert (found.reboot, found.balancer, found.custom) == ("always", "ange-lb1", "")
    assert host(record(tags=("reboot-no",)), HANDLED).reboot == "never"
    unmapped = host(record(tags=("reboot-always",), fields={"lb": "ange-lb1"}))
    assert (unmapped.reboot, unmapped.balancer) == ("", "")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"tags": ("reboot-sometimes",)}, "reboot 'sometimes' is not known"),
        ({"tags": ("reboot-always", "reboot-never")}, "reboot is given 2 times"),
        ({"fields": {"lb": "$(id)"}}, "balancer .* cannot be a name"),
    ],
)
def test_a_word_for_handling_that_means_nothing_is_never_guessed_at(values: dict[str, object], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        host(record(**values), HANDLED)


def test_a_host_whose_load_balancer_is_not_there_is_put_aside_before_it_is_changed_undrained() -> None:
    records = [
        record(id=1, name="lb1", role="loadbalancer", address4="192.0.2.1"),
        record(id=2, name="good", address4="192.0.2.2", fields={"lb": "lb1"}),
        record(id=3, name="alone", address4="192.0.2.3", fields={"lb": "none"}),
        record(id=4, name="lost", address4="192.0.2.4", fields={"lb": "gone"}),
        record(id=5, name="wrong", address4="192.0.2.5", fields={"lb": "good"}),
    ]
    found = sort_out(records, {}, HANDLED, TENANTS, REGIONS)
    assert {one.name: one.balancer for one in found.hosts} == {"lb1": "", "good": "lb1", "alone": "none"}
    reasons = {one.name: one.reason for one in found.quarantined}
    assert reasons["lost"] == "balancer 'gone': ange has no host of this name and role loadbalancer"
    assert reasons.keys() == {"lost", "wrong"}


def through(name: str, jump: str, number: int) -> Record:
    return record(id=number, name=name, address4=f"192.0.2.{number}", fields={"jump": jump} if jump else {})


def ways(records: Sequence[Record], before: Sequence[Host] = ()) -> Sorted:
    return sort_out(records, {}, TUNNELLED, TENANTS, REGIONS, before=before)


def test_a_way_that_leads_nowhere_or_round_puts_aside_its_hosts_and_those_behind_them() -> None:
    found = ways([
        through("bastion", "", 1), through("inner", "bastion", 2), through("lost", "nobody", 3),
        through("behind", "lost", 4), through("one", "two", 5), through("two", "one", 6), through("own", "own", 7),
        record(id=8, name="elsewhere", tenant="sundsvall", address4="192.0.2.8"), through("over", "elsewhere", 9),
    ])  # fmt: skip
    assert {one.name for one in found.hosts} == {"bastion", "inner", "elsewhere"}
    reasons = {one.name: one.reason for one in found.quarantined}
    assert reasons["lost"] == "jump 'nobody': there is no host ange.nobody"
    assert reasons["behind"] == "jump lost: no host is called 'nobody'"
    assert "circle" in reasons["one"] + reasons["two"]
    assert "there is no host ange.elsewhere" in reasons["over"], "another tenant's host is no way by its bare name"


def test_another_tenants_jump_host_is_a_way_where_tenant_yml_says_so() -> None:
    tenants = (replace(TENANTS[0], sites=(Site(name="ange-kh", jump="sundsvall.bastion"),)), TENANTS[1])
    records = [
        record(id=1, name="bastion", tenant="sundsvall", site="sdl-dc1", address4="192.0.2.1"),
        through("web1", "sundsvall.bastion", 2),
    ]
    found = sort_out(records, {}, TUNNELLED, tenants, REGIONS)
    assert {one.name: one.jump for one in found.hosts} == {"bastion": "", "web1": "sundsvall.bastion"}


def test_a_host_whose_jump_host_turns_bad_stays_as_it_was_and_one_whose_jump_host_is_gone_does_not() -> None:
    both = [through("bastion", "", 1), through("inner", "bastion", 2)]
    before = ways(both).hosts
    bad = replace(both[0], address4="127.0.0.1")
    assert [bool(one.stale) for one in ways([bad, both[1]], before).hosts] == [True, False]
    gone = ways([both[1]], before)
    assert gone.hosts == ()
    assert "there is no host ange.bastion" in gone.quarantined[0].reason


def test_a_service_says_for_which_tenants_it_is_and_its_host_stays_its_own_tenants() -> None:
    ports = (
        Port(name="web", protocol="tcp", port=443, fields={"served": ["ange", "sundsvall"]}),
        Port(name="dns", protocol="udp", port=53, tags=("serves-sundsvall", "other")),
        Port(name="db", protocol="tcp", port=5432),
    )
    by_field = host(record(), chosen(serves="field:served"), ports)
    assert {s.name: s.serves for s in by_field.services} == {"web": ("ange", "sundsvall"), "dns": (), "db": ()}
    assert by_field.tenant == "ange"
    by_tag = host(record(), chosen(serves="tag:serves-"), ports)
    assert {s.name: s.serves for s in by_tag.services} == {"web": (), "dns": ("sundsvall",), "db": ()}
    slugs = chosen({"tenants": ("ange=ange", "sundsvalls-kommun=sundsvall")}, serves="field:served")
    one = Port(name="web", protocol="tcp", port=443, fields={"served": "sundsvalls-kommun, ange"})
    assert host(record(), slugs, [one]).services[0].serves == ("ange", "sundsvall")
    with pytest.raises(Unusable, match="the tenant served by web 'nobody' is not known"):
        host(record(), chosen(serves="field:served"), [replace(one, fields={"served": "nobody"})])
    with pytest.raises(ConfigError, match=r"netbox.serves: 'site' says nothing of a service"):
        chosen(serves="site")


def test_services_keep_ports_and_lose_names_that_could_mean_something_else() -> None:
    ports = [
        ("HTTP Web", "tcp", 80),
        ("{{ x }}", "udp", 53),
        ("all", "tcp", 1),
        ("v", "sctp", 5060),
        ("x", "tcp", 0),
    ]
    found = host(record(), ports=[Port(name=n, protocol=p, port=number) for n, p, number in ports])
    assert [(s.name, s.protocol, s.port) for s in found.services] == [
        ("http-web", "tcp", 80), ("tcp-1", "tcp", 1), ("udp-53", "udp", 53),
    ]  # fmt: skip


def test_the_ipv6_address_can_be_preferred() -> None:
    both = record(address4="192.0.2.1", address6="2001:DB8::1")
    assert host(both).address == "192.0.2.1"
    assert host(both, chosen(prefer="ipv6")).address == "2001:db8::1"
    assert host(record(address4="", address6="2001:db8::1")).address == "2001:db8::1"


@pytest.mark.parametrize(
    ("lists", "texts", "said"),
    [
        ({}, {"ring": "custom:ring"}, "netbox.ring: 'custom:ring'"),
        ({}, {"owner": "field:"}, "netbox.owner"),
        ({"statuses": ("activ",)}, {}, "'activ' is not known"),
        ({"tenants": ("ange",)}, {}, "netbox.tenants: 'ange'"),
        ({"tenants": ("a=ange", "a=ange")}, {}, "'a' is there twice"),
        ({"translate": ("rings:0=canary",)}, {}, "netbox.translate: 'rings:0=canary'"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(
    lists: dict[str, Sequence[str]], texts: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        chosen(lists, **texts)
    assert said in caught.value.message
    assert caught.value.hint


def test_a_custom_field_that_netbox_does_not_have_is_told_with_those_that_it_has() -> None:
    there = {"owner": frozenset({"dcim.device"}), "colour": frozenset({"dcim.rack"})}
    refuse_missing_fields({"owner": "netbox.owner"}, there)
    with pytest.raises(ConfigError, match=r"netbox.ring: NetBox has no custom field 'rign'") as caught:
        refuse_missing_fields({"rign": "netbox.ring"}, there)
    assert caught.value.hint == "devices or virtual machines have: owner"
    with pytest.raises(ConfigError, match="'colour'"):
        refuse_missing_fields({"colour": "netbox.ring"}, there)


def test_every_mapped_value_is_an_option() -> None:
    for name in (*MAPPED, "serves", "prefer", "statuses", "tenants", "translate", "filters"):
        assert f"netbox.{name}" in BY_NAME


def test_two_records_of_one_name_are_both_put_aside_whatever_their_spelling() -> None:
    twins = [record(), record(id=2, name="ANGE-WEB1.ange.example", address4="192.0.2.2")]
    found = sorted_out([*twins, record(id=3, name="ange-web2", address4="192.0.2.3")])
    assert [host.name for host in found.hosts] == ["ange-web2"]
    assert found.quarantined[0].reason == "the name ange-web1 is there twice: virtual-machine/2"
    same_elsewhere = [record(), record(id=2, tenant="sundsvall", address4="192.0.2.1")]
    assert len(sorted_out(same_elsewhere).hosts) == 2, "another municipality may use the name and the address"


def test_two_records_of_one_address_are_both_put_aside() -> None:
    found = sorted_out([record(), record(id=2, name="ange-web2")])
    assert not found.hosts
    assert found.quarantined[1].reason == "the address 192.0.2.1 is there twice: virtual-machine/1"


def test_a_good_host_that_turns_bad_stays_as_it_was_and_comes_back_when_mended() -> None:
    before = sorted_out([record()]).hosts
    bad = sorted_out([record(name="{{ web }}", role="database")], before)
    assert bad.hosts == (replace(before[0], stale=bad.hosts[0].stale),)
    assert "characters" in bad.hosts[0].stale
    assert not bad.quarantined, "counted once, as the host that it is"
    assert sorted_out([record()], bad.hosts).hosts == before
    assert not sorted_out([], bad.hosts).hosts, "a record that is gone is gone"


def test_a_newcomer_cannot_take_the_name_of_a_host_that_is_kept() -> None:
    before = sorted_out([record()]).hosts
    found = sorted_out([record(name=""), record(id=9, address4="192.0.2.66")], before)
    assert [(host.record, host.address) for host in found.hosts] == [("virtual-machine/1", "192.0.2.1")]
    assert found.quarantined[0].record == "virtual-machine/9"
    assert "still has this name" in found.quarantined[0].reason


def test_a_record_that_another_tenants_copy_still_has_waits_for_both_to_be_synced() -> None:
    others = sorted_out([record()]).hosts
    found = sorted_out([record(tenant="sundsvall")], others=others)
    assert not found.hosts
    assert found.quarantined[0].reason == "it is still in the inventory of ange: sync both tenants together"


def test_statuses_that_do_not_count_are_left_out_and_counted() -> None:
    found = sorted_out([record(), record(id=2, name="old", status="decommissioning")])
    assert len(found.hosts) == 1
    assert found.left_out == {"decommissioning": 1}


@pytest.mark.parametrize(
    "row", [{}, {"id": "1"}, {"id": True, "name": "x"}, {"id": 1, "name": "x", "status": "active"}]
)
def test_a_row_of_another_shape_is_malformed(row: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        read_record("device", row, Texts())
    with pytest.raises(Malformed):
        read_service({"id": 1, "parent_object_type": "dcim.device", "parent_object_id": None, "name": "x", **row})


def test_services_of_other_things_are_not_ours() -> None:
    assert read_service({"id": 1, "parent_object_type": "ipam.fhrpgroup", "parent_object_id": 1, "name": "x"}) is None
    ours = ServiceRecord(id=1, parent="virtual-machine/1", ports=(Port(name="b", protocol="tcp", port=2),))
    assert ports_of([ours]) == {"virtual-machine/1": ours.ports}


WRONG = "a\u202eb\x1b[31m\n\ud800\u200ba\u030a"


def read_back(folder: Path, found: Sorted) -> HostFile:
    """hosts.yml as it is written for these, and read again."""
    path, problems = folder / "hosts.yml", Problems()
    path.write_text(hosts_file("ange", found.hosts, quarantined=found.quarantined), encoding="utf-8")
    again = read_file(path, "ange", problems)
    assert not problems.found
    return again


@pytest.mark.parametrize(
    "values",
    [
        {"address4": WRONG},
        {"tags": (f"patch-ring-{WRONG}", "patch-ring-1")},
        {"fields": {"service_owner": [WRONG, "x"]}},
        {"ports": {"virtual-machine/1": (Port(name=WRONG, protocol="tcp", port=80, fields={"serves": "nobody"}),)}},
        {"fields": {"service_owner": WRONG}},
        {"name": WRONG},
        {"cluster": WRONG},
    ],
)
def test_a_reason_that_quotes_netbox_never_makes_the_copy_unreadable(tmp_path: Path, values: dict[str, Any]) -> None:
    rules_ = chosen(serves="field:serves")
    ports = values.get("ports", {})
    values = {name: value for name, value in values.items() if name != "ports"}
    found = sort_out([record(**values), record(id=2, name="x", address4="192.0.2.2")], ports, rules_, TENANTS, REGIONS)
    again = read_back(tmp_path, found)
    assert again.quarantined == found.quarantined
    assert len(again.quarantined) == 1
    before = [replace(host(record()), name="old")]
    stale = sort_out([record(**values)], ports, rules_, TENANTS, REGIONS, before=before).hosts
    assert [bool(one.stale) for one in stale] == [True]
    assert read_back(tmp_path, Sorted(hosts=stale, quarantined=(), left_out={})).hosts[0].host == stale[0]


@pytest.mark.parametrize("text", ["[" * 600, "]" * 600, "- " * 600, "{{ x }}", "'\"\\"])
def test_no_words_of_netbox_make_the_copy_unreadable(tmp_path: Path, text: str) -> None:
    found = sort_out([record(fields={"note": text}, cluster=text[:99])], {}, chosen(), TENANTS, REGIONS)
    assert read_back(tmp_path, found).hosts[0].host == found.hosts[0]


@pytest.mark.parametrize("what", ["fields", "context"])
def test_values_within_values_without_end_put_the_record_aside(what: str) -> None:
    deep: object = "["
    for _ in range(70):
        deep = [deep]
    values = {"fields": {"note": deep}} if what == "fields" else {"context": json.dumps({"note": deep})}
    with pytest.raises(Unusable, match="more than 64 levels"):
        host(record(**values))
    host(record(fields={"note": "[" * 70}, context=json.dumps({"n": [[[1]]] * 40})))


@pytest.mark.parametrize("name", ["192.0.2.1", "10.20.30.40"])
def test_an_address_is_no_name_and_is_not_cut_to_its_first_number(name: str) -> None:
    with pytest.raises(Unusable, match="the name is an address"):
        host(record(name=name))
