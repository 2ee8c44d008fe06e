"""What of the tenants' gates and failure budgets goes into a plan. Pure.

Where tenants differ, the most careful one decides over the rollout that they share.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from opsctl.model.gate import Gate, GateKind, budget_of
from opsctl.model.host import Inventory, Tenant
from opsctl.model.rollout import HostPlan, Wave


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """`2` or `5%`: what a person said for this plan (empty: nothing), and what the settings say."""

    given: str = ""
    given_wave: str = ""
    usual: str = "1"
    usual_wave: str = ""

    def whole(self, tenants: Iterable[Tenant], hosts: int) -> int:
        """How many failed hosts halt a rollout over so many."""
        said = [self.given] if self.given else [tenant.failure_budget or self.usual for tenant in tenants]
        return min((budget_of(text, hosts) for text in said), default=budget_of(self.usual, hosts))

    def of_wave(self, tenants: Iterable[Tenant], hosts: int) -> int:
        """The same for one wave; 0 where nobody limits it."""
        said = [self.given_wave] if self.given_wave else [tenant.wave_budget or self.usual_wave for tenant in tenants]
        return min((budget_of(text, hosts) for text in said if text), default=0)


def tenants_of(inventory: Inventory, items: Iterable[HostPlan]) -> tuple[Tenant, ...]:
    """The tenants of these hosts, in the inventory's order."""
    names = {inventory.host(item.host).tenant for item in items}
    return tuple(tenant for tenant in inventory.tenants if tenant.name in names)


def budgets(inventory: Inventory, waves: Sequence[Wave], wanted: Budgets) -> tuple[int, tuple[int, ...]]:
    """Of the whole rollout, and of each wave."""
    items = [item for wave in waves for item in wave.hosts]
    each = tuple(wanted.of_wave(tenants_of(inventory, wave.hosts), len(wave.hosts)) for wave in waves)
    return wanted.whole(tenants_of(inventory, items), len(items)), each


def gates(inventory: Inventory, waves: Sequence[Wave], *, emergency: bool, profile: str) -> tuple[Gate, ...]:
    """The gates that these waves will meet, in the order of tenants and files; an emergency soaks nothing.

    `profile` judges the hosts of tenants that name none of their own.
    """
    met = {(inventory.host(item.host).tenant, wave.ring) for wave in waves for item in wave.hosts}
    return tuple(
        replace(gate, profile=tenant.profile or profile) if gate.kind is GateKind.COMPLIANCE else gate
        for tenant in inventory.tenants
        for gate in tenant.gates
        if any(gate.holds_for(name, ring) for name, ring in met) and not (emergency and gate.kind is GateKind.SOAK)
    )
