"""Silences in Alertmanager, one a host: made, kept alive, ended. Each has an end of its own, whatever becomes of us.

One is found again by who made it and by its comment, which names rollout and host: a second call, or one after a
kill -9, goes on with the one that is there. (API v2; a silence that is sent with its id is changed in place where its
matchers stay the same.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from opsctl.config import Settings
from opsctl.model.host import Host
from opsctl.monitor.alerts import Labels
from opsctl.monitor.remote import Remote

MAKER = "opsctl"
# A clock of ours that is ahead by less than this makes no silence that begins only later.
_SKEW = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Silence:
    """One silence of ours that has not ended: of which rollout, on which host."""

    id: str
    rollout: str
    host: str
    starts: str


class Silences:
    """The silences of one Alertmanager. Raises MonitoringSilent."""

    def __init__(self, remote: Remote, labels: Labels) -> None:
        self._remote, self._labels = remote, labels

    @classmethod
    def of(cls, settings: Settings) -> Silences | None:
        """None where the workspace names no Alertmanager. Raises ConfigError."""
        remote = Remote.of(settings, "alertmanager")
        return None if remote is None else cls(remote, Labels.of(settings))

    def put(self, rollout: str, host: Host, now: datetime, until: datetime) -> str:
        """Silence a host up to a moment: the silence that it has already, or a new one; its id."""
        mine = self.of_rollout(rollout, [f'{self._labels.host}="{host.name}"'])
        known = next((one for one in mine if one.host == host.key), None)
        return self._send(rollout, host, now, until, known)

    def renew(self, rollout: str, hosts: Iterable[Host], now: datetime, until: datetime) -> None:
        """The same for many hosts, with one listing."""
        known = {one.host: one for one in self.of_rollout(rollout)}
        for host in hosts:
            self._send(rollout, host, now, until, known.get(host.key))

    def lift(self, rollout: str, hosts: Iterable[str] | None = None) -> None:
        """End the silences of these hosts, or all of a rollout's; where there are none, nothing is done."""
        chosen = None if hosts is None else set(hosts)
        for one in self.of_rollout(rollout):
            if chosen is None or one.host in chosen:
                self._remote.delete(f"/api/v2/silence/{one.id}")

    def of_rollout(self, rollout: str, only: Sequence[str] = ()) -> tuple[Silence, ...]:
        """Those that have not ended; `only`: of silences with these matchers."""
        answer = self._remote.get("/api/v2/silences", {"filter": list(only)})
        try:
            if not isinstance(answer, list):
                raise TypeError("no list")
            found = [_read(row) for row in answer if row["status"]["state"] != "expired"]
        except (TypeError, ValueError, KeyError, AttributeError):
            raise self._remote.silent(
                "it does not answer as Alertmanager does", hint="monitor.alertmanager is its own address"
            ) from None
        return tuple(one for one in found if one is not None and one.rollout == rollout)

    def _send(self, rollout: str, host: Host, now: datetime, until: datetime, known: Silence | None) -> str:
        names = {self._labels.host: host.name, self._labels.tenant: host.tenant}
        body = {
            "matchers": [
                {"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in names.items()
            ],
            # Another beginning would make Alertmanager end it and begin a second one.
            "startsAt": known.starts if known else _written(now - _SKEW),
            "endsAt": _written(until),
            "createdBy": MAKER,
            "comment": f"rollout {rollout} changes {host.key}",
        }
        answer = self._remote.post("/api/v2/silences", body | ({"id": known.id} if known else {}))
        if not isinstance(answer, dict) or not isinstance(answer.get("silenceID"), str):
            raise self._remote.silent("it does not say which silence it made")
        return str(answer["silenceID"])


def _read(row: Any) -> Silence | None:
    """Ours, by its comment's words; None for everybody else's."""
    words = str(row["comment"]).split()
    if row["createdBy"] != MAKER or len(words) != 4 or (words[0], words[2]) != ("rollout", "changes"):
        return None
    return Silence(id=str(row["id"]), rollout=words[1], host=words[3], starts=str(row["startsAt"]))


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
