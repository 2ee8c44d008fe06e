"""The story of one rollout for its report: out of plan, states, its own log and the ledger. Reads, writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from opsctl.model.host import Inventory
from opsctl.model.probing import Probed, Probing
from opsctl.model.rollout import HostPlan, HostState, RolloutState, Stage
from opsctl.patch import rehearsal
from opsctl.patch.rehearsal import Rehearsal
from opsctl.rollout import approval, probing
from opsctl.rollout.execute import outcome_of
from opsctl.rollout.journal import GATE, NOTIFIED, STAGE, Journal
from opsctl.rollout.shown import gate_lines, stalled
from opsctl.state.ledger import Entry, Ledger
from opsctl.state.rolloutlog import Happened
from opsctl.state.store import Store

_KEPT = "kept "
_RESTARTED = frozenset({Stage.REBOOTING, Stage.BACK})
_BAD = (Stage.FAILED, Stage.UNKNOWN, Stage.SKIPPED)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One host of a rollout, where it stood in the plan, and what happened to it."""

    wave: int
    ring: str
    batch: int
    item: HostPlan
    state: HostState
    timeline: tuple[Happened, ...]

    @property
    def restarted(self) -> bool:
        """Its restart was begun; the boot id has proved it where it is further."""
        return any(line.detail.get("stage") in _RESTARTED for line in self.timeline)

    @property
    def took(self) -> timedelta | None:
        """From its first step to where it rests; None where it does not, or did not begin."""
        if self.state.started_at is None or not self.state.resting:
            return None
        return self.state.at - self.state.started_at

    @property
    def kept(self) -> tuple[str, ...]:
        """Configuration files that were left as they were."""
        return tuple(note.removeprefix(_KEPT) for note in self.state.notes if note.startswith(_KEPT))

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(note for note in self.state.notes if not note.startswith(_KEPT))


@dataclass(frozen=True, kw_only=True)
class Story:
    """All that a report of a rollout says; the same rollout gives the same story."""

    state: RolloutState
    tenants: tuple[str, ...]
    rows: tuple[Row, ...]
    log: tuple[Happened, ...]
    acts: tuple[Entry, ...]
    ledger_head: str
    at_work: str = ""
    approval: str = ""
    probing: Probing | None = None
    rehearsal: Rehearsal | None = None

    @property
    def status(self) -> str:
        """The rollout's status; `stalled` where it says that it runs, and no process works on it."""
        return "stalled" if stalled(self.state, self.at_work) else str(self.state.status)

    @property
    def outcome(self) -> str:
        return outcome_of(self.state)

    @cached_property
    def stages(self) -> dict[str, int]:
        """Hosts by stage, in the order of the stages, those that are none left out."""
        found = Counter(host.stage for host in self.state.hosts)
        return {str(stage): found[stage] for stage in Stage if found[stage]}

    @cached_property
    def problems(self) -> tuple[HostState, ...]:
        return tuple(host for host in self.state.hosts if host.stage in _BAD or host.drained)

    def planned_downtime(self, probed: Probed) -> timedelta | None:
        """How long a service was to be away, as the plan says; None where others answer for it meanwhile."""
        if not probed.single:
            return None
        planned = (row.item.downtime_seconds for row in self.rows if row.item.host in probed.hosts)
        return next((timedelta(seconds=seconds) for seconds in planned if seconds), None)

    @property
    def gates_met(self) -> tuple[str, ...]:
        """The gates that were frozen with the plan, as it shows them."""
        return tuple(gate_lines(self.state.plan))

    @property
    def gates(self) -> tuple[Happened, ...]:
        return self._of(GATE)

    @property
    def notified(self) -> tuple[Happened, ...]:
        return self._of(NOTIFIED)

    def _of(self, kind: str) -> tuple[Happened, ...]:
        return tuple(line for line in self.log if line.kind == kind)


def story(
    store: Store, ledger: Ledger, inventory: Inventory, name: str, now: datetime, *, kind: str = "patch"
) -> Story:
    """The story of a rollout by its name, as it stands now. Raises UnknownName."""
    journal = Journal(store)
    state = journal.load(name, kind=kind)
    # Asked first: what is read after its end is its end.
    at_work, state = journal.at_work(state.plan.id), journal.load(state.plan.id)
    log = journal.log.of(state.plan.id)
    titles = {tenant.name: tenant.title for tenant in inventory.tenants}
    names = dict.fromkeys(item.host.partition(".")[0] for item in state.plan.hosts)
    return Story(
        state=state,
        tenants=tuple(titles.get(name, name) for name in names),
        rows=tuple(_rows(state, log)),
        log=log,
        acts=tuple(_acts(ledger, state.plan.id)),
        ledger_head=str(ledger.head()),
        at_work=at_work,
        approval=str(approval.of(store, state, now)),
        probing=probing.kept(journal, state.plan.id),
        rehearsal=rehearsal.load(store, state.plan),
    )


def _rows(state: RolloutState, log: tuple[Happened, ...]) -> Iterator[Row]:
    states = {host.host: host for host in state.hosts}
    lines: dict[str, list[Happened]] = {}
    for line in log:
        if line.kind == STAGE:
            lines.setdefault(line.host, []).append(line)
    for number, batch_number, wave, batch in state.plan.batches():
        for item in batch.hosts:
            yield Row(
                wave=number,
                ring=wave.ring,
                batch=batch_number,
                item=item,
                state=states[item.host],
                timeline=tuple(lines.get(item.host, ())),
            )


def _acts(ledger: Ledger, rollout: str) -> Iterator[Entry]:
    """The ledger's entries of a rollout: those that name it, and the ends of the acts that do."""
    ours: set[str] = set()
    for entry in ledger.entries():
        if rollout in (entry.detail.get("rollout"), entry.detail.get("plan")):
            ours.add(entry.act)
        if entry.act in ours:
            yield entry
