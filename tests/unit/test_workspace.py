"""`opsctl init`: what a new workspace holds, and that nothing is overwritten."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl import config
from opsctl.documents import Problems
from opsctl.errors import ConfigError, Refused, UsageError
from opsctl.inventory import emit, faults, files, sync
from opsctl.inventory.tenantfile import read_tenant
from opsctl.lab import fleet
from opsctl.lab.fleet import Fleet
from opsctl.model.host import (
    Account,
    Cluster,
    MappingsConfirmed,
    Mirror,
    Organisation,
    OutLimit,
    PatchPolicy,
    Site,
    Tenant,
    Window,
)
from opsctl.overview import workspace

NOW = datetime(2026, 11, 25, 11, 0, tzinfo=UTC)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampleX opsctl@example"


@pytest.fixture(name="lab")
def _lab(tmp_path: Path) -> Fleet:
    """A description of the demo fleet, as a lab that stands would give it."""
    placed = fleet.placed(
        fleet.demo(),
        name="demo",
        address=lambda n: f"10.99.1.{n + 1}",
        subnet="10.99.1.0/24",
        mirror="http://10.99.1.1:80",
    )
    fingerprints = tmp_path / "fingerprints"
    fingerprints.write_text("".join(f"{host.key} SHA256:{'x' * 43}\n" for host in placed.hosts))
    automation = Account(name="opsctl", keys=(KEY,), automation=True)
    tenants = tuple(
        replace(t, accounts=(automation, Account(name=f"{t.name}-admin", keys=(KEY,), groups=("sudo", "ssh-login"))))
        for t in placed.tenants
    )
    return replace(placed, tenants=tenants, fingerprints_file=fingerprints, identity_file=tmp_path / "id_ed25519")


def test_a_new_workspace_is_usable_at_once(tmp_path: Path) -> None:
    made = workspace.make(tmp_path / "drift", [Tenant(name="ange", title="Ånge kommun")])
    settings = config.load(made.workspace, {})
    assert faults.faults(settings, NOW) == ()
    assert files.load(settings).tenant("ange").title == "Ånge kommun"
    assert ".state/" in (made.workspace / ".gitignore").read_text()
    assert (made.workspace / "README.md").exists()
    assert made.kept == ()


def test_nothing_is_overwritten_and_a_second_call_adds_a_tenant(tmp_path: Path) -> None:
    workspace.make(tmp_path, [Tenant(name="ange", title="Ånge")])
    (tmp_path / "opsctl.yml").write_text("version: 1\n")
    (tmp_path / "inventories/ange/source.yml").write_text("mine")
    made = workspace.make(tmp_path, [Tenant(name="ange", title="Ånge"), Tenant(name="bollnas", title="Bollnäs")])
    assert made.written == ("inventories/bollnas/tenant.yml", "inventories/bollnas/source.yml")
    assert (tmp_path / "opsctl.yml").read_text() == "version: 1\n"
    assert (tmp_path / "inventories/ange/source.yml").read_text() == "mine"


def test_a_folder_that_everyone_can_write_is_refused_with_the_mend(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigError) as caught:
        workspace.make(folder)
    assert caught.value.hint == f"chmod o-w {folder}"


def test_a_place_where_no_folder_can_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="no workspace can be made"):
        workspace.make(tmp_path / "file" / "below")


@pytest.mark.parametrize("given_name", ["Ånge", "all", "", "=Ånge", "a b", "../x"])
def test_a_tenant_needs_a_proper_name(given_name: str) -> None:
    with pytest.raises(UsageError):
        workspace.tenant_of(given_name)


def test_name_and_title_of_a_tenant_are_read_from_one_word() -> None:
    assert workspace.tenant_of("ange=Ånge kommun") == Tenant(name="ange", title="Ånge kommun")
    assert workspace.tenant_of("ange").title == "ange"


def test_a_workspace_for_a_lab_takes_its_hosts_over_without_a_fault(tmp_path: Path, lab: Fleet) -> None:
    made = workspace.make(tmp_path / "ws", lab=lab)
    settings = config.load(made.workspace, {})
    assert faults.faults(settings, NOW) == ()
    assert settings.text("ssh.identity") == str(lab.identity_file)
    assert (made.workspace / workspace.FINGERPRINTS).read_text() == lab.fingerprints_file.read_text()
    inventory = sync.plan(settings).inventory
    assert len(inventory) == 7
    assert [jump.name for jump in inventory.jumps(inventory.host("ange-db1"))] == ["ange-lb1"]
    ange, sundsvall = inventory.tenant("ange"), inventory.tenant("sundsvall")
    assert ange.management_networks == ("10.99.1.1/32", f"{inventory.host('ange-lb1').address}/32")
    assert sundsvall.management_networks == ("10.99.1.1/32",)
    assert ange.package_sources == (
        "http://10.99.1.1:80/debian bookworm main",
        "http://10.99.1.1:80/debian-security bookworm-security main",
    )
    accounts = {account.name: account for account in ange.accounts or ()}
    assert accounts["opsctl"].groups == ("ssh-login",)
    assert accounts["ange-admin"].groups == ("ssh-login", "sudo")
    assert inventory.tenant("ange").clusters == (Cluster(name="ange-web", minimum=1),)


NAMES = st.sampled_from(["a", "web", "natt-1", "no", "on", "yes", "1e3", "0"])
TEXTS = st.sampled_from(["Ånge kommun", "a: b", "# c", "'\"", "{x}", "- y", "\\", "Söderhamn, [1]"])


@given(
    st.builds(
        Tenant,
        name=st.just("ange"),
        title=TEXTS,
        operator=NAMES | st.just(""),
        organisations=st.lists(st.builds(Organisation, name=NAMES, title=TEXTS), unique_by=lambda o: o.name).map(tuple),
        sites=st.lists(st.builds(Site, name=NAMES, title=TEXTS), unique_by=lambda s: s.name).map(tuple),
        clusters=st.lists(
            st.builds(Cluster, name=NAMES, minimum=st.just(2), primary=st.just("") | NAMES), unique_by=lambda c: c.name
        ).map(tuple),
        limits=st.lists(
            st.builds(
                OutLimit, role=NAMES, site=NAMES | st.just(""), max_out=st.just(3),
                max_out_percent=st.none() | st.just(10),
            ), unique_by=lambda limit: limit.name,
        ).map(tuple),
        rings=st.lists(NAMES, unique=True).map(lambda names: (*names, "broad")),
        windows=st.lists(
            st.builds(
                Window, name=NAMES, days=st.just(("mon", "sun")), start=st.just("22:00"), end=st.just("04:00"),
                zone=st.sampled_from(["Europe/Stockholm", "UTC"]),
            ), unique_by=lambda w: w.name,
        ).map(tuple),
        management_networks=st.none() | st.just(("192.0.2.0/28", "2001:db8::/32")),
        ssh_groups=st.none() | st.just(()) | st.just(("ssh-login",)),
        accounts=st.none() | st.just((Account(name="opsctl", keys=(KEY,), groups=("ssh-login",), automation=True),)),
        package_sources=st.none() | st.just(()) | st.just(("http://ange.example/debian bookworm main",)),
        time_servers=st.none() | st.just(()) | st.just(("2001:db8::1", "ntp.example")),
        log_host=st.sampled_from(["", "log.example", "log.example:6514"]),
        log_retention_days=st.none() | st.just(90),
        approval=st.just(()) | st.just(("broad",)),
        mirrors=st.just(()) | st.just((Mirror(mirror="http://a.example/d", snapshot="http://b.example/d/{time}"),)),
        patch_policy=st.none() | st.builds(
            PatchPolicy, security_days=st.just(14), critical_days=st.none() | st.just(3)
        ),
        profile=NAMES | st.just(""),
        mappings_confirmed=st.none() | st.builds(
            MappingsConfirmed, by=TEXTS, on=st.just("2026-11-24"), catalogue_sha256=st.just("0" * 64),
        ),
    )
)  # fmt: skip
def test_a_written_tenant_is_read_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, tenant: Tenant) -> None:
    folder = tmp_path_factory.mktemp("inventories") / "ange"
    folder.mkdir()
    (folder / "tenant.yml").write_text(emit.tenant_file(tenant), encoding="utf-8")
    problems = Problems()
    found = read_tenant(folder / "tenant.yml", problems).tenant
    if tenant.accounts and tenant.ssh_groups == ():
        assert "could not log in" in problems.found[0].what
    else:
        assert problems.found == []
    assert found == replace(
        tenant,
        organisations=tuple(sorted(tenant.organisations, key=lambda entry: entry.name)),
        sites=tuple(sorted(tenant.sites, key=lambda entry: entry.name)),
        clusters=tuple(sorted(tenant.clusters, key=lambda entry: entry.name)),
        limits=tuple(sorted(tenant.limits, key=lambda entry: entry.name)),
        windows=tuple(sorted(tenant.windows, key=lambda entry: entry.name)),
    )
