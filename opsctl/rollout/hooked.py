"""A change with the commands of each host's handling around it: before it, out of service and back, after a failure.

The commands stand in the frozen plan, so what runs is what was planned and approved, also at a resume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from opsctl.errors import HostFailed, OpsctlError
from opsctl.model.host import Host
from opsctl.model.rollout import HostPlan, HostState, Plan, Reference
from opsctl.rollout.change import Change, Claim, Installed
from opsctl.rollout.hook import Hooking, filled

T = TypeVar("T")


class Hooked:
    """Answers rollout.change.Change."""

    def __init__(self, change: Change, plan: Plan, hooking: Hooking) -> None:
        self.together = change.together
        self._change = change
        self._hooks = {item.host: item.hooks for item in plan.hosts}
        self._hooking = hooking

    def precheck(self, host: Host, item: HostPlan, state: HostState, claim: Claim) -> Reference:
        """Then `before`, as a snapshot: what fails there leaves the host untouched."""
        reference = self._change.precheck(host, item, state, claim)
        self._run(host, "before", item.hooks.before)
        return reference

    def drain(self, host: Host, item: HostPlan, claim: Claim) -> None:
        self._change.drain(host, item, claim)
        self._run(host, "drain", item.hooks.drain)

    def undrain(self, host: Host, item: HostPlan, claim: Claim) -> None:
        """The other way round; the load balancer puts it back whatever the command did."""
        try:
            self._run(host, "undrain", item.hooks.undrain)
        finally:
            self._change.undrain(host, item, claim)

    def prepare(self, hosts: Sequence[Host], claims: Mapping[str, Claim]) -> None:
        self._change.prepare(hosts, claims)

    def install(self, host: Host, item: HostPlan, state: HostState, claim: Claim) -> Installed:
        return self._heeded(host, lambda: self._change.install(host, item, state, claim))

    def reboot(self, host: Host, state: HostState, claim: Claim) -> None:
        self._heeded(host, lambda: self._change.reboot(host, state, claim))

    def verify(self, host: Host, item: HostPlan, state: HostState) -> None:
        self._heeded(host, lambda: self._change.verify(host, item, state))

    def health(self, hosts: Sequence[Host]) -> Mapping[str, Reference | str]:
        return self._change.health(hosts)

    def _heeded(self, host: Host, effect: Callable[[], T]) -> T:
        """A failure, never a lost contact, is followed by `on_failure`: who does not know must not turn back a disk."""
        try:
            return effect()
        except HostFailed as error:
            words = self._hooks[host.key].on_failure
            if not words:
                raise
            why = self._result(host, words)
            told = f"on_failure failed too: {why}" if why else f"on_failure was run: {words[0]}"
            raise HostFailed(host.key, f"{error.reason}; {told}") from error

    def _run(self, host: Host, what: str, words: Sequence[str]) -> None:
        if words and (why := self._result(host, words)):
            raise HostFailed(host.key, f"{what}: {why}")

    def _result(self, host: Host, words: Sequence[str]) -> str:
        values = {
            "host": host.name, "address": host.address, "tenant": host.tenant, "rollout": self._hooking.rollout,
        }  # fmt: skip
        try:
            lock = self._hooking.lock(host.key)
            return self._hooking.run(filled(words, values), self._hooks[host.key].seconds, lock)
        except (OSError, OpsctlError) as error:
            return str(error)
