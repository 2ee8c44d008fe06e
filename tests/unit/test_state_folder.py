"""Where the store may lie, and who may read it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from opsctl.errors import StoreError
from opsctl.state import filesystem
from opsctl.state.filesystem import Mount, mount_of, prepare_folder
from opsctl.state.store import FILE, Store

MOUNTS = r"""
/dev/vda / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
server:/export /srv/net nfs4 rw 0 0
//files/share /srv/net/share\040one cifs rw 0 0
anna@host:/ /home/anna/remote fuse.sshfs rw 0 0
/dev/vdb /srv/net/local ext4 rw 0 0
/dev/sdc1 /media/stick fuseblk rw 0 0
overlay /srv/upper overlay rw 0 0
other:/x /srv/upper nfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "point", "network"),
    [
        ("/var/lib/opsctl/x", "/", False),
        ("/srv/net", "/srv/net", True),
        ("/srv/net/state", "/srv/net", True),
        ("/srv/network", "/", False),
        ("/srv/net/share one/state", "/srv/net/share one", True),
        ("/home/anna/remote/state", "/home/anna/remote", True),
        ("/srv/net/local/state", "/srv/net/local", False),
        ("/media/stick/state", "/media/stick", False),
        ("/srv/upper/state", "/srv/upper", True),
    ],
)
def test_the_mount_that_holds_a_path_is_found(path: str, point: str, *, network: bool) -> None:
    found = mount_of(path, MOUNTS)
    assert (found.point, found.is_network) == (point, network)


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "fuse.s3fs", "fuse.glusterfs", "ceph", "9p"]
)
def test_network_file_systems_are_told_from_local_ones(kind: str) -> None:
    assert Mount(point="/x", kind=kind).is_network


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk", "fuse.fuse-overlayfs"])
def test_local_file_systems_are_accepted(kind: str) -> None:
    assert not Mount(point="/x", kind=kind).is_network


def test_a_store_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "current_mount", lambda path: Mount(point="/srv", kind="nfs4"))
    with pytest.raises(StoreError, match=r"network file system \(nfs4 at /srv\)"):
        prepare_folder(tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_folder_and_files_are_for_owner_and_group_only(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with Store.open(folder) as store:
        store.write("DELETE FROM facts")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o2770
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert set(modes.values()) == {0o660}
    assert {FILE, f"{FILE}-wal", f"{FILE}-shm"} <= set(modes)


def test_a_folder_that_everybody_could_read_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o755)
    Store.open(folder).close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


def test_a_folder_that_serves_something_else_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "lib"
    (folder / "dpkg").mkdir(parents=True)
    folder.chmod(0o755)
    with pytest.raises(StoreError, match="holds no store"):
        Store.open(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert [entry.name for entry in folder.iterdir()] == ["dpkg"]


def test_a_store_that_was_opened_to_everybody_is_closed_again(tmp_path: Path) -> None:
    Store.open(tmp_path / "state").close()
    (tmp_path / "state").chmod(0o775)
    Store.open(tmp_path / "state").close()
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) & 0o007 == 0


@pytest.mark.parametrize("name", [FILE, "store.lock", "store.opening"])
def test_a_link_in_the_folder_leads_nobodys_writing_elsewhere(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="utf-8")
    (tmp_path / "state").mkdir(mode=0o770)
    (tmp_path / "state" / name).symlink_to(victim)
    with pytest.raises(StoreError):
        Store.open(tmp_path / "state")
    assert victim.read_text(encoding="utf-8") == "precious"


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot be made"):
        Store.open(tmp_path / "file" / "state")
