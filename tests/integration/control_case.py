"""What a negative test of a control is: how exactly this setting is broken, what is then seen, how it is mended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

DROP_IN = "/etc/ssh/sshd_config.d/00-broken.conf"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One control: commands that break and mend it, a word of what is then observed, other controls it must touch."""

    control: str
    broken: str
    mended: str
    observed: str
    also: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class RecordCase:
    """One control that is judged by what the control side knows: a record (`name`) that fails, and one that passes.

    Both are made for the time at which they are read.
    """

    control: str
    name: str
    broken: Callable[[datetime], dict[str, object]]
    mended: Callable[[datetime], dict[str, object]]
    observed: str


def sshd(control: str, line: str, observed: str) -> Case:
    """A setting that sshd reads first, and so the one that holds."""
    return Case(
        control=control,
        broken=f"umask 077; echo '{line}' > {DROP_IN}",
        mended=f"rm {DROP_IN}",
        observed=observed,
    )


def package(control: str, name: str) -> Case:
    """A package that should not be there, as an empty one of that name: what a check reads is that it is there."""
    fields = f"Package: {name}\\nVersion: 9.9\\nArchitecture: all\\nMaintainer: a test\\nDescription: empty\\n"
    return Case(
        control=control,
        broken=f"d=$(mktemp -d) && mkdir $d/DEBIAN && chmod 755 $d && printf '{fields}' > $d/DEBIAN/control && "
        "dpkg-deb -b $d $d.deb > /dev/null && dpkg -i $d.deb > /dev/null && rm -r $d $d.deb",
        mended=f"dpkg --purge {name} > /dev/null",
        observed=f"installed: {name} 9.9",
    )


def edited(control: str, file: str, change: str, observed: str, after: str = "true") -> Case:
    """A file changed by sed, and put back as it was; `after` makes the change count."""
    return Case(
        control=control,
        broken=f"cp -p {file} /root/kept; sed -i '{change}' {file}; {after}",
        mended=f"cp -p /root/kept {file}; rm /root/kept; {after}",
        observed=observed,
    )
