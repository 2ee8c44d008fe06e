"""What is answered without a process is byte for byte what /bin/sh would have said; all else is left to the shell."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsctl.hostside import batch, direct

PATH = batch.ENVIRONMENT["PATH"]


def shell(command: str) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, env=batch.ENVIRONMENT, cwd="/", stdin=subprocess.DEVNULL
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "text").write_text("one\ntwo")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir(mode=0o2750)
    (tmp_path / "link").symlink_to("text")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "bytes").write_bytes(b"\xff\0\n")
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o4711)
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "cat {0}/text",
        "cat {0}/bytes {0}/missing {0}/empty",
        "cat {0}/folder {0}/text",
        "cat {0}/link {0}/dangling",
        "cat /etc/passwd",
        "cat /proc/sys/kernel/ostype",
        *(f"test {flag} {{0}}/{name}" for flag in ("-e", "-f", "-d", "-s", "-x")
          for name in ("text", "empty", "folder", "link", "dangling", "missing", "tool")),
        "stat -c '%U:%G %a %n' {0}/text {0}/folder {0}/missing {0}/tool",
        "stat -L -c '%F:%U:%G:%a:%n' {0}/link {0}/dangling {0}/empty {0}/pipe",
        "stat -c %F {0}/link",
        "stat --format %u-%g-%s%% {0}/text",
        "sysctl kernel.ostype kernel.pid_max",
        "sysctl -e net.ipv4.ip_forward",
        "uname -n",
        "readlink {0}/link",
        "readlink {0}/text",
        "command -v ls",
        "command -v no-such-program",
    ],
)  # fmt: skip
def test_the_answer_is_that_of_the_shell(place: Path, command: str) -> None:
    asked = command.format(place)
    found = direct.answer(asked, PATH)
    assert found is not None, "it should need no process"
    assert found == shell(asked)


@pytest.mark.parametrize(
    "command",
    [
        "",
        "cat",
        "cat {0}/*",
        "cat {0}/text | sort",
        "cat {0}/text > {0}/other",
        "cat $(echo {0}/text)",
        "cat -n {0}/text",
        "cat '{0}/a b'",
        "cat \"{0}/text\"",
        "cat {0}/pipe",
        "cat {0}/round",
        "cat ~/x",
        "test {0}/text",
        "test -n x",
        "test -e {0}/text -a -e {0}/empty",
        "stat {0}/text",
        "stat -c '%y' {0}/text",
        "stat -c '%a\\n' {0}/text",
        "sysctl -a",
        "sysctl kernel.no_such_thing",
        "sysctl -w kernel.ostype=x",
        "sysctl -e /etc/passwd",
        "command -v cd",
        "command -v ls cat",
        "readlink -f {0}/link",
        "uname -a",
        "rm {0}/text",
        "cat {0}/text\ncat {0}/text",
    ],
)  # fmt: skip
def test_everything_else_is_left_to_the_shell(place: Path, command: str) -> None:
    assert direct.answer(command.format(place), PATH) is None


def test_a_large_file_is_left_to_the_shell(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (direct.LARGEST + 1))
    assert direct.answer(f"cat {tmp_path}/large", PATH) is None


@given(name=st.text(min_size=1, max_size=8), data=st.binary(max_size=60), verb=st.sampled_from(["cat", "test -f"]))
def test_odd_names_are_the_shells_or_the_same(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: bytes, verb: str
) -> None:
    if "/" in name or "\0" in name or name in (".", "..") or not name.isprintable():
        return
    file = tmp_path_factory.getbasetemp() / name
    if not file.exists():
        file.write_bytes(data)
    asked = f"{verb} {shlex.quote(str(file))}"
    found = direct.answer(asked, PATH)
    assert found is None or found == shell(asked)


def test_the_units_of_several_systemctl_show_are_cut_apart_or_asked_for_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[str] = []

    def run(command: str, seconds: float, limit: int) -> dict[str, object]:
        ran.append(command)
        units = command.partition("UnitFileState ")[2].split()
        blocks = [f"ActiveState=active\nUnitFileState={unit}\n" for unit in units if unit != "odd.service"]
        return batch.said(0, "\n".join(blocks).encode(), b"", at=1.0)

    monkeypatch.setattr(batch, "run", run)
    show = "systemctl show -p ActiveState -p UnitFileState "
    found = batch.shown_at_once(show.strip(), ["a.service", "b.timer"], 1, 1000)
    assert ran == [show + "a.service b.timer"]
    assert found[show + "b.timer"] == batch.said(0, b"ActiveState=active\nUnitFileState=b.timer\n", b"", at=1.0)
    assert batch.shown_at_once(show.strip(), ["a.service", "odd.service"], 1, 1000) == {}
    assert batch.shown_at_once(show.strip(), ["a.service"], 1, 1000) == {}
