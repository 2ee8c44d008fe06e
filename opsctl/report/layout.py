"""Where everything stands: one page, many pages that link to each other, or paper, which links nowhere.

A small municipality gets one page that can be mailed. Where there are many results, a page that held them all would be
of no use: each host and each control gets its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

# So many results still make one readable page.
MOST_IN_ONE_PAGE = 600
# So many hosts share a page of the map.
MAP_ROWS = 100


def anchor(*parts: str) -> str:
    """A name for a place in a page or for a page, whatever the parts hold."""
    return "-".join(map(_plain, parts))


@lru_cache(maxsize=50_000)
def _plain(part: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", part)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The addresses within a report; `linked` is false on paper, `split` true where it is many pages."""

    split: bool = False
    linked: bool = True

    def section(self, key: str) -> str:
        if not self.split:
            return f"#{key}"
        return "index.html" if key == "overview" else f"{key}.html"

    def host(self, key: str) -> str:
        if not self.linked:
            return ""
        return f"{anchor('host', key)}.html" if self.split else f"#{self.host_id(key)}"

    def control(self, name: str) -> str:
        if not self.linked:
            return ""
        return f"{self.control_id(name)}.html" if self.split else f"#{self.control_id(name)}"

    def result(self, host: str, control: str) -> str:
        """The row of one result on its host's page."""
        if not self.linked:
            return ""
        page = f"{anchor('host', host)}.html" if self.split else ""
        return f"{page}#{self.row(host, control)}"

    def map(self, number: int) -> str:
        return f"map-{number}.html"

    def host_id(self, key: str) -> str:
        return anchor("host", key)

    def control_id(self, name: str) -> str:
        return anchor("control", name)

    def row(self, host: str, name: str) -> str:
        return anchor(name) if self.split else anchor(host, name)

    def piece(self, host: str, number: int) -> str:
        """The place of one piece of evidence."""
        return self.row(host, f"e{number}")
