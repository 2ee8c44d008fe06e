"""Ports, jump hosts and the tenants that a service is for, as a real NetBox says them: data, whatever stands there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opsctl import config
from opsctl.cli.main import run
from opsctl.inventory import files
from opsctl.model.host import Host, Inventory
from tests.integration.netbox.test_changes import VMS, Api
from tests.netbox.real import Real

pytestmark = pytest.mark.netbox
Capture = pytest.CaptureFixture[str]
HOSTILE = "-oProxyCommand=touch${IFS}touched"


@pytest.fixture(scope="module", name="api")
def _api(real: Real) -> Api:
    """Custom fields as people make them: text, a number, and a list of tenants on services."""
    api = Api(real.address)
    for name, type_ in (("jump", "text"), ("ssh_port", "integer")):
        api.post("extras/custom-fields", name=name, type=type_, object_types=["virtualization.virtualmachine"])
    api.post(
        "extras/custom-fields", name="served", type="multiobject", related_object_type="tenancy.tenant",
        object_types=["ipam.service"],
    )  # fmt: skip
    return api


@pytest.fixture(autouse=True)
def _mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, source in (("JUMP", "jump"), ("PORT", "ssh_port"), ("SERVES", "served")):
        monkeypatch.setenv(f"OPSCTL_NETBOX_{name}", f"field:{source}")


def synced(workspace: Path, *words: str) -> Inventory:
    assert run(["inventory", "sync", "--yes", *words]) == 0
    return files.load(config.load(workspace, {}))


def field(api: Api, name: str, **values: object) -> None:
    api.patch(VMS, api.vm(name)["id"], custom_fields=values)


def way(host: Host) -> tuple[str, int, str]:
    return host.jump, host.port, host.stale


def test_a_way_comes_from_netbox_and_what_is_none_never_takes_its_place(
    workspace: Path, api: Api, capsys: Capture
) -> None:
    field(api, "ange-web04", jump="ange-database01", ssh_port=2222)
    assert way(synced(workspace).host("ange-web04")) == ("ange-database01", 2222, "")
    assert run(["inventory", "export", "--format", "ssh-config", "--limit", "ange-web04"]) == 0
    shown = capsys.readouterr().out
    assert "  Port 2222\n" in shown
    assert "  ProxyJump ange.ange-database01\n" in shown
    for wrong in ({"jump": HOSTILE}, {"jump": "sundsvall.sundsvall-web00"}, {"jump": "nobody"}, {"ssh_port": 99999}):
        field(api, "ange-web04", **{"jump": "ange-database01", "ssh_port": 2222, **wrong})
        kept = synced(workspace).host("ange-web04")
        assert way(kept)[:2] == ("ange-database01", 2222), "it stays as it was"
        assert kept.stale
        assert f"jump: {HOSTILE}" not in (workspace / "inventories/ange/hosts.yml").read_text()
    assert not list(workspace.rglob("touched"))


def test_a_service_is_for_several_tenants_and_its_host_in_one_tenants_files(
    workspace: Path, api: Api, capsys: Capture
) -> None:
    assert not any(s.serves for host in synced(workspace) for s in host.services)
    service = api.one("ipam/services", virtual_machine_id=str(api.vm("ange-web00")["id"]))
    both = [api.id("tenancy/tenants", slug) for slug in ("ange", "sundsvall")]
    api.patch("ipam/services", service["id"], custom_fields={"served": both})
    capsys.readouterr()
    assert run(["inventory", "sync", "--yes", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["read"].endswith("changes"), "a service's own field costs no full read"
    found = files.load(config.load(workspace, {}))
    assert {s.serves for s in found.host("ange-web00").services} == {("ange", "sundsvall")}
    assert found.host("ange-web00").tenant == "ange"
    assert "ange-web00" not in (workspace / "inventories/sundsvall/hosts.yml").read_text()
    assert synced(workspace, "--full") == found


def test_a_mapping_to_a_field_that_services_do_not_have_is_refused_with_those_that_they_have(
    workspace: Path, api: Api, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api.address
    monkeypatch.setenv("OPSCTL_NETBOX_SERVES", "field:jump")
    assert run(["inventory", "sync", "--yes"]) == 3
    said = capsys.readouterr().err
    assert "netbox.serves: NetBox has no custom field 'jump' of services" in said
    assert "services have: served" in said
