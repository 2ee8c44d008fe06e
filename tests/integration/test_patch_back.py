"""Real hosts and a real mirror that moves: approval, the same versions for every ring, and the way back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsctl import lab
from tests.integration.rollouts import FIXED, FOUR, OWN, PatchSite, packages, prepared

pytestmark = pytest.mark.lab

# What a failed wait for a kept copy says.
LOOK = "{ ls /var/lib/opsctl/* /var/cache/apt/archives; df -B1M /var/lib; journalctl -n 40 -o cat; } >&2; exit 1"
FREEZE = "version: 1\nfreezes: [{name: soak, days: [mon, tue, wed, thu, fri, sat, sun]}]\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PatchSite]:
    with prepared(tmp_path_factory.mktemp("back"), lab.only(lab.demo(), FOUR)) as made:
        yield made


@pytest.fixture
def site(whole: PatchSite) -> Iterator[PatchSite]:
    whole.fresh()
    before = {path: path.read_text() for path in whole.workspace.glob("inventories/*/tenant.yml")}
    yield whole
    for path, text in before.items():
        path.write_text(text)
    (whole.workspace / "inventories/ange/calendar.yml").unlink(missing_ok=True)


def versions(site: PatchSite, host: str) -> list[str]:
    return [site.version(host, name) for name in OWN]


def test_a_rollout_is_put_back_host_by_host_and_what_was_new_stays(site: PatchSite) -> None:
    rollout = site.plan("--limit", "ange-web*")
    site.opsctl("patch", "start", rollout, "--yes")
    told = site.answer("patch", "rollback", rollout, "--dry-run")
    plan = told["plan"]
    assert isinstance(plan, dict)
    assert plan["rollback_of"] == rollout
    assert packages(plan, "ange.ange-web1")["opslab-library"] == {
        "name": "opslab-library", "before": FIXED, "after": "1.0-1", "security": False,
    }  # fmt: skip
    assert "opslab-extra" not in packages(plan, "ange.ange-web1")
    assert versions(site, "ange-web1") == [FIXED] * len(OWN)
    # A recovering verb: neither the source nor the written inventory is needed any more.
    hosts = site.workspace / "inventories/ange/hosts.yml"
    written = hosts.read_text()
    hosts.write_text(written.replace("ring: early", "ring: broad"))
    try:
        done = site.opsctl("patch", "rollback", rollout, "--limit", "ange-web1", "--yes")
    finally:
        hosts.write_text(written)
    assert "left installed: opslab-extra" in done
    assert versions(site, "ange-web1") == ["1.0-1"] * len(OWN)
    assert versions(site, "ange-web2") == [FIXED] * len(OWN)
    assert site.version("ange-web1", "opslab-extra") == "1.0-1"
    assert "APPROVAL OPEN" in site.opsctl("patch", "status", "latest")
    assert site.inside("ange-web1", "systemctl is-active opslab-service.service") == "active"
    assert "put back" in site.opsctl("patch", "rollback", rollout, "--limit", "ange-web1", "--dry-run")
    assert site.leases() == ""
    log = site.opsctl("ledger", "log", "--verb", "patch rollback")
    assert "ange-web1" in log


def test_what_the_mirror_no_longer_has_is_put_back_from_the_hosts_own_copy_and_else_refused_before(
    site: PatchSite,
) -> None:
    name = site.fleet.name
    lab.publish(name, "opslab-library", f"{FIXED}.1")
    site.inside("sundsvall-app1", "apt-get -q update && apt-get -q -y install opslab-library")
    lab.publish(name, "opslab-library", f"{FIXED}.2")
    rollout = site.plan("--limit", "sundsvall-app1", "--package", "opslab-library", "--refresh")
    site.opsctl("patch", "start", rollout, "--yes")
    kept = f"/var/lib/opsctl/kept/opslab-library_{FIXED}.1_all.deb"
    try:
        site.inside("sundsvall-app1", f"for i in $(seq 300); do test -e {kept} && exit 0; sleep 0.2; done; {LOOK}")
        lab.withdraw(name, "opslab-library", f"{FIXED}.1")
        site.inside("sundsvall-app1", "apt-get -q update && apt-get -q clean")
        site.inside("sundsvall-app1", f"mv {kept} /root/")
        told = site.opsctl("patch", "rollback", rollout, "--dry-run", code=1)
        assert f"no copy is left of opslab-library {FIXED}.1" in " ".join(told.split())
        site.opsctl("patch", "rollback", rollout, "--yes", code=1)
        assert site.version("sundsvall-app1", "opslab-library") == f"{FIXED}.2"
        site.inside("sundsvall-app1", f"mv /root/$(basename {kept}) {kept}")
        site.opsctl("patch", "rollback", rollout, "--yes")
        assert site.version("sundsvall-app1", "opslab-library") == f"{FIXED}.1"
    finally:
        lab.withdraw(name, "opslab-library", f"{FIXED}.2")


def begin_and_move_on(site: PatchSite, *, pinned: bool) -> str:
    """A rollout whose canary is done; then a freeze, and the mirror drops the canary's version for a newer one."""
    name = site.fleet.name
    mirror = f"{site.fleet.mirror}/debian-security"
    if pinned:
        for path in site.workspace.glob("inventories/*/tenant.yml"):
            snapshot = f"{site.fleet.mirror}/snapshots/{{time}}/debian-security"
            path.write_text(path.read_text() + f'mirrors: [{{mirror: "{mirror}", snapshot: "{snapshot}"}}]\n')
    lab.publish(name, "opslab-library", f"{FIXED}.3")
    words = ("--limit", "sundsvall-app1,ange-web1", "--package", "opslab-library", "--refresh")
    made = site.answer("patch", "plan", *words)["plan"]
    assert isinstance(made, dict)
    assert {one["name"].rpartition("_dists_")[2] for one in made["mirrors"]} == {"bookworm", "bookworm-security"}
    if pinned:
        labels = {pin["url"].split("/")[-2] for pin in made["snapshots"]}
        assert {pin["tenant"] for pin in made["snapshots"]} == {"ange", "sundsvall"}
        for label in labels:
            lab.keep_mirror(name, label)
    (site.workspace / "inventories/ange/calendar.yml").write_text(FREEZE)
    site.opsctl("patch", "start", str(made["id"]), "--yes", code=5)
    assert site.version("sundsvall-app1", "opslab-library") == f"{FIXED}.3"
    lab.publish(name, "opslab-library", f"{FIXED}.4")
    lab.withdraw(name, "opslab-library", f"{FIXED}.3")
    site.inside("ange-web1", "apt-get -q update")
    (site.workspace / "inventories/ange/calendar.yml").unlink()
    return str(made["id"])


def test_the_mirror_moves_on_between_the_rings_and_without_a_snapshot_the_later_one_is_refused(site: PatchSite) -> None:
    rollout = begin_and_move_on(site, pinned=False)
    try:
        site.opsctl("patch", "resume", rollout, "--yes", code=5)
        state = site.states(rollout)["ange-web1"]
        assert (state["stage"], state["last"], state["drained"]) == ("failed", "silenced", False)
        assert "its mirror no longer offers the planned opslab-library" in str(state["reason"])
        assert site.installs("ange-web1") == 0
    finally:
        site.opsctl("patch", "abort", rollout, "--yes")
        lab.withdraw(site.fleet.name, "opslab-library", f"{FIXED}.4")


def test_with_a_snapshot_the_later_rings_get_exactly_what_the_canary_got(site: PatchSite) -> None:
    rollout = begin_and_move_on(site, pinned=True)
    try:
        sources = site.inside("ange-web1", "cat /etc/apt/sources.list.d/*")
        site.opsctl("patch", "resume", rollout, "--yes")
        assert site.stages(rollout) == {"sundsvall-app1": "done", "ange-web1": "done"}
        assert site.version("ange-web1", "opslab-library") == f"{FIXED}.3"
        assert site.inside("ange-web1", "cat /etc/apt/sources.list.d/*") == sources
        assert site.inside("ange-web1", "ls /var/lib/opsctl/apt") == ""
    finally:
        lab.withdraw(site.fleet.name, "opslab-library", f"{FIXED}.4")


def test_a_start_is_told_that_the_mirror_moved_and_refused_once_the_versions_are_gone(site: PatchSite) -> None:
    name = site.fleet.name
    lab.publish(name, "opslab-library", f"{FIXED}.5")
    rollout = site.plan("--limit", "sundsvall-app1", "--package", "opslab-library", "--refresh")
    lab.publish(name, "opslab-library", f"{FIXED}.6")
    site.inside("sundsvall-app1", "apt-get -q update")
    told = site.opsctl("patch", "start", rollout, "--dry-run")
    assert "the mirror has moved since:" in told
    lab.withdraw(name, "opslab-library", f"{FIXED}.5")
    site.inside("sundsvall-app1", "apt-get -q update")
    told = site.opsctl("patch", "start", rollout, "--yes", code=3)
    assert "its mirror no longer offers the planned opslab-library" in told
    lab.withdraw(name, "opslab-library", f"{FIXED}.6")


def test_a_ring_waits_for_a_second_person_and_then_is_patched(site: PatchSite, tmp_path: Path) -> None:
    tenant = site.workspace / "inventories/sundsvall/tenant.yml"
    tenant.write_text(tenant.read_text() + "approval: [canary]\n")
    key = tmp_path / "bo"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (site.workspace / "inventories/operators").write_text(f"bo {key.with_suffix('.pub').read_text()}")
    rollout = site.plan("--limit", "sundsvall-app1", "--reboot", "never")
    assert "who may: bo" in site.opsctl("patch", "start", rollout, "--yes", code=3)
    assert site.installs("sundsvall-app1") == 0
    told = site.opsctl("patch", "approve", rollout, "--dry-run")
    line = told[told.index("printf") : told.index(" and here:")].replace("~/.ssh/id_ed25519", str(key))
    subprocess.run(["sh", "-c", line], check=True, cwd=tmp_path)
    site.opsctl("patch", "approve", rollout, "--signature", str(tmp_path / f"{rollout}.sig"), "--yes")
    site.opsctl("patch", "start", rollout, "--yes")
    assert versions(site, "sundsvall-app1") == [FIXED] * len(OWN)
