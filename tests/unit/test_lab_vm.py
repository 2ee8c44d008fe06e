"""The lab's virtual machines, as far as no machine is needed: their recipe, command line, first files and agent."""

from __future__ import annotations

import base64
import itertools
import json
import socketserver
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opsctl import lab
from opsctl.errors import Refused, UsageError
from opsctl.lab import machine, seed
from opsctl.lab.place import Place
from opsctl.lab.vm import guest, initrd, qemu, recipe

PARTS = qemu.Parts(
    name="lab3fa2b1n01",
    kernel=Path("/k"),
    initrd=Path("/i"),
    disk=Path("/d.qcow2"),
    link="vb-lab3fa2b1n01",
    hardware_address="52:54:3f:a2:b1:01",
    agent=Path("/a"),
    memory=768,
)


def test_the_command_line_has_one_processor_no_kvm_and_no_network_but_the_labs_link() -> None:
    words = qemu.command(PARTS)
    given = dict(itertools.pairwise(words))
    assert words[0] == "qemu-system-x86_64"
    assert given["-accel"].startswith("tcg")
    assert not any("kvm" in word or "user" in word.split(",") for word in words)
    assert given["-smp"] == "1"
    assert given["-m"] == "768"
    assert "-nodefaults" in words
    assert [word for word in words if word.startswith("tap,")] == [
        "tap,id=net,ifname=vb-lab3fa2b1n01,script=no,downscript=no"
    ]
    assert "driver=file,node-name=file,filename=/d.qcow2" in words


def test_hardware_addresses_are_local_and_differ_within_a_lab_and_between_labs() -> None:
    found = {qemu.hardware_address(Place(name=name).code, n) for name in ("one", "two") for n in (1, 2, 99)}
    assert len(found) == 6
    assert all(int(address[:2], 16) & 0b11 == 0b10 for address in found)


def test_another_recipe_has_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe.digest()
    assert before == recipe.digest()
    monkeypatch.setattr(recipe, "PACKAGES", (*recipe.PACKAGES, "cowsay"))
    assert recipe.digest() != before


DEPENDENCIES = """\
kernel/fs/jbd2/jbd2.ko:
kernel/lib/crc16.ko:
kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/fs/mbcache.ko kernel/lib/crc16.ko
kernel/fs/mbcache.ko:
kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko
kernel/drivers/virtio/virtio.ko:
"""


def test_modules_come_after_all_that_they_need_and_once() -> None:
    names = [path.stem for path in initrd.in_order(DEPENDENCIES)]
    assert len(names) == len(set(names)) == 6
    assert names.index("virtio") < names.index("virtio_blk")
    assert names[-1] == "ext4"


def test_the_first_file_system_is_a_cpio_archive_with_aligned_entries() -> None:
    archive = initrd.build(b"#busybox", {"one.ko": b"x", "two.ko": b"yy"})
    entries = dict(_entries(archive))
    assert list(entries)[-1] == "TRAILER!!!"
    assert entries["modules/two.ko"] == (stat.S_IFREG | 0o644, b"yy")
    mode, script = entries["init"]
    assert mode & 0o111
    assert script.index(b"insmod /modules/one.ko") < script.index(b"insmod /modules/two.ko")
    assert script.startswith(b"#!/bin/busybox sh\n")


def _entries(archive: bytes) -> Iterator[tuple[str, tuple[int, bytes]]]:
    at = 0
    while at < len(archive):
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        start = at + 110 + fields[11]
        name = archive[at + 110 : start - 1].decode()
        start += -start % 4
        yield name, (fields[1], archive[start : start + fields[6]])
        at = start + fields[6]
        at += -at % 4


def test_a_plan_gets_virtual_machines_beside_its_containers() -> None:
    plan = lab.with_machines(lab.generic(2), 2)
    assert [(host.name, host.vm, host.index) for host in plan.hosts] == [
        ("host-01", False, 1),
        ("host-02", False, 2),
        ("vm-01", True, 3),
        ("vm-02", True, 4),
    ]
    assert [host.name for host in lab.with_machines(None, 1).hosts] == ["vm-01"]
    for count in (0, -1, 100):
        with pytest.raises(UsageError, match="1 to 99"):
            lab.with_machines(None, count)


def test_a_virtual_machine_calls_its_link_as_its_kernel_does() -> None:
    host = lab.with_machines(None, 1).hosts[0]
    assert "Name=eth0\n" in seed.network_text(host)
    assert "Name=host0\n" in seed.network_text(replace(host, vm=False))


def test_what_only_virtual_machines_need_is_asked_for_with_them_alone(tmp_path: Path) -> None:
    for tool in machine.TOOLS:
        (tmp_path / tool).touch(mode=0o755)
    machine.refuse_unless_fit(user=0, path=str(tmp_path))
    with pytest.raises(Refused) as refused:
        machine.refuse_unless_fit(user=0, path=str(tmp_path), machines=True)
    assert refused.value.hint == "apt-get install e2fsprogs qemu-system-x86 qemu-utils"


# --- the agent, played by a thread that answers as qemu-ga does -------------------------------------------------------


class _Agent(socketserver.StreamRequestHandler):
    asked: tuple[dict[str, Any], ...] = ()

    def handle(self) -> None:
        self.wfile.write(b'{"return": {"left": "over"}}\n')
        for line in self.rfile:
            asked = json.loads(line.removeprefix(b"\xff"))
            type(self).asked += (asked,)
            match asked["execute"]:
                case "guest-sync-delimited":
                    self.wfile.write(b"\xff" + _answer(asked["arguments"]["id"]))
                case "guest-exec":
                    self.wfile.write(_answer({"pid": 7}))
                case "guest-exec-status":
                    out = base64.b64encode("hallå".encode()).decode()
                    self.wfile.write(_answer({"exited": True, "exitcode": 3, "out-data": out}))
                case _:
                    self.wfile.write(b'{"error": {"desc": "unknown"}}\n')


def _answer(value: object) -> bytes:
    return json.dumps({"return": value}).encode() + b"\n"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    _Agent.asked = ()
    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "agent"), _Agent) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield str(tmp_path / "agent")
        server.shutdown()


def test_a_program_runs_through_the_agent_with_its_input_output_and_code(agent: str) -> None:
    ended = guest.run(agent, ["cat", "a b"], text=b"in")
    assert (ended.code, ended.output.decode(), ended.errors) == (3, "hallå", b"")
    started = next(asked for asked in _Agent.asked if asked["execute"] == "guest-exec")["arguments"]
    assert started["arg"][-2:] == ["cat", "a b"]
    assert base64.b64decode(started["input-data"]) == b"in"


def test_an_agent_that_refuses_or_is_not_there_is_no_answer(agent: str, tmp_path: Path) -> None:
    with pytest.raises(guest.NoAnswer, match="refused guest-none"):
        guest.ask(agent, "guest-none", {})
    with pytest.raises(guest.NoAnswer, match="no answer"):
        guest.run(str(tmp_path / "nobody"), ["true"])


def test_a_program_passes_on_what_the_agent_says(agent: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert guest.main([agent, "--", "true"]) == 3
    assert capfdbinary.readouterr().out.decode() == "hallå"
    assert guest.main([f"{agent}-none", "--", "true"]) == 255
    assert b"no answer" in capfdbinary.readouterr().err
