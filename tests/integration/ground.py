"""A workspace over a lab, for tests that need real hosts: settings, inventory, pins read from the hosts' own disks."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from opsctl import config, lab
from opsctl.config import Settings
from opsctl.lab import Fleet
from opsctl.model.host import Host, Inventory
from opsctl.ssh.hostkeys import Key, Pin, Pins
from opsctl.ssh.session import Transport, close_shared
from tests.integration.owned import lab_name


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A lab that stands, and everything that is needed to work with its hosts."""

    fleet: Fleet
    inventory: Inventory
    settings: Settings
    transport: Transport

    def host(self, name: str) -> Host:
        return self.inventory.host(name)

    @property
    def claims(self) -> dict[str, dict[str, object]]:
        """A claim on each host, as a rollout leaves them."""
        return {host.key: {"claimant": self.settings.id, "token": 1} for host in self.inventory}

    def inside(self, name: str, command: str) -> str:
        """What a shell command prints that runs as root in the host, without ssh; it must end with 0."""
        done = lab.execute(self.fleet.name, name, ["sh", "-c", command])
        assert done.returncode == 0, f"{name}: {command}: {done.stderr}"
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """A file of the workspace's inventories: `ange/group_vars/all.yml`."""
        file = self.settings.inventories / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


@contextmanager
def ground(folder: Path, plan: Fleet, *, name: str = "") -> Iterator[Ground]:
    """Brings a lab up, makes a workspace of it in `folder`, and takes everything down again."""
    name = name or lab_name()
    fleet = lab.up(name, plan)
    try:
        workspace = folder / "workspace"
        workspace.mkdir(mode=0o700)
        text = f"version: 1\nworkspace: {{id: {name}}}\nssh: {{identity: {fleet.identity_file}}}\n"
        (workspace / config.FILE).write_text(text)
        settings = config.load(workspace, {})
        with Transport(fleet.inventory(), _pins(fleet), settings) as transport:
            try:
                yield Ground(fleet=fleet, inventory=fleet.inventory(), settings=settings, transport=transport)
            finally:
                close_shared(settings)
                shutil.rmtree(settings.runtime, ignore_errors=True)
    finally:
        lab.down(name)


def _pins(fleet: Fleet) -> Pins:
    """The hosts' keys as their owner would hand them over: from the disks, not from the network."""
    found: dict[str, tuple[Pin, ...]] = {}
    for host in fleet.hosts:
        shown = lab.execute(fleet.name, host.name, ["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout.split()
        found[host.key] = (Pin(host_key=host.key, key=Key(kind=shown[0], base64=shown[1])),)
    return Pins(by_host=found)


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> float:
    """Waits for a condition, at most so long; how long it took."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < seconds, f"{what}: not within {seconds:g} s"
        time.sleep(0.2)
    return time.monotonic() - started
