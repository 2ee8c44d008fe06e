"""An alert of a host, as Prometheus or Alertmanager tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Alert:
    """An alert that fires, and since when its condition has been true."""

    name: str
    host: str
    since: datetime

    def __str__(self) -> str:
        return f"{self.host}: {self.name} since {self.since:%H:%M:%SZ}"
