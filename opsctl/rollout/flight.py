"""Effects under way: each in a thread of its own, and what its outcome means for the host. Nothing is saved here."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from opsctl.errors import HostError, OpsctlError, Unreachable
from opsctl.model.rollout import HostState, Reference
from opsctl.rollout import machine
from opsctl.rollout.change import Installed
from opsctl.rollout.machine import Event, Kind, Step

_EFFECT_NAMES = {
    Step.SILENCE: "silencing", Step.PRECHECK: "reading its state", Step.DRAIN: "draining", Step.INSTALL: "installing",
    Step.REBOOT: "rebooting", Step.VERIFY: "verifying", Step.UNDRAIN: "undraining",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one effect: a result or an error."""

    key: str
    step: Step
    result: object = None
    error: BaseException | None = None


class Flight:
    """Begins effects and hands over their outcomes, in the order in which they end."""

    def __init__(self) -> None:
        self._results: queue.SimpleQueue[Outcome] = queue.SimpleQueue()

    def begin(self, key: str, step: Step, effect: Callable[[], object]) -> None:
        def work() -> None:
            try:
                self._results.put(Outcome(key=key, step=step, result=effect()))
            except BaseException as error:  # noqa: BLE001 - handed to the main thread, which judges it
                self._results.put(Outcome(key=key, step=step, error=error))

        threading.Thread(target=work, name=f"{step} {key}", daemon=True).start()

    def landed(self, seconds: float) -> Outcome | None:
        """The next outcome, or None where none comes within so many seconds."""
        try:
            return self._results.get(timeout=seconds)
        except queue.Empty:
            return None


def event_of(outcome: Outcome, state: HostState, now: datetime) -> Event:
    """What an outcome means for the host's state."""
    result = outcome.result
    if isinstance(outcome.error, Unreachable) and outcome.error.host == outcome.key:
        return Event(kind=Kind.LOST, at=now, reason=outcome.error.reason)
    if isinstance(outcome.error, OpsctlError):
        reason = outcome.error.reason if isinstance(outcome.error, HostError) else outcome.error.message
        return Event(kind=Kind.FAILED, at=now, reason=f"{_EFFECT_NAMES[outcome.step]}: {reason}")
    if isinstance(result, Installed):
        before = state.reference
        reference = replace(before, boot_id=result.boot_id) if before and result.boot_id else before
        return Event(kind=Kind.INSTALLED, at=now, reboot=result.reboot, reference=reference, notes=result.notes)
    return Event(kind=machine.ended(outcome.step), at=now, reference=result if isinstance(result, Reference) else None)
