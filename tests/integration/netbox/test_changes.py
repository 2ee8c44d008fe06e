"""Forty kinds of change in a real NetBox: an incremental read gives what a full one gives, after each of them."""

from __future__ import annotations

import itertools
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsctl.inventory import mirror
from opsctl.inventory.mirror import Mirror
from opsctl.inventory.netbox import NetBox
from opsctl.inventory.pull import pull
from tests.netbox.real import TOKEN, Real

pytestmark = pytest.mark.netbox
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
VMS, DEVICES = "virtualization/virtual-machines", "dcim/devices"
Row = dict[str, Any]
# No two made things have one name, whoever makes them.
NUMBERS = itertools.count(1)


class Api:
    """NetBox as its users change it: through REST, so that the changelog is NetBox's own."""

    def __init__(self, address: str) -> None:
        self.address = address

    def call(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(
            f"{self.address}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()[:500]}") from error
        return json.loads(text) if text else None

    def one(self, path: str, **query: str) -> Row:
        words = "&".join(f"{name}={value}" for name, value in query.items())
        found: Row = self.call("GET", f"{path}/?limit=1&{words}")["results"][0]
        return found

    def patch(self, path: str, number: int, **values: object) -> None:
        self.call("PATCH", f"{path}/{number}/", values)

    def post(self, path: str, **values: object) -> Row:
        made: Row = self.call("POST", f"{path}/", values)
        return made

    def delete(self, path: str, number: int) -> None:
        self.call("DELETE", f"{path}/{number}/")

    def vm(self, name: str = "ange-web00") -> Row:
        return self.one(VMS, name=name)

    def id(self, path: str, slug: str) -> int:
        return int(self.one(path, slug=slug)["id"])

    def new_vm(self, **values: object) -> Row:
        common = {
            "name": f"made-{next(NUMBERS)}",
            "status": "active",
            "cluster": self.one("virtualization/clusters")["id"],
            "tenant": self.id("tenancy/tenants", "ange"),
            "role": self.id("dcim/device-roles", "web"),
            "site": self.id("dcim/sites", "ange-hall"),
        }
        return self.post(VMS, **{**common, **values})

    def new_address(self, vm: Row, text: str) -> Row:
        interface = self.post("virtualization/interfaces", virtual_machine=vm["id"], name=f"e{next(NUMBERS)}")
        kind = "virtualization.vminterface"
        return self.post(
            "ipam/ip-addresses", address=text, assigned_object_type=kind, assigned_object_id=interface["id"]
        )


Kind = Callable[[Api], None]
KINDS: dict[str, Kind] = {}


def kind(change: Kind) -> Kind:
    KINDS[change.__name__] = change
    return change


def _set(name: str, **values: object) -> None:
    KINDS[name] = lambda api: api.patch(VMS, api.vm()["id"], **values)


_set("status_changed", status="offline")
_set("status_back", status="active")
_set("comments_changed", comments="nothing that we read")
_set("cpus_changed", vcpus=8)
_set("local_context_set", local_context_data={"motd": "{{ lookup('pipe', 'id') }}"})
_set("local_context_removed", local_context_data=None)
_set("custom_field_set", custom_fields={"owner": "någon annan"})
_set("custom_field_cleared", custom_fields={"owner": None})
_set("choice_set", custom_fields={"criticality": "critical"})
_set("platform_removed", platform=None)


@kind
def role_of_a_host(api: Api) -> None:
    api.patch(VMS, api.vm()["id"], role=api.id("dcim/device-roles", "file"))


@kind
def platform_of_a_host(api: Api) -> None:
    api.patch(VMS, api.vm()["id"], platform=api.id("dcim/platforms", "ubuntu-22-04"))


@kind
def tenant_of_a_host(api: Api) -> None:
    api.patch(VMS, api.vm("ange-database01")["id"], tenant=api.id("tenancy/tenants", "sundsvall"))


@kind
def cluster_of_a_host(api: Api) -> None:
    other = api.one("virtualization/clusters", name="sundsvall-pve")["id"]
    api.patch(VMS, api.vm("ange-file02")["id"], cluster=other, site=None)


@kind
def host_renamed(api: Api) -> None:
    api.patch(VMS, api.vm("ange-application03")["id"], name="ange-renamed")


@kind
def host_made(api: Api) -> None:
    api.new_vm()


@kind
def host_deleted(api: Api) -> None:
    api.delete(VMS, api.new_vm()["id"])


@kind
def old_host_deleted(api: Api) -> None:
    api.delete(VMS, api.vm("ange-web04")["id"])


@kind
def device_made_and_another_renamed(api: Api) -> None:
    first = api.one(DEVICES, name="sundsvall-metal0")
    api.patch(DEVICES, first["id"], name="sundsvall-iron0")
    given = {name: first[name]["id"] for name in ("device_type", "role", "site", "tenant")}
    api.post(DEVICES, name="sundsvall-metal9", status="active", **given)


@kind
def device_deleted(api: Api) -> None:
    api.delete(DEVICES, api.one(DEVICES, name="sundsvall-metal3")["id"])


@kind
def tag_put_on_a_host(api: Api) -> None:
    api.patch(VMS, api.vm()["id"], tags=[{"slug": "ring-early"}, {"slug": "cluster-web"}])


@kind
def tags_taken_off_a_host(api: Api) -> None:
    api.patch(VMS, api.vm()["id"], tags=[])


@kind
def tag_renamed(api: Api) -> None:
    api.patch("extras/tags", api.id("extras/tags", "ring-canary"), slug="ring-kanarie")


@kind
def tag_deleted(api: Api) -> None:
    api.delete("extras/tags", api.id("extras/tags", "window-weeknights"))


@kind
def tenant_renamed(api: Api) -> None:
    number = api.id("tenancy/tenants", "sundsvall")
    api.patch("tenancy/tenants", number, slug="sundsvall-2")
    api.patch("tenancy/tenants", number, slug="sundsvall")


@kind
def role_renamed(api: Api) -> None:
    api.patch("dcim/device-roles", api.id("dcim/device-roles", "database"), slug="db")


@kind
def site_renamed(api: Api) -> None:
    api.patch("dcim/sites", api.id("dcim/sites", "ange-hall"), slug="ange-salen")
    api.patch("dcim/sites", api.id("dcim/sites", "ange-salen"), slug="ange-hall")


@kind
def site_moved_to_another_region(api: Api) -> None:
    region = api.post("dcim/regions", name="Jämtland", slug="jamtland")
    api.patch("dcim/sites", api.id("dcim/sites", "ange-hall"), region=region["id"])


@kind
def region_renamed(api: Api) -> None:
    api.patch("dcim/regions", api.id("dcim/regions", "jamtland"), slug="jamtland-harjedalen")


@kind
def hypervisors_renamed(api: Api) -> None:
    api.patch("virtualization/clusters", api.one("virtualization/clusters")["id"], name="ange-pve-2")


@kind
def context_changed(api: Api) -> None:
    found = api.one("extras/config-contexts", name="all")
    api.patch("extras/config-contexts", found["id"], data={"timezone": "UTC"})


@kind
def context_made(api: Api) -> None:
    api.post("extras/config-contexts", name="more", data={"more": 1}, roles=[api.id("dcim/device-roles", "web")])


@kind
def context_deleted(api: Api) -> None:
    api.delete("extras/config-contexts", api.one("extras/config-contexts", name="more")["id"])


@kind
def address_changed(api: Api) -> None:
    api.patch("ipam/ip-addresses", api.vm()["primary_ip4"]["id"], address="198.18.77.1/16")


@kind
def second_address_becomes_the_primary(api: Api) -> None:
    vm = api.vm("ange-database05")
    api.patch(VMS, vm["id"], primary_ip4=api.new_address(vm, "198.18.77.2/16")["id"])


@kind
def ipv6_address_given(api: Api) -> None:
    vm = api.vm("ange-database05")
    api.patch(VMS, vm["id"], primary_ip6=api.new_address(vm, "2001:db8:77::2/64")["id"])


@kind
def address_deleted(api: Api) -> None:
    api.delete("ipam/ip-addresses", api.vm("ange-database05")["primary_ip4"]["id"])


@kind
def interface_with_the_address_deleted(api: Api) -> None:
    address = api.call("GET", f"ipam/ip-addresses/{api.vm('ange-file06')['primary_ip4']['id']}/")
    api.delete("virtualization/interfaces", address["assigned_object_id"])


@kind
def service_made(api: Api) -> None:
    api.post("ipam/services", name="new", parent_object_type="virtualization.virtualmachine",
             parent_object_id=api.vm()["id"], protocol="tcp", ports=[8443])  # fmt: skip


@kind
def service_changed(api: Api) -> None:
    api.patch("ipam/services", api.one("ipam/services", name="new")["id"], protocol="udp", ports=[53, 54])


@kind
def service_moved_to_another_host(api: Api) -> None:
    other = api.vm("ange-web08")["id"]
    api.patch("ipam/services", api.one("ipam/services", name="new")["id"], parent_object_id=other)


@kind
def service_deleted(api: Api) -> None:
    api.delete("ipam/services", api.one("ipam/services", name="new")["id"])


@kind
def host_with_services_deleted(api: Api) -> None:
    api.delete(VMS, api.vm("ange-web12")["id"])


@kind
def bulk_change_of_many_hosts(api: Api) -> None:
    rows = api.call("GET", f"{VMS}/?limit=30&tenant=sundsvall")["results"]
    api.call("PATCH", f"{VMS}/", [{"id": row["id"], "status": "staged"} for row in rows])


@kind
def several_at_once(api: Api) -> None:
    for name in (
        "status_back",
        "host_made",
        "host_deleted",
        "service_made",
        "address_changed_again",
        "tag_put_on_a_host",
    ):
        (KINDS.get(name) or KINDS["choice_set"])(api)


@pytest.fixture(name="api")
def _api(real: Real) -> Api:
    return Api(real.address)


@pytest.fixture(name="netbox")
def _netbox(real: Real) -> Iterator[NetBox]:
    netbox = NetBox(real.address, TOKEN)
    yield netbox
    netbox.close()


def refresh(netbox: NetBox, known: Mirror | None) -> mirror.Refreshed:
    return mirror.refresh(netbox, {}, known, full_every=timedelta(days=1), now=NOW)


def test_after_each_of_forty_kinds_of_change_both_reads_are_equal(api: Api, netbox: NetBox) -> None:
    assert len(KINDS) >= 40
    api.patch(VMS, api.vm()["id"], comments="a changelog that is not empty")
    known = refresh(netbox, None).mirror
    in_full = 0
    for name, change in KINDS.items():
        change(api)
        refreshed = refresh(netbox, known)
        full = pull(netbox, {})
        assert refreshed.mirror.pulled == full, name
        in_full += refreshed.how.startswith("in full")
        known = refreshed.mirror
    assert in_full <= 13, "what touches one host does not read them all"


def test_a_deletion_between_two_pages_takes_no_other_host_with_it(real: Real, api: Api) -> None:
    made = [api.new_vm() for _ in range(3)]
    everything = pull(NetBox(real.address, TOKEN), {})

    class Deleting(NetBox):
        """Deletes a host of the first page when it is about to ask for the second."""

        def get(self, path: str, query: Any = None) -> object:
            if made and path == VMS and (query or {}).get("start", 0) not in (0, None):
                api.delete(VMS, made.pop()["id"])
            return super().get(path, query)

        def twin(self) -> NetBox:
            return self

    found = pull(Deleting(real.address, TOKEN, page=20), {})
    assert not made
    lost = {record.key for record in everything.records} - {record.key for record in found.records}
    assert len(lost) <= 3
    assert found.records == pull(NetBox(real.address, TOKEN), {}).records
