"""What patching and provisioning both work with: one inventory, the way to its hosts, and the books."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from opsctl import content
from opsctl.config import Settings
from opsctl.errors import StalePlan
from opsctl.inventory import files
from opsctl.model.host import Inventory
from opsctl.model.rollout import Plan
from opsctl.rollout.journal import Journal
from opsctl.ssh.session import Transport
from opsctl.state.ledger import Ledger
from opsctl.state.store import Store


@dataclass(frozen=True, kw_only=True)
class Means:
    """The parts of one command that changes a fleet; `who` is the login user."""

    inventory: Inventory
    transport: Transport
    store: Store
    ledger: Ledger
    settings: Settings
    who: str
    clock: Callable[[], datetime]

    @property
    def journal(self) -> Journal:
        return Journal(self.store)

    @property
    def content_digest(self) -> str:
        return content.digest(self.settings.own_content)

    def refuse_moved(self, plan: Plan) -> None:
        """Raise StalePlan where another inventory was written while a person was asked whether to begin."""
        if files.load(self.settings).digest != self.inventory.digest:
            raise StalePlan(f"{plan.id} no longer fits: the inventory has changed meanwhile")
