"""The lab of one rehearsal: doubles with exactly the packages of the hosts they stand for, in a workspace of their own.

The workspace lies in the lab's own folder, so whatever takes the lab down takes its keys, store and settings too. It
reads nothing of the workspace of the real hosts, and no file of it is read by that one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path

from opsctl import config, lab
from opsctl.config import Settings
from opsctl.errors import LabError, OpsctlError
from opsctl.lab import Fleet, exact, machine, stage
from opsctl.lab.cgroups import Groups
from opsctl.lab.exact import Exact, Stock
from opsctl.lab.place import Place
from opsctl.model.host import Host, Inventory, Tenant
from opsctl.patch.doubles import ARCHITECTURE, Double, differences, words_to_become
from opsctl.ssh.hostkeys import Key, Pin, Pins
from opsctl.ssh.session import Transport, close_shared

KIND = "rehearsal"
TENANT = Tenant(name="rehearsal", title="Rehearsal", operator="rehearsal")
DISK = "3g"  # at most, in memory, and only as far as it is filled
_UPDATE = ("apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update")
_INSTALL = (
    "apt-get", "-y", "-q", "--purge", "--no-install-recommends", "--allow-downgrades",
    "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold", "-o", "Dpkg::Use-Pty=0",
    "install",
)  # fmt: skip
_SECONDS = 1800.0
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A lab that stands, and what is needed to work with its hosts; `stock` has every package that could be had."""

    fleet: Fleet
    settings: Settings
    transport: Transport
    stock: Stock


def refuse_unless_fit() -> None:
    """Raises Refused where no lab can stand on this machine. Real tenants are no reason: see networks_of."""
    machine.refuse_unless_fit()


def clear_orphans(say: Say) -> None:
    """Take down what rehearsals left whose process is gone."""
    for name in stage.orphans(KIND):
        say(f"{name}: left by a rehearsal whose process is gone; taking it down")
        _take_down(name)


def networks_of(inventory: Inventory) -> tuple[IPv4Network, ...]:
    """Where the real hosts are and who manages them: the lab takes no subnet that meets one of these."""
    places = [host.address for host in inventory]
    places += [network for tenant in inventory.tenants for network in tenant.management_networks or ()]
    found = []
    for place in places:
        with suppress(ValueError):  # IPv6, which no lab has
            found.append(IPv4Network(place, strict=False))
    return tuple(found)


@contextmanager
def standing(
    doubles: Sequence[Double], inventory: Inventory, settings: Settings, folders: Sequence[Path], say: Say
) -> Iterator[Stage]:
    """A lab with a host for each double, its packages in the lab's mirror; it is down when the block is left."""
    name = stage.name(KIND)
    fleet = lab.equal(TENANT, "double", len(doubles))
    try:
        up = lab.up(name, fleet, say=say, disk=DISK, avoid=networks_of(inventory))
        stock = _stock(name, doubles, folders, say)
        own = _workspace(up, settings)
        with Transport(_inventory(up, doubles), _pins(up), own) as transport:
            yield Stage(fleet=up, settings=own, transport=transport, stock=stock)
    finally:
        say(f"taking down the lab {name}")
        _take_down(name)


def _inventory(fleet: Fleet, doubles: Sequence[Double]) -> Inventory:
    """The lab's hosts with the services of those they stand for: their health is asked for at the same ports."""
    hosts = (replace(host, services=double.services) for host, double in zip(fleet.hosts, doubles, strict=True))
    return Inventory(tenants=fleet.tenants, hosts=tuple(hosts))


def _take_down(name: str) -> None:
    """The lab and the connections to it, whatever state they are in."""
    with suppress(OpsctlError, OSError):
        own = config.load(_folder(name), {})
        close_shared(own)
        shutil.rmtree(own.runtime, ignore_errors=True)
    lab.down(name)


def _folder(name: str) -> Path:
    return Place(name=name).folder / "workspace"


def _workspace(fleet: Fleet, settings: Settings) -> Settings:
    folder = _folder(fleet.name)
    folder.mkdir(mode=0o700)
    text = (
        f"version: 1\nworkspace: {{id: {fleet.name}}}\nssh: {{identity: {fleet.identity_file}}}\n"
        f"patch: {{timeout: {settings.number('patch.timeout')}}}\n"
    )
    (folder / config.FILE).write_text(text, encoding="utf-8")
    return config.load(folder, {})


def _pins(fleet: Fleet) -> Pins:
    """The doubles' keys from their own disks: nobody has to approve what was made a moment ago."""
    found = {}
    for host in fleet.hosts:
        kind, base64 = lab.execute(fleet.name, host.name, ["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout.split()[
            :2
        ]
        found[host.key] = (Pin(host_key=host.key, key=Key(kind=kind, base64=base64)),)
    return Pins(by_host=found)


def _stock(name: str, doubles: Sequence[Double], folders: Sequence[Path], say: Say) -> Stock:
    """Every version that a double has before the plan, and that it gets by it, in the lab's mirror."""
    wanted = {Exact(name=one.name, version=one.version) for double in doubles for one in double.installed}
    wanted |= {Exact(name=one.name, version=one.after) for double in doubles for one in double.packages}
    place = Place(name=name)
    groups = Groups(group=place.group)
    stock = exact.gather(
        wanted, place, folders=folders, architecture=ARCHITECTURE, groups=groups.box("@build"), say=say
    )
    lab.stock(name, stock.files.values())
    return stock


# --- making each host like its double --------------------------------------------------------------------------------


def make_alike(scene: Stage, doubles: Mapping[str, Double], say: Say) -> dict[str, tuple[str, ...] | OpsctlError]:
    """By host of the lab: in what it is not like its double, or why it could not be made so."""

    def one(host: Host) -> tuple[str, ...] | OpsctlError:
        try:
            return _become(scene, host.name, doubles[host.key])
        except OpsctlError as error:
            return error

    say(f"installing the packages of {len(doubles)} double{'' if len(doubles) == 1 else 's'}")
    with ThreadPoolExecutor(max_workers=min(4, len(doubles))) as pool:
        return dict(zip((h.key for h in scene.fleet.hosts), pool.map(one, scene.fleet.hosts), strict=True))


def _become(scene: Stage, name: str, double: Double) -> tuple[str, ...]:
    lacking = set(scene.stock.missing)
    want = {one.name: one.version for one in double.installed}
    can = {one.name for one in double.installed if Exact(name=one.name, version=one.version) not in lacking}
    have = _installed(scene, name)
    # What cannot be had stays as the base has it: leaving it out might take others with it.
    reach = {package: want[package] for package in can} | {p: have[p] for p in want if p not in can and p in have}
    _apt(scene, name, *_UPDATE)
    if words := words_to_become(reach, have):
        _apt(scene, name, *_INSTALL, *words)
    lab.reboot(scene.fleet.name, name)  # so that what runs is what is installed, and nothing asks for a restart
    return differences(want, _installed(scene, name))


def _installed(scene: Stage, name: str) -> dict[str, str]:
    form = "${db:Status-Status}\t${Package}\t${Version}\n"
    listed = lab.execute(scene.fleet.name, name, ["dpkg-query", "-W", f"-f={form}"]).stdout
    rows = (line.split("\t") for line in listed.splitlines())
    return {row[1]: row[2] for row in rows if row[0] == "installed"}


def _apt(scene: Stage, name: str, *line: str) -> None:
    done = lab.execute(scene.fleet.name, name, line, timeout=_SECONDS)
    if done.returncode:
        said = [text.strip() for text in done.stderr.splitlines() if text.startswith(("E:", "dpkg: error", " "))]
        raise LabError(f"its packages could not be installed: {' '.join(said)[:400] or f'exit {done.returncode}'}")
