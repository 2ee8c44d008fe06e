"""What a municipality wants answered between the batches and waves of a rollout, beside the hosts' health."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

# A whole number of hosts, or a share of them.
BUDGET = re.compile(r"([1-9][0-9]{0,5})|([1-9][0-9]?|100)%")
BUDGET_RULE = "a number of hosts, as 2, or a share of them, as 5%"


class GateKind(StrEnum):
    """What is asked: each kind has its own keys in tenant.yml."""

    SOAK = "soak"
    COMMAND = "command"
    HTTP = "http"
    ALERTS = "alerts"
    COMPLIANCE = "compliance"


class After(StrEnum):
    """When a gate is asked: after each batch, or after the last one of a wave."""

    BATCH = "batch"
    WAVE = "wave"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One gate of one tenant. `rings`: only after these; empty: after every one.

    `seconds` is the soak; for a command its time; for http and alerts how long a good answer is waited for. `profile`:
    whose controls and values they are, known once the gate is frozen with a plan.
    """

    name: str
    tenant: str
    kind: GateKind
    after: After = After.BATCH
    rings: tuple[str, ...] = ()
    seconds: int = 0
    command: tuple[str, ...] = ()
    url: str = ""
    status: int = 200
    text: str = ""
    controls: tuple[str, ...] = ()
    profile: str = ""

    def holds_for(self, tenant: str, ring: str) -> bool:
        return self.tenant == tenant and (not self.rings or ring in self.rings)

    def __str__(self) -> str:
        match self.kind:
            case GateKind.SOAK:
                what = f"{self.seconds // 60} min in health before the next wave"
            case GateKind.COMMAND:
                what = f"{self.command[0]} ends with 0"
            case GateKind.HTTP:
                what = f"{self.url} answers {self.status}{' with its text' if self.text else ''}"
            case GateKind.ALERTS:
                what = "no new alert on what was changed"
            case GateKind.COMPLIANCE:
                what = ", ".join(self.controls) + (f" of profile {self.profile}" if self.profile else "")
        return f"{self.name} ({self.kind}): {what}"


def budget_of(text: str, hosts: int) -> int:
    """How many failures halt, of `2` or `5%` of so many hosts: at least one."""
    found = BUDGET.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no budget: {BUDGET_RULE}")
    return int(found[1]) if found[1] else max(1, hosts * int(found[2]) // 100)
