"""An Ansible inventory becomes a file of records, push makes them in a real NetBox, and sync takes them over."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsctl import config
from opsctl.cli.app import App
from opsctl.cli.main import run
from opsctl.inventory import files
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store
from tests.integration.netbox.test_changes import VMS, Api
from tests.netbox import real as netboxes
from tests.netbox.played import Fault
from tests.netbox.proxy import Proxy, in_front_of
from tests.netbox.real import Real

pytestmark = pytest.mark.netbox
Capture = pytest.CaptureFixture[str]
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIGtra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tr"
# Every case has a network of its own: 10.22.N.0/24.
NETWORKS = itertools.count(1)
INI = """\
[web:children]
web_inside
web_outside
[web_inside]
old-web1.ange.example ansible_host=10.21.0.11
[web_outside]
old-web2 ansible_ssh_common_args="-oProxyCommand=id"
"""
YAML = """\
all:
  children:
    database:
      children:
        primaries:
          hosts:
            old-db1: {ansible_host: 10.21.0.21}
"""


@pytest.fixture(name="api")
def _api(real: Real) -> Api:
    return Api(real.address)


@pytest.fixture(name="old")
def _old(workspace: Path) -> Path:
    """The municipality's own inventory: INI and YAML, nested groups, variables of groups and hosts, a sealed file."""
    old = workspace / "old"
    for name, text in {
        "hosts.ini": INI,
        "databases.yml": YAML,
        "group_vars/all.yml": "ansible_user: somebody\nmotd: \"{{ lookup('pipe', 'touch touched') }}\"\n",
        "group_vars/database.yml": "ansible_port: 2222\n",
        "group_vars/web.yml": "$ANSIBLE_VAULT;1.1;AES256\n6162\n",
        "host_vars/old-web2.yml": "ansible_host: 10.21.0.12\n",
    }.items():
        (old / name).parent.mkdir(parents=True, exist_ok=True)
        (old / name).write_text(text)
    return old


def import_(*words: str) -> int:
    roles = ("--role-group", "web", "--role-group", "database")
    where = ("--site", "ange-hall", "--cluster", "ange-pve", "--for-netbox", "records.yml")
    return run(["inventory", "import", "--tenant", "ange", "--ansible-inventory", "old", *roles, *where, *words])


def push(*words: str) -> int:
    return run(["inventory", "push", "--from", "records.yml", *words])


def everything(api: Api) -> dict[str, int]:
    """How many there are of what a push can make."""
    paths = (VMS, "dcim/devices", "virtualization/interfaces", "dcim/interfaces", "ipam/ip-addresses", "ipam/services")
    return {path: api.call("GET", f"{path}/?limit=1")["count"] for path in paths}


def test_an_ansible_inventory_comes_through_netbox_into_the_inventory(
    workspace: Path, old: Path, api: Api, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"name": "ssh_port", "type": "integer", "object_types": ["virtualization.virtualmachine"]}
    api.post("extras/custom-fields", **made)
    monkeypatch.setenv("OPSCTL_NETBOX_PORT", "field:ssh_port")
    (workspace / "known").write_text(f"10.21.0.11 ssh-ed25519 {KEY}\n")
    assert import_("--yes", "--known-hosts", "known") == 1
    assert "web.yml" in capsys.readouterr().out, "the sealed file is named"
    review = workspace / "records.yml"
    assert "ssh_port: 2222" in review.read_text()
    assert "ProxyCommand" not in review.read_text()
    assert import_("--yes") == 3, "a reviewed file is never overwritten"
    review.write_text(review.read_text().replace("10.21.0.11/32", "10.21.0.11/24"))
    with review.open("a") as file:
        file.write("    services:\n      - {name: http, port: 80}\n      - {name: dns, port: 53, protocol: udp}\n")
    before = everything(api)
    capsys.readouterr()
    assert push("--dry-run") == 0
    shown = capsys.readouterr().out
    assert "3 hosts to be made or completed, 0 there already" in shown
    assert "10.21.0.11/24 on primary" in shown
    assert everything(api) == before
    assert push("--yes") == 0
    after = everything(api)
    assert {path: after[path] - before[path] for path in after} == {
        VMS: 3, "dcim/devices": 0, "virtualization/interfaces": 3, "dcim/interfaces": 0, "ipam/ip-addresses": 3,
        "ipam/services": 2,
    }  # fmt: skip
    change = api.one("core/object-changes", changed_object_id=str(api.vm("old-db1")["id"]), ordering="-id")
    assert "opsctl inventory push by " in change["message"]
    assert run(["inventory", "sync", "--yes"]) == 0
    found = files.load(config.load(workspace, os.environ))
    hosts = {host.name: host for host in found if host.name.startswith("old-")}
    assert {name: (h.tenant, h.address, h.port, h.role, h.platform, h.site) for name, h in hosts.items()} == {
        "old-web1": ("ange", "10.21.0.11", 22, "web", "debian-12", "ange-hall"),
        "old-web2": ("ange", "10.21.0.12", 22, "web", "debian-12", "ange-hall"),
        "old-db1": ("ange", "10.21.0.21", 2222, "database", "debian-12", "ange-hall"),
    }
    assert [(s.name, s.port) for s in hosts["old-web2"].services] == [("dns", 53), ("http", 80)]
    assert "old-web1" in (workspace / "inventories/ange/hosts.yml").read_text()
    assert "old-" not in (workspace / "inventories/sundsvall/hosts.yml").read_text()
    latest = api.one("core/object-changes", ordering="-id")["id"]
    capsys.readouterr()
    assert push("--yes", "-o", "json") == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["makes"], again["there"], again["written"]) == ([], 3, False)
    assert api.one("core/object-changes", ordering="-id")["id"] == latest
    assert not list(workspace.rglob("touched"))
    assert "ange.old-web1 SHA256:" in (workspace / "inventories/ange/fingerprints.imported").read_text()
    assert run(["ledger", "log", "-o", "json"]) == 0
    assert "known_hosts_sha256" in capsys.readouterr().out


RECORD = """\
  - name: {name}
    tenant: {tenant}
    site: {site}
    cluster: {tenant}-pve
    role: {role}
    platform: debian-12
    address: {address}
"""


def records(*texts: str) -> None:
    Path("records.yml").write_text("version: 1\nrecords:\n" + "".join(texts))


def record(name: str, address: str, tenant: str = "ange", site: str = "", role: str = "web") -> str:
    return RECORD.format(name=name, address=address, tenant=tenant, site=site or f"{tenant}-hall", role=role)


def test_each_reference_that_leads_nowhere_is_named_with_the_nearest(
    workspace: Path, api: Api, capsys: Capture
) -> None:
    before = everything(api)
    records(
        record("new1", "10.21.1.1/24", site="ange-hal"),
        record("new2", "10.21.1.2/24", role="databas"),
        record("new3", "198.18.0.1/16") + "    tags: [ring-erly]\n    fields: {ownr: x}\n    vrf: inside\n",
        record("new4", "10.21.1.4/24", site="ange-hal"),
    )
    assert push("--yes") == 3
    said = capsys.readouterr().err
    for what in (
        "records.yml:3: NetBox has no site 'ange-hal', or the token may not see it (2 records name it)",
        "nearest: ange-hall", "no role 'databas'", "nearest: database", "no tag 'ring-erly'", "nearest: ring-early",
        "no custom field 'ownr' of a virtual machine", "nearest: owner", "no vrf 'inside'",
    ):  # fmt: skip
        assert what in said, said
    records(record("new1", "198.18.0.2/24"), record("ange-web00.ange.example", "10.21.1.9/24"))
    assert push("--yes") == 3
    said = capsys.readouterr().err
    assert "NetBox has 198.18.0.2/16 already, assigned to something else (see http" in said
    records(record("new1", "10.21.1.1/24", tenant="bollnas"))
    assert push("--yes") == 3
    assert "tenant 'bollnas' is none of those that this is for" in capsys.readouterr().err
    records(record("new1", "10.21.1.1/24", tenant="sundsvall"))
    assert push("--yes", "--tenant", "ange") == 3
    assert "tenant 'sundsvall' is none of those that this is for" in capsys.readouterr().err
    assert everything(api) == before


def test_what_is_there_is_left_as_it_is_and_told(workspace: Path, api: Api, capsys: Capture) -> None:
    there = api.vm("ange-database01")
    records(record("ange-database01", "10.21.1.9/24", role="web") + "    services: [{name: new, port: 1}]\n")
    assert push("--yes") == 0
    shown = capsys.readouterr()
    assert "left as NetBox has it" in shown.out
    assert "NetBox has them all" in shown.err
    after = api.vm("ange-database01")
    assert after["last_updated"] == there["last_updated"]
    assert api.call("GET", f"ipam/services/?virtual_machine_id={there['id']}")["count"] == 1


def test_a_device_is_made_too(workspace: Path, api: Api) -> None:
    text = record("new-metal", "2001:db8:21::5/64").replace("    cluster: ange-pve\n", "")
    records(text + "    kind: device\n    device_type: server\n    services: [{name: ssh, port: 22}]\n")
    assert push("--yes") == 0
    found = api.one("dcim/devices", name="new-metal")
    assert found["primary_ip6"]["address"] == "2001:db8:21::5/64"
    assert push("--yes") == 0
    assert api.call("GET", "dcim/devices/?name=new-metal")["count"] == 1


def test_the_ledger_names_the_file_that_was_read_and_not_what_became_of_it_while_somebody_thought(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records(record("named", "10.21.9.9/24"))
    reviewed = hashlib.sha256((workspace / "records.yml").read_bytes()).hexdigest()

    def thinking(_app: App, _question: str, *, yes: bool) -> None:
        assert yes
        with (workspace / "records.yml").open("a") as file:
            file.write("# another thought\n")

    monkeypatch.setattr(App, "confirm", thinking)
    assert push("--yes") == 0
    with Store.open(config.load(workspace, {}).state) as store:
        pushed = [entry.detail for entry in Ledger(store).entries() if entry.verb == "inventory push"]
    assert pushed[0]["sha256"] == reviewed


@pytest.fixture(name="proxy")
def _proxy(real: Real) -> Iterator[Proxy]:
    with in_front_of(real.address) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("end", "step"),
    [
        ("killed", ("POST", VMS)),
        ("killed", ("POST", "virtualization/interfaces")),
        ("killed", ("POST", "ipam/ip-addresses")),
        ("killed", ("PATCH", VMS)),
        ("killed", ("POST", "ipam/services")),
        ("cut", ("POST", VMS)),
        ("cut", ("POST", "ipam/ip-addresses")),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value[0]}-{value[1].rpartition('/')[2]}",
)
def test_a_push_that_ends_in_the_middle_is_finished_by_the_next_and_nothing_is_there_twice(
    workspace: Path, api: Api, proxy: Proxy, step: tuple[str, str], end: str
) -> None:
    mark = f"{end}-{step[0]}-{step[1].rpartition('/')[2]}".lower()
    number = next(NETWORKS)
    texts = [
        record(f"{mark}-{n}", f"10.22.{number}.{n}/24") + "    services: [{name: http, port: 80}]\n" for n in (1, 2, 3)
    ]
    records(*texts)
    before = everything(api)
    words = [sys.executable, "-m", "opsctl", "inventory", "push", "--from", "records.yml", "--yes"]
    child = subprocess.Popen(words, env={**os.environ, "OPSCTL_NETBOX_URL": proxy.address}, stderr=subprocess.PIPE)

    def stop(path: str, answer: Fault) -> Fault:
        """NetBox has done it, and whoever asked never hears of it."""
        if step[1] in path and proxy.methods[-1] == step[0]:
            if end == "killed":
                child.send_signal(signal.SIGKILL)
                child.wait(30)
            return Fault(status=answer.status, body=answer.body, cut=len(answer.body) - 1)
        return answer

    proxy.spoil = stop
    try:
        _, said = child.communicate(timeout=240)
    finally:
        child.kill()
        child.wait()
    # Where the very first answer is lost, nothing is known to be written.
    ended = {"killed": -signal.SIGKILL, "cut": 3 if step[1] == VMS else 1}[end]
    assert child.returncode == ended
    assert end == "killed" or b"whether NetBox took it is unknown" in said
    assert ended != 1 or b"push the same file again" in said
    assert push("--yes") == 0
    after = everything(api)
    assert {path: after[path] - before[path] for path in after if after[path] != before[path]} == {
        VMS: 3, "virtualization/interfaces": 3, "ipam/ip-addresses": 3, "ipam/services": 3,
    }  # fmt: skip
    for n in (1, 2, 3):
        assert api.vm(f"{mark}-{n}")["primary_ip4"]["address"] == f"10.22.{number}.{n}/24"


_MAY = """
from core.models import ObjectType
from users.models import ObjectPermission, User
narrow = User.objects.get(username="narrow")
for actions, models in ((["view"], ("dcim.site", "dcim.devicerole", "dcim.platform", "tenancy.tenant",
                                    "virtualization.cluster", "ipam.ipaddress", "virtualization.vminterface",
                                    "dcim.device")),
                        (["view", "add"], ("virtualization.virtualmachine",))):
    made = ObjectPermission.objects.create(name=" ".join(actions), actions=actions)
    made.object_types.set([ObjectType.objects.get_by_natural_key(*model.split(".")) for model in models])
    made.users.add(narrow)
"""


def test_every_permission_that_is_missing_is_told_before_anything_is_written(
    workspace: Path, real: Real, api: Api, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    records(record("new9", "10.21.9.1/24"))
    before = everything(api)
    monkeypatch.setenv("OPSCTL_NETBOX_TOKEN", netboxes.READ_TOKEN)
    assert push("--yes") == 3
    said = capsys.readouterr().err
    assert "must be write-enabled" in said
    assert "`add on virtualization.virtualmachine`" in said
    monkeypatch.setenv("OPSCTL_NETBOX_TOKEN", netboxes.NARROW_TOKEN)
    assert push("--dry-run") == 3, "what cannot be seen is not taken for missing"
    assert "`view on tenancy.tenant`, `view on dcim.site`" in capsys.readouterr().err
    real.shell(_MAY)
    assert push("--dry-run") == 0
    lacking = (
        "change on virtualization.virtualmachine",
        "add on virtualization.vminterface",
        "add on ipam.ipaddress",
    )
    assert ", ".join(lacking) in capsys.readouterr().err
    assert push("--yes") == 3
    said = capsys.readouterr().err
    assert "lacks 3 permissions; nothing was written" in said
    assert all(f"`{one}`" in said for one in lacking)
    assert everything(api) == before
