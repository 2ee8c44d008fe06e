"""Which verb is tested, written or refused on which platform: one table for `doctor --support` and the docs.

"tested": the project's own tests run it on real hosts of this platform. "written": the code is meant for it, and no
test has seen it. "refused": opsctl says no before it touches the host.
"""

from __future__ import annotations

from typing import Literal

Level = Literal["tested", "written", "refused"]
PLATFORMS = ("debian-12", "debian-13", "ubuntu-24.04", "rhel-9", "windows", "appliances")
_LINUX: tuple[Level, ...] = ("tested", "written", "written", "written", "refused", "refused")
_APT: tuple[Level, ...] = ("tested", "written", "written", "refused", "refused", "refused")
SUPPORT: dict[str, tuple[Level, ...]] = {
    "host approve": _LINUX,
    "host probe": _LINUX,
    "host show": _LINUX,
    "monitor status": _LINUX,
    "provision": _APT,
    "patch": _APT,
    "comply": _LINUX,
}


def rows() -> list[tuple[str, ...]]:
    """The table: a verb, then its level on each of `PLATFORMS`."""
    return [(verb, *levels) for verb, levels in SUPPORT.items()]
