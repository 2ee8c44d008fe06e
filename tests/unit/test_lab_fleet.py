"""Plans of fleets, their description, the packages and files that make their hosts."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.errors import LabError, Refused, UnknownName, UsageError
from opsctl.lab import packages, recipe, seed, sources
from opsctl.lab.fleet import Fleet, LabHost, demo, generic, only, placed
from opsctl.model.host import Account, Cluster


def _placed(plan: Fleet) -> Fleet:
    lab = placed(
        plan,
        name="x",
        address=lambda index: f"10.130.1.{10 + index}",
        subnet="10.130.1.0/24",
        mirror="http://10.130.1.1:8480",
    )
    hosts = tuple(replace(host, fingerprint=f"SHA256:{host.index}") for host in lab.hosts)
    account = Account(name="ange-admin", keys=("ssh-ed25519 AAAA x",), groups=("sudo",))
    tenants = tuple(replace(tenant, accounts=(account,)) for tenant in lab.tenants)
    return replace(lab, hosts=hosts, tenants=tenants, identity_file=Path("/i/id"), fingerprints_file=Path("/i/f"))


@pytest.mark.parametrize("plan", [demo(), generic(3)])
def test_a_description_is_read_back_as_it_was(plan: Fleet) -> None:
    lab = _placed(plan)
    assert Fleet.from_json(lab.to_json()) == lab


def test_a_broken_description_is_a_clear_error() -> None:
    for text in ("", "{}", '{"tenants": 3}', "[]"):
        with pytest.raises(LabError, match="cannot be read"):
            Fleet.from_json(text)


def test_the_demo_is_two_municipalities_with_a_balanced_service_and_a_jump_host() -> None:
    lab = _placed(demo())
    assert [host.name for host in lab.hosts] == [
        "ange-lb1", "ange-web1", "ange-web2", "ange-db1", "ange-file1", "sundsvall-mon1", "sundsvall-app1",
    ]  # fmt: skip
    inventory = lab.inventory()
    assert [host.name for host in inventory.jumps(lab.host("ange-db1"))] == ["ange-lb1"]
    assert inventory.tenant("ange").clusters == (Cluster(name="ange-web", minimum=1),)
    rings = {ring: {host.name for host in lab.hosts if host.ring == ring} for ring in ("canary", "early", "broad")}
    assert rings == {
        "canary": {"sundsvall-app1", "ange-file1"},
        "early": {"ange-web1", "sundsvall-mon1"},
        "broad": {"ange-web2", "ange-lb1", "ange-db1"},
    }


@given(st.integers(1, 99))
def test_a_generic_fleet_has_unique_hosts_and_known_tenants(count: int) -> None:
    plan = generic(count)
    assert [host.index for host in plan.hosts] == list(range(1, count + 1))
    assert len({host.name for host in plan.hosts}) == count
    assert {host.tenant for host in plan.hosts} == {tenant.name for tenant in plan.tenants}


@pytest.mark.parametrize("count", [0, -1, 100])
def test_a_fleet_of_an_impossible_size_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match="1 to 99"):
        generic(count)


def test_a_selection_brings_the_jump_host_along() -> None:
    assert [host.name for host in only(demo(), ["ange-db1"]).hosts] == ["ange-lb1", "ange-db1"]
    assert [tenant.name for tenant in only(demo(), ["sundsvall-app1"]).tenants] == ["sundsvall"]
    with pytest.raises(UnknownName, match="bollnas-web1"):
        only(demo(), ["bollnas-web1"])
    with pytest.raises(UsageError):
        only(demo(), [])


def test_no_host_is_told_a_way_out() -> None:
    host = _placed(demo()).hosts[0]
    text = seed.network_text(host)
    assert "Address=10.130.1.11/24" in text
    assert "Gateway" not in text
    assert "DNS=" not in text.replace("MulticastDNS=no", "")


def test_apt_on_the_hosts_knows_both_pockets_and_whom_to_trust() -> None:
    text = seed.sources_text("http://10.130.1.1:8480")
    assert text.count("Signed-By: /usr/share/keyrings/opsctl-lab.gpg") == 2
    assert "URIs: http://10.130.1.1:8480/debian\nSuites: bookworm\n" in text
    assert "URIs: http://10.130.1.1:8480/debian-security\nSuites: bookworm-security\n" in text


def test_keys_that_the_former_operator_left_are_well_formed(tmp_path: Path) -> None:
    key = tmp_path / "key.pub"
    key.write_text(recipe.key_without_owner("gammal-admin@partner") + "\n")
    shown = subprocess.run(["ssh-keygen", "-l", "-f", key], capture_output=True, text=True, check=True).stdout
    assert "gammal-admin@partner (ED25519)" in shown


# --- own packages -----------------------------------------------------------------------------------------------------


def _package(name: str) -> recipe.OwnPackage:
    return next(package for package in recipe.OWN_PACKAGES if package.name == name)


def test_the_fixed_version_of_one_package_brings_a_new_dependency() -> None:
    newdep = _package("opslab-newdep")
    assert "Depends" not in packages.control(newdep, recipe.OLD, fixed=False)
    assert "Depends: opslab-extra\n" in packages.control(newdep, recipe.FIXED, fixed=True)


def test_an_own_package_is_a_real_one_and_its_new_steps_come_with_the_fixed_version(tmp_path: Path) -> None:
    kernel = _package("opslab-kernel")
    for version, wants_reboot in ((recipe.OLD, False), (recipe.FIXED, True), ("1.0-1+deb12u2", True)):
        deb = packages.build(kernel, version, tmp_path / "out", scratch=tmp_path)
        assert deb.name == f"opslab-kernel_{version}_all.deb"
        subprocess.run(["dpkg-deb", "--control", deb, tmp_path / version], check=True)
        assert ("reboot-required" in (tmp_path / version / "postinst").read_text()) is wants_reboot
        fields = subprocess.run(["dpkg-deb", "-f", deb, "Version"], capture_output=True, text=True, check=True).stdout
        assert fields.strip() == version


def test_a_published_version_can_have_a_step_of_its_own() -> None:
    assert recipe.with_more(_package("opslab-library"), "exit 1").postinst_when_fixed == "exit 1"
    assert (
        recipe.with_more(_package("opslab-kernel"), "").postinst_when_fixed
        == _package("opslab-kernel").postinst_when_fixed
    )


# --- where the packages come from -----------------------------------------------------------------------------------


LISTED = """\
http://mirror.example/debian/ bookworm main Debian/Debian
http://mirror.example/debian/ bookworm contrib Debian/Debian
http://mirror.example/debian/ bookworm-updates main Debian/Debian
http://security.example/debian-security/ bookworm-security main Debian/Debian-Security
https://other.example/node nodistro main . nodistro/. nodistro
"""


def test_archives_are_those_of_this_machines_apt() -> None:
    archives = sources.parse(LISTED)
    assert archives.release == "http://mirror.example/debian/"
    assert archives.security == "http://security.example/debian-security/"
    assert archives.release_line().endswith("http://mirror.example/debian/ bookworm main\n")
    assert archives.security_line().endswith("http://security.example/debian-security/ bookworm-security main\n")


def test_archives_are_found_before_the_first_update_of_apts_lists() -> None:
    never = LISTED.replace("Debian/Debian-Security", "$(ORIGIN)/$(LABEL)").replace(
        "Debian/Debian", "$(ORIGIN)/$(LABEL)"
    )
    assert sources.parse(never).release == "http://mirror.example/debian/"


def test_a_half_fetched_list_and_a_stranger_before_it_do_not_mislead() -> None:
    fetched = LISTED.splitlines(keepends=True)[0]
    unlabelled = (
        "https://other.example/node nodistro main $(ORIGIN)/$(LABEL)\n"
        "http://mirror.example/debian/ bookworm main $(ORIGIN)/$(LABEL)\n"
        "http://security.example/debian-security/ bookworm-security main $(ORIGIN)/$(LABEL)\n"
    )
    for listed in (unlabelled, fetched + unlabelled):
        archives = sources.parse(listed)
        assert archives.release == "http://mirror.example/debian/"
        assert archives.security == "http://security.example/debian-security/"


def test_a_newer_debian_takes_the_older_release_from_the_same_archive() -> None:
    archives = sources.parse(LISTED.replace("bookworm", "trixie"))
    assert archives.release_line().endswith("/debian/ bookworm main\n")


@pytest.mark.parametrize(
    "listed", ["", "http://x.example/ nodistro main . nodistro/. nodistro\n", LISTED.splitlines()[0]]
)
def test_a_machine_without_debians_archives_is_refused(listed: str) -> None:
    with pytest.raises(Refused, match="no archive"):
        sources.parse(listed)


def test_a_lab_host_is_a_host_of_the_model() -> None:
    host = demo().host("ange-web1")
    assert isinstance(host, LabHost)
    assert host.key == "ange.ange-web1"
    assert host.managed
