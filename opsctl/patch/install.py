"""An installation on a host, seen from here: started once, attached to as often as needed, waited for."""

from __future__ import annotations

import time
from dataclasses import dataclass

from opsctl.errors import HostFailed, HostKeyRefused, Unreachable
from opsctl.model.host import Host
from opsctl.model.rollout import HostPlan, Plan
from opsctl.rollout.change import Claim
from opsctl.rollout.contact import understood
from opsctl.rollout.fence import CLAIM_SECONDS, Fence
from opsctl.ssh.session import Transport, hostside_script

# The host answers at the end of the installation, or after this many seconds.
_WAIT = 10.0
# A connection may break while sshd or the network restarts under us; only after so many time-outs is the host lost.
_PATIENCE = 6
_PAUSE = 1.0
_RESTARTS = 2
# To fetch the lists of a snapshot takes longer than any other effect.
_PREPARE_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class InstallStatus:
    """What hostside/install.py answers."""

    state: str
    missing: tuple[str, ...]
    boot_id: str
    reboot_required: bool
    exit_code: int | None = None
    log: str = ""
    why: str = ""
    kept_files: tuple[str, ...] = ()


class Installation:
    """One host's installation within a rollout; `attempt` counts from 1 and gives each retry a unit of its own."""

    def __init__(
        self, transport: Transport, fence: Fence, host: Host, item: HostPlan, claim: Claim, *, attempt: int, plan: Plan
    ) -> None:
        self._transport = transport
        self._fence = fence
        self._host = host
        self._claim = claim
        self._patience = _PATIENCE * transport.settings.number("ssh.connect_timeout")
        self._words: dict[str, object] = {
            "lock_seconds": transport.settings.number("patch.lock_seconds"),
            "id": claim.rollout if attempt == 1 else f"{claim.rollout}-{attempt}",
            "packages": [{"name": p.name, "version": p.after, "before": p.before, "new": p.new} for p in item.packages],
            "sources": [[pin.mirror, pin.url] for pin in plan.snapshots if pin.tenant == host.tenant],
            "downgrade": bool(plan.rollback_of),
            "keep": transport.settings.text("patch.keep_replaced") == "yes" and not plan.rollback_of,
        }

    def prepare(self) -> None:
        """See that the host can make the transaction, from the plan's snapshot where it has one; before it is drained.

        Raises HostFailed where it cannot.
        """
        words = {**self._words, "action": "prepare"}
        answer = self._fence.effect(self._host, self._claim, "install", words, timeout=_PREPARE_SECONDS)
        status = understood(InstallStatus, self._host.key, answer)
        if status.state == "refused":
            raise HostFailed(self._host.key, status.why)

    def run(self, *, seconds: float) -> InstallStatus:
        """Start or attach, and wait for the end. Raises HostFailed, or Unreachable where the end is not known."""
        deadline = time.monotonic() + seconds
        status = self._ask("start")
        restarts = 0
        while status.state in ("running", "cut-off"):
            if time.monotonic() > deadline:
                raise Unreachable(
                    self._host.key, f"the installation still runs after {seconds:.0f} s; it is left alone"
                )
            if status.state == "cut-off":
                restarts += 1
                if restarts > _RESTARTS:
                    raise HostFailed(self._host.key, f"the installation was cut off {restarts} times")
            status = self._ask("start" if status.state == "cut-off" else "status")
        self._refuse_bad_end(status)
        return status

    def _refuse_bad_end(self, status: InstallStatus) -> None:
        if status.state == "refused":
            raise HostFailed(self._host.key, status.why)
        if status.exit_code:
            raise HostFailed(self._host.key, f"apt-get ended with {status.exit_code}: {_complaint(status.log)}")
        if status.missing:
            raise HostFailed(self._host.key, f"not as planned: {'; '.join(status.missing[:5])}")

    def _ask(self, action: str) -> InstallStatus:
        """One question; contact that breaks is sought again for a while, for asking twice does no harm."""
        lost_at: float | None = None
        while True:
            try:
                return understood(InstallStatus, self._host.key, self._answer(action))
            except HostKeyRefused:
                raise
            except Unreachable:
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > self._patience:
                    raise
                time.sleep(_PAUSE)

    def _answer(self, action: str) -> object:
        """To begin is an effect and goes through the fence; to wait for the end holds no lock of the host.

        What has begun is waited for in the same round trip.
        """
        words, waiting = {**self._words, "action": action}, {**self._words, "wait": _WAIT}
        if action == "start":
            longest = _WAIT + (_PREPARE_SECONDS if words["sources"] else CLAIM_SECONDS)
            return self._fence.effect(self._host, self._claim, "install", words, timeout=longest, afterwards=waiting)
        return self._transport.run(self._host, hostside_script("install"), words | waiting, timeout=_WAIT + 50)


def _complaint(log: str) -> str:
    """The lines of apt's log that say what went wrong."""
    lines = [line.strip() for line in log.splitlines()]
    # dpkg names the package first, and what is wrong with it on the next line.
    told = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if line.startswith(("E:", "dpkg: error")) or before.startswith("dpkg: error")
    ]
    return " ".join(told[:4])[:400] or (lines[-2] if len(lines) > 1 else "no log")
