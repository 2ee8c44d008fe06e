"""Which hosts have a firing alert: asked of Prometheus and of Alertmanager, whichever the workspace names.

An alert belongs to a host by two labels, `host` and `tenant` where nothing else is said: our own targets carry them.
A silence only keeps an alert from people; the host is as ill as before, so silenced alerts count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from opsctl.config import Settings
from opsctl.model.alert import Alert
from opsctl.model.host import Inventory
from opsctl.monitor.remote import Remote


@dataclass(frozen=True, kw_only=True)
class Labels:
    """How an alert says which host it is of; `ignored` are names of alerts that say nothing of one."""

    host: str = "host"
    tenant: str = "tenant"
    ignored: frozenset[str] = frozenset()

    @classmethod
    def of(cls, settings: Settings) -> Labels:
        return cls(
            host=settings.text("monitor.host_label"),
            tenant=settings.text("monitor.tenant_label"),
            ignored=frozenset(settings.texts("monitor.ignore_alerts")),
        )


class Alerts:
    """The firing alerts of a workspace's hosts. Raises MonitoringSilent where a named server is silent."""

    def __init__(self, sources: Iterable[Remote], labels: Labels, inventory: Inventory) -> None:
        self._sources = tuple(sources)
        self._labels = labels
        self._hosts = _by_label(inventory)

    @classmethod
    def of(cls, settings: Settings, inventory: Inventory) -> Alerts:
        """Raises ConfigError."""
        named = (Remote.of(settings, name) for name in ("prometheus", "alertmanager"))
        return cls([one for one in named if one is not None], Labels.of(settings), inventory)

    @property
    def asked(self) -> bool:
        """There is somebody to ask."""
        return bool(self._sources)

    def firing(self) -> tuple[Alert, ...]:
        """Each alert once, by host and name, from whoever knows it longest."""
        found: dict[tuple[str, str], Alert] = {}
        for source in self._sources:
            ask = prometheus_alerts if source.name == "prometheus" else alertmanager_alerts
            for labels, since in ask(source):
                alert = self._of_host(labels, since)
                if alert is None:
                    continue
                known = found.get((alert.host, alert.name))
                if known is None or alert.since < known.since:
                    found[alert.host, alert.name] = alert
        return tuple(found[key] for key in sorted(found))

    def hosts(self) -> frozenset[str]:
        """The keys of the hosts that have a firing alert."""
        return frozenset(alert.host for alert in self.firing())

    def _of_host(self, labels: Mapping[str, str], since: datetime) -> Alert | None:
        name, host = labels.get("alertname", ""), labels.get(self._labels.host, "")
        if not host or name in self._labels.ignored:
            return None
        key = self._hosts.get((labels.get(self._labels.tenant, ""), host))
        shown = "".join(char for char in name if char.isprintable())[:100]
        return Alert(name=shown or "an alert without a name", host=key, since=since) if key else None


def _by_label(inventory: Inventory) -> dict[tuple[str, str], str]:
    """(tenant, name) -> key; without a tenant where the name is one host's alone."""
    names: dict[str, list[str]] = {}
    for host in inventory:
        names.setdefault(host.name, []).append(host.key)
    alone = {("", name): keys[0] for name, keys in names.items() if len(keys) == 1}
    return alone | {(host.tenant, host.name): host.key for host in inventory}


def prometheus_alerts(source: Remote) -> list[tuple[Mapping[str, str], datetime]]:
    """Labels and beginning of every alert that fires (prometheus.io, HTTP API, /api/v1/alerts); pending ones do not."""
    answer = source.get("/api/v1/alerts")
    try:
        if answer["status"] != "success":
            raise ValueError(answer["status"])
        rows = [row for row in answer["data"]["alerts"] if row["state"] == "firing"]
        return [(_labels(row), _time(row["activeAt"])) for row in rows]
    except (TypeError, ValueError, KeyError, AttributeError):
        raise source.silent("it does not answer as Prometheus does", hint="monitor.prometheus") from None


def alertmanager_alerts(source: Remote) -> list[tuple[Mapping[str, str], datetime]]:
    """Labels and beginning of every alert that it knows and that has not ended (API v2, /alerts)."""
    answer = source.get("/api/v2/alerts", {"active": "true", "silenced": "true", "inhibited": "true"})
    try:
        return [(_labels(row), _time(row["startsAt"])) for row in _listing(answer)]
    except (TypeError, ValueError, KeyError, AttributeError):
        raise source.silent("it does not answer as Alertmanager does", hint="monitor.alertmanager") from None


def _listing(answer: object) -> list[Any]:
    if not isinstance(answer, list):
        raise TypeError("no list")
    return answer


def _labels(row: Mapping[str, Any]) -> Mapping[str, str]:
    return {str(name): str(value) for name, value in row["labels"].items()}


def _time(text: str) -> datetime:
    """RFC 3339, with up to nine digits after the second."""
    head, dot, rest = text.replace("Z", "+00:00").partition(".")
    if dot:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        head += f".{digits[:6]:0<6}{rest[len(digits) :]}"
    found = datetime.fromisoformat(head)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
