"""What is done around a change, whatever it is: a host leaves its load balancer, comes back, is well again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opsctl.config import Settings
from opsctl.model.host import Host, Inventory
from opsctl.model.rollout import HostPlan, HostState, Reference
from opsctl.rollout import contact
from opsctl.rollout.change import Claim
from opsctl.rollout.fence import Fence
from opsctl.rollout.recent import Recent
from opsctl.ssh.session import Transport


class Around:
    """The part of rollout.change.Change that patching and provisioning share."""

    def __init__(
        self, transport: Transport, inventory: Inventory, settings: Settings, *, fence: Fence | None = None
    ) -> None:
        self._transport = transport
        self._inventory = inventory
        self._settings = settings
        self._fence = fence or Fence(transport, settings.id)
        self._recent = Recent()

    def drain(self, host: Host, item: HostPlan, claim: Claim) -> None:
        self._balance(host, item, claim, "drain")

    def undrain(self, host: Host, item: HostPlan, claim: Claim) -> None:
        self._recent.touched(host)  # with its traffic it may be another
        self._balance(host, item, claim, "ready")

    def _balance(self, host: Host, item: HostPlan, claim: Claim, action: str) -> None:
        if item.drain_through:
            balancer = self._inventory.host(item.drain_through)
            contact.balance(self._transport, self._fence, balancer, claim, host, action)

    def verify(self, host: Host, item: HostPlan, state: HostState) -> None:
        if state.reference is not None:
            seconds, good = self._settings.number("patch.settle_seconds"), self._settings.number("patch.good_readings")
            now = contact.wait_until_well(self._transport, host, state.reference, seconds=seconds, good=good)
            self._recent.keep(host, now)

    def health(self, hosts: Sequence[Host]) -> Mapping[str, Reference | str]:
        return self._recent.or_asked(hosts, lambda rest: contact.health_of_all(self._transport, rest))
