"""One run over a fleet: who answers, what the checks say of them, and what is missing.

Every host that was asked for ends up in the coverage, every control of every host in scope in the results: what a
check did not say is an error, what nobody could ask is not checked, and neither is ever a pass.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from opsctl import __version__, content
from opsctl.compliance import catalogue as catalogues
from opsctl.compliance import checks, expectations, repeats
from opsctl.compliance import records as recorded
from opsctl.compliance.batch import Answers, Ready, ignore, why
from opsctl.compliance.learned import Learned
from opsctl.config import Settings, prepare_runtime
from opsctl.model.finding import (
    Absent,
    Assessment,
    Catalogue,
    CheckResult,
    Control,
    Coverage,
    Profile,
    Repeat,
    Scope,
    ScopedHost,
    Waiver,
)
from opsctl.model.host import Host, Inventory
from opsctl.ssh.session import Transport

Say = Callable[[str], None]


def quiet(_line: str) -> None:
    """For callers that want no progress."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to assess: hosts (managed or not), the tailored profile, and what the report says of the choice.

    `records`: what only the control side knows of each host; the inventory's own are added by the run.
    `host_keys` are the fingerprints of each host's approved keys, `waivers` what is accepted of its failures.
    """

    hosts: tuple[Host, ...]
    profile: Profile
    catalogue: Catalogue
    operator: str
    selection: Mapping[str, tuple[str, ...]]
    deselected: tuple[tuple[str, str], ...] = ()
    records: recorded.Known = field(default_factory=dict)
    host_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    waivers: tuple[Waiver, ...] = ()


def assess(
    order: Order,
    *,
    transport: Transport,
    inventory: Inventory,
    settings: Settings,
    now: Callable[[], datetime],
    last_good: Mapping[str, datetime] | None = None,
    say: Say = quiet,
    live: bool = False,
    repeated: float = repeats.SHARE,
) -> Assessment:
    """Check every managed host of the order. Changes nothing on any host.

    `live`: every command is run when its check asks for it; what was learned is neither used nor added to.
    `repeated`: the part of the batch's answers that is asked for again.
    """
    started = now()
    digest = content.digest(settings.own_content)
    managed = [host for host in order.hosts if host.managed]
    learned = Learned(None if live else settings.state / "cache" / f"comply-commands-{os.geteuid()}.json", digest)
    answers = Answers(transport, managed, learned)
    known = {h.key: {**recorded.of_inventory(h, started), **order.records.get(h.key, {})} for h in managed}
    moving = {control.id for control in order.profile.controls if control.moves}
    looks = repeats.Looks(answers, repeated, moving)
    run = _Run(order, inventory, settings, answers, learned, say, known, looks)
    interrupted, again = False, tuple[Repeat, ...]()
    try:
        with looks:
            faults = run.all(managed)
            again = looks.all()
        faults += repeats.faults(again)
        learned.save()
    except KeyboardInterrupt:
        # What was judged is kept, and the rest is said to be missing.
        faults, interrupted = ["the run was interrupted"], True
        judged = {result.host for result in run.results}
        for host in managed:
            if host.key not in judged:
                run.unreachable.setdefault(host.key, "the run was interrupted before this host was judged")
    reached = [host for host in managed if host.key not in run.unreachable]
    results = [
        *_completed(run.results, reached, order.profile.controls, faults, now(), interrupted=interrupted),
        *_not_checked(run.unreachable, order.profile.controls, now()),
    ]
    return Assessment(
        scope=_scope(order, inventory, digest),
        started=started,
        ended=now(),
        coverage=_coverage(order, inventory, reached, run.unreachable, last_good or {}),
        results=tuple(_ordered(results, order)),
        faults=tuple(faults),
        interrupted=interrupted,
        waivers=order.waivers,
        repeats=again,
    )


class _Run:
    """The judging of one run: the first host alone where commands must be learned, then all others at once."""

    def __init__(
        self,
        order: Order,
        inventory: Inventory,
        settings: Settings,
        answers: Answers,
        learned: Learned,
        say: Say,
        known: recorded.Known,
        looks: repeats.Looks,
    ) -> None:
        self._known = known
        self._looks = looks
        self._order = order
        self._inventory = inventory
        self._settings = settings
        self._answers = answers
        self._learned = learned
        self._say = say
        self._controls = tuple(control.id for control in order.profile.controls)
        # Of the others some ask no host for anything.
        self._asking = tuple(control.id for control in order.profile.controls if control.where == "host")
        self.results: list[CheckResult] = []
        self.unreachable: dict[str, str] = {}

    def all(self, hosts: Sequence[Host]) -> list[str]:
        """Why anything may be missing; nothing where all is well."""
        self._say(f"asking {_hosts(hosts)}")
        faults: list[str] = []
        if not self._learned.covers(self._asking) and len(hosts) > 1:
            self._fetch(hosts)
            hosts = self._left(hosts)
            if len(hosts) > 1:
                self._say(f"learning from {hosts[0].key} what the checks ask for")
                self._looks.at(hosts[0].key)
                faults += self._judge(hosts[:1], feed=None)
                hosts = hosts[1:]
        if hosts:
            faults += self._judge(hosts, feed=lambda ready: self._feed(hosts, ready))
        return faults

    def _feed(self, hosts: Sequence[Host], ready: Ready) -> None:
        """Each host can be judged, and is asked a second time, as soon as it has answered."""

        def answered(key: str) -> None:
            self._looks.at(key)
            ready(key)

        self._fetch(hosts, answered)

    def _fetch(self, hosts: Sequence[Host], ready: Ready = ignore) -> None:
        """Send the batch, which is also the test whether a host answers at all."""
        away = self._answers.fetch(hosts, lambda key: self._learned.of(key, self._controls), ready)
        for key, error in away.items():
            self.unreachable[key] = why(error)
            self._say(f"not assessed: {key}: {self.unreachable[key]}")

    def _left(self, hosts: Sequence[Host]) -> list[Host]:
        return [host for host in hosts if host.key not in self.unreachable]

    def _judge(self, hosts: Sequence[Host], *, feed: checks.Feed | None) -> list[str]:
        """Each host as soon as `feed` says that it has answered its batch; without it, at once."""
        each = ", each as soon as it answers" if feed and len(hosts) > 1 else ""
        self._say(f"judging {len(self._controls)} controls on {_hosts(hosts)}{each}")
        judged = checks.judge(
            catalogues.folder(self._settings.own_content),
            [host.key for host in hosts],
            self._controls,
            expectations.document(hosts, self._inventory, self._order.profile, self._order.catalogue, self._known),
            self._answers,
            work=prepare_runtime(self._settings),
            feed=feed,
        )
        self.results += judged.results
        if judged.interrupted:
            raise KeyboardInterrupt
        faults = [judged.fault] if judged.fault else []
        # Reached at first, lost on the way: what was judged stands, the rest is not checked.
        lost = [host.key for host in self._left(hosts) if host.key in self._answers.gone]
        return faults + [f"contact was lost: {key}: {why(self._answers.gone[key])}" for key in lost]


def _hosts(hosts: Sequence[Host]) -> str:
    return f"{len(hosts)} host{'' if len(hosts) == 1 else 's'}"


def _completed(
    results: Iterable[CheckResult],
    hosts: Iterable[Host],
    controls: Sequence[Control],
    faults: list[str],
    now: datetime,
    *,
    interrupted: bool,
) -> list[CheckResult]:
    """One result for each host and control: what is missing or said twice is an error, and makes the run incomplete."""
    said: dict[tuple[str, str], CheckResult] = {}
    twice = set()
    for result in results:
        key = (result.host, result.control)
        if key in said:
            twice.add(key)
        said[key] = result
    wanted = {(host.key, control.id) for host in hosts for control in controls}
    missing = sorted(wanted - set(said))
    if missing:
        faults.append(f"{len(missing)} results are missing, the first: {missing[0][1]} on {missing[0][0]}")
    if twice:
        faults.append(f"{len(twice)} results were given twice, the first: {min(twice)}")
    kept = [said[key] for key in sorted(wanted & set(said) - twice)]
    if interrupted:
        kept += [_without(key, "notchecked", "the run was interrupted", now) for key in missing]
    else:
        kept += [_without(key, "error", "the check did not report a result", now) for key in missing]
    return kept + [_without(key, "error", "the check reported more than once", now) for key in sorted(twice & wanted)]


def _without(key: tuple[str, str], result: str, reason: str, now: datetime) -> CheckResult:
    return CheckResult(host=key[0], control=key[1], result=result, reason=reason, at=now)


def _not_checked(unreachable: Mapping[str, str], controls: Sequence[Control], now: datetime) -> Iterable[CheckResult]:
    for host, reason in unreachable.items():
        for control in controls:
            yield CheckResult(host=host, control=control.id, result="notchecked", reason=reason, at=now)


def _ordered(results: Iterable[CheckResult], order: Order) -> list[CheckResult]:
    hosts = {host.key: place for place, host in enumerate(order.hosts)}
    controls = {control.id: place for place, control in enumerate(order.profile.controls)}
    return sorted(results, key=lambda result: (hosts[result.host], controls[result.control]))


def _scope(order: Order, inventory: Inventory, digest: str) -> Scope:
    unbuilt = tuple((control.id, "no check function yet") for control in order.catalogue.controls if not control.built)
    chosen = {control.id for control in order.profile.controls} | {name for name, _ in order.deselected}
    other = tuple(
        (control.id, f"not part of profile {order.profile.name}")
        for control in order.catalogue.controls
        if control.built and control.id not in chosen
    )
    return Scope(
        profile=order.profile.name,
        profile_title=order.profile.title,
        profile_title_sv=order.profile.title_sv,
        benchmarks=order.catalogue.benchmarks,
        hosts=tuple(
            ScopedHost(
                key=h.key,
                tenant=inventory.tenant(h.tenant).title,
                role=h.role,
                platform=h.platform,
                host_keys=order.host_keys.get(h.key, ()),
            )
            for h in order.hosts
        ),
        controls=order.profile.controls,
        selection=order.selection,
        deselected=(*order.deselected, *other, *unbuilt),
        operator=order.operator,
        control_node=platform.node(),
        tool_version=__version__,
        catalogue_sha256=order.catalogue.digest,
        content_sha256=digest,
        inventory_digest=inventory.digest,
        confirmed=_confirmed(order.hosts, inventory),
    )


def _confirmed(hosts: Iterable[Host], inventory: Inventory) -> dict[str, dict[str, str]]:
    """Who has confirmed the mappings, for each tenant of a run where somebody has."""
    named = {name: inventory.tenant(name).mappings_confirmed for name in dict.fromkeys(host.tenant for host in hosts)}
    return {
        name: {"by": said.by, "on": said.on, "catalogue_sha256": said.catalogue_sha256}
        for name, said in named.items()
        if said
    }


def _coverage(
    order: Order,
    inventory: Inventory,
    reached: Sequence[Host],
    unreachable: Mapping[str, str],
    last_good: Mapping[str, datetime],
) -> Coverage:
    tenants = {host.tenant for host in order.hosts}
    narrowed = any(order.selection.get(name) for name in ("limit", "roles", "rings"))
    return Coverage(
        assessed=tuple(host.key for host in reached),
        unreachable=tuple(Absent(host=h, reason=why, last_good=last_good.get(h)) for h, why in unreachable.items()),
        excluded=tuple(Absent(host=host.key, reason=host.why_not_managed) for host in order.hosts if not host.managed),
        # A record that cannot be read has no role or ring that a selection could name.
        quarantined=()
        if narrowed
        else tuple(
            Absent(host=f"{record.tenant}: {record.record}", reason=record.reason)
            for record in inventory.quarantined
            if record.tenant in tenants
        ),
    )


def nothing_judged(
    order: Order,
    *,
    inventory: Inventory,
    settings: Settings,
    reason: str,
    at: datetime,
    last_good: Mapping[str, datetime],
) -> Assessment:
    """What is true of a run that ends before it has judged anything: every control of every host is not checked."""
    missing = {host.key: reason for host in order.hosts if host.managed}
    return Assessment(
        scope=_scope(order, inventory, content.digest(settings.own_content)),
        started=at,
        ended=at,
        coverage=_coverage(order, inventory, (), missing, last_good),
        results=tuple(_not_checked(missing, order.profile.controls, at)),
        faults=(reason,),
        interrupted=True,
        waivers=order.waivers,
    )
