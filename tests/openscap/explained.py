"""Where OpenSCAP and the checks may disagree, and why: each row is one of docs/explanation/openscap.md."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A control of which OpenSCAP's content says `theirs` where the check says `ours`; `reason` is for readers."""

    control: str
    ours: str
    theirs: str
    reason: str


EXPLAINED: tuple[Explained, ...] = ()
