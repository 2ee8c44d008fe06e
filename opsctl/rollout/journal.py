"""Plans and rollouts in the store: what was saved last is where a resume begins.

One process works on a rollout at a time: it holds a lock that the kernel lets go when the process dies, however it
dies. So `patch status` can tell a rollout at work from one whose process is gone.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from opsctl.errors import Locked, StalePlan, StoreError, UnknownName
from opsctl.model import wire
from opsctl.model.nearest import nearest
from opsctl.model.rollout import HostState, Plan, RolloutState, Stage, Status
from opsctl.rollout import lines, machine
from opsctl.rollout.gates import Answer
from opsctl.state.rolloutlog import RolloutLog
from opsctl.state.store import Store
from opsctl.state.wishes import Wishes

LATEST = "latest"
# Kinds of lines in the log of a rollout.
STAGE, STATUS, GATE, NOTIFIED = "stage", "status", "gate", "notified"
# The folder is a group's: no link in it may lead root's writing elsewhere.
_OPEN = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class Journal:
    """Reads and writes rollouts. Raises UnknownName for an id that nobody made, StoreError for what cannot be read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.log = RolloutLog(store)

    @property
    def wishes(self) -> Wishes:
        """What persons ask of rollouts."""
        return Wishes(self._store)

    def add(self, plan: Plan) -> RolloutState:
        """Keep a new plan; nothing of it has begun."""
        if self._store.rollout(plan.id) is not None:
            raise StoreError(f"there is a plan {plan.id} already", hint="wait a second and plan again")
        state = self.unsaved(plan)
        self._store.save_rollout(plan.id, wire.dumps(replace(state, hosts=())), plan.made_at)
        return state

    def unsaved(self, plan: Plan) -> RolloutState:
        """A new plan that is kept only when it begins: one that is refused leaves nothing behind."""
        return self._whole(RolloutState(plan=plan, status=Status.PLANNED, at=plan.made_at))

    def load(self, name: str, *, kind: str | None = None) -> RolloutState:
        """A rollout by its id, an unmistakable part of it or `latest`, with the last saved state of each host."""
        if (exactly := self._store.rollout(name)) and (kind is None or name.startswith(f"{kind}-")):
            return self._whole(wire.loads(RolloutState, exactly.document_json))
        ids = [one.id for one in self._store.rollouts() if kind is None or one.id.startswith(f"{kind}-")]
        # An empty name, as of a variable that a shell never set, is part of every id and means none of them.
        fits = ids[:1] if name == LATEST else [one for one in ids if name and name in one]
        saved = self._store.rollout(fits[0]) if len(fits) == 1 else None
        if saved is None:
            hint = f"several fit: {', '.join(fits[:5])}" if fits else self._meant(name, ids, kind)
            raise UnknownName(f"no plan or rollout is called {name!r}", hint=hint)
        return self._whole(wire.loads(RolloutState, saved.document_json))

    def _meant(self, name: str, ids: Sequence[str], kind: str | None) -> str:
        """What somebody may have meant: a near name, a host of a rollout, or at least where to look."""
        hosts = {item.host for state in self.all("patch") for item in state.plan.hosts} if kind == "patch" else ()
        if any(name in (key, key.partition(".")[2]) for key in hosts):
            return f"a host is asked after with: opsctl patch why {name}"
        return nearest(name, [LATEST, *ids]) or f"{lines.status(kind or 'patch')} lists every plan and rollout"

    def all(self, kind: str | None = None) -> list[RolloutState]:
        """Every rollout and plan, newest first."""
        found = (wire.loads(RolloutState, saved.document_json) for saved in self._store.rollouts())
        return [self._whole(state) for state in found if kind in (None, state.plan.kind)]

    def begun_between(self, kind: str, start: datetime, end: datetime) -> list[RolloutState]:
        """The rollouts of a kind that were begun between two moments, oldest first."""
        ids = (one for one in self._store.begun_rollouts(start, end) if one.startswith(f"{kind}-"))
        found = (
            self._whole(wire.loads(RolloutState, saved.document_json)) for i in ids if (saved := self._store.rollout(i))
        )
        began = ((state.started_at, state) for state in found if state.started_at is not None)
        return [state for at, state in sorted(began, key=lambda pair: pair[0]) if start <= at <= end]

    def _whole(self, state: RolloutState) -> RolloutState:
        saved = self._store.host_states(state.plan.id)
        hosts = (
            wire.loads(HostState, saved[item.host].state_json)
            if item.host in saved
            else HostState(host=item.host, stage=Stage.PLANNED, at=state.plan.made_at)
            for item in state.plan.hosts
        )
        return replace(state, hosts=tuple(hosts))

    def save_host(self, rollout_id: str, state: HostState) -> None:
        """Keep a host's state, and a line of the log for it; when this returns, both are on the disk."""
        with self._store.transaction():
            self._store.save_host_state(rollout_id, state.host, wire.dumps(state), state.at)
            self.log.add(rollout_id, STAGE, _told(state), state.at, host=state.host)

    def save_hosts(self, state: RolloutState) -> None:
        """Keep the state of each host that is not saved so already."""
        saved = {host.host: host for host in self._whole(state).hosts}
        for host in state.hosts:
            if host != saved[host.host]:
                self.save_host(state.plan.id, host)

    def note_gate(self, rollout_id: str, wave: int, batch: int, answer: str, reason: str, at: datetime) -> None:
        """Keep what the gates after a batch answered; wave and batch count from 1."""
        self.log.add(rollout_id, GATE, {"wave": wave, "batch": batch, "answer": answer, "reason": reason}, at)

    def gate_passed(self, rollout_id: str, wave: int, batch: int) -> bool:
        """Whether the gates after a batch have let it pass before."""
        passed = {"wave": wave, "batch": batch, "answer": str(Answer.PASS)}.items()
        return any(passed <= one.detail.items() for one in self.log.of(rollout_id, kind=GATE))

    def save_status(self, state: RolloutState, to: Status, at: datetime, *, reason: str = "") -> RolloutState:
        """Move the rollout as a whole, and keep that. Raises StalePlan where it is no longer as `state` says.

        Between reading a rollout and starting it a person may be asked; meanwhile somebody else may have run it.
        """
        self.refuse_moved(state)
        moved = replace(
            state,
            status=machine.move(state.status, to),
            at=at,
            reason=reason,
            started_at=state.started_at or (at if to is Status.RUNNING else None),
            ended_at=at if to in (Status.DONE, Status.ABORTED) else None,
        )
        with self._store.transaction():
            self._store.save_rollout(moved.plan.id, wire.dumps(replace(moved, hosts=())), at)
            self.log.add(moved.plan.id, STATUS, {"status": str(to), "reason": reason, "runner": state.runner}, at)
        return moved

    def refuse_moved(self, state: RolloutState) -> None:
        """Raise StalePlan where somebody else has worked on it since `state` was read."""
        saved = self._store.rollout(state.plan.id)
        now = wire.loads(RolloutState, saved.document_json) if saved else state
        if (now.status, now.at) != (state.status, state.at):
            raise StalePlan(
                f"somebody else worked on {state.plan.id} meanwhile: it is {now.status} since {now.at:%H:%M:%SZ}",
                hint=lines.status(state.plan.kind),
            )

    def file(self, rollout_id: str, kind: str) -> Path:
        """A file of a rollout beside the store: lock, waiting (the lock of who waits to start it), log."""
        folder = self._store.folder / "rollouts"
        folder.mkdir(mode=0o770, exist_ok=True)
        return folder / f"{rollout_id}.{kind}"

    @contextmanager
    def alone(self, rollout_id: str, runner: str) -> Iterator[Callable[[], None]]:
        """Nobody else works on this rollout meanwhile; call what is yielded often. Raises Locked, naming who does.

        That is the heartbeat: a process that holds the lock and no longer shows one is frozen (`last_beat`).
        """
        with _held(self.file(rollout_id, "lock"), runner) as handle:
            if handle is None:
                raise _at_work(rollout_id, self.at_work(rollout_id) or "a process that gave no name")
            yield lambda: os.utime(handle)

    @contextmanager
    def waiting(self, rollout_id: str, runner: str) -> Iterator[None]:
        """Nobody else waits for the time at which this rollout is to begin. Raises Locked, naming who does."""
        with _held(self.file(rollout_id, "waiting"), runner) as handle:
            if handle is None:
                raise Locked(f"{self.waiter(rollout_id)} waits to start {rollout_id}", hint="opsctl patch scheduled")
            yield

    def at_work(self, rollout_id: str) -> str:
        """Who is working on a rollout now, or empty: no process is, whatever its status says."""
        return _holder(self.file(rollout_id, "lock"))

    def waiter(self, rollout_id: str) -> str:
        """Who waits for the time at which a rollout is to begin, or empty."""
        return _holder(self.file(rollout_id, "waiting"))

    def last_beat(self, rollout_id: str) -> datetime | None:
        """When the process that works on a rollout, or last did, was seen alive; None where none ever was."""
        try:
            return datetime.fromtimestamp(self.file(rollout_id, "lock").lstat().st_mtime, UTC)
        except FileNotFoundError:
            return None

    def refuse_at_work(self, rollout_id: str) -> None:
        """Raise Locked where somebody is working on the rollout now."""
        if runner := self.at_work(rollout_id):
            raise _at_work(rollout_id, runner)


def _told(state: HostState) -> dict[str, object]:
    """What the log keeps of a host's state: what changes from line to line."""
    told: dict[str, object] = {"stage": str(state.stage), "attempt": state.attempt, "drained": state.drained}
    told |= {"last": str(state.last)} if state.last else {}
    return told | ({"reason": state.reason} if state.reason else {})


@contextmanager
def _held(path: Path, runner: str) -> Iterator[int | None]:
    """The lock of this file with who holds it written into it; None where somebody else has it."""
    handle = os.open(path, _OPEN | os.O_CREAT, 0o660)
    try:
        if not _taken(handle):
            yield None
            return
        os.ftruncate(handle, 0)
        os.pwrite(handle, runner.encode(), 0)
        yield handle
    finally:
        os.close(handle)


def _holder(path: Path) -> str:
    """Who holds the lock of this file, or empty."""
    try:
        handle = os.open(path, _OPEN)
    except FileNotFoundError:
        return ""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return os.pread(handle, 500, 0).decode("utf-8", "replace") or "a process that gave no name"
    finally:
        os.close(handle)
    return ""


def _taken(handle: int) -> bool:
    """Whether the lock is ours now; whoever only looks, as `at_work` does, holds it for a moment."""
    for pause in (0.01, 0.05, 0.2, 0.0):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(pause)
        else:
            return True
    return False


def _at_work(rollout_id: str, runner: str) -> Locked:
    told, kind = f"rollout {rollout_id} is at work: {runner}", lines.kind_of(rollout_id)
    if not kind:
        return Locked(told, hint="wait for its end, or stop it there with Ctrl-C")
    return Locked(
        told, hint=f"follow it: {lines.attach(rollout_id)}; stop it: {lines.pause(rollout_id)}, or Ctrl-C there"
    )
