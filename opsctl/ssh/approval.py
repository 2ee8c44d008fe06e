"""Approving host keys: what a host shows is compared with the fingerprint that a person hands over.

`judge` decides and is pure; `look` reads the shown keys, hosts behind a jump host after that jump host. Nothing is
pinned here: the caller shows the judgements, asks, and then calls `hostkeys.approve` for each one that is `to_pin`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from opsctl.config import Settings
from opsctl.errors import Unreachable, UsageError
from opsctl.model.host import Host, Inventory
from opsctl.ssh.fingerprints import Fingerprint
from opsctl.ssh.hostkeys import Key, Pin, Pins
from opsctl.ssh.session import Transport
from opsctl.ssh.shown import KINDS

Verdict = Literal["approve", "replace", "same", "refused", "unreachable"]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What approving one host comes to. `keys` are those to pin; `reason` says why not, with both
    fingerprints; `hint` what to do about it."""

    host: Host
    verdict: Verdict
    keys: tuple[Key, ...] = ()
    source: str = ""
    reason: str = ""
    hint: str = ""

    @property
    def to_pin(self) -> bool:
        return self.verdict in ("approve", "replace")

    @property
    def failed(self) -> bool:
        return self.verdict in ("refused", "unreachable")


def judge(
    host: Host, shown: Sequence[Key], given: Sequence[Fingerprint], pinned: Sequence[Key], *, replace: bool
) -> Judgement:
    """Compare what the host shows with what its owner handed over, and with what is approved already."""
    ours = [one for one in given if one.is_for(host)]
    if not ours:
        return Judgement(host=host, verdict="refused", reason="no fingerprint of it was handed over")
    wanted = {one.digest for one in ours}
    equal = tuple(key for key in shown if key.fingerprint in wanted)
    against = [
        key for key in shown if key not in equal and any(one.family and one.is_of_kind(key.kind) for one in ours)
    ]
    source = ours[0].source
    if not equal or against:
        return Judgement(host=host, verdict="refused", source=source, reason=_both(against or shown, ours))
    if set(equal) <= set(pinned):
        return Judgement(host=host, verdict="same", keys=equal, source=source)
    others = [key for key in pinned if key.kind in {one.kind for one in equal} and key not in equal]
    if others and not replace:
        approved = ", ".join(str(key) for key in others)
        reason = f"another key is approved: {approved}; shown and handed over: {equal[0]}; use --replace"
        return Judgement(host=host, verdict="refused", keys=equal, source=source, reason=reason)
    return Judgement(host=host, verdict="replace" if others else "approve", keys=equal, source=source)


def _both(shown: Sequence[Key], ours: Sequence[Fingerprint]) -> str:
    shows = ", ".join(str(key) for key in shown) or "no key that we know"
    said = ", ".join(f"{one.digest}{f' ({one.family})' if one.family else ''}" for one in ours)
    return f"it shows {shows}; handed over: {said}"


def look(
    hosts: Sequence[Host],
    given: Sequence[Fingerprint],
    *,
    inventory: Inventory,
    pins: Pins,
    settings: Settings,
    replace: bool = False,
) -> tuple[Judgement, ...]:
    """A judgement for each host, in the given order.

    A jump host that is approved in the same call counts as approved for the hosts behind it: its key was compared.
    Raises UsageError for a fingerprint that could be meant for several of the hosts: one of them could then stand in
    for another.
    """
    same_name = Counter(host.name for host in hosts)
    for fingerprint in given:
        if (len(hosts) > 1 and not fingerprint.name) or same_name[fingerprint.name] > 1:
            raise UsageError(
                f"{fingerprint.source}: this fingerprint could be for several of the hosts",
                hint="name the host on its line: TENANT.HOST SHA256:...; or approve one host at a time",
            )
    found: dict[str, Judgement] = {}
    by_depth = sorted(hosts, key=lambda host: len(inventory.jumps(host)))
    for _, level in groupby(by_depth, key=lambda host: len(inventory.jumps(host))):
        # A `with` would stop what it opened; the connections to jump hosts are wanted for the next level too.
        transport = Transport(inventory, pins, settings)
        with ThreadPoolExecutor(max_workers=settings.number("ssh.parallel")) as pool:
            current = pins

            def one(host: Host, transport: Transport = transport, known: Pins = current) -> Judgement:
                return _look_at(host, given, transport, known, replace=replace)

            for judgement in pool.map(one, tuple(level)):
                found[judgement.host.key] = judgement
                if judgement.to_pin:
                    new = [Pin(host_key=judgement.host.key, key=key) for key in judgement.keys]
                    pins = pins.with_keys(judgement.host.key, new, replace=judgement.verdict == "replace")
    return tuple(found[host.key] for host in hosts)


def _look_at(host: Host, given: Sequence[Fingerprint], transport: Transport, pins: Pins, *, replace: bool) -> Judgement:
    ours = [one for one in given if one.is_for(host)]
    pinned = [pin.key for pin in pins.of(host.key)]
    if not ours:
        return judge(host, (), given, pinned, replace=replace)
    shown: list[Key] = []
    try:
        for kind in sorted(KINDS, key=lambda kind: not any(one.family and one.is_of_kind(kind) for one in ours)):
            if {one.digest for one in ours} <= {key.fingerprint for key in shown}:
                break
            if key := transport.shown(host, kind):
                shown.append(key)
    except Unreachable as error:
        return Judgement(host=host, verdict="unreachable", reason=error.reason, hint=error.hint)
    return judge(host, shown, given, pinned, replace=replace)
