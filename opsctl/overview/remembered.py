"""What the store remembers of rollouts, acts and hosts, as what runs now and what waits for a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from opsctl.model.host import Inventory
from opsctl.model.rollout import Stage, Status
from opsctl.overview.examination import listed, some
from opsctl.overview.waiting import Waiting

if TYPE_CHECKING:
    from opsctl.model.rollout import RolloutState
    from opsctl.state.leases import Lease
    from opsctl.state.ledger import Entry
    from opsctl.state.store import Fact, Store

# What a host said is taken as known for a day, what the checks found for a month; a plan is shown for a week.
LOOK_AGAIN, CHECK_AGAIN, PLAN_AGAIN = timedelta(days=1), timedelta(days=30), timedelta(days=7)
STOPPED = (Status.PAUSED, Status.HALTED, Status.INTERRUPTED)
# So many rollouts are looked at; with more of them, who was never provisioned is not said.
ROLLOUTS = 50


@dataclass(frozen=True, kw_only=True)
class Known:
    """A rollout or plan from the store, and who is at work on it (empty: nobody)."""

    state: RolloutState
    runner: str

    @property
    def name(self) -> str:
        return f"{self.state.plan.kind} {self.state.plan.id}"

    @property
    def command(self) -> str:
        """What tells how it stands, and how to go on."""
        return f"opsctl {self.state.plan.kind} status {self.state.plan.id}"


def rollouts(store: Store) -> list[Known]:
    """The latest rollouts and plans, newest first."""
    from opsctl.rollout.journal import Journal

    journal = Journal(store)
    ids = [saved.id for saved in store.rollouts()[:ROLLOUTS]]
    return [Known(state=journal.load(one), runner=journal.at_work(one)) for one in ids]


def running(store: Store, known: Sequence[Known], now: datetime) -> Iterator[str]:
    from opsctl.rollout.claims import rollout_of
    from opsctl.rollout.waiting import scheduled
    from opsctl.state.leases import Leases
    from opsctl.state.wishes import Wishes

    for one in (one for one in known if one.runner):
        done = sum(host.stage is Stage.DONE for host in one.state.hosts)
        asked = "".join(f"; {wish}" for wish in Wishes(store).open(one.state.plan.id))
        yield f"{one.name}: {done} of {some(len(one.state.hosts), 'host')} done, by {one.runner}{asked}"
    for booked in scheduled(store):
        if booked.kept:
            when = f"{booked.appointment.starts:%Y-%m-%d %H:%MZ}"
            yield f"{booked.state.plan.kind} {booked.appointment.rollout} begins at {when}: {booked.waiter} waits"
    holders: dict[str, list[Lease]] = {}
    for lease in Leases(store).held(now):
        holders.setdefault(lease.holder, []).append(lease)
    busy = {one.state.plan.id for one in known if one.runner}
    for holder, leases in holders.items():
        rollout, names = rollout_of(holder), listed([lease.name for lease in leases])
        if not rollout:
            yield f"{holder} holds {names}"
        elif rollout not in busy:
            yield f"{holder} keeps {names} from others until {min(one.expires for one in leases):%Y-%m-%d %H:%MZ}"


def stopped(known: Iterable[Known]) -> Iterator[Waiting]:
    """Rollouts that stand still, and hosts that one left failed or unknown and no later one has mended."""
    newer: dict[str, set[str]] = {}
    for one in known:
        state = one.state
        seen = newer.setdefault(state.plan.kind, set())
        open_hosts = [host for host in state.hosts if host.host not in seen]
        seen |= {host.host for host in state.hosts if host.stage is not Stage.PLANNED}
        # Who provisions again has done with what an earlier one left.
        resumable = state.plan.kind == "patch" or len(open_hosts) == len(state.hosts)
        if one.runner:
            continue
        if resumable and (state.status in STOPPED or state.status is Status.RUNNING):
            word = "was killed" if state.status is Status.RUNNING else f"is {state.status}"
            reason = f": {state.reason}" if state.reason else ""
            drained = [host.host for host in state.hosts if host.drained]
            reason += f"; drained: {listed(drained)}" if drained else ""
            yield Waiting(what=f"{one.name} {word}{reason}", command=one.command)
        lost = [host.host for host in open_hosts if host.stage is Stage.UNKNOWN or host.stuck]
        failed = [host.host for host in open_hosts if host.stage is Stage.FAILED and not host.acknowledged]
        for word, hosts in (("unknown or still drained", lost), ("failed", failed)):
            if hosts:
                yield Waiting(what=f"{one.name}: {word}: {listed(hosts)}", command=one.command)


def alarms(store: Store, known: Iterable[Known], now: datetime) -> Iterator[Waiting]:
    """A process that shows no sign of life any more, and starts that nobody waits for or that did not begin."""
    from opsctl.rollout import watchdog
    from opsctl.rollout.journal import Journal
    from opsctl.rollout.standing import Standing
    from opsctl.rollout.waiting import scheduled

    journal = Journal(store)
    busy = [one for one in known if one.runner]
    looks = [
        Standing(state=one.state, now=now, busy=one.runner, beat=journal.last_beat(one.state.plan.id)) for one in busy
    ]
    for alarm in watchdog.alarms(looks, scheduled(store), now):
        yield Waiting(what=f"{alarm.rollout}: {alarm.told}", command=alarm.next)


def unapproved(store: Store, known: Iterable[Known], now: datetime) -> Iterator[Waiting]:
    """Rollouts that have begun and still lack a second person's approval."""
    from opsctl.rollout import approval, lines

    for one in known:
        found = approval.of(store, one.state, now) if one.state.started_at else None
        if found and found.wanted:
            yield Waiting(what=f"{one.name}: {found}", command=lines.approve(one.state.plan.id))


def unfinished(store: Store, *, at_work: bool) -> Iterator[Waiting]:
    """Acts that began, did not end, and that nothing has settled. While something runs, they are its own.

    A rollout that the store knows tells for itself how it stands (`stopped`). Any other act is settled once a later
    one of its family (the verb's first word) has ended well: each of these looks at the whole of its matter again.
    """
    from opsctl.state.ledger import Ledger

    if at_work:
        return
    open_acts: dict[str, Entry] = {}
    for entry in Ledger(store).entries(limit=200):
        if entry.phase == "started":
            open_acts[entry.act] = entry
            continue
        open_acts.pop(entry.act, None)
        if entry.outcome == "ok":
            family = entry.verb.partition(" ")[0]
            open_acts = {act: one for act, one in open_acts.items() if one.verb.partition(" ")[0] != family}
    for entry in open_acts.values():
        if store.rollout(str(entry.detail.get("rollout", ""))):
            continue
        what = f"{entry.verb} by {entry.who} at {entry.at:%Y-%m-%d %H:%M} UTC has not ended: at work, or killed"
        yield Waiting(what=what, command=f"opsctl ledger log --verb '{entry.verb}'")


def of_hosts(store: Store, inventory: Inventory, known: Sequence[Known], now: datetime) -> Iterator[Waiting]:
    """What the managed hosts wait for, in the order in which one thing needs the other."""
    from opsctl.model.approval import Word
    from opsctl.rollout import approval, lines
    from opsctl.rollout.journal import Journal

    managed = [host.key for host in inventory if host.managed]
    if not managed:
        return
    checks, seen = store.facts("compliance"), store.last_seen()
    unseen = {key for key in managed if key not in seen or seen[key] < now - LOOK_AGAIN}
    provisioned = _done(known, "provision")
    never = set(managed) - provisioned.keys() if len(known) < ROLLOUTS else set()
    updates, fresh = _updates(store, known), _fresh_plan(known, now)
    planned = {item.host for item in fresh.state.plan.hosts} if fresh else set()
    # After a patching nothing waits, as far as we know; provisioning says nothing of updates.
    unknown = provisioned.keys() - updates.keys() - _done(known, "patch").keys() - unseen - planned
    rows = [
        ("not seen for a day", unseen, "opsctl monitor status"),
        ("never provisioned", never, "opsctl provision"),
        ("not looked at since provisioning", unknown, "opsctl monitor status"),
        (
            "without package lists",
            {key for key, one in updates.items() if not one.known},
            "opsctl patch plan --refresh",
        ),
        ("waiting for security updates", {key for key, one in updates.items() if one.security}, "opsctl patch plan"),
        ("in need of a reboot", {key for key, one in updates.items() if one.reboot}, "opsctl patch plan"),
        ("not checked for a month", _older(managed, checks, now - CHECK_AGAIN), "opsctl comply run"),
        ("with open findings", _with_findings(checks), "opsctl comply report --to reports"),
    ]
    if fresh and not Journal(store).waiter(fresh.state.plan.id):
        plan = fresh.state.plan
        what = f"{plan.kind} plan {plan.id} for {some(len(plan.hosts), 'host')} is not started"
        lacks = approval.of(store, fresh.state, now).word is Word.MISSING
        if lacks:
            approve = lines.approve(plan.id)
            yield Waiting(what=f"{what}; a second person must approve it", command=approve)
        else:
            yield Waiting(what=what, command=lines.begin(plan))
    for what, keys, command in rows:
        left = keys - planned if command.startswith("opsctl patch") else keys
        if hosts := [key for key in managed if key in left]:
            yield Waiting(what=f"{some(len(hosts), 'host')} {what}: {listed(hosts)}", command=command)


@dataclass(frozen=True, kw_only=True)
class Updates:
    """What one host said of its updates; `known`: it has package lists at all."""

    at: datetime
    known: bool
    security: bool
    reboot: bool


def _older(managed: Iterable[str], facts: Mapping[str, Fact], than: datetime) -> set[str]:
    return {key for key in managed if key not in facts or facts[key].at < than}


def _with_findings(checks: Mapping[str, Fact]) -> set[str]:
    """Hosts that failed a control when they were last checked."""
    return {key for key, fact in checks.items() if isinstance(fact.value, dict) and fact.value.get("failed")}


def _done(known: Iterable[Known], kind: str) -> dict[str, datetime]:
    """When each host was last brought to the end of such a rollout."""
    found: dict[str, datetime] = {}
    for one in known:
        for host in one.state.hosts if one.state.plan.kind == kind else ():
            if host.stage is Stage.DONE:
                found[host.host] = max(host.at, found.get(host.host, host.at))
    return found


def changed(known: Iterable[Known]) -> dict[str, datetime]:
    """When a rollout last brought each host to its end: what the host said of its updates before that is void."""
    found = _done(known, "provision")
    for key, at in _done(known, "patch").items():
        found[key] = max(at, found.get(key, at))
    return found


def _updates(store: Store, known: Iterable[Known]) -> dict[str, Updates]:
    """The latest that each host said of its updates, unless it is void."""
    from opsctl.model import wire
    from opsctl.monitor.probe import parse
    from opsctl.patch.pending import Pending

    found: dict[str, Updates] = {}
    for key, fact in store.facts("probe").items():
        probe = parse(fact.value)
        listed_at = probe.updates.lists_at if probe.updates else None
        found[key] = Updates(
            at=fact.at,
            known=listed_at is not None,
            security=bool(probe.updates and probe.updates.security),
            reboot=bool(probe.reboot_required),
        )
    for key, fact in store.facts("pending").items():
        if key not in found or fact.at > found[key].at:
            pending = wire.loads(Pending, fact.value_json)
            found[key] = Updates(
                at=fact.at,
                known=pending.lists_age_seconds is not None and pending.pending_security is not None,
                security=bool(pending.pending_security),
                reboot=bool(pending.reboot_why),
            )
    since = changed(known)
    return {key: one for key, one in found.items() if key not in since or one.at > since[key]}


def _fresh_plan(known: Sequence[Known], now: datetime) -> Known | None:
    """The newest plan, where nobody has started it and it is not yet old."""
    for one in known[:1]:
        plan = one.state.plan
        if one.state.status is Status.PLANNED and plan.hosts and now - plan.made_at < PLAN_AGAIN:
            return one
    return None
