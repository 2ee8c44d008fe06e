"""What is done with a lab that stands: looking, running commands, faults, power, disks, new packages."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import opsctl.lab.faults as every
from opsctl.errors import LabError, Refused, UnknownName, UsageError
from opsctl.lab import machine as this_machine
from opsctl.lab import network, recipe, snapshots
from opsctl.lab.base import of_lab
from opsctl.lab.command import clean_environment
from opsctl.lab.fleet import Fleet, LabHost
from opsctl.lab.hosts import Machine, wait, wait_until_up
from opsctl.lab.locks import held
from opsctl.lab.mirror import Mirror
from opsctl.lab.network import Subnet
from opsctl.lab.place import RUN, Place
from opsctl.lab.vm.machine import VirtualMachine

PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class HostStatus:
    """One host as it is now. `pid1` is its systemd's id on this machine (0: off), `memory` is in bytes.

    Of a virtual machine, `pid1` is QEMU's.
    """

    name: str
    tenant: str
    address: str
    role: str
    pid1: int
    ssh: bool
    memory: int
    faults: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LabStatus:
    """A lab as it is now; `leaks` is True when this machine was told to forward what the lab sends."""

    fleet: Fleet
    hosts: tuple[HostStatus, ...]
    mirror: bool
    leaks: bool


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A lab of this machine; not `whole` when its start did not end, or another version of opsctl made it."""

    name: str
    hosts: int
    whole: bool


def overview() -> tuple[Standing, ...]:
    """Every lab of this machine, also those whose start was cut short."""
    return tuple(_standing(name) for name in sorted(this_machine.labs(RUN)))


def _standing(name: str) -> Standing:
    try:
        return Standing(name=name, hosts=len(description(name).hosts), whole=True)
    except (UnknownName, LabError):
        return Standing(name=name, hosts=0, whole=False)


def description(name: str) -> Fleet:
    """The lab as it was described when it came up; raises UnknownName when it does not stand."""
    place = Place(name=name)
    try:
        return Fleet.from_json(place.description.read_text())
    except (FileNotFoundError, NotADirectoryError):
        known = ", ".join(sorted(this_machine.labs(RUN))) or "none"
        raise UnknownName(f"no lab called {name!r} stands", hint=f"labs: {known}; start it: opsctl lab up") from None
    except PermissionError as error:
        raise Refused("only root can look into a lab") from error


def machines(lab: Fleet) -> tuple[Machine, ...]:
    """The lab's hosts as things that can be started and stopped."""
    place = Place(name=lab.name)
    return tuple(_machine(place, host) for host in lab.hosts)


def one(name: str, host: str) -> Machine:
    """One host of the lab `name`; raises UnknownName."""
    return _machine(Place(name=name), description(name).host(host))


def _machine(place: Place, host: LabHost) -> Machine:
    return VirtualMachine(place=place, host=host) if host.vm else Machine(place=place, host=host)


def status(name: str) -> LabStatus:
    """Every host of the lab: on, answering, how much memory, which faults."""
    lab = description(name)
    found = tuple(_status(lab, item) for item in machines(lab))
    return LabStatus(
        fleet=lab, hosts=found, mirror=_mirror(lab).answers(), leaks=network.forwards(Place(name=name).bridge)
    )


def _status(lab: Fleet, item: Machine) -> HostStatus:
    jump = Machine(place=item.place, host=lab.host(item.host.jump)) if item.host.jump else None
    return HostStatus(
        name=item.host.name,
        tenant=item.host.tenant,
        address=item.host.address,
        role=item.host.role,
        pid1=item.pid() or 0,
        ssh=item.answers(through=jump),
        memory=item.groups.memory(item.host.name),
        faults=every.known(item),
    )


def execute(
    name: str, host: str, argv: Sequence[str], *, text: str | None = None, timeout: float | None = 120.0
) -> subprocess.CompletedProcess[str]:
    """Runs a program in a host as root, also when its network is down; raises LabError when the host is off."""
    return _inside(one(name, host), argv, text=text, timeout=timeout)


def enter(name: str, host: str, argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` inside a host as root."""
    return _enter(one(name, host), argv)


def _enter(item: Machine, argv: Sequence[str], *, text: bool = False) -> list[str]:
    if item.pid() is None:
        raise LabError(f"{item.host.name} is off", hint=f"opsctl lab mend {item.host.name} --name {item.place.name}")
    return item.enter(argv, text=text)


def _inside(
    item: Machine, argv: Sequence[str], *, text: str | None = None, timeout: float | None = 120.0
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            _enter(item, argv, text=text is not None),
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
            env=clean_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{item.host.name}: {argv[0]} did not end within {timeout:.0f} s") from error


def _must(item: Machine) -> Callable[[Sequence[str]], object]:
    """Runs programs on the host and raises LabError for those that fail."""

    def inside(argv: Sequence[str]) -> object:
        done = _inside(item, argv)
        if done.returncode:
            raise LabError(f"{item.host.name}: {argv[0]} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return done

    return inside


def break_(name: str, host: str, fault: str) -> None:
    """Causes a fault of `faults.FAULTS` on a host; raises UsageError for one that there is not."""
    if fault not in every.FAULTS:
        raise UsageError(f"there is no fault {fault!r}", hint=f"faults: {', '.join(every.FAULTS)}")
    item = one(name, host)
    with held(item.place.lock, what=f"the lab {name}"):
        every.cause(item, fault, _must(item))


def mend(name: str, host: str, *, patience: float = PATIENCE) -> None:
    """Removes every fault of a host, boots it where it is off, and returns when it is up."""
    item = one(name, host)
    with held(item.place.lock, what=f"the lab {name}"):
        every.mend(item, lambda argv: _inside(item, argv), patience=patience)


def boot_id(name: str, host: str) -> str:
    """Changes with each boot of the host, and only then."""
    return execute(name, host, ["cat", "/proc/sys/kernel/random/boot_id"]).stdout.strip()


def reboot(name: str, host: str, *, patience: float = PATIENCE) -> None:
    """Reboots a host from within, and returns when it is up with a new boot id."""
    item = one(name, host)
    before = item.since()
    execute(name, host, ["systemctl", "--no-block", "reboot"])
    wait(lambda: item.since() not in (before, None), patience, f"{host} did not start again")
    wait_until_up([item], patience=patience)


def crash(name: str, host: str) -> None:
    """Cuts a host's power. It stays off until it is mended or started."""
    break_(name, host, "crash")


def start(name: str, host: str, *, patience: float = PATIENCE) -> None:
    """Switches a host on, and returns when it is up."""
    mend(name, host, patience=patience)


def snapshot(name: str, host: str, label: str) -> None:
    """Copies a host's disk under a label; the host is shut down and booted for it."""
    item = one(name, host)
    with held(item.place.lock, what=f"the lab {name}"):
        snapshots.take(item, label)


def restore(name: str, host: str, label: str = snapshots.AS_FOUND) -> None:
    """Brings a host back to a snapshot, by default to how it was found, without any fault; takes about a second."""
    item = one(name, host)
    with held(item.place.lock, what=f"the lab {name}"):
        every.forget(item)
        snapshots.bring_back(item, label, of_lab(item.place).layers(item.host.role))


def publish(
    name: str, package: str, version: str, *, post_install: str = "", files: Sequence[tuple[str, str]] = ()
) -> None:
    """Publishes one more version of an own package as a security update of this lab, e.g. `1.0-1+deb12u2`.

    `post_install` is one more step of its installation; `files` are more files in it, as path and text.
    """
    known = {own.name: own for own in (*recipe.OWN_PACKAGES, recipe.NEW_PACKAGE)}
    if package not in known:
        raise UnknownName(f"the lab has no package {package!r}", hint=f"its own: {', '.join(known)}")
    lab = description(name)
    with held(Place(name=name).lock, what=f"the lab {name}"):
        _mirror(lab).publish(recipe.with_more(known[package], post_install, files), version)


def stock(name: str, debs: Iterable[Path]) -> None:
    """Publishes package files as updates of this lab."""
    lab = description(name)
    with held(Place(name=name).lock, what=f"the lab {name}"):
        _mirror(lab).stock(debs)


def withdraw(name: str, package: str, version: str) -> None:
    """Takes a version that was published here out of this lab's mirror again."""
    lab = description(name)
    with held(Place(name=name).lock, what=f"the lab {name}"):
        _mirror(lab).withdraw(recipe.OwnPackage(name=package), version)


def keep_mirror(name: str, label: str) -> str:
    """Keeps this lab's mirror as it is now, as a snapshot service does; the address of the snapshot."""
    lab = description(name)
    with held(Place(name=name).lock, what=f"the lab {name}"):
        _mirror(lab).keep(label)
    return f"{lab.mirror}/snapshots/{label}"


def _mirror(lab: Fleet) -> Mirror:
    gateway = Subnet(network=IPv4Network(lab.subnet)).gateway
    return Mirror(place=Place(name=lab.name), address=str(gateway))
