"""What Prometheus last scraped of each host: its targets, whether they are up, and how old the sample is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from opsctl.model.host import Host
from opsctl.monitor.alerts import Labels
from opsctl.monitor.remote import Remote


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One target of a host: `up` is 1 or 0, `at` when it was scraped."""

    instance: str
    up: str
    at: datetime


def samples(source: Remote, labels: Labels, hosts: Iterable[Host]) -> dict[str, tuple[Sample, ...]]:
    """The targets of each host by its key. Raises MonitoringSilent.

    Two instant queries (prometheus.io, HTTP API, /api/v1/query): `up`, and `timestamp(up)`, when each was scraped.
    """
    up, scraped = _series(source, "up", labels), _series(source, "timestamp(up)", labels)
    found: dict[str, tuple[Sample, ...]] = {}
    for host in hosts:
        mine = sorted(key for key in up if key[:2] == (host.tenant, host.name) and key in scraped)
        found[host.key] = tuple(
            Sample(instance=key[2], up=up[key], at=datetime.fromtimestamp(float(scraped[key]), UTC)) for key in mine
        )
    return found


def _series(source: Remote, query: str, labels: Labels) -> dict[tuple[str, str, str], str]:
    """(tenant, host, instance) -> value."""
    answer = source.get("/api/v1/query", {"query": query})
    try:
        if answer["status"] != "success" or answer["data"]["resultType"] != "vector":
            raise ValueError(answer["status"])
        return {_key(row["metric"], labels): str(row["value"][1]) for row in answer["data"]["result"]}
    except (TypeError, ValueError, KeyError, AttributeError, IndexError):
        raise source.silent("it does not answer as Prometheus does", hint="monitor.prometheus") from None


def _key(metric: dict[str, str], labels: Labels) -> tuple[str, str, str]:
    return str(metric.get(labels.tenant, "")), str(metric.get(labels.host, "")), str(metric.get("instance", ""))
