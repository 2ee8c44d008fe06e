"""The private folder of generated files and sockets."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsctl import config
from opsctl.errors import ConfigError
from opsctl.ssh import sockets


@pytest.fixture(name="runtime")
def _runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="o-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


def settings_of(workspace: Path, name: str) -> config.Settings:
    (workspace / "opsctl.yml").write_text(f"version: 1\nworkspace: {{id: {name}}}\n")
    return config.load(workspace, {})


@pytest.mark.usefixtures("runtime")
def test_the_sockets_lie_in_a_private_folder_of_the_workspace(tmp_path: Path) -> None:
    one, two = (sockets.socket_folder(settings_of(tmp_path, name)) for name in ("ange", "sundsvall"))
    assert one != two
    assert one.stat().st_mode & 0o777 == 0o700
    assert one.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("runtime")
def test_a_workspace_with_a_long_name_still_has_room_for_sockets(tmp_path: Path) -> None:
    names = ["a" * 63, "a" * 62 + "b"]
    found = {sockets.socket_folder(settings_of(tmp_path, name)) for name in names}
    assert len(found) == 2
    assert all(len(str(folder)) <= 68 for folder in found)


def test_a_runtime_folder_that_is_too_deep_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 80)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    with pytest.raises(ConfigError) as caught:
        sockets.socket_folder(settings_of(tmp_path, "ange"))
    assert "XDG_RUNTIME_DIR" in caught.value.hint


def test_a_generated_file_never_changes_and_is_only_ours_to_read(tmp_path: Path) -> None:
    first = sockets.written(tmp_path, "ssh_config", "one")
    assert sockets.written(tmp_path, "ssh_config", "one") == first
    second = sockets.written(tmp_path, "ssh_config", "two")
    assert (first.read_text(), second.read_text()) == ("one", "two")
    assert first.stat().st_mode & 0o777 == 0o600


def test_files_unused_for_a_month_are_removed_and_others_stay(tmp_path: Path) -> None:
    now = time.time()
    old, used = (sockets.written(tmp_path, "ssh_config", text) for text in ("old", "used"))
    for file in (old, used):
        os.utime(file, (now - 40 * 86_400, now - 40 * 86_400))
    foreign = tmp_path / "not-ours"
    foreign.write_text("x")
    os.utime(foreign, (0, 0))
    sockets.written(tmp_path, "ssh_config", "used")
    sockets.tidy(tmp_path, now)
    assert sorted(tmp_path.iterdir()) == sorted([used, foreign])


@pytest.mark.usefixtures("runtime")
def test_closing_where_nothing_is_open_does_nothing(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "ange")
    assert sockets.close_shared(settings) == 0
    (sockets.socket_folder(settings) / "left-behind").write_text("")
    assert sockets.close_shared(settings) == 1
    assert list(sockets.socket_folder(settings).iterdir()) == []
