"""The driver's side of silences: which hosts are silenced now, kept so while they change, and lifted afterwards.

A host is silenced before it is touched; where that cannot be done, nothing is. What comes later never stops a rollout:
each silence ends by itself, with its lease at the latest, so a lift or a renewal that fails is told and tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from opsctl.errors import OpsctlError
from opsctl.model.host import Host
from opsctl.model.rollout import Stage
from opsctl.monitor.alertmanager import Silences

# A host in one of these was silenced before, unless nobody asked for it.
SILENCED = frozenset(Stage) - {Stage.PLANNED, Stage.LEASED, Stage.DONE, Stage.FAILED, Stage.UNKNOWN, Stage.SKIPPED}


class Silencer(Protocol):
    """Keeps the alerts of hosts from people. Raises MonitoringSilent; each call may be made again."""

    def put(self, host: Host, until: datetime) -> None:
        """Silence a host up to a moment."""

    def renew(self, hosts: Sequence[Host], until: datetime) -> None:
        """The same for hosts that are silenced, or were."""

    def lift(self, hosts: Iterable[str] | None = None) -> None:
        """End the silences of these hosts; None: all of this rollout."""


class Nobody:
    """Where there is no Alertmanager nobody is silenced, and that is well."""

    def put(self, host: Host, until: datetime) -> None:
        """Nothing."""

    def renew(self, hosts: Sequence[Host], until: datetime) -> None:
        """Nothing."""

    def lift(self, hosts: Iterable[str] | None = None) -> None:
        """Nothing."""


class OfRollout:
    """The silences of one rollout in an Alertmanager."""

    def __init__(self, silences: Silences, rollout: str, clock: Callable[[], datetime]) -> None:
        self._silences, self._rollout, self._clock = silences, rollout, clock

    def put(self, host: Host, until: datetime) -> None:
        self._silences.put(self._rollout, host, self._clock(), until)

    def renew(self, hosts: Sequence[Host], until: datetime) -> None:
        self._silences.renew(self._rollout, hosts, self._clock(), until)

    def lift(self, hosts: Iterable[str] | None = None) -> None:
        self._silences.lift(self._rollout, hosts)


class Quiet:
    """The hosts that one run of a rollout has silenced."""

    def __init__(self, silencer: Silencer, hosts: Mapping[str, Host], say: Callable[[str], None]) -> None:
        self._silencer, self._hosts, self._say = silencer, hosts, say
        self._quiet: set[str] = set()
        self._troubled = False

    def put(self, key: str, until: datetime) -> None:
        """An effect of its own, in whatever thread. Raises MonitoringSilent."""
        self._silencer.put(self._hosts[key], until)

    def holds(self, key: str) -> None:
        """A host's silence stands."""
        self._quiet.add(key)

    def again(self, keys: Iterable[str], until: datetime) -> str:
        """Hosts that are taken up in the middle: their silences may have ended. Why it could not be done, or empty."""
        chosen = list(keys)
        self._quiet.update(chosen)
        return self._try(lambda: self._renew(chosen, until))

    def renew(self, until: datetime) -> None:
        """Keep every one of them up to a moment."""
        self._troubled = False
        self._tell(self._try(lambda: self._renew(sorted(self._quiet), until)))

    def lift(self, keys: Iterable[str]) -> None:
        """The hosts are at their end, well or not: their alerts speak. After a failure only the end tries anew."""
        chosen = self._quiet & set(keys)
        if chosen and not self._troubled:
            why = self._try(lambda: self._silencer.lift(chosen))
            self._tell(why)
            self._quiet -= set() if why else chosen

    def over(self, middle: Iterable[str], until: datetime | None) -> None:
        """The run is over: hosts in the middle stay silenced while their leases hold, all others do not."""
        kept = sorted(middle) if until is not None else []
        if kept and until is not None:
            self._tell(self._try(lambda: self._renew(kept, until)))
            others = self._quiet - set(kept)
            self._tell(self._try(lambda: self._silencer.lift(others)) if others else "")
        else:
            self._tell(self._try(self._silencer.lift))

    def _renew(self, keys: Sequence[str], until: datetime) -> None:
        if keys:
            self._silencer.renew([self._hosts[key] for key in keys], until)

    def _try(self, act: Callable[[], None]) -> str:
        try:
            act()
        except OpsctlError as error:
            return error.message
        return ""

    def _tell(self, why: str) -> None:
        if why and not self._troubled:
            self._troubled = True
            self._say(f"silences: {why}; they end by themselves")
