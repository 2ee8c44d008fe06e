"""What the tenants' gates do: run a command, look at a page, ask for alerts, check controls. The verdicts: gates.py.

Everything here is bounded in time and changes nothing on any host. What monitoring is asked for by the driver, alerts
and silences, is put together here as well.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from opsctl.config import Settings
from opsctl.errors import OpsctlError
from opsctl.model.alert import Alert
from opsctl.model.gate import Gate, GateKind
from opsctl.model.rollout import Plan
from opsctl.monitor import page
from opsctl.monitor.alertmanager import Silences
from opsctl.monitor.alerts import Alerts
from opsctl.monitor.remote import checked_authorities
from opsctl.rollout import gates, smoke
from opsctl.rollout.gates import CommandEnd, PageReading, Question, Verdict
from opsctl.rollout.means import Means
from opsctl.rollout.silencing import Nobody, OfRollout, Silencer

# Seconds for which an answer about alerts holds: a large batch asks for each of its hosts.
FRESH = 5.0
_AGAIN = 3.0
_LONGEST_LINE = 200
# What a command may need of our environment; tokens and the like stay here.
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME")


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What the driver is given of monitoring and gates."""

    alerting: Callable[[], frozenset[str]]
    gate: Callable[[Question], Verdict]
    silencer: Silencer


def watch(means: Means, plan: Plan) -> Watch:
    """Of one rollout. Raises ConfigError for an address or a token that cannot be used."""
    alerts, silences = Alerts.of(means.settings, means.inventory), Silences.of(means.settings)
    silencer = OfRollout(silences, plan.id, means.clock) if silences else Nobody()
    # What puts old versions back is to mend the very hosts that alert.
    alerting = frozenset if plan.rollback_of else Remembered(alerts)
    return Watch(alerting=alerting, gate=Gating(means, plan, alerts), silencer=silencer)


def lift(settings: Settings, rollout: str) -> str:
    """End all silences of a rollout that no process works on; why that failed, or empty: they end by themselves."""
    try:
        if silences := Silences.of(settings):
            silences.lift(rollout, None)
    except OpsctlError as error:
        return error.message
    return ""


class Remembered:
    """Which hosts alert, asked at most once in a few seconds. Raises MonitoringSilent, and that is remembered too."""

    def __init__(self, alerts: Alerts, fresh: float = FRESH) -> None:
        self._alerts, self._fresh = alerts, fresh
        self._until = 0.0
        self._hosts: frozenset[str] = frozenset()
        self._error: OpsctlError | None = None

    def __call__(self) -> frozenset[str]:
        if self._alerts.asked and time.monotonic() >= self._until:
            try:
                self._hosts, self._error = self._alerts.hosts(), None
            except OpsctlError as error:
                self._error = error
            self._until = time.monotonic() + self._fresh
        if self._error is not None:
            raise self._error
        return self._hosts


class Gating:
    """Answers the gates of one plan."""

    def __init__(self, means: Means, plan: Plan, alerts: Alerts) -> None:
        self._means, self._plan, self._alerts = means, plan, alerts
        self._fronts = {item.host: item.drain_through for item in plan.hosts if item.drain_through}

    def __call__(self, question: Question) -> Verdict:
        """Ask every gate that the question meets; a failure decides before an answer that is none."""
        return gates.first_not_passed([self._ask(gate, self._part(gate, question)) for gate in question.gates])

    def _part(self, gate: Gate, question: Question) -> Question:
        """The question with the hosts of the gate's tenant alone."""
        tenant_of = self._means.inventory.host
        hosts = {key: one for key, one in question.hosts.items() if tenant_of(key).tenant == gate.tenant}
        return replace(question, hosts=hosts)

    def _ask(self, gate: Gate, question: Question) -> Verdict:
        match gate.kind:
            case GateKind.COMMAND:
                return gates.command(gate, run(gate, question, self._means.settings.workspace))
            case GateKind.HTTP:
                return self._until_passed(gate.seconds, lambda: self._page(gate))
            case GateKind.ALERTS:
                return self._until_passed(gate.seconds, lambda: self._no_alerts(gate, question))
            case GateKind.COMPLIANCE:
                return self._compliance(gate, question)
        return gates.PASSED

    def _until_passed(self, seconds: float, ask: Callable[[], Verdict]) -> Verdict:
        """The first pass within a time, or the last answer: a service that just started may need a moment."""
        ends = time.monotonic() + seconds
        while not (verdict := ask()).passed and time.monotonic() < ends:
            time.sleep(_AGAIN)
        return verdict

    def _page(self, gate: Gate) -> Verdict:
        found = page.look(gate.url, gate.text, ca_file=checked_authorities(self._means.settings))
        return gates.http(gate, PageReading(status=found.status, has_text=found.has_text, error=found.error))

    def _no_alerts(self, gate: Gate, question: Question) -> Verdict:
        if not self._alerts.asked:
            return gates.unanswered(gate, "neither monitor.prometheus nor monitor.alertmanager is set")
        try:
            firing: tuple[Alert, ...] = self._alerts.firing()
        except OpsctlError as error:
            return gates.unanswered(gate, error.message)
        beside = {self._fronts[key]: key for key in question.hosts if key in self._fronts}
        return gates.alerts(gate, question, beside, firing)

    def _compliance(self, gate: Gate, question: Question) -> Verdict:
        try:
            return gates.compliance(gate, *smoke.look(self._means, gate, list(question.hosts)))
        except OpsctlError as error:
            return gates.unanswered(gate, error.message)


def run(gate: Gate, question: Question, folder: Path) -> CommandEnd:
    """Run a gate's command: no shell, nothing to read, a time after which it and its children are killed.

    It finds out what it is asked about from OPSCTL_ROLLOUT, OPSCTL_WAVE, OPSCTL_RING and OPSCTL_HOSTS.
    """
    asked = {
        "OPSCTL_ROLLOUT": question.rollout,
        "OPSCTL_WAVE": str(question.wave),
        "OPSCTL_RING": question.ring,
        "OPSCTL_HOSTS": ",".join(sorted(question.hosts)),
    }
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    with tempfile.TemporaryFile() as said:
        try:
            begun = subprocess.Popen(
                gate.command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=kept | asked,
                start_new_session=True,
            )
        except OSError as error:
            return CommandEnd(code=None, said=f"it cannot be run: {error.strerror}")
        try:
            code = begun.wait(gate.seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(begun.pid, signal.SIGKILL)
            begun.wait()
        if code is None:
            return CommandEnd(code=None, said=f"killed after {gate.seconds} s")
        size = said.seek(0, os.SEEK_END)
        said.seek(max(0, size - 4096))
        return CommandEnd(code=code, said=_last_line(said.read()))


def _last_line(output: bytes) -> str:
    lines = [line for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    plain = "".join(char if char.isprintable() else " " for char in lines[-1]) if lines else ""
    return " ".join(plain.split())[:_LONGEST_LINE]
