"""What a rehearsal found, kept beside its plan: so that a start, a status and a report can say with which outcome."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from opsctl.model import wire
from opsctl.model.handling import HOOKS
from opsctl.model.rollout import PackageChange, Plan, Stage
from opsctl.patch.doubles import Double, NotRehearsed
from opsctl.state.store import Store

FACT = "rehearsal"
CANNOT_FORESEE = (
    "local configuration, and data: a double has the packages' own defaults",
    "load, and how the service behaves under it",
    "hardware, firmware, disks that are full, drivers",
    "other hosts: databases, directories and mail that a service needs are not there",
    "the kernel: a double runs in a container on this machine's kernel",
    "the hosts' own mirrors: the packages came from this machine",
)
_KERNELS = ("linux-image-", "linux-headers-", "grub-", "shim-", "firmware-", "intel-microcode", "amd64-microcode")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How the plan went on one double. `stage` as of a host in a rollout; empty where it never came to that.

    `not_alike`: in what the double was not like its hosts. `restarted`: services that the installation restarted.
    """

    double: str
    hosts: tuple[str, ...]
    os_release: str
    architecture: str
    installed: int
    packages: int
    stage: Stage | None = None
    reason: str = ""
    not_alike: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    reboot: bool = False
    install_seconds: int = 0
    seconds: int = 0
    notes: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """ok, incomplete (not run, or not on a true double) or failed."""
        if self.stage is None:
            return "incomplete"
        if self.stage is not Stage.DONE:
            return "failed"
        return "incomplete" if self.not_alike else "ok"


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """A rehearsal of one plan."""

    plan: str
    plan_hash: str
    at: datetime
    ended: datetime
    by: str
    trials: tuple[Trial, ...] = ()
    not_rehearsed: tuple[NotRehearsed, ...] = ()
    cannot_foresee: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """failed before incomplete before ok; with no trial at all it is never ok."""
        found = {trial.outcome for trial in self.trials}
        if "failed" in found:
            return "failed"
        return "incomplete" if "incomplete" in found or self.not_rehearsed or not self.trials else "ok"

    @property
    def well(self) -> int:
        """Trials on true doubles that came to a good end."""
        return sum(trial.outcome == "ok" for trial in self.trials)


def cannot_foresee(doubles: Iterable[Double], plan: Plan) -> tuple[str, ...]:
    """What no rehearsal can tell, and what this plan has of that.

    The commands of `handling` are not run: they act on what stands around the real hosts, never on a double.
    """
    kernels = {change.name for double in doubles for change in double.packages if _is_kernel(change)}
    booted = (f"of this plan: {', '.join(sorted(kernels))} were installed, and nothing was booted from them",)
    hooks = sorted({word for item in plan.hosts for word in HOOKS if getattr(item.hooks, word)})
    left = (f"of this plan: its commands were not run ({', '.join(hooks)}): they act on the real hosts' surroundings",)
    return (*CANNOT_FORESEE, *(booted if kernels else ()), *(left if hooks else ()))


def _is_kernel(change: PackageChange) -> bool:
    return change.name.startswith(_KERNELS)


def keep(store: Store, done: Rehearsal) -> None:
    """Keep it as the plan's last rehearsal."""
    store.put_fact(f"rollout:{done.plan}", FACT, wire.dumps(done), done.ended)


def load(store: Store, plan: Plan) -> Rehearsal | None:
    """The last rehearsal of a plan; None where there was none, or one of another plan of this name."""
    fact = store.fact(f"rollout:{plan.id}", FACT)
    found = wire.loads(Rehearsal, fact.value_json) if fact else None
    return found if found is not None and found.plan_hash == plan.hash else None


def document(found: Rehearsal | None) -> dict[str, object] | None:
    """A rehearsal for programs; docs/how-to/patch-night.md shows one."""
    if found is None:
        return None
    trials = [{**wire.as_document(trial), "outcome": trial.outcome} for trial in found.trials]
    return {**wire.as_document(found), "trials": trials, "outcome": found.outcome}


def summary(found: Rehearsal | None) -> dict[str, object] | None:
    """Of a rehearsal what a look at the rollout wants."""
    if found is None:
        return None
    return {
        "outcome": found.outcome, "ended": found.ended, "by": found.by, "doubles": len(found.trials),
        "well": found.well, "not_rehearsed": len(found.not_rehearsed),
    }  # fmt: skip


def told(found: Rehearsal | None) -> str:
    """In one line whether a plan was rehearsed, when, by whom, and with which outcome."""
    if found is None:
        return "never rehearsed (opsctl patch rehearse)"
    trials = f"{found.well} of {len(found.trials)} doubles well"
    left = f", {len(found.not_rehearsed)} hosts without one" if found.not_rehearsed else ""
    return f"rehearsed {found.ended:%Y-%m-%d %H:%MZ} by {found.by}: {found.outcome} ({trials}{left})"
