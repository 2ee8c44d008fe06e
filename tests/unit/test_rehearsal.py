"""A rehearsal's decisions: which doubles it takes, what makes a lab host like one, and what the whole amounts to."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.errors import Unreachable
from opsctl.hostside import installed as script
from opsctl.lab import exact, machine, stage
from opsctl.lab.exact import Exact
from opsctl.lab.place import Place
from opsctl.model.handling import Hooks
from opsctl.model.host import Host, Inventory, Tenant
from opsctl.model.rollout import Batch, HostPlan, PackageChange, Plan, Stage, Wave
from opsctl.patch import rehearsal
from opsctl.patch.doubles import (
    Likeness,
    NotRehearsed,
    differences,
    doubles,
    words_to_become,
)
from opsctl.patch.rehearsal import Rehearsal, Trial
from opsctl.patch.rehearse import restarted
from opsctl.patch.stage import networks_of
from opsctl.rollout import plan as planning
from opsctl.state.store import Store

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
CHANGE = PackageChange(name="openssl", before="3.0-1", after="3.0-2", security=True)
HOSTS = tuple(
    Host(name=f"web{n}", tenant="ange", address=f"192.0.2.{n}", role="web", platform="debian-12") for n in range(1, 5)
)
INVENTORY = Inventory(
    tenants=(Tenant(name="ange", title="Ånge kommun", management_networks=("10.130.0.0/16", "2001:db8::/32")),),
    hosts=HOSTS, digest="d",
)  # fmt: skip


def like(*packages: tuple[str, str], os_release: str = "debian-12", architecture: str = "amd64") -> Likeness:
    told = dict((("openssl", "3.0-1"), *packages))
    text = "".join(f"{name}\tamd64\t{version}\n" for name, version in sorted(told.items()))
    return Likeness(os_release=os_release, architecture=architecture, packages=text)


def plan_of(*items: HostPlan) -> Plan:
    draft = Plan(
        id="patch-1", hash="", kind="patch", made_at=NOW, made_by="anna", inventory_digest="d", content_digest="c",
        waves=(Wave(ring="broad", batches=(Batch(hosts=items),)),),
    )  # fmt: skip
    return replace(draft, hash=planning.hash_of(draft))


PLAN = plan_of(*(HostPlan(host=host.key, packages=(CHANGE,)) for host in HOSTS))


def test_one_double_stands_for_all_hosts_that_are_alike_and_the_largest_set_comes_first() -> None:
    told = {host.key: like(("acl", "1")) for host in HOSTS} | {"ange.web1": like()}
    found, left = doubles(PLAN, INVENTORY, told, most=8)
    assert [one.hosts for one in found] == [("ange.web2", "ange.web3", "ange.web4"), ("ange.web1",)]
    assert left == []


def test_another_transaction_takes_another_double() -> None:
    other = replace(CHANGE, after="3.0-3")
    plan = plan_of(
        HostPlan(host="ange.web1", packages=(CHANGE,)), HostPlan(host="ange.web2", packages=(replace(other),))
    )
    found, _ = doubles(plan, INVENTORY, {"ange.web1": like(), "ange.web2": like()}, most=8)
    assert [one.packages[0].after for one in found] == ["3.0-2", "3.0-3"]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (like(os_release="debian-11"), "the lab cannot build debian-11, only debian-12"),
        (like(os_release="ubuntu-24.04"), "the lab cannot build ubuntu-24.04, only debian-12"),
        (like(architecture="arm64"), "the lab cannot build arm64, only amd64"),
        (replace(like(), broken=("perl",)), "its dpkg is not whole: 'perl'"),
        (replace(like(), packages="openssl\tamd64\t3.0-1\nnonsense\n"), "it names packages that cannot be: 'nonsense'"),
        (like(("$(id)", "1")), "it names packages that cannot be: '$(id)'"),
        (like(("acl", "1;id")), "it names packages that cannot be: 'acl'"),
        (like(("openssl", "3.0-9")), "has moved since the plan: openssl is 3.0-9, planned from 3.0-1"),
        (
            replace(like(), packages="libc6\ti386\t2\nopenssl\tamd64\t3.0-1\n"),
            "packages of another architecture: libc6",
        ),
        (Unreachable("ange.web1", "timed out"), "unreachable: timed out"),
        (None, "it was not read"),
    ],
)
def test_a_host_without_a_double_is_named_with_the_reason(told: object, why: str) -> None:
    found, left = doubles(
        plan_of(HostPlan(host="ange.web1", packages=(CHANGE,))),
        INVENTORY,
        {"ange.web1": told} if told else {},  # type: ignore[dict-item]
        most=8,
    )
    assert found == []
    assert why in left[0].reason


def test_more_sets_than_doubles_are_left_out_and_said_so() -> None:
    told = {host.key: like(("acl", str(number))) for number, host in enumerate(HOSTS)}
    found, left = doubles(PLAN, INVENTORY, told, most=3)
    assert len(found) == 3
    assert [one.host for one in left] == ["ange.web4"]
    assert "--max-doubles" in left[0].reason


def test_thousands_of_hosts_that_are_alike_cost_little() -> None:
    many = tuple(Host(name=f"h{n}", tenant="ange", address="192.0.2.1", role="web", platform="debian-12")
                 for n in range(5000))  # fmt: skip
    inventory = Inventory(tenants=INVENTORY.tenants, hosts=many, digest="d")
    one = like(*((f"package{n}", "1.0-1") for n in range(500)))
    told = {host.key: replace(one, packages=one.packages.encode().decode()) for host in many}  # each its own text
    began = time.process_time()
    found, left = doubles(
        plan_of(*(HostPlan(host=host.key, packages=(CHANGE,)) for host in many)), inventory, told, most=8
    )
    assert (len(found), left) == (1, [])
    assert time.process_time() - began < 20  # 5,000 hosts of 500 packages; about one second


PACKAGES = st.dictionaries(st.sampled_from(["acl", "curl", "perl", "sudo", "tzdata"]), st.sampled_from(["1", "2"]))


@given(PACKAGES, PACKAGES)
def test_the_words_for_apt_turn_what_is_there_into_what_is_wanted(want: dict[str, str], have: dict[str, str]) -> None:
    after = dict(have)
    for word in words_to_become(want, have):
        if word.endswith("-"):
            del after[word[:-1]]
        else:
            name, _, version = word.partition("=")
            assert after.get(name) != version
            after[name] = version
    assert after == want
    assert differences(want, after) == ()


def test_differences_name_what_is_older_missing_or_too_much() -> None:
    assert differences({"acl": "2", "perl": "5"}, {"acl": "1", "nano": "7"}) == (
        "acl is 1 instead of 2", "perl is not installed instead of 5", "nano is installed",
    )  # fmt: skip


def trial(stage: Stage | None = Stage.DONE, **more: object) -> Trial:
    made = Trial(
        double="double-01", hosts=("ange.web1",), os_release="debian-12", architecture="amd64", installed=1,
        packages=1, stage=stage,
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def done(*trials: Trial, left: tuple[NotRehearsed, ...] = ()) -> Rehearsal:
    return Rehearsal(
        plan=PLAN.id, plan_hash=PLAN.hash, at=NOW, ended=NOW + timedelta(minutes=2), by="anna", trials=trials,
        not_rehearsed=left,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (done(trial()), "ok"),
        (done(), "incomplete"),
        (done(trial(), left=(NotRehearsed(host="ange.web2", reason="unreachable"),)), "incomplete"),
        (done(trial(not_alike=("acl is 1 instead of 2",))), "incomplete"),
        (done(trial(None)), "incomplete"),
        (done(trial(), trial(Stage.FAILED)), "failed"),
        (done(trial(Stage.UNKNOWN), left=(NotRehearsed(host="ange.web2", reason="x"),)), "failed"),
        (done(trial(Stage.PLANNED)), "failed"),
    ],
)
def test_only_a_whole_rehearsal_that_went_well_is_green(found: Rehearsal, outcome: str) -> None:
    assert found.outcome == outcome


def test_a_rehearsal_is_kept_with_its_plan_and_holds_for_no_other(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert rehearsal.told(rehearsal.load(store, PLAN)) == "never rehearsed (opsctl patch rehearse)"
        rehearsal.keep(store, done(trial(restarted=("ssh.service",)), left=(NotRehearsed(host="h", reason="x"),)))
        told = rehearsal.told(rehearsal.load(store, PLAN))
        assert told == "rehearsed 2026-11-22 03:02Z by anna: incomplete (1 of 1 doubles well, 1 hosts without one)"
        assert rehearsal.load(store, replace(PLAN, hash="another")) is None


def test_a_kernel_in_the_transaction_is_named_among_what_cannot_be_foreseen() -> None:
    kernel = PackageChange(name="linux-image-6.1.0-42-amd64", before="", after="6.1.1")
    plan = plan_of(HostPlan(host="ange.web1", packages=(CHANGE, kernel)))
    found, _ = doubles(plan, INVENTORY, {"ange.web1": like()}, most=1)
    assert "linux-image-6.1.0-42-amd64" in rehearsal.cannot_foresee(found, plan)[-1]
    assert rehearsal.cannot_foresee([replace(found[0], packages=(CHANGE,))], plan) == rehearsal.CANNOT_FORESEE


def test_the_commands_around_a_change_are_not_run_and_the_rehearsal_says_so() -> None:
    item = HostPlan(host="ange.ange-web1", hooks=Hooks(before=("/opt/snapshot",), on_failure=("/opt/back",)))
    assert "its commands were not run (before, on_failure)" in rehearsal.cannot_foresee([], plan_of(item))[-1]


def test_services_that_run_as_another_invocation_were_restarted() -> None:
    before = "Id=ssh.service\nInvocationID=a\n\nId=cron.service\nInvocationID=b\n\nId=off.service\nInvocationID=\n"
    after = "Id=ssh.service\nInvocationID=c\n\nId=cron.service\nInvocationID=b\n\nId=off.service\nInvocationID=d\n"
    after += "\nId=opsctl-install-patch-1.service\nInvocationID=e\n"
    assert restarted(before, after) == ("ssh.service",)


def test_the_networks_of_the_real_hosts_are_left_to_them() -> None:
    found = networks_of(INVENTORY)
    assert IPv4Network("192.0.2.1/32") in found
    assert IPv4Network("10.130.0.0/16") in found


def test_a_lab_whose_process_lives_is_no_orphan_and_one_of_a_later_process_of_its_id_is_none(tmp_path: Path) -> None:
    mine = stage.name("rehearsal")
    pid, began = mine.split("-")[1:]
    later = f"rehearsal-{pid}-{int(began, 16) + 1:x}"
    for name in (mine, later, "rehearsal-99999999-1", "demo", "rehearsal-x-1"):
        (tmp_path / name).mkdir()
    assert stage.orphans("rehearsal", run=tmp_path) == tuple(sorted((later, "rehearsal-99999999-1")))
    Place(name=mine)  # fits what a lab may be called


def test_half_of_the_free_memory_is_for_doubles(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  8000000 kB\nMemAvailable:    6300000 kB\n")
    assert machine.room_for_hosts(tmp_path / "meminfo") == 3


def deb(folder: Path, name: str, version: str, file: str) -> None:
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True, exist_ok=True)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: d\n"
    (tree / "DEBIAN/control").write_text(control)
    (folder / "pool").mkdir(exist_ok=True)
    subprocess.run(["dpkg-deb", "--build", str(tree), str(folder / "pool" / file)], check=True, capture_output=True)


@pytest.mark.skipif(not Path("/usr/bin/dpkg-deb").exists(), reason="no dpkg-deb here")
def test_a_file_counts_by_what_it_says_of_itself_not_by_its_name(tmp_path: Path) -> None:
    deb(tmp_path, "acl", "1:2.3-1", "acl_1%3a2.3-1_all.deb")
    deb(tmp_path, "curl", "8.0-1", "curl_9.0-1_all.deb")
    (tmp_path / "pool/perl_5_all.deb").write_bytes(b"no package")
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/debian").symlink_to(tmp_path / "pool")
    need = {Exact(name="acl", version="1:2.3-1"), Exact(name="curl", version="9.0-1"), Exact(name="perl", version="5")}
    found = dict(exact._in_folder(tmp_path / "mirror", need, "amd64"))
    assert list(found) == [Exact(name="acl", version="1:2.3-1")]


@pytest.mark.skipif(not Path("/usr/bin/dpkg-query").exists(), reason="no dpkg here")
def test_the_script_tells_what_this_machine_has_installed() -> None:
    told = script.main({})
    assert any(line.startswith("dpkg\t") for line in told["packages"].splitlines())
    assert told["packages"] == "".join(sorted(told["packages"].splitlines(keepends=True)))
    assert told["os_release"].count("-") >= 1
    assert told["architecture"]
