"""What a rollout asks of the change that rides it: patching and provisioning each answer this Protocol.

Every method may be called again after a crash in the middle of it, and then finds out from the host itself what is
already done. A method raises HostFailed (the host did not do it) or Unreachable (nobody knows).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from opsctl.model.host import Host
from opsctl.model.rollout import HostPlan, HostState, Reference


@dataclass(frozen=True, kw_only=True)
class Claim:
    """In whose name a host is changed: the rollout, the fencing token of the lease on the host, and which store of
    which control node gave it. Tokens of two stores say nothing of who came first: there the host's own clock decides.
    """

    rollout: str
    token: int
    installation: str = ""


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What an installation left: whether a reboot is wanted, the boot it ended in, and what a person should know."""

    reboot: bool = False
    boot_id: str = ""
    notes: tuple[str, ...] = ()


class Change(Protocol):
    """One kind of change. `together`: the hosts of a batch are installed by one effect, `prepare`."""

    together: bool

    def precheck(self, host: Host, item: HostPlan, state: HostState, claim: Claim) -> Reference:
        """Leave the claim on the host, read its health, refuse a host that must not be changed now."""

    def drain(self, host: Host, item: HostPlan, claim: Claim) -> None:
        """Take the host out of service, and see that it is. The claim is on the load balancer."""

    def prepare(self, hosts: Sequence[Host], claims: Mapping[str, Claim]) -> None:
        """The one effect for a whole batch, where `together` says so; `install` then tells each host's part of it."""

    def install(self, host: Host, item: HostPlan, state: HostState, claim: Claim) -> Installed:
        """Make the change, or attach to it where it is under way, and wait for its end."""

    def reboot(self, host: Host, state: HostState, claim: Claim) -> None:
        """Restart the host and prove by its boot id that it did."""

    def verify(self, host: Host, item: HostPlan, state: HostState) -> None:
        """Compare the host with the plan and with its reference."""

    def undrain(self, host: Host, item: HostPlan, claim: Claim) -> None:
        """Put the host back into service, and see that it is. The claim is on the load balancer."""

    def health(self, hosts: Sequence[Host]) -> Mapping[str, Reference | str]:
        """A reading of each host for the gate between batches, or why there is none."""
