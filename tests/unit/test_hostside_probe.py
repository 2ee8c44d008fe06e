"""The scripts that go to hosts: old enough for Python 3.9, alone, and right about what the kernel prints."""

import ast
import inspect
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from opsctl.hostside import pending, probe, reach
from opsctl.monitor.probe import PARTS

SCRIPTS = sorted(Path(probe.__file__).parent.glob("[a-z]*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_python_3_9_and_needs_only_the_standard_library(script: Path) -> None:
    tree = ast.parse(script.read_text(), feature_version=(3, 9))
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.Match) for node in ast.walk(tree))
    assert any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


def test_every_part_of_the_probe_is_answered_even_where_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> dict[str, int]:
        raise OSError("no such file")

    monkeypatch.setattr(probe, "memory", broken)
    answer = probe.main({"updates": False})
    assert answer.keys() - {"faults"} == set(PARTS)
    assert answer["memory"] is None
    assert answer["faults"]["memory"] == "OSError: no such file"
    assert answer["kernel"]
    assert answer["clock"]["ended"] >= answer["clock"]["began"]


@pytest.mark.parametrize(
    ("text", "family", "address"),
    [
        ("0100007F", 2, "127.0.0.1"),
        ("0B0200C0", 2, "192.0.2.11"),
        ("00000000000000000000000001000000", 10, "::1"),
        ("B80D0120000000000000000005000000", 10, "2001:db8::5"),
    ],
)
def test_kernel_addresses_are_read_in_its_byte_order(text: str, family: int, address: str) -> None:
    assert probe.network_address(text, family) == address


def test_mount_points_with_blanks_are_read() -> None:
    assert probe.unescape(r"/srv/my\040files\134x") == r"/srv/my files\x"


def kernel(folder: Path, **files: str) -> str:
    """Files as the kernel shows them: `vda__size` is vda/size."""
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return str(folder)


def test_only_disks_of_the_machine_count_and_one_with_two_paths_counts_once(tmp_path: Path) -> None:
    folder = kernel(
        tmp_path, vda__size="2097152", vda__device__x="", vda__removable="0",
        loop0__size="8", zram0__size="8", sr0__size="8", sr0__device__x="", sr0__removable="1",
        sdb__size="4194304", sdb__device__wwid="naa.6001", sdc__size="4194304", sdc__device__wwid="naa.6001",
        nvme0c0n1__size="8", nvme0c0n1__device__x="", nvme0c0n1__hidden="1", vdz__size="0", vdz__device__x="",
    )  # fmt: skip
    assert probe.disks(folder) == [{"name": "sdb", "size": 2 << 30}, {"name": "vda", "size": 1 << 30}]


def test_the_memory_that_is_installed_is_the_sum_of_its_blocks_that_are_online(tmp_path: Path) -> None:
    blocks = {f"memory{number}__online": str(number % 2) for number in range(4)}
    assert probe.installed(kernel(tmp_path, block_size_bytes="8000000", **blocks)) == 2 * 0x8000000
    assert probe.installed(str(tmp_path / "nothing")) is None


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("memory.max", "2147483648", 2 << 30),
        ("memory.max", "max", None),
        ("memory__memory.limit_in_bytes", "2147483648", 2 << 30),
        ("memory__memory.limit_in_bytes", "9223372036854771712", None),
        ("other", "1", None),
    ],
)
def test_a_control_groups_limit_is_read_in_both_its_forms(
    name: str, text: str, found: int | None, tmp_path: Path
) -> None:
    assert probe.limit(kernel(tmp_path, **{name: text})) == found


def test_pending_updates_tell_security_from_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    simulated = (
        "2 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.\n"
        "Inst libssl3 [3.0.11-1] (3.0.15-1~deb12u1 Debian-Security:12/stable-security [amd64])\n"
        "Inst nginx [1.22.1-9] (1.22.1-9+deb12u1 Debian:12.9/stable [amd64]) []\n"
        "Inst linux-image-6.1.0-30-amd64 (6.1.124-1 Debian-Security:12/oldstable-security [amd64])\n"
        "Conf libssl3 (3.0.15-1~deb12u1 Debian-Security:12/stable-security [amd64])\n"
    )
    monkeypatch.setattr(probe, "run", lambda *command: simulated)
    monkeypatch.setattr(probe, "lists_at", lambda: None)
    found = probe.pending_updates()
    assert found["packages"] == ["libssl3", "nginx", "linux-image-6.1.0-30-amd64"]
    assert found["security"] == ["libssl3", "linux-image-6.1.0-30-amd64"]


def test_an_apt_that_cannot_work_is_never_taken_for_no_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "run", lambda *_command: "")
    with pytest.raises(RuntimeError, match="cannot simulate"):
        probe.pending_updates()


@pytest.fixture(name="lists")
def _lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """apt's folder with a list of the mirror's time, fetched at 1000."""
    folder = tmp_path / "lists"
    (folder / "partial").mkdir(parents=True)
    (folder / "mirror_InRelease").write_text("")
    os.utime(folder / "mirror_InRelease", (500, 500))
    os.utime(folder / "partial", (3000, 3000))
    os.utime(folder, (1000, 1000))
    for script in (probe, pending):
        monkeypatch.setattr(script, "LISTS", str(folder))
        monkeypatch.setattr(script, "STAMP", str(tmp_path / "stamp"))
    return folder


@pytest.mark.parametrize("script", [probe, pending], ids=lambda script: script.__name__.rpartition(".")[2])
def test_lists_are_as_fresh_as_the_last_success_not_as_the_mirror_or_a_failed_try(
    script: ModuleType, lists: Path, tmp_path: Path
) -> None:
    assert script.lists_at() == 1000
    (tmp_path / "stamp").write_text("")
    os.utime(tmp_path / "stamp", (2000, 2000))
    assert script.lists_at() == 2000
    (lists / "mirror_InRelease").unlink()
    assert script.lists_at() is None
    (lists / "partial").rmdir()
    lists.rmdir()
    assert script.lists_at() is None


def test_both_scripts_and_the_control_have_one_rule_for_fresh_lists() -> None:
    assert inspect.getsource(probe.lists_at) == inspect.getsource(pending.lists_at)
    check = (Path(__file__).parents[1] / "compliance/check_packages.py").read_text()
    assert all(f"{path} " in check for path in (probe.LISTS, probe.STAMP, pending.STAMP))


@pytest.mark.parametrize(("fault", "stamped"), [("", True), ("no contact", False)])
def test_only_a_successful_fetch_leaves_its_stamp(
    lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, *, stamped: bool
) -> None:
    def run(*words: str, check: bool = False) -> str:
        if fault:
            raise RuntimeError(fault)
        return ""

    monkeypatch.setattr(pending, "run", run)
    assert pending.refresh() == fault
    assert (tmp_path / "stamp").exists() is stamped


def test_units_are_told_apart_by_their_state(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = (
        "Id=ssh.service\nLoadState=loaded\nActiveState=active\n\n"
        "Id=nftables.service\nLoadState=not-found\nActiveState=inactive\n"
    )
    monkeypatch.setattr(probe, "run", lambda *command: shown)
    assert probe.units(["ssh.service", "nftables.service"]) == {
        "ssh.service": "active",
        "nftables.service": "not-found",
    }
    with pytest.raises(ValueError, match="2 units instead of 1"):
        probe.units(["ssh.service"])


def test_a_closed_port_is_a_reason_not_an_error() -> None:
    (fault,) = reach.main({"targets": [["127.0.0.1", 1]], "seconds": 1})["faults"]
    assert "refused" in fault
