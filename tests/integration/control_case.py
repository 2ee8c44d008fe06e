"""What a negative test of a control is: how exactly this setting is broken, what is then seen, how it is mended."""

from __future__ import annotations

from dataclasses import dataclass

DROP_IN = "/etc/ssh/sshd_config.d/00-broken.conf"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One control: commands that break and mend it, a word of what is then observed, other controls it must touch."""

    control: str
    broken: str
    mended: str
    observed: str
    also: frozenset[str] = frozenset()


def sshd(control: str, line: str, observed: str) -> Case:
    """A setting that sshd reads first, and so the one that holds."""
    return Case(
        control=control,
        broken=f"umask 077; echo '{line}' > {DROP_IN}",
        mended=f"rm {DROP_IN}",
        observed=observed,
    )
