"""Asks hosts what is pending: one round trip each, the last reading kept in the store and in the year's account."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from opsctl.errors import HostError, HostFailed, OpsctlError
from opsctl.model import wire
from opsctl.model.host import Host
from opsctl.model.rollout import PackageChange
from opsctl.patch import seen
from opsctl.patch.pending import FACT, READERS, Pending, Readings, exactly, parse
from opsctl.ssh.session import Transport, hostside_script
from opsctl.state.store import Store
from opsctl.state.updates import Updates

_SECONDS = 120.0
_REFRESH_SECONDS = 420.0


def _scripts(host: Host, given: Mapping[str, object], *, brief: bool = False) -> dict[str, object]:
    first = READERS[host.family]
    condition: list[tuple[str, str, dict[str, object]]] = (
        [] if brief else [("condition", hostside_script("condition"), {})]
    )
    return {"scripts": [(first, hostside_script(first), dict(given)), *condition]}


def read(
    transport: Transport,
    hosts: Iterable[Host],
    store: Store,
    clock: Callable[[], datetime],
    *,
    security_only: bool = False,
    refresh: bool = False,
    packages: Sequence[str] = (),
    planned: Mapping[str, Sequence[PackageChange]] | None = None,
    downgrade: bool = False,
    brief: bool = False,
) -> Readings:
    """A reading of every host or its error; `refresh` fetches the package lists first, which changes the hosts.

    `security_only` and `packages` narrow the transaction to these updates and what they need; `planned` gives exact
    versions by host, with `downgrade` also older ones, and `brief` without all that does not bear upon them.
    """
    exact = planned or {}

    def given(host: Host) -> dict[str, object]:
        words: dict[str, object] = {"security_only": security_only, "refresh": refresh, "packages": list(packages)}
        words |= {"brief": True, "mirrors": True} if brief else {}
        return {**words, "planned": exactly(exact.get(host.key, ())), "downgrade": downgrade}

    chosen = tuple(hosts)
    fit = [host for host in chosen if host.family in READERS]
    answers = transport.run_all(
        fit,
        hostside_script("together"),
        lambda host: _scripts(host, given(host), brief=brief),
        timeout=_REFRESH_SECONDS if refresh else _SECONDS,
    )
    found: dict[str, Pending | OpsctlError] = {}
    for host in chosen:
        try:
            found[host.key] = _one(host, answers.get(host.key))
        except OpsctlError as error:
            found[host.key] = error
    with store.transaction():
        for key, reading in found.items():
            if isinstance(reading, Pending) and not (security_only or packages or exact):
                store.put_fact(key, FACT, wire.dumps(reading), clock())
        # What planned versions would do tells nothing of what else is wanted.
        told = {k: one for k, one in found.items() if not exact or isinstance(one, OpsctlError)}
        _account(store, chosen, told, clock(), whole=not (security_only or packages))
    return found


def _account(store: Store, hosts: Sequence[Host], found: Readings, at: datetime, *, whole: bool) -> None:
    """Take what was read, and what could not be, into the account of the year."""
    updates = Updates(store)
    kinds = {host.key: host.platform for host in hosts}
    read = {key: one for key, one in found.items() if isinstance(one, Pending)}
    seen.keep(updates, {k: (f"{kinds[k]} {one.architecture}".strip(), one) for k, one in read.items()}, at, whole=whole)
    for host in hosts:
        error = found.get(host.key)
        if isinstance(error, OpsctlError) and host.family in READERS:
            updates.was_not_read(host.key, at, error.reason if isinstance(error, HostError) else error.message)


def _one(host: Host, answer: object) -> Pending:
    if host.family not in READERS:
        raise HostFailed(host.key, f"patching of {host.platform} is not supported yet")
    if isinstance(answer, OpsctlError):
        raise answer
    found = parse(host.key, answer)
    if found.refreshed:
        raise HostFailed(host.key, f"its package lists could not be fetched: {found.refreshed}")
    return found
