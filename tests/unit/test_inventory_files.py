"""Reading tenant.yml, hosts.yml and source.yml: what comes out, and every fault with its line."""

import base64
import tempfile
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl import config
from opsctl.config import Settings
from opsctl.documents import Problems
from opsctl.errors import InventoryError, Problem
from opsctl.inventory import cache, emit, faults, files
from opsctl.inventory.hostfile import read_hosts
from opsctl.model.host import Cluster, Host, OutLimit, Service, Tenant

NOW = datetime(2026, 11, 25, 11, 0, tzinfo=UTC)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampleX opsctl@example"
TENANT = f"""\
version: 1
name: ange
title: Ånge kommun
organisations: [{{name: skola, title: Skolan}}]
sites: [{{name: hall}}]
clusters: [{{name: web, minimum: 1}}]
windows: [{{name: natt, days: [tue, thu], start: "22:00", end: "04:00"}}]
management_networks: [192.0.2.0/28]
ssh_groups: [ssh-login]
accounts:
  - name: opsctl
    automation: true
    groups: [ssh-login]
    keys: ["{KEY}"]
package_sources: ["http://deb.debian.org/debian bookworm main"]
"""
MORE_OF_A_TENANT = f"""\
operator: sundsvall
limits: [{{role: web, max_out: 1}}]
rings: [first, broad]
gates: [{{name: soak, soak_minutes: 30}}]
failure_budget: "2"
wave_budget: 5%
handling: [{{name: web, role: web, reboot: never}}]
time_servers: [ntp.example]
log_host: log.example:6514
log_retention_days: 90
patch_policy: {{security_days: 14, critical_days: 3}}
approval: [broad]
mirrors: [{{mirror: "http://deb.debian.org/debian", snapshot: "http://snapshots.example/debian/{{time}}"}}]
mappings_confirmed: {{by: Ånge kommun, on: "2026-11-24", catalogue_sha256: {"0" * 64}}}
profile: strict
"""
HOST = """\
  - name: ange-web1
    address: 192.0.2.11
    role: web
    platform: debian-12
"""
Workspace = Callable[..., Settings]


@pytest.fixture(name="workspace")
def _workspace(tmp_path: Path) -> Workspace:
    def make(hosts: str = HOST, tenant: str = TENANT, name: str = "ange", source: str | None = None) -> Settings:
        (tmp_path / "opsctl.yml").write_text("version: 1\n")
        folder = tmp_path / "inventories" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tenant.yml").write_text(tenant)
        (folder / "hosts.yml").write_text(f"version: 1\ntenant: {name}\nhosts:\n{hosts}")
        if source is not None:
            (folder / "source.yml").write_text(f"version: 1\ntenant: {name}\nhosts:\n{source}")
        return config.load(tmp_path, {})

    return make


def problems_of(settings: Settings) -> list[Problem]:
    with pytest.raises(InventoryError) as caught:
        files.load(settings)
    return list(caught.value.problems)


def the_problem(settings: Settings, line: int, file: str = "hosts.yml") -> str:
    """The text of the one fault that is noted at this line."""
    found = [p for p in problems_of(settings) if p.where.endswith(f"ange/{file}:{line}")]
    assert len(found) == 1, problems_of(settings)
    return str(found[0])


def test_every_field_of_tenant_and_host_is_read(workspace: Workspace) -> None:
    settings = workspace(
        HOST
        + "    port: 2222\n    ring: early\n    organisation: skola\n    site: hall\n    cluster: web\n"
        + "    windows: [natt]\n    owner: it@ange.example\n    criticality: high\n    status: active\n"
        + '    services: [{name: web, port: 80, url: "http://ange.example/"}, {name: dns, port: 53, protocol: udp}]\n'
        + "    jump: ange-lb1\n"
        + HOST.replace("web1", "lb1").replace(".11", ".10")
    )
    inventory = files.load(settings)
    host = inventory.host("ange-web1")
    assert host == Host(
        name="ange-web1", tenant="ange", address="192.0.2.11", role="web", platform="debian-12", port=2222,
        ring="early", organisation="skola", site="hall", cluster="web", windows=("natt",), owner="it@ange.example",
        criticality="high",
        services=(Service(name="dns", port=53, protocol="udp"), Service(name="web", port=80, url="http://ange.example/")),
        jump="ange-lb1",
    )  # fmt: skip
    tenant = inventory.tenant("ange")
    assert tenant.title == "Ånge kommun"
    assert tenant.rings == ("canary", "early", "broad")
    assert tenant.windows[0].days == ("tue", "thu")
    assert tenant.accounts is not None
    assert tenant.accounts[0].keys == (KEY,)


def test_limits_and_the_primary_of_a_cluster_are_read(workspace: Workspace) -> None:
    more = "limits: [{role: web, max_out_percent: 25}, {site: hall, max_out: 2}]\n"
    settings = workspace(
        HOST + "    cluster: web\n    site: hall\n",
        TENANT.replace("minimum: 1}", "minimum: 0, primary: ange-web1}") + more,
    )
    tenant = files.load(settings).tenant("ange")
    assert tenant.clusters == (Cluster(name="web", minimum=0, primary="ange-web1"),)
    assert tenant.limits == (OutLimit(role="web", max_out_percent=25), OutLimit(site="hall", max_out=2))


@pytest.mark.parametrize(
    ("limit", "count", "expected"),
    [
        (OutLimit(role="web", max_out=2), 10, 2),
        (OutLimit(role="web", max_out_percent=25), 10, 2),
        (OutLimit(role="web", max_out_percent=25), 3, 1),
        (OutLimit(role="web", max_out=3, max_out_percent=50), 4, 2),
        (OutLimit(role="web", max_out=3, max_out_percent=50), 40, 3),
    ],
)
def test_a_limit_rounds_down_but_always_spares_one_host(limit: OutLimit, count: int, expected: int) -> None:
    assert limit.may_be_out(count) == expected


def test_lists_that_nobody_gave_are_none_and_not_empty(workspace: Workspace) -> None:
    tenant = files.load(workspace(tenant="version: 1\nname: ange\n")).tenant("ange")
    assert (tenant.accounts, tenant.ssh_groups, tenant.management_networks, tenant.package_sources) == (None,) * 4
    assert (tenant.time_servers, tenant.log_host, tenant.log_retention_days) == (None, "", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('time_servers: ["ntp.example", "$(id)"]', "time_servers: '$(id)' is not allowed"),
        ("log_host: log.example:6514:1", "log_host: 'log.example:6514:1' is not allowed"),
        ('log_host: "a\\" target=\\"b"', "is not allowed"),
        ("log_retention_days: 0", "a whole number from 1 to 3660"),
    ],
)
def test_lists_that_end_up_in_settings_of_hosts_hold_names_alone(
    workspace: Workspace, text: str, expected: str
) -> None:
    found = problems_of(workspace(tenant=f"{TENANT}{text}\n"))
    assert any(expected in f"{problem.what} {problem.allowed}" for problem in found), found


def test_a_workspace_without_inventories_is_an_empty_inventory(tmp_path: Path) -> None:
    (tmp_path / "opsctl.yml").write_text("version: 1\n")
    assert len(files.load(config.load(tmp_path, {}))) == 0


def test_the_order_in_the_files_changes_neither_the_inventory_nor_its_digest(workspace: Workspace) -> None:
    second = HOST.replace("web1", "web2").replace(".11", ".12")
    one = files.load(workspace(HOST + second))
    other = files.load(workspace(second + HOST, TENANT.replace("version: 1\n", "") + "version: 1\n"))
    assert one == other
    assert one.digest == other.digest
    changed = files.load(workspace(HOST + second.replace("web2", "web3")))
    assert changed.digest != one.digest


def test_a_title_typed_decomposed_is_read_composed(workspace: Workspace) -> None:
    assert files.load(workspace(tenant=TENANT.replace("Ånge", "A\u030ange"))).tenant("ange").title == "Ånge kommun"


@pytest.mark.parametrize(
    ("line", "text", "expected"),
    [
        (8, "    colour: blue\n", "'colour' is not known here"),
        (8, "    port: 70000\n", "from 1 to 65535"),
        (8, "    ring: pilot\n", "ring: 'pilot' is not in tenant.yml (known: canary, early, broad)"),
        (8, "    site: cellar\n", "site: 'cellar' is not in tenant.yml (known: hall)"),
        (8, "    cluster: db\n", "cluster: 'db' is not in tenant.yml (known: web)"),
        (8, "    organisation: vård\n", "is not allowed"),
        (8, "    organisation: omsorg\n", "is not in tenant.yml (known: skola)"),
        (8, "    windows: [natt, dag]\n", "windows: 'dag' is not in tenant.yml (known: natt)"),
        (8, "    jump: ange-lb1\n", "jump: no host is called 'ange-lb1'"),
        (8, "    jump: ange-web1\n", "form a circle"),
        (8, "    reboot: sometimes\n", "reboot: 'sometimes' is not known"),
        (8, "    balancer: ange-lb1\n", "balancer: no host with role loadbalancer is called 'ange-lb1'"),
        (8, "    balancer: '-x'\n", "balancer: '-x' is not allowed"),
        (8, "    status: fine\n", "one of: active, planned"),
        (8, "    criticality: huge\n", "one of: low, normal, high, critical"),
        (8, "    services: [{name: web}]\n", "port is missing"),
        (8, "    services: [{name: web, port: 1, serves: [soderhamn]}]\n", "and there is no such tenant (known: ange)"),
        (8, "    services: [{name: web, port: 1, serves: [Ånge]}]\n", "serves: 'Ånge' is not allowed"),
        (8, '    services: [{name: web, port: 80, url: "file:///etc"}]\n', "is not a web address"),
        (8, "    services: [{name: w, port: 1}, {name: w, port: 1}]\n", "is there twice"),
        (8, '    owner: "a\\eb"\n', "control characters"),
        (8, '    owner: "a\\u202Eb"\n', "reorder text"),
        (8, HOST, "host ange-web1 is there twice"),
    ],
)
def test_a_fault_of_a_host_is_told_with_its_line(workspace: Workspace, line: int, text: str, expected: str) -> None:
    assert expected in the_problem(workspace(HOST + text), line)


@pytest.mark.parametrize(
    "name", ["all", "localhost", "-oProxyCommand=id", "web-[1:3]", "WEB", "a b", "å", "a\u030a", "../x"]
)
def test_a_name_that_means_something_to_others_is_refused(workspace: Workspace, name: str) -> None:
    found = problems_of(workspace(HOST.replace("ange-web1", f'"{name}"')))
    assert any(f"{name!r}" in problem.what for problem in found)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.2", "::1", "169.254.169.253", "fe80::1", "fe80::1%eth0", "0.0.0.0", "224.0.0.1", "::ffff:127.0.0.1",
     "192.0.2.300", "ange.example"],
)  # fmt: skip
def test_an_address_that_is_no_other_machine_is_refused(workspace: Workspace, address: str) -> None:
    assert "address" in the_problem(workspace(HOST.replace("192.0.2.11", f'"{address}"')), 5)


def test_one_address_for_two_hosts_is_refused_and_behind_another_site_allowed(workspace: Workspace) -> None:
    second = HOST.replace("web1", "web2")
    assert "is also ange-web1's" in the_problem(workspace(HOST + second), 9)
    assert len(files.load(workspace(HOST + second + "    site: hall\n"))) == 2


def test_jump_hosts_that_lead_in_a_circle_are_refused(workspace: Workspace) -> None:
    second = HOST.replace("web1", "web2").replace(".11", ".12")
    found = problems_of(workspace(HOST + "    jump: ange-web2\n" + second + "    jump: ange-web1\n"))
    assert all("circle" in problem.what for problem in found)


def test_what_is_not_managed_needs_neither_address_nor_a_known_ring(workspace: Workspace) -> None:
    printer = "  - {name: ange-print1, role: print, platform: windows-2022}\n"
    inventory = files.load(workspace(printer, TENANT + "rings: [pilot]\n"))
    assert not inventory.host("ange-print1").managed


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        ("name: ange\n", "name: bollnas\n", 2, "stands in the folder 'ange'"),
        ("automation: true", "automation: false", 10, "0 have automation: true"),
        ("groups: [ssh-login]\n    keys", "groups: []\n    keys", 10, "could not log in"),
        (KEY, KEY[:60], 14, "has a part been cut off?"),
        (KEY, "-----BEGIN OPENSSH PRIVATE KEY-----", 14, "this is a private key"),
        (KEY, 'command=\\"id\\" ' + KEY, 14, "is no key type that is accepted"),
        (KEY, "ssh-dss AAAAB3NzaC1kc3MAAACB", 14, "is no key type that is accepted"),
        ("192.0.2.0/28", "192.0.2.1/28", 8, "the network is 192.0.2.0/28"),
        ("192.0.2.0/28", "office", 8, "is not a network"),
        ("start: \"22:00\"", "start: \"24:00\"", 7, "start: '24:00' is not allowed"),
        ("end: \"04:00\"", "end: \"22:00\"", 7, "ends when it starts"),
        ("days: [tue, thu]", "days: [tis]", 7, "days: 'tis' is not known"),
        ("days: [tue, thu]", "days: [tue], zone: Europe/Ange", 7, "zone: 'Europe/Ange' is not known"),
        ("http://deb.debian.org/debian bookworm main", "deb-cdn", 15, "'deb-cdn' is not allowed"),
        ("ssh_groups: [ssh-login]", "ssh_groups: [SSH]", 9, "'SSH' is not allowed"),
        ("sites: [{name: hall}]", "sites: [{name: hall}, {name: hall}]", 5, "is there twice"),
        ("sites: [{name: hall}]", "sites: [{name: hall, jump: nobody}]", 5, "no host is called 'nobody'"),
        ("minimum: 1}]", "minimum: 1, primary: web9}]", 6, "'web9' is no member of web (the cluster has no host)"),
        ("clusters: [", "limits: [{max_out: 1}]\nclusters: [", 6, "names neither a role nor a site"),
        ("clusters: [", "limits: [{role: web}]\nclusters: [", 6, "the limit of role web says no number"),
        ("clusters: [", "limits: [{role: web, max_out: 0}]\nclusters: [", 6, "a whole number from 1 to 10000"),
        ("clusters: [", "limits: [{role: web, max_out_percent: 101}]\nclusters: [", 6, "from 1 to 100"),
        ("clusters: [", "limits: [{role: wbe, max_out: 1}]\nclusters: [", 6, "no host fits role wbe"),
        ("clusters: [", "limits: [{role: web, site: hall, max_out: 1}]\nclusters: [", 6, "fits role web at site hall"),
        ("clusters: [", "limits: [{role: web, max_out: 1}, {role: web, max_out: 2}]\nclusters: [", 6, "is there twice"),
    ],
)  # fmt: skip
def test_a_fault_of_a_tenant_is_told_with_its_line(
    workspace: Workspace, old: str, new: str, line: int, expected: str
) -> None:
    assert old in TENANT
    found = [str(p) for p in problems_of(workspace(tenant=TENANT.replace(old, new)))]
    assert any(f"ange/tenant.yml:{line}: " in text and expected in text for text in found), found


def test_a_second_automation_account_is_refused(workspace: Workspace) -> None:
    second = f'  - {{name: other, automation: true, groups: [ssh-login], keys: ["{KEY}"]}}\npackage_sources'
    assert "2 have automation" in the_problem(
        workspace(tenant=TENANT.replace("package_sources", second)), 10, "tenant.yml"
    )


def test_an_rsa_key_is_taken_and_a_key_of_another_type_than_it_says_is_not() -> None:
    from opsctl.inventory.publickey import fault

    def line(says: str, *fields: bytes) -> str:
        blob = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
        return f"{says} {base64.b64encode(blob).decode()}"

    assert fault(line("ssh-rsa", b"ssh-rsa", b"\x01\x00\x01", b"n" * 257)) == ""
    assert "does not hold what its type says" in fault(line("ssh-rsa", b"ssh-ed25519", b"k" * 32))
    assert "not a whole ssh-ed25519 key" in fault(line("ssh-ed25519", b"ssh-ed25519", b"k" * 31))
    assert fault("ssh-ed25519") != ""


def test_all_faults_of_all_files_come_at_once(workspace: Workspace) -> None:
    settings = workspace(HOST + "    colour: blue\n", TENANT + "motto: we are Ånge\n")
    (settings.inventories / "sundsvall").mkdir()
    where = [problem.where.rpartition("inventories/")[2] for problem in problems_of(settings)]
    assert where == ["ange/tenant.yml:16", "sundsvall/tenant.yml", "ange/hosts.yml:8"]


def test_a_fault_of_the_source_and_another_automation_account_show_in_the_check(workspace: Workspace) -> None:
    settings = workspace(tenant=TENANT.replace("name: opsctl", "name: robot"), source=HOST + "    ring: pilot\n")
    found = [str(problem) for problem in faults.faults(settings, NOW)]
    assert len(found) == 2
    assert "the automation account is robot, and opsctl logs in as opsctl" in found[0]
    assert "source.yml:8: ring: 'pilot'" in found[1]


def test_a_large_inventory_is_parsed_once_and_again_after_a_hand_edit(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "WORTH_IT", 1)
    settings = workspace(HOST + "    services: [{name: web, port: 80, serves: [ange]}]\n    windows: [natt]\n")
    settings.state.mkdir()
    first = files.load(settings)
    assert (settings.state / cache.FILE).exists()
    with monkeypatch.context() as parsing_is_an_error:
        parsing_is_an_error.setattr(files, "read_inventory", lambda *_: pytest.fail("parsed again"))
        assert files.load(settings) == first
    path = settings.inventories / "ange" / "hosts.yml"
    path.write_text(path.read_text().replace("192.0.2.11", "192.0.2.99"))
    assert files.load(settings).host("ange-web1").address == "192.0.2.99"


def test_everything_that_a_tenant_may_say_is_in_the_parsed_copy_too(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "WORTH_IT", 1)
    settings = workspace(tenant=TENANT + MORE_OF_A_TENANT)
    settings.state.mkdir()
    first = files.load(settings)
    tenant = first.tenant("ange")
    assert [field.name for field in fields(Tenant) if getattr(tenant, field.name) == field.default] == []
    with monkeypatch.context() as parsing_is_an_error:
        parsing_is_an_error.setattr(files, "read_inventory", lambda *_: pytest.fail("parsed again"))
        assert files.load(settings) == first


@pytest.mark.parametrize("garbage", ["", "[]", "{", '{"files": 1}'])
def test_a_broken_parsed_copy_is_as_none(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, garbage: str) -> None:
    monkeypatch.setattr(cache, "WORTH_IT", 1)
    settings = workspace()
    settings.state.mkdir()
    (settings.state / cache.FILE).write_text(garbage)
    assert len(files.load(settings)) == 1


def test_the_example_workspace_is_sound_and_written_as_a_sync_would_write_it() -> None:
    settings = config.load(Path(__file__).parents[2], {})
    assert faults.faults(settings, NOW) == ()
    inventory = files.load(settings)
    for tenant in inventory.tenants:
        text = (settings.inventories / tenant.name / "hosts.yml").read_text()
        assert emit.hosts_file(tenant.name, [host for host in inventory if host.tenant == tenant.name]) == text


@pytest.mark.parametrize(
    "text",
    ["hosts: " + "[" * 100_000, "hosts: " + "{a: " * 100_000, "hosts:\n  " + "- " * 100_000, "? " * 100_000,
     "hosts: &a [*a]", "--- 1\n--- 2", "\tx", "%", "hosts: !!python/object/apply:os.system [id]", "hosts: {<<: 1}",
     "&a *a"],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_a_file_that_is_made_to_harm_is_a_fault_and_nothing_else(workspace: Workspace, text: str) -> None:
    settings = workspace()
    (settings.inventories / "ange/hosts.yml").write_text(text)
    assert problems_of(settings)


@given(st.text(alphabet="[]{}-:?&*!|>'\"%@`#, \nabhostsnm1", max_size=80))
def test_no_text_at_all_makes_the_reader_stumble(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ange" / "hosts.yml"
        path.parent.mkdir()
        path.write_text(text)
        found = Problems()
        assert read_hosts(path, "ange", found) == ()
        assert found.found


def test_a_copy_that_was_lost_is_no_tenant_without_hosts(workspace: Workspace) -> None:
    """Else a verb would do the other tenants' hosts and be green."""
    settings = workspace(source=HOST)
    folder = settings.inventories / "ange"
    (folder / "hosts.yml").unlink()
    assert not files.load(settings).hosts, "never synced, nothing approved: there is nothing yet"
    (folder / "pins").write_text("# nothing approved any more\n")
    with pytest.raises(InventoryError) as caught:
        files.load(settings)
    assert caught.value.problems[0].where == str(folder / "hosts.yml")


def test_an_approved_key_that_is_none_shows_in_the_check(workspace: Workspace) -> None:
    settings = workspace(source=HOST)
    (settings.inventories / "ange/pins").write_text("ange-web1 ssh-ed25519\n")
    assert "ange/pins:1" in faults.faults(settings, NOW)[0].where
