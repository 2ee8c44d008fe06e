"""How a municipality wants its hosts handled while they are changed: who takes them out of service, and what more."""

from __future__ import annotations

from dataclasses import dataclass

REBOOTS = ("never", "if-required", "always")
NO_BALANCER = "none"
PLACEHOLDERS = ("host", "address", "tenant", "rollout")
HOOK_SECONDS = 300
HOOKS = ("before", "drain", "undrain", "on_failure")


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """Commands around the change of one host, each a program with its words; empty where there is none."""

    before: tuple[str, ...] = ()
    drain: tuple[str, ...] = ()
    undrain: tuple[str, ...] = ()
    on_failure: tuple[str, ...] = ()
    seconds: int = HOOK_SECONDS


NO_HOOKS = Hooks()


@dataclass(frozen=True, kw_only=True)
class Handling:
    """An entry of tenant.yml: for one host, for a role, or (neither given) for every host of the tenant.

    What is empty says nothing, and a less special entry may. `balancer` is the name of a load balancer, or `none`.
    """

    name: str
    role: str = ""
    host: str = ""
    reboot: str = ""
    balancer: str = ""
    before: tuple[str, ...] = ()
    drain: tuple[str, ...] = ()
    undrain: tuple[str, ...] = ()
    on_failure: tuple[str, ...] = ()
    seconds: int = 0

    def covers(self, host: str, role: str) -> bool:
        return self.host == host if self.host else self.role in ("", role)

    @property
    def rank(self) -> tuple[int, str]:
        """One for a host comes before one for a role before one for all; of equal ones the first by name."""
        return (0 if self.host else 1 if self.role else 2, self.name)


@dataclass(frozen=True, kw_only=True)
class Handled:
    """What holds for one host: of each thing, the most special entry that says it."""

    reboot: str = ""
    balancer: str = ""
    hooks: Hooks = NO_HOOKS


def handled(entries: tuple[Handling, ...], host: str, role: str, *, reboot: str = "", balancer: str = "") -> Handled:
    """What the entries of a tenant say of one of its hosts.

    `reboot` and `balancer` are what the inventory says of the host itself: it comes after an entry for this very host,
    and before those for its role and for all.
    """
    ranked = sorted((one for one in entries if one.covers(host, role)), key=lambda one: one.rank)
    itself = Handling(name=host, host=host, reboot=reboot, balancer=balancer)
    own = [*(one for one in ranked if one.host), itself, *(one for one in ranked if not one.host)]
    drains = next((one for one in own if one.drain), Handling(name=""))
    return Handled(
        reboot=next((one.reboot for one in own if one.reboot), ""),
        balancer=next((one.balancer for one in own if one.balancer), ""),
        hooks=Hooks(
            before=next((one.before for one in own if one.before), ()),
            drain=drains.drain,
            undrain=drains.undrain,
            on_failure=next((one.on_failure for one in own if one.on_failure), ()),
            seconds=next((one.seconds for one in own if one.seconds), HOOK_SECONDS),
        ),
    )
