"""Which doubles a rehearsal needs: one lab host for each distinct set of os_release, packages and transaction. Pure.

What the hosts say is foreign: names and versions are held to what dpkg allows before they become words of a command.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from opsctl.errors import HostError, OpsctlError
from opsctl.model.host import Inventory, Service
from opsctl.model.rollout import HostPlan, PackageChange, Plan
from opsctl.patch.pending import NAME, VERSION

# What the lab can build.
OS_RELEASES, ARCHITECTURE = ("debian-12",), "amd64"
_FEW = 3


@dataclass(frozen=True, kw_only=True, order=True)
class InstalledPackage:
    """A package as dpkg has it on a host."""

    name: str
    architecture: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}={self.version}"


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """What hostside/installed.py answers: what a double has to be like. `broken`: packages that are not whole."""

    os_release: str
    architecture: str
    packages: tuple[InstalledPackage, ...]
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Double:
    """A lab host to build, for all the `hosts` that are alike. `services` are those of the first of them."""

    hosts: tuple[str, ...]
    os_release: str
    architecture: str
    installed: tuple[InstalledPackage, ...]
    packages: tuple[PackageChange, ...]
    reboot_expected: bool = False
    services: tuple[Service, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NotRehearsed:
    """A host of the plan that no double stands for, and why."""

    host: str
    reason: str


Likenesses = Mapping[str, Likeness | OpsctlError]


def doubles(
    plan: Plan, inventory: Inventory, told: Likenesses, *, most: int, limit: str = "--max-doubles"
) -> tuple[list[Double], list[NotRehearsed]]:
    """The doubles of a plan, those for most hosts first and no more than `most`; and who is left without one.

    `limit` says what the number comes from.
    """
    alike: dict[object, list[HostPlan]] = {}
    left = []
    for item in plan.hosts:
        one = told.get(item.host)
        if why := _why_not(item, one):
            left.append(NotRehearsed(host=item.host, reason=why))
        elif isinstance(one, Likeness):
            key = (
                one.os_release,
                one.architecture,
                tuple(sorted(one.packages)),
                tuple(sorted(map(_known, item.packages))),
            )
            alike.setdefault(key, []).append(item)
    ordered = sorted(alike.values(), key=len, reverse=True)
    left += [
        NotRehearsed(host=item.host, reason=f"its packages would want one more double than {most} ({limit})")
        for items in ordered[most:]
        for item in items
    ]
    return [_double(items, inventory, told) for items in ordered[:most]], left


def _known(change: PackageChange) -> tuple[str, str, str]:
    return change.name, change.before, change.after


def _double(items: list[HostPlan], inventory: Inventory, told: Likenesses) -> Double:
    first, one = items[0], told[items[0].host]
    assert isinstance(one, Likeness)
    return Double(
        hosts=tuple(item.host for item in items),
        os_release=one.os_release,
        architecture=one.architecture,
        installed=tuple(sorted(one.packages)),
        packages=first.packages,
        reboot_expected=any(item.reboot_expected for item in items),
        services=inventory.host(first.host).services,
    )


def _why_not(item: HostPlan, one: Likeness | OpsctlError | None) -> str:
    """Why no double can stand for this host; empty where one can."""
    if one is None:
        return "it was not read: it is no longer in the inventory, or not managed"
    if isinstance(one, OpsctlError):
        return f"{one.outcome}: {one.reason if isinstance(one, HostError) else one.message}"
    return next(_obstacles(item, one), "")


def _obstacles(item: HostPlan, one: Likeness) -> Iterator[str]:
    if one.os_release not in OS_RELEASES:
        yield f"the lab cannot build {one.os_release}, only {', '.join(OS_RELEASES)}"
    if one.architecture != ARCHITECTURE:
        yield f"the lab cannot build {one.architecture}, only {ARCHITECTURE}"
    foreign = [package.name for package in one.packages if package.architecture not in (one.architecture, "all")]
    if foreign or any(":" in change.name for change in item.packages):
        yield f"it has packages of another architecture: {few(foreign)}"
    if one.broken:
        yield f"its dpkg is not whole: {few(one.broken)}"
    if odd := [p.name for p in one.packages if not (NAME.fullmatch(p.name) and VERSION.fullmatch(p.version))]:
        yield f"it names packages that cannot be: {few(map(ascii, odd))}"
    now = {package.name: package.version for package in one.packages}
    moved = [
        f"{change.name} is {now.get(change.name) or 'not installed'}, planned from {change.before or 'not installed'}"
        for change in item.packages
        if now.get(change.name, "") != change.before
    ]
    if moved:
        yield f"it has moved since the plan: {few(moved)}"


def few(names: Iterable[str]) -> str:
    """The first few of many, in words."""
    told = list(names)
    return ", ".join(told[:_FEW]) + (f" and {len(told) - _FEW} more" if len(told) > _FEW else "")


# --- making a lab host like a double ---------------------------------------------------------------------------------


def words_to_become(want: Mapping[str, str], have: Mapping[str, str]) -> tuple[str, ...]:
    """What apt-get has to install (PKG=VERSION) and to remove (PKG-) on a host; names to versions."""
    install = [f"{name}={version}" for name, version in sorted(want.items()) if have.get(name) != version]
    return (*install, *(f"{name}-" for name in sorted(have.keys() - want.keys())))


def differences(want: Mapping[str, str], have: Mapping[str, str]) -> tuple[str, ...]:
    """In what a host is not like the one it stands for."""
    told = [
        f"{name} is {have.get(name, 'not installed')} instead of {version}"
        for name, version in sorted(want.items())
        if have.get(name) != version
    ]
    return (*told, *(f"{name} is installed" for name in sorted(have.keys() - want.keys())))
