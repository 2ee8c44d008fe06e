"""The inventory against an independent list of machines."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.errors import SetupError
from opsctl.inventory.reconcile import read, reconcile
from opsctl.model.host import Host, Quarantined, Service

WEB = Host(
    name="ange-web1", tenant="ange", address="192.0.2.11", role="web", platform="debian-12",
    services=(Service(name="web", port=80), Service(name="dns", port=53, protocol="udp")),
)  # fmt: skip
DATABASE = Host(name="ange-db1", tenant="ange", address="192.0.2.21", role="database", platform="debian-12")


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
