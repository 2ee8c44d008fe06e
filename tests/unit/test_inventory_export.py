"""The inventory in other programs' forms: what they read is what we have, and no value can act on them."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
import yaml

import opsctl
from opsctl import config
from opsctl.ansible import render
from opsctl.inventory import emit, export, files, graph
from opsctl.model.host import Cluster, Host, Inventory, Quarantined, Service, Site, Tenant

HOSTILE = "{{ lookup('pipe', 'id') }}"
CONTEXT = json.dumps({HOSTILE: HOSTILE, "nested": {"deep": [HOSTILE]}, "ansible_connection": "local"})
DATABASE = Service(name="postgresql", port=5432, serves=("ange", "sundsvall"))
HOSTS = (
    Host(
        name="ange-db1", tenant="ange", address="192.0.2.21", role="database", platform="debian-12", jump="ange-lb1",
        owner="=HYPERLINK(1)", services=(DATABASE,), site="hall",
    ),
    Host(
        name="ange-lb1", tenant="ange", address="2001:db8::10", port=2222, role="loadbalancer", platform="debian-12",
        owner=HOSTILE, context=CONTEXT, custom=json.dumps({"a": HOSTILE}), tags=("-x", HOSTILE), site="hall",
        cluster="front", record="device/7", stale="no name",
    ),
    Host(name="print1", tenant="sundsvall", address="", role="print", platform="windows-2022", owner="@x <b>&"),
)  # fmt: skip
FLEET = Inventory(
    tenants=(
        Tenant(name="ange", title="Ånge kommun", sites=(Site(name="hall"),), clusters=(Cluster(name="front"),)),
        Tenant(name="sundsvall", title="Sundsvall <&>"),
    ),
    hosts=HOSTS,
    quarantined=(Quarantined(tenant="ange", record="device/9", reason="no name"),),
    digest="abc",
)


def test_json_has_every_field_and_the_quarantine() -> None:
    found = json.loads(export.as_json(FLEET, HOSTS))
    assert [host["key"] for host in found["hosts"]] == ["ange.ange-db1", "ange.ange-lb1", "sundsvall.print1"]
    assert [one["name"] for one in found["hosts"][0]["services"]] == ["postgresql"]
    assert found["hosts"][0]["services"][0]["serves"] == ["ange", "sundsvall"]
    assert found["quarantined"][0]["record"] == "device/9"
    assert found["inventory"] == "abc"


def test_no_cell_of_csv_is_a_formula_and_all_is_there() -> None:
    rows = list(csv.DictReader(io.StringIO(export.as_csv(HOSTS))))
    assert [row["owner"] for row in rows] == ["'=HYPERLINK(1)", HOSTILE, "'@x <b>&"]
    assert rows[1]["tags"] == "'-x " + HOSTILE
    assert rows[0]["services"] == "postgresql:tcp/5432:ange+sundsvall"
    assert rows[2]["managed"].startswith("no: platform windows-2022")
    assert tuple(rows[0]) == export.COLUMNS


@pytest.mark.parametrize(
    ("given", "cell"),
    [
        ("IT;=1+1", "IT;'=1+1"),
        ('IT; "=1+1"', 'IT;\' "=1+1"'),
        (" =1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("IT; Drift, +46 60", "IT; Drift, +46 60"),
        ("web-1", "web-1"),
    ],
)
def test_a_semicolon_begins_no_formula_either(given: str, cell: str) -> None:
    host = Host(name="x", tenant="ange", address="192.0.2.1", role="web", platform="debian-12", owner=given)
    assert next(csv.DictReader(io.StringIO(export.as_csv([host]))))["owner"] == cell


def test_ssh_reads_its_configuration_jump_hosts_included(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(export.as_ssh_config(FLEET, HOSTS[:1], "opsctl"))
    words = ["ssh", "-G", "-F", str(path), "ange.ange-db1"]
    answer = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"hostname 192.0.2.21", "proxyjump ange.ange-lb1", "hostkeyalias ange.ange-db1"} <= set(answer)
    words[-1] = "ange.ange-lb1"
    answer = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"hostname 2001:db8::10", "port 2222", "user opsctl"} <= set(answer)
    assert "print1" not in path.read_text()


def test_the_graph_has_every_host_once_in_text_and_in_svg() -> None:
    roots = graph.tree(FLEET, HOSTS)
    text = graph.as_text(roots)
    for host in HOSTS:
        assert text.count(f" {host.name}  (") == 1
    assert text.splitlines()[0] == "ange  (Ånge kommun, 2 hosts)"
    assert "postgresql for ange and sundsvall, through ange-lb1" in text
    image = Xml.fromstring(graph.as_svg(roots))
    labels = [element.text for element in image.iter("{http://www.w3.org/2000/svg}tspan")]
    assert len(labels) == 2 * len(text.splitlines())
    assert "Sundsvall <&>, 1 host" in labels
    assert graph.as_svg(roots) == graph.as_svg(graph.tree(FLEET, HOSTS[::-1]))


@pytest.fixture(name="workspace")
def _workspace(tmp_path: Path) -> Path:
    (tmp_path / "opsctl.yml").write_text("version: 1\n")
    for tenant in FLEET.tenants:
        folder = tmp_path / "inventories" / tenant.name
        folder.mkdir(parents=True)
        (folder / "tenant.yml").write_text(emit.tenant_file(tenant))
        (folder / "hosts.yml").write_text(emit.hosts_file(tenant.name, [h for h in HOSTS if h.tenant == tenant.name]))
    (tmp_path / "inventories/opsctl.yml").write_text("plugin: opsctl.core.hosts\n")
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    """Where opsctl is not installed but found on the path, as on the other Pythons, Ansible must find it there too."""
    root = str(Path(opsctl.__file__).parents[1])
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", "PYTHONPATH": root}


def ansible(source: Path, *words: str) -> str:
    """The answer of ansible-inventory, templated as a playbook would."""
    program = Path(sys.executable).with_name("ansible-inventory")
    run = subprocess.run(
        [program, "-i", source, *words],
        env=environment(source.parent),
        cwd=source.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "uid=" not in run.stdout
    return run.stdout


def test_ansible_sees_the_same_hosts_and_variables_through_the_plugin(workspace: Path) -> None:
    inventory = files.load(config.load(workspace, {}))
    listed = json.loads(ansible(workspace / "inventories/opsctl.yml", "--list"))
    found = listed["_meta"]["hostvars"]
    assert sorted(found) == [host.key for host in inventory]
    for host in inventory:
        expected = {**render.reach_variables(host), **render.foreign_variables(host, inventory)}
        assert {name: untagged(value) for name, value in found[host.key].items()} == expected
    assert listed["role_database"]["hosts"] == ["ange.ange-db1"]
    assert listed["not_managed"]["hosts"] == ["sundsvall.print1"]


def untagged(value: object) -> object:
    """Without the mark in which ansible-inventory writes text that is not to be templated."""
    if isinstance(value, dict):
        if set(value) == {"__ansible_unsafe"}:
            return value["__ansible_unsafe"]
        return {key: untagged(inner) for key, inner in value.items()}
    return [untagged(item) for item in value] if isinstance(value, list) else value


def test_the_exported_inventory_says_the_same_as_the_plugin(workspace: Path) -> None:
    inventory = files.load(config.load(workspace, {}))
    exported = workspace / "exported.yml"
    exported.write_text(render.inventory_text(inventory.hosts, inventory, reach=True))
    one = json.loads(ansible(exported, "--host", "ange.ange-lb1"))
    other = json.loads(ansible(workspace / "inventories/opsctl.yml", "--host", "ange.ange-lb1"))
    assert untagged(one) == untagged(other)
    assert "!unsafe" in exported.read_text()


def test_no_foreign_value_is_templated_by_a_playbook_that_reads_the_plugin(workspace: Path) -> None:
    playbook = [
        {
            "hosts": "ange.ange-lb1",
            "gather_facts": False,
            "connection": "local",
            "tasks": [
                {
                    "ansible.builtin.copy": {
                        "dest": str(workspace / "seen"),
                        "content": "{{ inventory_context | string }} {{ inventory_tags }} {{ inventory_custom['a'] }}",
                        "mode": "0600",
                    }
                }
            ],
        }
    ]
    path = workspace / "look.yml"
    path.write_text(yaml.safe_dump(playbook))
    program = Path(sys.executable).with_name("ansible-playbook")
    run = subprocess.run(
        [program, "-i", workspace / "inventories/opsctl.yml", path,
         "-e", "ansible_python_interpreter=" + sys.executable],
        env=environment(workspace), cwd=workspace, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    seen = (workspace / "seen").read_text()
    assert seen.count("lookup(") >= 4
    assert "uid=" not in seen
