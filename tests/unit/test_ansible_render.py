"""The inventory of one run, as text and as files; and events read from foreign lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from opsctl import config, content
from opsctl.ansible import events, render
from opsctl.errors import InventoryError
from opsctl.model.host import Account, Host, Inventory, Service, Site, Tenant
from opsctl.model.run import HostRecap, PlaybookRun, TaskEnded, TaskStarted, recaps

TENANT = Tenant(
    name="ange",
    title="Ånge kommun",
    operator="sundsvall",
    management_networks=("192.0.2.0/28",),
    accounts=(Account(name="opsctl", keys=("ssh-ed25519 AAAA opsctl",), groups=("ssh-login",), automation=True),),
    ssh_groups=("ssh-login",),
)
HOSTS = (
    Host(name="lb1", tenant="ange", address="192.0.2.40", role="loadbalancer", platform="debian-12"),
    Host(name="db1", tenant="ange", address="192.0.2.41", role="database", platform="debian-12", jump="lb1"),
    Host(name="web1", tenant="ange", address="192.0.2.42", role="web", platform="debian-12"),
    Host(name="mon1", tenant="sundsvall", address="192.0.2.50", role="monitoring", platform="debian-12"),
    Host(name="mon2", tenant="bollnas", address="192.0.2.51", role="monitoring", platform="debian-12"),
)
STOCK = Inventory(
    tenants=(TENANT, Tenant(name="sundsvall", title="Sundsvalls kommun"), Tenant(name="bollnas", title="Bollnäs")),
    hosts=HOSTS,
)


class Loader(yaml.SafeLoader):
    """Reads `!unsafe` as Ansible does, and notes that the mark was there."""


class Unsafe(str):
    __slots__ = ()


def _unsafe(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Unsafe:
    return Unsafe(loader.construct_scalar(node))


Loader.add_constructor("!unsafe", _unsafe)


def variables(host: Host, inventory: Inventory = STOCK) -> dict[str, object]:
    document = yaml.load(render.inventory_text([host], inventory), Loader=Loader)
    found: dict[str, object] = document["all"]["hosts"][host.key]
    return found


def strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    return [text for inner in value for text in strings(inner)] if isinstance(value, list) else []


printable = st.text(st.characters(exclude_categories=("Cs", "Cc")))


@given(url=printable, site=printable, title=printable)
def test_every_foreign_string_survives_unchanged_and_is_marked_unsafe(url: str, site: str, title: str) -> None:
    service = Service(name=url, port=80, url=title)
    host = Host(name="web1", tenant="ange", address=url, role="web", platform=site, site=site, services=(service,))
    found = variables(host, Inventory(tenants=(Tenant(name="ange", title=title, ssh_groups=(url,)),), hosts=(host,)))
    assert all(isinstance(text, Unsafe) for text in strings(found))
    assert found["inventory_site"] == site
    assert found["inventory_services"] == [{"name": url, "port": 80, "protocol": "tcp", "url": title, "serves": []}]


def test_the_firewall_accepts_every_field_of_a_service() -> None:
    service = Service(name="e-service", port=443, url="https://e.example", serves=("ange",))
    host = Host(name="web1", tenant="ange", address="192.0.2.42", role="web", platform="debian-12", services=(service,))
    told = variables(host, Inventory(tenants=(TENANT,), hosts=(host,)))["inventory_services"]
    specs = yaml.safe_load((content.folder("roles") / "firewall/meta/argument_specs.yml").read_text(encoding="utf-8"))
    accepted = specs["argument_specs"]["main"]["options"]["firewall_services"]["options"]
    assert isinstance(told, list)
    assert told[0].keys() <= accepted.keys()


def test_a_list_that_nobody_gave_is_absent_and_not_empty() -> None:
    found = variables(HOSTS[3])
    assert "inventory_accounts" not in found
    assert "inventory_management_networks" not in found
    assert variables(HOSTS[0])["inventory_ssh_groups"] == ["ssh-login"]


def test_a_host_is_in_groups_of_its_tenant_only() -> None:
    assert set(render.groups_of(HOSTS[2])) == {"ange", "ange__role_web", "ange__ring_broad", "role_web", "ring_broad"}


def test_a_jump_host_may_forward_to_the_hosts_behind_it_only() -> None:
    assert variables(HOSTS[0])["inventory_jump_targets"] == ["192.0.2.41:22"]
    assert variables(HOSTS[2])["inventory_jump_targets"] == []
    assert variables(HOSTS[1])["inventory_jump_addresses"] == ["192.0.2.40"]


def test_jump_hosts_in_a_row_each_forward_to_the_next() -> None:
    outer = Host(name="outer", tenant="ange", address="192.0.2.60", role="jump", platform="debian-12")
    inner = Host(name="inner", tenant="ange", address="2001:db8::1", role="jump", platform="debian-12", jump="outer")
    last = Host(name="last", tenant="ange", address="192.0.2.62", port=2200, role="web", platform="debian-12", site="s")
    tenant = Tenant(name="ange", title="Ånge", sites=(Site(name="s", jump="inner"),))
    stock = Inventory(tenants=(tenant,), hosts=(outer, inner, last))
    assert render.jump_targets(outer, stock) == ["[2001:db8::1]:22"]
    assert render.jump_targets(inner, stock) == ["192.0.2.62:2200"]


def test_a_jump_host_within_the_management_networks_needs_no_rule_of_its_own() -> None:
    inside = Host(name="lb1", tenant="ange", address="192.0.2.3", role="loadbalancer", platform="debian-12")
    stock = Inventory(tenants=(TENANT,), hosts=(inside, HOSTS[1]))
    assert render.jump_addresses(HOSTS[1], stock) == []


def test_a_host_is_watched_by_its_own_tenants_and_its_operators_monitoring() -> None:
    assert render.monitoring_addresses(HOSTS[2], STOCK) == ["192.0.2.50"]


def test_a_file_that_could_mean_a_role_or_a_ring_is_refused(tmp_path: Path) -> None:
    host = Host(name="x", tenant="ange", address="192.0.2.1", role="early", ring="early", platform="debian-12")
    file = tmp_path / "ange/group_vars/early.yml"
    file.parent.mkdir(parents=True)
    file.write_text("a: 1\n")
    with pytest.raises(InventoryError) as caught:
        render.variable_files([host], tmp_path)
    assert "is a role and a ring" in str(caught.value.problems[0])


@pytest.mark.parametrize("name", ["ansible_connection", "ansible_become_exe", "inventory_accounts", "opsctl_hostside"])
def test_names_that_opsctl_sets_cannot_be_set_by_a_tenant(tmp_path: Path, name: str) -> None:
    file = tmp_path / "all.yml"
    file.write_text(f"---\nfine: 1\n{name}: local\n")
    with pytest.raises(InventoryError) as caught:
        render.refuse_connection_variables([file])
    assert caught.value.problems[0].where == f"{file}:3"


def test_a_merge_key_brings_none_of_them_in(tmp_path: Path) -> None:
    file = tmp_path / "all.yml"
    file.write_text("x: &x {ansible_ssh_args: -o StrictHostKeyChecking=no}\n<<: *x\n")
    with pytest.raises(InventoryError) as caught:
        render.refuse_connection_variables([file])
    assert caught.value.problems[0].where == f"{file}:2"


def test_empty_and_wholly_vaulted_files_are_fine(tmp_path: Path) -> None:
    empty, vaulted = tmp_path / "empty.yml", tmp_path / "vaulted.yml"
    empty.write_text("---\n")
    vaulted.write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    render.refuse_connection_variables([empty, vaulted])
    assert not render.holds_vaulted([empty])
    assert render.holds_vaulted([empty, vaulted])


def test_variable_files_are_linked_and_never_copied(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    (workspace / "inventories/ange/group_vars").mkdir(parents=True)
    (workspace / "opsctl.yml").write_text("version: 1\n")
    (workspace / "inventories/ange/group_vars/web.yml").write_text("a: 1\n")
    into = tmp_path / "private"
    into.mkdir()
    files = render.write_inventory(into, HOSTS[2:3], STOCK, config.load(workspace, {}))
    assert files == (workspace / "inventories/ange/group_vars/web.yml",)
    assert (into / "group_vars/ange__role_web/role.yml").is_symlink()


# --- events -----------------------------------------------------------------------------------------------------


def test_lines_become_typed_events() -> None:
    started = events.parse(json.dumps({"kind": "task", "at": 0, "task": "Write", "role": "ssh"}))
    assert isinstance(started, TaskStarted)
    ended = events.parse(
        json.dumps({"kind": "result", "at": 0, "task": "x", "host": "ange.web1", "outcome": "changed"})
    )
    assert isinstance(ended, TaskEnded)
    recap = events.parse(json.dumps({"kind": "recap", "at": 0, "host": "ange.web1", "ok": 3, "changed": 1}))
    assert isinstance(recap, HostRecap)
    assert (recap.ok, recap.changed, recap.failed) == (3, 1, 0)


@given(
    st.text() | st.dictionaries(st.sampled_from(["kind", "at", "host", "task", "outcome"]), st.text()).map(json.dumps)
)
def test_a_line_that_is_no_event_is_none_and_never_an_error(line: str) -> None:
    assert events.parse(line) is None or isinstance(events.parse(line), TaskStarted | TaskEnded | HostRecap)


def test_a_run_cut_off_leaves_hosts_unknown_and_is_not_good() -> None:
    lines = [
        {"kind": "result", "at": 0, "task": "x", "host": "a.failed", "outcome": "failed", "message": "no room"},
        {"kind": "result", "at": 0, "task": "x", "host": "a.cut", "outcome": "ok"},
        {"kind": "result", "at": 0, "task": "x", "host": "a.passed", "outcome": "failed", "ignored": True},
        {"kind": "recap", "at": 0, "host": "a.passed", "ok": 1, "cut_short": False},
    ]
    found = tuple(event for event in (events.parse(json.dumps(line)) for line in lines) if event)
    at = found[0].at
    hosts = ("a.failed", "a.cut", "a.passed", "a.never")
    run = PlaybookRun(
        playbook="try", hosts=hosts, check=False, started=at, ended=at, exit_code=0, events=found, recaps=recaps(found)
    )
    assert [run.outcome(host) for host in hosts] == ["failed", "unknown", "ok", "unknown"]
    assert run.unknown == ("a.cut", "a.never")
    assert run.reason("a.failed") == "x: no room"
    assert not run.good


@pytest.mark.parametrize(
    ("exit_code", "outcome"),
    [(0, "ok"), (2, "ok"), (4, "ok"), (6, "ok"), (1, "unknown"), (250, "unknown"), (-9, "unknown")],
)
def test_a_good_recap_of_a_run_that_came_to_grief_is_no_good_end(exit_code: int, outcome: str) -> None:
    """2 and 4 say that other hosts failed or were unreachable; with any other code the run itself did not end."""
    found = events.parse(json.dumps({"kind": "recap", "at": 0, "host": "a.web1", "ok": 3, "cut_short": False}))
    assert found is not None
    run = PlaybookRun(
        playbook="try", hosts=("a.web1",), check=False, started=found.at, ended=found.at, exit_code=exit_code,
        events=(found,), recaps=recaps([found]),
    )  # fmt: skip
    assert run.outcome("a.web1") == outcome
