"""The inventory against an independent list of machines: how lists are read, and who is who."""

import contextlib
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.errors import SetupError
from opsctl.inventory.population import Machine, parse, read
from opsctl.inventory.reconcile import Reconciled, reconcile
from opsctl.model.host import Host, Quarantined

WEB = Host(name="ange-web1", tenant="ange", address="192.0.2.11", role="web", platform="debian-12")
DATABASE = Host(name="ange-db1", tenant="ange", address="192.0.2.21", role="database", platform="debian-12",
                address6="2001:db8::21")  # fmt: skip
WINDOWS = Host(name="ange-ad1", tenant="ange", address="192.0.2.31", role="directory", platform="windows-2022")
OTHER = Host(name="ange-web1", tenant="sundsvall", address="192.0.2.11", role="web", platform="debian-12")
HOSTS = (WEB, DATABASE, WINDOWS)


def machines(text: str) -> tuple[Machine, ...]:
    return parse(text, "list.csv")


def faults(text: str) -> list[str]:
    with pytest.raises(SetupError) as caught:
        machines(text)
    return [str(one) for one in caught.value.problems] or [caught.value.message]


def found(text: str, hosts: tuple[Host, ...] = HOSTS, **more: object) -> Reconciled:
    return reconcile(machines(text), hosts, **more)  # type: ignore[arg-type]


def test_machines_that_are_in_no_inventory_and_hosts_that_nobody_lists_are_found() -> None:
    both = found("Name,IP\nANGE-WEB1.ange.example.,\nange-db1,192.0.2.21\nforgotten,192.0.2.99\n")
    assert [(m.line, m.name) for m in both.unlisted] == [(4, "forgotten")]
    assert both.unseen == (WINDOWS,)
    assert both.both == (WEB, DATABASE)
    assert both.doubts == ()


def test_a_machine_is_known_by_its_address_alone_or_by_any_of_several() -> None:
    text = "name;addresses\n;192.0.2.11\nange-db1;fe80::1, 10.0.0.1 2001:DB8:0::21\n;::ffff:192.0.2.31\n"
    assert found(text).agrees


def test_a_machine_that_the_inventory_holds_only_in_quarantine_is_shown_as_that_however_it_is_composed() -> None:
    aside = [Quarantined(tenant="ange", record="virtual-machine/9", reason="characters", name="VÄXJÖ")]
    decomposed = unicodedata.normalize("NFD", "växjö")
    one = found(f"name\nange-web1\nange-db1\nange-ad1\n{decomposed}\n", quarantined=aside)
    assert [(m.name, record.record) for m, record in one.quarantined] == [("växjö", "virtual-machine/9")]
    assert one.unlisted == ()
    assert not one.agrees


def test_name_and_address_of_two_hosts_are_a_doubt_and_neither_host_counts_as_lost() -> None:
    one = found("name,ip\nange-web1,192.0.2.21\nange-ad1,\n")
    (doubt,) = one.doubts
    assert "its name is that of ange.ange-web1, its address that of ange.ange-db1" in doubt.why
    assert one.both == (WINDOWS,)
    assert one.unseen == ()


def test_another_name_or_another_address_is_shown() -> None:
    one = found("name,ip\nange-web1,192.0.2.77\nrenamed,192.0.2.21\nange-ad1,\n")
    assert [doubt.why for doubt in one.doubts] == [
        "has another address: 192.0.2.11", "has another name: ange-db1",
    ]  # fmt: skip
    assert one.unseen == ()


def test_a_host_that_is_there_twice_is_shown_with_both_lines() -> None:
    (doubt,) = found("name\nange-web1\nange-db1\nange-ad1\nange-web1.ange.example\n").doubts
    assert (doubt.machine.line, doubt.why) == (5, "is there twice: line 2 is it, too")


def test_two_tenants_with_one_name_are_told_apart_by_key_tenant_or_not_at_all() -> None:
    two = (WEB, replace(OTHER, address="198.51.100.1"))
    assert found("name,ip\nange-web1,192.0.2.11\nange-web1,198.51.100.1\n", two).agrees
    assert found("name\nange.ange-web1\nsundsvall.ange-web1\n", two).agrees
    one = found("name\nange-web1\n", two)
    assert "could be any of ange.ange-web1 and sundsvall.ange-web1" in one.doubts[0].why
    assert one.both == one.unseen == ()
    assert found("name\nange-web1\n", two, tenants=["sundsvall"]).both == (two[1],)


def test_a_machine_of_another_tenant_is_not_unlisted() -> None:
    elsewhere = replace(OTHER, name="sun-web1", address="198.51.100.1")
    one = found("name\nange-web1\nange-db1\nange-ad1\nsun-web1\n", (*HOSTS, elsewhere), tenants=["ange"])
    assert (one.agrees, one.others) == (True, 1)
    assert found("name\nange-web1\nange-db1\nange-ad1\n", (*HOSTS, elsewhere), tenants=["ange"]).agrees


def test_targets_of_monitoring_are_names_or_addresses_with_a_port() -> None:
    text = "instance\nange-web1:9100\n192.0.2.21:9100\n[2001:db8::5]:9100\nange-ad1\n"
    assert [(m.name, m.addresses) for m in machines(text)] == [
        ("ange-web1", ()), ("", ("192.0.2.21",)), ("", ("2001:db8::5",)), ("ange-ad1", ()),
    ]  # fmt: skip


def test_of_a_list_of_virtual_machines_the_host_is_the_hypervisor() -> None:
    text = '"VM"\t"Host"\t"Primary IP Address"\r\n"ange-web1"\t"pve1"\t"192.0.2.11"\r\n'
    assert machines(text) == (Machine(line=2, name="ange-web1", addresses=("192.0.2.11",)),)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_what_excel_and_powershell_save_is_read(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes("sep=;\r\nhostname;address\r\nånge;192.0.2.11/24\r\n".encode(encoding))
    assert read(path) == (Machine(line=3, name="ånge", addresses=("192.0.2.11",)),)


def test_another_alphabet_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes("name\nange\nånge\n".encode("latin-1"))
    with pytest.raises(SetupError, match=r"list\.csv:3: not UTF-8"):
        read(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "list.csv:1 names no column with a name or an address"),
        ("a,b\n1,2\n", "list.csv:1 names no column with a name or an address"),
        ("name\n", "list.csv lists no machine"),
        ("name\n\n,\n", "list.csv lists no machine"),
        ("name,ip\nx,\n\ny,192.0.2.300\n", "list.csv:4: '192.0.2.300' is not an IP address"),
        ("name,ip\nx\n", "list.csv:2: the first line names 2 columns, this one has 1"),
        ("name,ip\nx,,z\n", "list.csv:2: the first line names 2 columns, this one has 3"),
        ("name,cpu\n,4\n", "list.csv:2: names no machine"),
        ("name,ip\n,127.0.0.1\n", "list.csv:2: names no machine"),
        ('name\n"a\nb\n', "list.csv:2: not CSV: unexpected end of data"),
        ('name\n"a"b\n', "list.csv:2: not CSV"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused_with_file_and_line(text: str, said: str) -> None:
    assert faults(text)[0].startswith(said)


def test_every_bad_line_is_told_up_to_a_screenful() -> None:
    told = faults("ip\n" + "x\n" * 50)
    assert len(told) == 21
    assert told[-1] == "list.csv: 30 lines more"


def test_a_cell_of_two_lines_does_not_shift_the_numbers() -> None:
    assert [m.line for m in machines('name,note\na,"x\ny"\nb,\n')] == [2, 4]


@given(st.text())
def test_no_text_at_all_makes_the_reader_stumble(text: str) -> None:
    with contextlib.suppress(SetupError):
        reconcile(machines(f"name,ip\n{text}"), HOSTS)
    with contextlib.suppress(SetupError):
        machines(text)
