"""A start at a time that outlives a reboot: what its unit says, who takes it away, and where systemd reads it."""

from __future__ import annotations

import resource
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsctl import config
from opsctl.errors import Interrupted, Refused
from opsctl.rollout import atboot, detach

STARTS = datetime(2027, 1, 17, 1, 0, tzinfo=UTC)
PLAN = "patch-20270116-120000-abcdef"


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a unit that lies where systemd would look; systemctl itself is not asked."""
    monkeypatch.setattr(atboot, "_SYSTEM", tmp_path)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(detach, "control", lambda *, root: ["true"])
    file = atboot.unit_file(PLAN, root=True)
    file.write_text("[Unit]\n")
    mine = atboot.unit_file(PLAN, root=False)
    mine.parent.mkdir(parents=True)
    mine.write_text("[Unit]\n")
    monkeypatch.setattr(atboot, "unit_file", lambda _plan, *, root: file)
    return file


def written(workspace: Path, *, root: bool = True) -> str:
    workspace.mkdir(exist_ok=True)
    (workspace / "opsctl.yml").write_text("version: 1\n")
    environ = {"PATH": "/bin", "OPSCTL_SSH_USER": 'ops "100%"', "OPSCTL_NETBOX_TOKEN": "nbt_secret", "EDITOR": "vi"}
    command = ["/opt/opsctl", "-C", str(workspace), "patch", "start", PLAN, "--yes", "--at", STARTS.isoformat()]
    return atboot.text(
        config.load(workspace, {}), PLAN, command, who="anna as opsctl", starts=STARTS, environ=environ, root=root
    )


def test_the_unit_begins_with_every_boot_for_the_same_person_and_holds_no_secret(tmp_path: Path) -> None:
    text = written(tmp_path / 'drift 100% $HOME "söder"')
    assert "WantedBy=multi-user.target" in text
    assert 'Environment="SUDO_USER=anna"' in text
    assert r'Environment="OPSCTL_SSH_USER=ops \"100%%\""' in text
    assert "$$HOME" in text
    assert '"--at" "2027-01-17T01:00:00+00:00"' in text
    assert "secret" not in text
    assert "EDITOR" not in text
    assert "WantedBy=default.target" in written(tmp_path / "plain", root=False)


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    file = tmp_path / f"{detach.unit_of(PLAN)}.service"
    file.write_text(written(tmp_path / "drift 100%").replace("/opt/opsctl", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False)
    assert file.name not in done.stderr, done.stderr


def test_the_unit_itself_takes_its_file_away_at_its_end_and_where_it_is_refused(
    unit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tmp_path / "cgroup"
    ours.write_text(f"0::/system.slice/{detach.unit_of(PLAN)}.service\n")
    monkeypatch.setattr(atboot, "_CGROUP", ours)
    with pytest.raises(Interrupted), atboot.taken_away_at_the_end(PLAN):
        raise Interrupted("the machine goes down")
    assert unit.exists(), "the next boot waits on"
    with pytest.raises(Refused), atboot.taken_away_at_the_end(PLAN):
        raise Refused("it was aborted")
    assert not unit.exists()
    unit.write_text("[Unit]\n")
    with atboot.taken_away_at_the_end(PLAN):
        pass
    assert not unit.exists()


def test_somebody_who_types_the_same_line_takes_nothing_away(unit: Path) -> None:
    with pytest.raises(Refused), atboot.taken_away_at_the_end(PLAN):
        raise Refused("somebody waits to start it")
    assert unit.exists()
    atboot.take_away(PLAN)
    assert not unit.exists()
    atboot.take_away(PLAN)


def test_a_unit_that_could_not_be_written_whole_does_not_stay(unit: Path, tmp_path: Path) -> None:
    (tmp_path / "opsctl.yml").write_text("version: 1\n")
    settings = config.load(tmp_path, {})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))  # as a disk that is full after 64 bytes
    try:
        with pytest.raises(OSError, match="File too large"):
            atboot.launch(settings, PLAN, ["patch", "start", PLAN], who="anna", starts=STARTS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not unit.exists()
