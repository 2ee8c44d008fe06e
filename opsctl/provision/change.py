"""Provisioning as a change that rides a rollout: one Ansible run a batch, then each host proves that we still get in.

The host itself undoes a change of its access that nobody confirms (hostside/guard.py, armed by the playbook). It is
confirmed here, over a new connection, and only for a host whose run came to a good end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from opsctl.ansible.runner import run_playbook
from opsctl.config import Settings
from opsctl.errors import HostFailed, Unreachable
from opsctl.model.host import Host, Inventory
from opsctl.model.rollout import HostPlan, HostState, Reference
from opsctl.model.run import PlaybookRun, RunEvent
from opsctl.rollout import contact
from opsctl.rollout.around import Around
from opsctl.rollout.change import Claim, Installed
from opsctl.rollout.fence import Fence
from opsctl.ssh.session import Transport

PLAYBOOK = "provision"
_GUARD_SECONDS = 60.0
_STILL_SAFE = frozenset({"confirmed", "idle"})


class ProvisionChange(Around):
    """Answers rollout.change.Change. `keep` is called with each finished run, to record it; `play` runs a playbook."""

    together = True

    def __init__(
        self,
        transport: Transport,
        inventory: Inventory,
        settings: Settings,
        *,
        keep: Callable[[PlaybookRun], None],
        on_event: Callable[[RunEvent], None] | None = None,
        play: Callable[..., PlaybookRun] = run_playbook,
        fence: Fence | None = None,
    ) -> None:
        super().__init__(transport, inventory, settings, fence=fence)
        self._keep = keep
        self._on_event = on_event
        self._play = play
        self._runs: dict[str, PlaybookRun] = {}

    def precheck(self, host: Host, item: HostPlan, state: HostState, claim: Claim) -> Reference:
        asked = {"health": contact.asked_of(host)}
        found = self._fence.claim_and_look(host, claim, asked, timeout=contact.HEALTH_SECONDS)
        return contact.read_health(host.key, found["health"])[-1].reference

    def prepare(self, hosts: Sequence[Host], claims: Mapping[str, Claim]) -> None:
        """The batch's one Ansible run; what became of each host is told by `install`.

        The claims are left anew while it goes on, and stop it where one is lost. Raises Locked then.
        """
        with self._fence.kept(hosts, claims) as refuse_lost:

            def on_event(event: RunEvent) -> None:
                refuse_lost()
                if self._on_event is not None:
                    self._on_event(event)

            run = self._play(
                PLAYBOOK,
                hosts,
                transport=self._transport,
                inventory=self._inventory,
                settings=self._settings,
                extra_vars={
                    "guard_seconds": self._settings.number("provision.confirm_seconds"),
                    "guard_token": claims[hosts[0].key].rollout,
                    "guard_claims": {host.key: self._fence.words(claims[host.key], held=True) for host in hosts},
                },
                forks=len(hosts),
                on_event=on_event,
            )
        self._runs.update((host.key, run) for host in hosts)
        self._keep(run)

    def install(self, host: Host, item: HostPlan, state: HostState, claim: Claim) -> Installed:
        """Judge the host's part of the run, come in anew, and confirm. Raises HostFailed or Unreachable."""
        self._recent.touched(host)
        run = self._runs[host.key]
        outcome = run.outcome(host.key)
        if outcome in ("unreachable", "unknown"):
            raise Unreachable(host.key, run.reason(host.key))
        if outcome == "failed":
            raise HostFailed(host.key, run.reason(host.key))
        self._transport.forget(host)
        self._transport.fresh(host)
        self._confirm(host, claim)
        recap = run.recaps.get(host.key)
        return Installed(notes=(f"{recap.changed} changed",) if recap else ())

    def _confirm(self, host: Host, claim: Claim) -> None:
        token = claim.rollout
        words = {"action": "confirm", "token": token}
        answer = self._fence.effect(host, claim, "guard", words, timeout=_GUARD_SECONDS, held=True)
        state = answer.get("state") if isinstance(answer, dict) else None
        if isinstance(answer, dict) and state == "restored" and answer.get("token", token) != token:
            state = "idle"  # that was the end of an earlier run; this one never touched the host's access
        if state not in _STILL_SAFE:
            why = {
                "restored": "the host undid the change of its access: nobody confirmed it in time",
                "refused": "the change of its access was made by another run",
            }.get(str(state), f"its guard answers {answer!r}")
            raise HostFailed(host.key, why)

    def reboot(self, host: Host, state: HostState, claim: Claim) -> None:
        raise HostFailed(host.key, "provisioning restarts no host")
