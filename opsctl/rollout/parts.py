"""What a driver of rollouts is put together from, and what it shows of its progress."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from opsctl.model.host import Inventory
from opsctl.model.rollout import HostPlan, HostState, Wave
from opsctl.rollout import gates
from opsctl.rollout.change import Change
from opsctl.rollout.journal import Journal
from opsctl.rollout.limits import Limits
from opsctl.rollout.silencing import Nobody, Silencer
from opsctl.rollout.stop import BY_HAND
from opsctl.state.leases import Leases


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Something to show: a host's new stage, or (host empty) a word on the rollout as a whole."""

    host: str
    text: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Drivers:
    """What a driver works with. `stop` is set by Ctrl-C, and `stopped_by` tells by what else it was; `down` are
    hosts known not to answer.

    `gone` are hosts that are no longer ours: they are asked nothing, and count as out of service where skipped.
    `alerting` tells, whenever it is asked, which hosts have an alert of their own: they count as down. `closed` tells
    why nothing may start on a host now, its window or a freeze; empty where it may. `keeps` tells until when a rollout
    that stops before its end keeps these hosts from others; None: it does not. `passed` hears of each wave that came
    through its gates, with the states of the hosts. `gate` answers the tenants' own gates,
    `silencer` keeps alerts from people while a host changes.
    """

    journal: Journal
    leases: Leases
    change: Change
    inventory: Inventory
    limits: Limits
    clock: Callable[[], datetime]
    observe: Callable[[Progress], None]
    stop: threading.Event
    stopped_by: Callable[[], str] = lambda: BY_HAND
    down: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    alerting: Callable[[], frozenset[str]] = frozenset
    closed: Callable[[HostPlan], str] = lambda _item: ""
    keeps: Callable[[Sequence[HostPlan]], datetime | None] = lambda _items: None
    gate: Callable[[gates.Question], gates.Verdict] = lambda _question: gates.PASSED
    silencer: Silencer = field(default_factory=Nobody)
    passed: Callable[[int, Wave, Mapping[str, HostState]], None] = lambda _number, _wave, _states: None
