"""Patching as a change that rides a rollout: exact versions, a restart where one is wanted, health as before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from opsctl.config import Settings
from opsctl.errors import HostFailed
from opsctl.model.host import Host, Inventory
from opsctl.model.rollout import HostPlan, HostState, Plan, Reference
from opsctl.patch import pending, stale
from opsctl.patch.install import Installation
from opsctl.patch.pending import Pending
from opsctl.rollout import contact
from opsctl.rollout.around import Around
from opsctl.rollout.change import Claim, Installed
from opsctl.ssh.session import Transport

_PRECHECK_SECONDS = 180.0


class PatchChange(Around):
    """Answers rollout.change.Change for one frozen plan. `installed` hears of each host that has its versions."""

    together = False

    def __init__(
        self,
        transport: Transport,
        inventory: Inventory,
        settings: Settings,
        *,
        plan: Plan,
        installed: Callable[[Host, HostPlan], None] = lambda _host, _item: None,
    ) -> None:
        super().__init__(transport, inventory, settings)
        self._plan = plan
        self._policy = plan.reboot
        self._installed = installed

    def precheck(self, host: Host, item: HostPlan, state: HostState, claim: Claim) -> Reference:
        """Health as the reference; refuses a host that cannot make the transaction before its traffic is touched.

        A retry is to mend a dpkg that was interrupted, and what is half installed.
        """
        scripts: dict[str, Mapping[str, object]] = {"health": contact.asked_of(host)}
        if state.attempt == 1:
            scripts["pending"] = pending.brief(item.packages, downgrade=bool(self._plan.rollback_of))
        found = self._fence.claim_and_look(host, claim, scripts, timeout=_PRECHECK_SECONDS)
        if state.attempt == 1:
            self._refuse_unable(host, item, state, claim, pending.parse(host.key, found["pending"]))
        return contact.read_health(host.key, found["health"])[-1].reference

    def _refuse_unable(self, host: Host, item: HostPlan, state: HostState, claim: Claim, found: Pending) -> None:
        if found.dpkg.audit:
            raise HostFailed(host.key, f"dpkg was interrupted: {found.dpkg.audit[0]}")
        if any(pin.tenant == host.tenant for pin in self._plan.snapshots):
            self._installation(host, item, state, claim).prepare()
        elif found.planned_why:
            raise HostFailed(host.key, stale.not_possible(found))

    def prepare(self, hosts: Sequence[Host], claims: Mapping[str, Claim]) -> None:
        """Nothing: each host installs on its own."""

    def install(self, host: Host, item: HostPlan, state: HostState, claim: Claim) -> Installed:
        """The planned versions, through the host's own unit."""
        self._recent.touched(host)
        installation = self._installation(host, item, state, claim)
        status = installation.run(seconds=self._settings.number("patch.timeout"))
        self._installed(host, item)
        policy = item.reboot or self._policy
        wanted = policy == "always" or (policy == "if-required" and status.reboot_required)
        kept = tuple(f"kept {name}" for name in status.kept_files)
        left = ("a reboot is required",) if status.reboot_required and not wanted else ()
        return Installed(reboot=wanted, boot_id=status.boot_id, notes=kept + left)

    def _installation(self, host: Host, item: HostPlan, state: HostState, claim: Claim) -> Installation:
        return Installation(self._transport, self._fence, host, item, claim, attempt=state.attempt, plan=self._plan)

    def reboot(self, host: Host, state: HostState, claim: Claim) -> None:
        if state.reference is None:
            raise HostFailed(host.key, "its boot before the restart is not known")
        seconds = self._settings.number("patch.return_seconds")
        contact.restart(self._transport, self._fence, host, state.reference.boot_id, claim, seconds=seconds)
