"""Bare `opsctl`: what is running, what waits for a person, and the next command to type.

Only files and store are read, no host is asked, so it is quick; it says how old what it knows is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from opsctl import config
from opsctl.errors import SetupError
from opsctl.inventory import files
from opsctl.model.host import Host, Inventory
from opsctl.model.rollout import Stage, Status
from opsctl.overview.examination import listed, some

if TYPE_CHECKING:
    from opsctl.config import Settings
    from opsctl.model.rollout import RolloutState
    from opsctl.state.store import Store

# What a host said is taken as known for a day, what the checks found for a month.
LOOK_AGAIN, CHECK_AGAIN = timedelta(days=1), timedelta(days=30)
# A longer source is not compared here: that takes a second.
SMALL_SOURCE = 200_000
STOPPED = (Status.PAUSED, Status.HALTED, Status.INTERRUPTED)
ROLLOUTS = 20


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Something that waits for a person, and the command that goes on with it."""

    what: str
    command: str


@dataclass(frozen=True, kw_only=True)
class Site:
    """The workspace at a glance; `waiting` in the order in which to take it up."""

    workspace: Path
    hosts: int
    managed: int
    tenants: tuple[str, ...]
    running: tuple[str, ...]
    waiting: tuple[Waiting, ...]

    @property
    def next(self) -> str:
        return self.waiting[0].command if self.waiting else "opsctl monitor status"


def in_workspace(start: Path) -> bool:
    """Is there an opsctl.yml here or above?"""
    return any((folder / config.FILE).is_file() for folder in (start.absolute(), *start.absolute().parents))


def look(settings: Settings, now: datetime) -> Site:
    """The site as files and store know it. Faults of the inventory are the first thing that waits."""
    waiting: list[Waiting] = []
    try:
        inventory = files.load(settings)
        waiting += _inventory(settings, inventory)
    except SetupError as error:
        inventory = Inventory()
        waiting.append(
            Waiting(what=f"{error.message}: {some(len(error.problems), 'fault')}", command="opsctl inventory check")
        )
    running: list[str] = []
    if (settings.state / "store.db").is_file():
        from opsctl.state.store import Store

        with Store.open(settings.state) as store:
            rollouts = _rollouts(store)
            running += _running(store, rollouts, now)
            waiting += [*_stopped(rollouts), *_unfinished(store, running), *_hosts(store, inventory, rollouts, now)]
    elif any(host.managed for host in inventory):
        waiting.append(Waiting(what="no host was looked at yet", command="opsctl monitor status"))
    return Site(
        workspace=settings.workspace,
        hosts=len(inventory),
        managed=sum(host.managed for host in inventory),
        tenants=tuple(tenant.name for tenant in inventory.tenants),
        running=tuple(running),
        waiting=tuple(waiting),
    )


# --- inventory --------------------------------------------------------------------------------------------------------


def _inventory(settings: Settings, inventory: Inventory) -> Iterator[Waiting]:
    if not inventory.tenants:
        yield Waiting(what="there is no tenant yet", command="opsctl init . --tenant NAME=TITLE")
        return
    if newer := _newer_source(settings, inventory):
        yield newer
    elif not inventory.hosts:
        path = settings.path("inventory.path") / inventory.tenants[0].name / files.SOURCE
        yield Waiting(what=f"there is no host yet: write them into {path}", command="opsctl inventory sync")
    from opsctl.ssh.hostkeys import Pins

    pins = Pins.load(settings.inventories)
    bare = [host.key for host in inventory if host.managed and not pins.of(host.key)]
    if bare:
        handed = settings.workspace / "handover/fingerprints"
        file = "handover/fingerprints" if handed.is_file() else "FILE"
        yield Waiting(
            what=f"{some(len(bare), 'host')} without an approved key: {listed(bare)}",
            command=f"opsctl host approve --all --fingerprints {file}",
        )


def _newer_source(settings: Settings, inventory: Inventory) -> Waiting | None:
    """The source was touched after the copy was written, and (where that is quick to say) says something else."""
    base = settings.path("inventory.path")
    newer, size = False, 0
    for tenant in inventory.tenants:
        source, copy = base / tenant.name / files.SOURCE, settings.inventories / tenant.name / files.HOSTS
        if not source.is_file():
            return Waiting(what=f"the source {source} is missing", command="opsctl inventory check")
        size += source.stat().st_size
        newer |= not copy.is_file() or source.stat().st_mtime > copy.stat().st_mtime
    if not newer:
        return None
    if size > SMALL_SOURCE:
        return Waiting(what="the source is newer than the inventory", command="opsctl inventory sync")
    from opsctl.inventory import sync

    try:
        planned = sync.plan(settings)
    except SetupError as error:
        return Waiting(what=f"the source has faults: {error.message}", command="opsctl inventory check")
    if not planned.diff:
        return None
    return Waiting(what=f"the source has changed: {planned.diff.summary}", command="opsctl inventory sync")


# --- store ------------------------------------------------------------------------------------------------------------


def _rollouts(store: Store) -> Mapping[str, tuple[RolloutState, str]]:
    """The latest rollouts and plans by id, newest first, each with who is at work on it (empty: nobody)."""
    from opsctl.rollout.journal import Journal

    journal = Journal(store)
    ids = [saved.id for saved in store.rollouts()[:ROLLOUTS]]
    return {one: (journal.load(one), journal.at_work(one)) for one in ids}


def _running(store: Store, rollouts: Mapping[str, tuple[RolloutState, str]], now: datetime) -> Iterator[str]:
    from opsctl.state.leases import Leases

    for name, (state, runner) in rollouts.items():
        if runner:
            done = sum(host.stage is Stage.DONE for host in state.hosts)
            yield f"{state.plan.kind} {name}: {done} of {len(state.hosts)} hosts done, by {runner}"
    holders: dict[str, list[str]] = {}
    for lease in Leases(store).held(now):
        holders.setdefault(lease.holder, []).append(lease.name)
    for holder, names in holders.items():
        yield f"{holder} holds {listed(names)}"


def _stopped(rollouts: Mapping[str, tuple[RolloutState, str]]) -> Iterator[Waiting]:
    for name, (state, runner) in rollouts.items():
        if runner:
            continue
        command = f"opsctl patch status {name}" if state.plan.kind == "patch" else f"opsctl {state.plan.kind} --help"
        if state.status in STOPPED or state.status is Status.RUNNING:
            word = "was killed" if state.status is Status.RUNNING else f"is {state.status}"
            reason = f": {state.reason}" if state.reason else ""
            yield Waiting(what=f"{state.plan.kind} {name} {word}{reason}", command=command)
        lost = [h.host for h in state.hosts if h.stage is Stage.UNKNOWN or h.stuck]
        failed = [h.host for h in state.hosts if h.stage is Stage.FAILED and not h.acknowledged]
        for word, hosts in (("unknown or still drained", lost), ("failed", failed)):
            if hosts and state.status is not Status.ABORTED:
                yield Waiting(what=f"{state.plan.kind} {name}: {word}: {listed(hosts)}", command=command)


def _unfinished(store: Store, running: list[str]) -> Iterator[Waiting]:
    """Acts that began and did not end. While something runs, they are its own."""
    from opsctl.state.ledger import Ledger

    if running:
        return
    open_acts = {}
    for entry in Ledger(store).entries(limit=200):
        if entry.phase == "started":
            open_acts[entry.act] = entry
        else:
            open_acts.pop(entry.act, None)
    for entry in open_acts.values():
        what = f"{entry.verb} by {entry.who} at {entry.at:%Y-%m-%d %H:%M} UTC has not ended: at work, or killed"
        yield Waiting(what=what, command=f"opsctl ledger log --verb '{entry.verb}'")


def _hosts(
    store: Store, inventory: Inventory, rollouts: Mapping[str, tuple[RolloutState, str]], now: datetime
) -> Iterator[Waiting]:
    managed = [host for host in inventory if host.managed]
    if not managed:
        return
    yield from _looked_at(store, managed, now)
    yield from _plans(rollouts)
    checked = store.facts("compliance")
    old = [host.key for host in managed if host.key not in checked or now - checked[host.key].at > CHECK_AGAIN]
    if old:
        yield Waiting(
            what=f"{some(len(old), 'host')} not checked for a month: {listed(old)}", command="opsctl comply run"
        )


def _looked_at(store: Store, managed: list[Host], now: datetime) -> Iterator[Waiting]:
    from opsctl.monitor.probe import parse

    facts = store.facts("probe")
    old = [h.key for h in managed if h.key not in facts or now - facts[h.key].at > LOOK_AGAIN]
    if old:
        yield Waiting(
            what=f"{some(len(old), 'host')} not seen for a day: {listed(old)}", command="opsctl monitor status"
        )
    probes = {host.key: parse(facts[host.key].value) for host in managed if host.key in facts}
    insecure = [key for key, probe in probes.items() if probe.updates and probe.updates.security]
    if insecure:
        yield Waiting(
            what=f"security updates wait for {some(len(insecure), 'host')}: {listed(insecure)}",
            command="opsctl patch plan",
        )
    reboot = [key for key, probe in probes.items() if probe.reboot_required]
    if reboot:
        yield Waiting(
            what=f"{some(len(reboot), 'host')} in need of a reboot: {listed(reboot)}", command="opsctl patch plan"
        )


def _plans(rollouts: Mapping[str, tuple[RolloutState, str]]) -> Iterator[Waiting]:
    """The newest plan, where nobody has started it."""
    for name, (state, _) in rollouts.items():
        if state.status is Status.PLANNED and state.plan.hosts:
            what = f"{state.plan.kind} plan {name} for {some(len(state.plan.hosts), 'host')} is not started"
            yield Waiting(what=what, command=f"opsctl {state.plan.kind} start {name}")
        return
