"""The last good reading of each host, for as long as it is as good as one that is taken now.

A batch's hosts end their checks within moments of each other, and the gate after the batch asks how they are. A reading
on its way from a host is older than a moment, too; so one of the last second is not taken again. What was done to the
host since ends its worth at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from opsctl.model.host import Host
from opsctl.model.rollout import Reference

WORTH = 1.0  # seconds


class Recent:
    """Readings by `host.key`. Thread-safe: each host has one effect at a time, and the gate comes after them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, Reference]] = {}

    def keep(self, host: Host, reading: Reference) -> None:
        """A reading that has just come in."""
        self._known[host.key] = self._clock(), reading

    def touched(self, host: Host) -> None:
        """Something was done to the host: whatever was read before says nothing of it now."""
        self._known.pop(host.key, None)

    def or_asked(
        self, hosts: Sequence[Host], ask: Callable[[Sequence[Host]], Mapping[str, Reference | str]]
    ) -> Mapping[str, Reference | str]:
        """A reading of each host: the one of the last second, or what `ask` gives for those without."""
        now = self._clock()
        young = {
            host.key: self._known[host.key][1]
            for host in hosts
            if host.key in self._known and now - self._known[host.key][0] < WORTH
        }
        rest = [host for host in hosts if host.key not in young]
        return {**young, **(ask(rest) if rest else {})}
