"""What the lab asks of a machine: rights, programs, control groups of every shape, locks, mounts."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest

from opsctl.errors import LabError, Locked, Refused
from opsctl.lab import faults, machine, mounts
from opsctl.lab.cgroups import Groups
from opsctl.lab.locks import held
from opsctl.lab.place import Place
from opsctl.lab.units import MARK, Unit
from opsctl.model.host import Host, Inventory, Tenant


def test_without_root_a_lab_is_refused() -> None:
    with pytest.raises(Refused, match="only root"):
        machine.refuse_unless_fit(user=1000)


def test_missing_programs_are_named_as_packages(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="mmdebstrap") as refused:
        machine.refuse_unless_fit(user=0, path=str(tmp_path))
    assert refused.value.hint == (
        "apt-get install apt-utils dpkg-dev gnupg iproute2 mmdebstrap mount openssh-client systemd-container util-linux"
    )


def _inventory(tenant: str, *addresses: str, networks: tuple[str, ...] | None = None) -> Inventory:
    hosts = tuple(
        Host(name=f"h{n}", tenant=tenant, address=address, role="web", platform="debian-12")
        for n, address in enumerate(addresses)
    )
    return Inventory(tenants=(Tenant(name=tenant, title=tenant, management_networks=networks),), hosts=hosts)


@pytest.mark.parametrize(
    "inventory",
    [
        _inventory("bollnas", "192.0.2.10"),
        _inventory("bollnas", "10.129.0.11"),
        _inventory("sundsvall", "192.0.2.10"),
        _inventory("sundsvall", "10.129.0.11", "192.0.2.10"),
        _inventory("sundsvall", "10.129.0.11", networks=("192.0.2.0/24",)),
        _inventory("sundsvall"),
    ],
)
def test_a_workspace_with_real_tenants_is_refused(inventory: Inventory) -> None:
    with pytest.raises(Refused, match="real tenants"):
        machine.refuse_real_tenants(inventory)


@pytest.mark.parametrize(
    "inventory",
    [
        Inventory(),
        _inventory("example-ange", "192.0.2.10"),
        _inventory("ange", "10.129.0.11", networks=("10.129.0.0/24",)),
    ],
)
def test_examples_and_labs_own_tenants_are_no_hindrance(inventory: Inventory) -> None:
    machine.refuse_real_tenants(inventory)


# --- control groups ---------------------------------------------------------------------------------------------------


def _tree(root: Path, *names: str) -> Groups:
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "cgroup.procs").write_text("")
    return Groups(group="opsctl-lab-x", root=root)


def _v2(root: Path) -> Groups:
    for folder in (root, root / "opsctl-lab-x", root / "opsctl-lab-x/web1"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        (folder / "cgroup.procs").write_text("")
    return Groups(group="opsctl-lab-x", root=root)


def test_on_v1_a_host_has_a_group_in_every_tree(tmp_path: Path) -> None:
    groups = _tree(tmp_path, "systemd", "unified", "cpu", "memory", "freezer")
    groups.make("web1")
    assert not groups.unified
    assert groups.watch("web1") == groups.box("web1")
    assert {path.parts[-3] for path in groups.box("web1")} == {"systemd", "unified", "cpu", "memory", "freezer"}
    assert all(path.is_dir() for path in groups.box("web1"))
    assert groups.units() == ("web1",)


def test_on_v1_two_names_of_one_tree_are_one(tmp_path: Path) -> None:
    groups = _tree(tmp_path, "cpu,cpuacct")
    (tmp_path / "cpu").symlink_to("cpu,cpuacct")
    (tmp_path / "cpuacct").symlink_to("cpu,cpuacct")
    assert len(groups.trees) == 1


def test_on_v1_the_fleet_weighs_as_much_as_its_hosts(tmp_path: Path) -> None:
    groups = _tree(tmp_path, "cpu")
    groups.make("web1")
    groups.weigh(7)
    assert (tmp_path / "cpu/opsctl-lab-x/cpu.shares").read_text() == "7168"
    groups.weigh(99_999)
    assert (tmp_path / "cpu/opsctl-lab-x/cpu.shares").read_text() == "262144"


def test_on_v1_a_host_is_slowed_frozen_and_measured(tmp_path: Path) -> None:
    groups = _tree(tmp_path, "cpu", "freezer", "memory")
    groups.make("web1")
    groups.limit_cpu("web1", 0.05)
    assert (tmp_path / "cpu/opsctl-lab-x/web1/cpu.cfs_quota_us").read_text() == "5000"
    groups.limit_cpu("web1", None)
    assert (tmp_path / "cpu/opsctl-lab-x/web1/cpu.cfs_quota_us").read_text() == "-1"
    groups.freeze("web1", frozen=True)
    assert (tmp_path / "freezer/opsctl-lab-x/web1/freezer.state").read_text() == "FROZEN"
    assert groups.memory("web1") == 0
    (tmp_path / "memory/opsctl-lab-x/web1/memory.usage_in_bytes").write_text("4096\n")
    assert groups.memory("web1") == 4096


def test_on_v2_no_group_with_processes_hands_controllers_down(tmp_path: Path) -> None:
    groups = _v2(tmp_path)
    groups.make("web1")
    assert groups.unified
    assert groups.watch("web1") == (tmp_path / "opsctl-lab-x/web1/watch",)
    assert groups.box("web1") == (tmp_path / "opsctl-lab-x/web1/box",)
    for folder in (tmp_path, tmp_path / "opsctl-lab-x", tmp_path / "opsctl-lab-x/web1"):
        assert (folder / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_on_v2_a_host_is_weighed_slowed_frozen_and_measured(tmp_path: Path) -> None:
    groups = _v2(tmp_path)
    host = tmp_path / "opsctl-lab-x/web1"
    groups.weigh(7)
    assert (tmp_path / "opsctl-lab-x/cpu.weight").read_text() == "700"
    groups.weigh(400)
    assert (tmp_path / "opsctl-lab-x/cpu.weight").read_text() == "10000"
    groups.limit_cpu("web1", 0.05)
    assert (host / "cpu.max").read_text() == "5000 100000"
    groups.limit_cpu("web1", None)
    assert (host / "cpu.max").read_text() == "max 100000"
    groups.freeze("web1", frozen=True)
    assert (host / "cgroup.freeze").read_text() == "1"
    (host / "memory.current").write_text("8192\n")
    assert groups.memory("web1") == 8192


def test_processes_are_those_of_all_trees_and_all_groups_below(tmp_path: Path) -> None:
    groups = _tree(tmp_path, "systemd", "cpu")
    groups.make("web1")
    (tmp_path / "systemd/opsctl-lab-x/web1/init.scope").mkdir()
    (tmp_path / "systemd/opsctl-lab-x/web1/init.scope/cgroup.procs").write_text("12\n13\n")
    (tmp_path / "cpu/opsctl-lab-x/web1/cgroup.procs").write_text("13\n14\n")
    assert groups.processes() == {12, 13, 14}
    assert groups.processes("web1") == {12, 13, 14}
    assert groups.processes("web2") == frozenset()


def test_groups_that_do_not_go_are_named(tmp_path: Path) -> None:
    groups = _tree(tmp_path, "cpu")
    groups.make("web1")
    groups.remove(patience=0.1)
    assert not (tmp_path / "cpu/opsctl-lab-x").exists()
    groups.make("web1")
    (tmp_path / "cpu/opsctl-lab-x/web1/busy").write_text("")
    with pytest.raises(LabError, match=r"would not go.*web1"):
        groups.remove(patience=0.1)


def test_a_value_that_the_kernel_refuses_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"freezer\.state"):
        _tree(tmp_path, "freezer").freeze("nobody", frozen=True)


# --- processes, locks, mounts, disks ----------------------------------------------------------------------------------


def _process(proc: Path, pid: int, *words: str) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))


def test_a_supervisor_is_known_by_all_of_its_words(tmp_path: Path) -> None:
    """So that a process id that was given to somebody else in the meantime is never taken for ours."""
    unit = Unit(lab="demo", name="web1")
    _process(tmp_path, 1, "/bin/sh", "/any/where/supervise.sh", MARK, "demo", "web1", "systemd-nspawn")
    _process(tmp_path, 2, "/bin/sh", "/any/where/supervise.sh", MARK, "demo", "web10", "systemd-nspawn")
    _process(tmp_path, 3, "/bin/sh", "/any/where/supervise.sh", MARK, "demo2", "web1", "systemd-nspawn")
    _process(tmp_path, 4, "grep", "/any/where/supervise.sh", "x", MARK, "demo", "web1")
    _process(tmp_path, 5, "/bin/sh", "/any/where/other.sh", MARK, "demo", "web1", "x")
    _process(tmp_path, 6)
    _process(tmp_path, 8, "setsid", "--fork", "/bin/sh", "/x/supervise.sh", MARK, "demo", "web1", "systemd-nspawn")
    assert [pid for pid in range(1, 10) if unit.fits(pid, tmp_path)] == [1, 8]


def _hold(path: str, taken: "multiprocessing.synchronize.Event", let_go: "multiprocessing.synchronize.Event") -> None:
    with held(Path(path), what="it"):
        taken.set()
        let_go.wait(60)
        Path(path).unlink()


@pytest.fixture
def other_holder(tmp_path: Path) -> "Callable[[], None]":
    context = multiprocessing.get_context("spawn")
    taken, let_go = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path / "lock"), taken, let_go))
    process.start()
    assert taken.wait(60)

    def end() -> None:
        let_go.set()
        process.join(60)

    return end


def test_a_lock_that_somebody_holds_is_refused_and_then_had(tmp_path: Path, other_holder: Callable[[], None]) -> None:
    try:
        with (
            pytest.raises(Locked, match="the lab x is in use"),
            held(tmp_path / "lock", what="the lab x", patience=0.1),
        ):
            pass
    finally:
        other_holder()
    with held(tmp_path / "lock", what="the lab x", patience=5):
        assert (tmp_path / "lock").exists()


def test_a_lock_whose_file_was_removed_is_not_had(tmp_path: Path) -> None:
    path = tmp_path / "deep/lock"
    with held(path, what="it"):
        path.unlink()
        with held(path, what="it", patience=1):
            assert path.exists()


MOUNTINFO = r"""22 1 8:1 / / rw - ext4 /dev/vda rw
30 22 0:40 / /run/opsctl-lab/demo/hosts/web1 rw - tmpfs opsctl-lab-demo-web1 rw
31 30 0:41 / /run/opsctl-lab/demo/hosts/web1/m rw - overlay overlay rw
32 22 0:42 / /run/opsctl-lab/demo2/hosts/web1 rw - tmpfs x rw
33 22 0:43 / /run/opsctl-lab/demo/a\040b rw - tmpfs x rw
"""


def test_mounts_below_a_folder_come_innermost_first() -> None:
    assert [str(path) for path in mounts.below(Path("/run/opsctl-lab/demo"), MOUNTINFO)] == [
        "/run/opsctl-lab/demo/a b",
        "/run/opsctl-lab/demo/hosts/web1/m",
        "/run/opsctl-lab/demo/hosts/web1",
    ]


def test_a_disk_is_filled_to_the_size_asked_for(tmp_path: Path) -> None:
    faults.fill(tmp_path / "filler", most=(1 << 20) + 3 * 4096)
    assert (tmp_path / "filler").stat().st_size == (1 << 20) + 3 * 4096


def test_labs_are_the_folders_of_the_runtime_folder(tmp_path: Path) -> None:
    assert machine.labs(tmp_path / "none") == frozenset()
    place = Place(name="demo", run=tmp_path)
    place.folder.mkdir()
    place.lock.touch()
    assert machine.labs(tmp_path) == {"demo"}
