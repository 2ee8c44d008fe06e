"""The inventory against an independent list of machines: who is in one alone, and where the two contradict. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from opsctl.inventory.population import Machine
from opsctl.model.host import Host, Quarantined


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A machine that a person should look at: `hosts` are those that it is, or could be."""

    machine: Machine
    why: str
    hosts: tuple[Host, ...]


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """`unlisted`: machines in no inventory. `unseen`: hosts that the list does not have. `both`: in both.

    `quarantined`: machines that the inventory knows only as a record that cannot be used. `others`: how many machines
    are hosts of tenants that were not asked for. `doubts` are about hosts that are in both, or may be.
    """

    both: tuple[Host, ...]
    unlisted: tuple[Machine, ...]
    unseen: tuple[Host, ...]
    quarantined: tuple[tuple[Machine, Quarantined], ...]
    doubts: tuple[Doubt, ...]
    others: int

    @property
    def agrees(self) -> bool:
        return not (self.unlisted or self.unseen or self.quarantined or self.doubts)


def reconcile(
    machines: Iterable[Machine],
    hosts: Sequence[Host],
    quarantined: Iterable[Quarantined] = (),
    *,
    tenants: Collection[str] = (),
) -> Reconciled:
    """`hosts` are those of all tenants: a machine of another tenant is known too. `tenants`: whose hosts are missed."""
    ours = {host.key for host in hosts if not tenants or host.tenant in tenants}
    known = _Known(hosts, ours)
    put_aside = {_short(one.name): one for one in quarantined if one.name}
    lines: dict[str, list[Machine]] = {}
    unlisted: list[Machine] = []
    aside: list[tuple[Machine, Quarantined]] = []
    doubts: list[Doubt] = []
    maybe: set[str] = set()
    for machine in machines:
        found, why = known.who(machine)
        if not found:
            record = put_aside.get(_short(machine.name)) if machine.name else None
            if record:
                aside.append((machine, record))
            else:
                unlisted.append(machine)
            continue
        if why:
            doubts.append(Doubt(machine=machine, why=why, hosts=found))
        if len(found) == 1:
            lines.setdefault(found[0].key, []).append(machine)
        else:
            maybe |= {host.key for host in found}
    seen = [host for host in hosts if host.key in lines]
    doubts += [
        Doubt(machine=again, why=f"is there twice: line {lines[host.key][0].line} is it, too", hosts=(host,))
        for host in seen
        for again in lines[host.key][1:]
    ]
    return Reconciled(
        both=tuple(host for host in seen if host.key in ours),
        unlisted=tuple(unlisted),
        unseen=tuple(h for h in hosts if h.key in ours and h.key not in lines and h.key not in maybe),
        quarantined=tuple(aside),
        doubts=tuple(doubt for doubt in doubts if any(host.key in ours for host in doubt.hosts)),
        others=sum(len(lines[host.key]) for host in seen if host.key not in ours),
    )


class _Known:
    """Finds hosts by what a list says of them. Names and addresses may be there once for each tenant."""

    def __init__(self, hosts: Sequence[Host], preferred: Collection[str]) -> None:
        self._preferred = preferred
        self._by_name: dict[str, list[Host]] = {}
        self._by_address: dict[str, list[Host]] = {}
        for host in hosts:
            for name in (host.name, host.key):
                self._by_name.setdefault(name, []).append(host)
            for address in filter(None, {host.address, host.address6}):
                self._by_address.setdefault(address, []).append(host)

    def who(self, machine: Machine) -> tuple[tuple[Host, ...], str]:
        """The host that a machine is (or those that it could be), and what a person should look at."""
        whole = _plain(machine.name)
        named = self._by_name.get(whole) or self._by_name.get(_short(machine.name), [])
        placed = _unique(host for address in machine.addresses for host in self._by_address.get(address, ()))
        agreed = [host for host in named if host in placed]
        if named and placed and not agreed:
            both = f"its name is that of {_keys(named)}, its address that of {_keys(placed)}"
            return _unique([*named, *placed]), both
        found = self._narrowed(agreed or named or placed)
        if len(found) > 1:
            return found, f"could be any of {_keys(found)}"
        if found and not agreed:
            return found, _differs(machine, found[0], by_name=bool(named))
        return found, ""

    def _narrowed(self, found: Sequence[Host]) -> tuple[Host, ...]:
        """Where several tenants have one like it, those that were asked for come first."""
        own = tuple(host for host in found if host.key in self._preferred)
        return own if len(own) == 1 else tuple(found)


def _differs(machine: Machine, host: Host, *, by_name: bool) -> str:
    if by_name:
        there = ", ".join(filter(None, (host.address, host.address6)))
        return f"has another address: {there}" if machine.addresses and there else ""
    return f"has another name: {host.name}" if machine.name else ""


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).lower()).strip().rstrip(".")


def _short(name: str) -> str:
    """Composed, in lower case, without its domain."""
    return _plain(name).partition(".")[0]


def _unique(hosts: Iterable[Host]) -> tuple[Host, ...]:
    found: Mapping[str, Host] = {host.key: host for host in hosts}
    return tuple(found.values())


def _keys(hosts: Iterable[Host]) -> str:
    return " and ".join(host.key for host in hosts)
