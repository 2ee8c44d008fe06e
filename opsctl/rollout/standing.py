"""How a rollout stands at this moment, for a person who looks: where it is, what blocks it, what comes next. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from opsctl.errors import Incomplete, Stopped
from opsctl.model.approval import Standing as Approval
from opsctl.model.approval import Word
from opsctl.model.probing import Probing
from opsctl.model.rollout import UNTOUCHED, Batch, HostPlan, HostState, RolloutState, Stage, Status
from opsctl.rollout import lines, machine, runbook, shown
from opsctl.rollout.execute import raise_unless_ok
from opsctl.rollout.limits import listed
from opsctl.rollout.resume import how_to_go_on
from opsctl.rollout.stop import FROM_OUTSIDE
from opsctl.state.wishes import Wish

# A process looks twice a second; between two batches it may read hosts for a minute or two.
FROZEN = timedelta(minutes=5)
_TROUBLE = (Stage.UNKNOWN, Stage.FAILED)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A rollout with all that tells how it stands. `busy`: who works on it; `beat`: when that was last seen alive.

    `closed` tells why a host may not start now; `kept`: until when it keeps its hosts; `starts`: when it is to begin,
    and `waiter`: which process waits for that. `approval`: how that of a second person stands.
    """

    state: RolloutState
    now: datetime
    busy: str = ""
    beat: datetime | None = None
    wishes: Sequence[Wish] = ()
    kept: datetime | None = None
    starts: datetime | None = None
    waiter: str = ""
    left: str = ""
    probed: Probing | None = None
    closed: Callable[[HostPlan], str] = field(default=lambda _item: "")
    approval: Approval = field(default_factory=lambda: Approval(word=Word.NOT_NEEDED))

    @property
    def stalled(self) -> bool:
        return shown.stalled(self.state, self.busy)

    @property
    def frozen(self) -> bool:
        """A process holds it and has not been seen alive for long."""
        return bool(self.busy) and self.beat is not None and self.now - self.beat > FROZEN

    @property
    def cut_off(self) -> bool:
        """What stopped it was no person at its terminal, and nobody has taken it up or paused it since."""
        return self.state.status is Status.INTERRUPTED and not self.busy and self.state.reason.startswith(FROM_OUTSIDE)

    @property
    def resting(self) -> bool:
        """Nothing goes on, and nothing will by itself."""
        return not self.busy and not self.waiter

    @property
    def drained(self) -> tuple[str, ...]:
        return tuple(host.host for host in self.state.hosts if host.drained)

    @property
    def words(self) -> str:
        """The line that says how it stands."""
        if self.frozen and self.beat is not None:
            return f"frozen: its process was last seen alive {age(self.now - self.beat)} ago"
        if self.state.status is Status.PLANNED and self.starts:
            when = f"{self.starts:%Y-%m-%d %H:%MZ}"
            return f"waits to start at {when}" if self.waiter else f"to start at {when}, and no process waits for that"
        return shown.standing(self.state, self.busy)

    @property
    def go_on(self) -> str:
        """The command lines that a person may type next; empty where it goes on by itself or is over."""
        state = self.state
        if self.busy or state.status in (Status.PLANNED, Status.ABORTED):
            return ""
        return how_to_go_on(state) if state.open_hosts or state.count(Stage.FAILED) else ""


def age(length: timedelta) -> str:
    """How long, in the unit that a person would say."""
    seconds = max(0, int(length.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def is_open(host: HostState) -> bool:
    return machine.next_step(host, drains=False) is not None or host.stage is Stage.UNKNOWN


def current(state: RolloutState) -> tuple[int, int, str, Batch] | None:
    """Wave, batch, ring and hosts of the first batch that is not at its end; None where all are."""
    hosts = {host.host: host for host in state.hosts}
    for w, b, wave, batch in state.plan.batches():
        if any(is_open(hosts[item.host]) for item in batch.hosts):
            return w, b, wave.ring, batch
    return None


def place(state: RolloutState) -> str:
    """Where it is and how much is done, in one line."""
    counts = [f"{state.count(Stage.DONE)} of {len(state.hosts)} hosts done"]
    trouble = (Stage.FAILED, Stage.UNKNOWN, Stage.SKIPPED)
    counts += [f"{number} {stage}" for stage in trouble if (number := state.count(stage))]
    if drained := sum(host.drained for host in state.hosts):
        counts.append(f"{drained} drained")
    told = ", ".join(counts)
    if (at := current(state)) is None:
        return told
    w, b, ring, _ = at
    return f"wave {w} of {len(state.plan.waves)} ({ring}), batch {b} of {len(state.plan.waves[w - 1].batches)}; {told}"


def blocks(look: Standing) -> tuple[str, ...]:
    """What keeps it from going on now, each in one line."""
    return tuple(_blocks(look))


def _blocks(look: Standing) -> Iterator[str]:
    state = look.state
    if state.status in (Status.DONE, Status.ABORTED):
        return
    if look.frozen or look.stalled:
        yield look.words
    elif state.reason and not look.busy:
        yield f"{state.status}: {state.reason}"
    for wish in look.wishes:
        yield f"{wish}{'' if wish.seen else ' (its process has not looked yet)' if look.busy else ' (not carried out)'}"
    unknown = [host.host for host in state.hosts if host.stage is Stage.UNKNOWN]
    if unknown:
        yield f"nobody knows the state of {listed(unknown)}"
    at = current(state)
    waiting = {} if at is None else {item.host: look.closed(item) for item in at[3].hosts}
    untouched = {host.host for host in state.hosts if host.stage in UNTOUCHED and not host.drained}
    for reason in dict.fromkeys(why for host, why in waiting.items() if why and host in untouched):
        yield f"{listed(host for host, why in waiting.items() if why == reason)}: {reason}"


def next_up(state: RolloutState) -> str:
    """The hosts that come after those under way; empty where none does."""
    hosts = {host.host: host for host in state.hosts}
    for w, b, wave, batch in state.plan.batches():
        waiting = [item.host for item in batch.hosts if hosts[item.host].stage is Stage.PLANNED]
        if waiting and state.status not in (Status.DONE, Status.ABORTED):
            return f"wave {w} ({wave.ring}), batch {b}: {listed(waiting)}"
    return ""


def told(look: Standing) -> list[str]:
    """The lines under the hosts: how it stands, where, what blocks, what is next, how long the window is open."""
    found = [f"{look.state.plan.id}: {look.words}", place(look.state)]
    if look.busy:
        found.append(f"at work: {look.busy}")
    found += [f"blocks: {text}" for text in blocks(look)]
    if upcoming := next_up(look.state):
        found.append(f"next: {upcoming}")
    if approved := str(look.approval):
        wanted = f": {lines.approve(look.state.plan.id)}" if look.approval.wanted else ""
        found.append(f"{approved}{wanted}")
    if look.left:
        found.append(f"window left: {look.left}")
    if look.kept and not look.busy:
        found.append(f"its hosts are kept from others until {look.kept:%Y-%m-%d %H:%M:%SZ}")
    found += shown.probing_lines(look.probed)
    if look.go_on:
        # One for each decision, and each on a line of its own: it is copied.
        found += [f"to go on: {line}" for line in look.go_on.split("; ")]
    section = runbook.of_rollout(look.state, stalled=look.stalled)
    if section and section != runbook.START:
        found.append(f"read: {runbook.page(section)}")
    return found


WATCH_COLUMNS = ("batch", "host", "stage", "since", "remarks")


def watched(look: Standing, room: int) -> tuple[list[shown.Row], str]:
    """As many hosts as there is room for, those under way first, then trouble; and how many are not shown."""
    places = {item.host: f"{w}.{b}" for w, b, _, batch in look.state.plan.batches() for item in batch.hosts}
    order = {key: number for number, key in enumerate(places)}
    ranked = sorted(look.state.hosts, key=lambda host: (_rank(host), order[host.host]))
    picked = sorted(ranked[: max(room, 1)], key=lambda host: order[host.host])
    hidden = ranked[max(room, 1) :]
    rows: list[shown.Row] = [
        (
            places[host.host],
            host.host,
            f"{host.stage}{f' ({host.last})' if host.last else ''}{', drained' if host.drained else ''}",
            "" if host.stage is Stage.PLANNED else f"{host.at:%H:%M:%SZ}, {age(look.now - host.at)}",
            "; ".join(text for text in (host.reason, *host.notes) if text),
        )
        for host in picked
    ]
    return rows, f"and {len(hidden)} more hosts that are done or wait" if hidden else ""


def _rank(host: HostState) -> int:
    if host.drained or not (host.resting or host.stage is Stage.PLANNED):
        return 0
    return 1 if host.stage in _TROUBLE else 2


def raise_by_standing(look: Standing) -> None:
    """End as the rollout stands: nothing where it is well, Stopped or Incomplete where a person must do something."""
    state = look.state
    if look.frozen:
        raise Incomplete(f"{state.plan.id} is {look.words}", hint="see what holds it: the process is named above")
    if look.stalled:
        raise Incomplete(f"{state.plan.id} is {look.words}; {place(state)}", hint=look.go_on)
    if state.status is Status.INTERRUPTED:
        raise Stopped(f"{state.plan.id} is {look.words}; {place(state)}", hint=look.go_on)
    if state.status not in (Status.PLANNED, Status.RUNNING):
        raise_unless_ok(state)
