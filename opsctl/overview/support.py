"""Which verb is tested, written or refused on which platform: one table for `doctor --support` and the docs.

"tested": the project's own tests run it on real hosts of this platform. "written": the code is meant for it, and no
test has seen it. "recorded": tested against output written down from knowledge of its formats, on no host. "in part":
some roles are written for it, the others refuse. "refused": the host is listed, with the reason, and never touched.
"""

from __future__ import annotations

from typing import Literal

Level = Literal["tested", "written", "recorded", "in part", "refused"]
PLATFORMS = ("debian-12", "debian-13", "ubuntu-24.04", "rhel-9", "windows", "appliances")
SUPPORT: dict[str, tuple[Level, ...]] = {
    "host probe": ("tested", "written", "written", "written", "refused", "refused"),
    "monitor status": ("tested", "written", "written", "written", "refused", "refused"),
    "provision": ("tested", "written", "written", "in part", "refused", "refused"),
    "patch pending": ("tested", "written", "written", "recorded", "refused", "refused"),
    "patch": ("tested", "written", "written", "refused", "refused", "refused"),
    "patch rehearse": ("tested", "refused", "refused", "refused", "refused", "refused"),
    "comply": ("tested", "written", "written", "written", "refused", "refused"),
}


def rows() -> list[tuple[str, ...]]:
    """The table: a verb, then its level on each of `PLATFORMS`."""
    return [(verb, *levels) for verb, levels in SUPPORT.items()]
