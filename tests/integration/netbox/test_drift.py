"""Drift between a real NetBox and real hosts: told exactly, put right through a reviewed file, and then none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from opsctl import config
from opsctl import lab as labs
from opsctl.cli.main import run
from opsctl.lab import Fleet
from opsctl.ssh.session import close_shared
from tests.integration.netbox.test_changes import VMS, Api, Row
from tests.netbox.real import READ_TOKEN, TOKEN, Real

pytestmark = [pytest.mark.netbox, pytest.mark.lab]
Capture = pytest.CaptureFixture[str]
WEB, BALANCER, DOWN = "ange.ange-web1", "ange.ange-lb1", "sundsvall.sundsvall-app1"
SOURCE = """
inventory: {{source: netbox}}
netbox: {{url: "{url}", token_file: netbox.token, filters: ["tag=lab"]}}
"""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A workspace of three lab hosts that NetBox describes as they are; one of them, `DOWN`, runs no sshd any more."""

    folder: Path
    api: Api
    records: dict[str, Row]
    capture: Capture

    def ask(self, *words: str, code: int = 0) -> Any:
        self.capture.readouterr()
        assert run([*words, "-o", "json"]) == code
        return json.loads(self.capture.readouterr().out)

    def shown(self, *words: str, code: int = 0) -> str:
        self.capture.readouterr()
        assert run([*words]) == code
        told = self.capture.readouterr()
        return told.out + told.err

    def drift(self, *words: str) -> list[tuple[str, str, str, str]]:
        """Who differs in what. One host does not answer, so the exit code is 1."""
        found = self.ask("inventory", "drift", *words, code=1)
        assert [(one["host"], one["state"]) for one in found["not_asked"]] == [(DOWN, "unreachable")]
        assert DOWN not in found["compared"]
        return [(one["host"], one["what"], one["netbox"], one["found"]) for one in found["drift"]]


@pytest.fixture(name="ground")
def _ground(
    lab: Fleet, lab_workspace: Path, real: Real, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ground]:
    monkeypatch.setenv("COLUMNS", "200")
    api = Api(real.address)
    capsys.readouterr()
    assert run(["host", "probe", "--limit", f"{WEB},{BALANCER},{DOWN}", "-o", "json"]) == 0
    probes = {one["host"]: one["probe"] for one in json.loads(capsys.readouterr().out)["hosts"]}
    tag = api.post("extras/tags", name="lab", slug="lab")["id"]
    records = {key: described(api, key, probe, tag) for key, probe in probes.items()}
    token = lab_workspace / "netbox.token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    with (lab_workspace / "opsctl.yml").open("a") as settings:
        settings.write(SOURCE.format(url=real.address))
    assert run(["inventory", "sync", "--yes", "--accept-removals", "ange.ange-db1"]) == 0
    close_shared(config.load(lab_workspace, {}))  # a connection that stands would outlive its sshd
    labs.break_(lab.name, "sundsvall-app1", "ssh")
    try:
        yield Ground(folder=lab_workspace, api=api, records=records, capture=capsys)
    finally:
        labs.mend(lab.name, "sundsvall-app1")


def described(api: Api, key: str, probe: dict[str, Any], tag: int) -> Row:
    """A virtual machine that says of the host just what the host says itself."""
    tenant, _, name = key.partition(".")
    vm = api.new_vm(
        name=name, tags=[tag], tenant=api.id("tenancy/tenants", tenant), vcpus=probe["cpus"],
        platform=api.id("dcim/platforms", "debian-12"), memory=round(probe["memory"]["total"] / 2**20),
    )  # fmt: skip
    api.patch(VMS, vm["id"], primary_ip4=api.new_address(vm, probe["addresses"][0])["id"])
    for port in {port for address, port in probe["listening"] if not address.startswith("127.") and port != 22}:
        service(api, vm, f"port-{port}", port)
    return api.vm(name)


def service(api: Api, vm: Row, name: str, *ports: int) -> Row:
    mappings = [f"tcp/{port}" for port in ports]
    kind = "virtualization.virtualmachine"
    return api.post(
        "ipam/services", name=name, port_mappings=mappings, parent_object_type=kind, parent_object_id=vm["id"]
    )


def ports(api: Api, vm: Row) -> set[str]:
    rows = api.call("GET", f"ipam/services/?virtual_machine_id={vm['id']}")["results"]
    return {mapping for row in rows for mapping in row["port_mappings"]}


def test_drift_is_told_exactly_and_gone_when_the_reviewed_corrections_are_pushed(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ground.drift() == []
    said = ground.shown("inventory", "drift", code=1)
    assert "no differences\ncompared: 2 of 3 hosts; not asked: 1" in said
    assert "a container has no disks of its own" in said

    api, web, balancer = ground.api, ground.records[WEB], ground.records[BALANCER]
    right, address = web["memory"], web["primary_ip4"]["address"]
    before = ports(api, web)
    api.patch(VMS, web["id"], memory=right * 2, platform=other_platform(api))
    api.delete("ipam/services", api.one("ipam/services", virtual_machine_id=str(web["id"]), name="port-8099")["id"])
    service(api, web, "Mail", 25)
    mixed = service(api, balancer, "Both", 8099, 2525)
    api.patch("ipam/ip-addresses", web["primary_ip4"]["id"], address="10.99.0.1/24")
    wrong = [
        (BALANCER, "services", "Both tcp/2525", "nothing listens"),
        (WEB, "os_release", "ubuntu-22.04", "debian-12"),
        (WEB, "memory", f"{right * 2} MB", f"{right} MB"),
        (WEB, "addresses", "10.99.0.1", address.partition("/")[0]),
        (WEB, "services", "Mail tcp/25", "nothing listens"),
        (WEB, "services", "-", "tcp/8099 listens"),
    ]
    assert ground.drift() == wrong
    assert ground.ask("inventory", "drift", "--limit", WEB)["outcome"] == "drift"
    assert ground.ask("inventory", "drift", "--limit", WEB, "--exit-code", code=1)["outcome"] == "drift"
    alone = ground.ask("inventory", "drift", "--limit", DOWN, code=1)
    assert (alone["outcome"], alone["compared"]) == ("unreachable", [])
    assert re.search(r"os_release +NetBox: ubuntu-22.04; the host: debian-12", ground.shown("host", "show", WEB))

    file = ground.folder / "corrections.yml"
    ground.drift("--suggest", str(file))
    assert "# remove_services:" in file.read_text()
    with monkeypatch.context() as read_only:
        read_only.setenv("OPSCTL_NETBOX_TOKEN", READ_TOKEN)
        told = ground.shown("inventory", "push", "--from", str(file), "--yes", code=3)
    for right in ("change on virtualization.virtualmachine", "change on ipam.ipaddress", "add on ipam.service"):
        assert right in told
    ground.shown("inventory", "push", "--from", str(file), "--yes")
    assert ground.drift() == [wrong[0], wrong[4]], "what may only be down is not removed before a person said so"
    file.write_text(file.read_text().replace("    # ", "    "))
    ground.shown("inventory", "push", "--from", str(file), "--dry-run")
    assert len(ground.drift()) == 2
    ground.shown("inventory", "push", "--from", str(file), "--yes")
    assert ground.drift() == []
    assert ports(api, web) == before
    assert api.one("ipam/services", id=str(mixed["id"]))["port_mappings"] == ["tcp/8099"]
    assert api.vm("ange-web1")["primary_ip4"]["address"] == address
    change = api.one("core/object-changes", changed_object_type="ipam.service", ordering="-id")
    assert "opsctl inventory push by " in change["message"]
    assert "none: what was compared is as NetBox says" in ground.shown("host", "show", WEB)
    assert "NetBox says all of this already" in ground.shown("inventory", "push", "--from", str(file), "--yes")


def other_platform(api: Api) -> int:
    return api.id("dcim/platforms", "ubuntu-22-04")
