"""The inventory against an independent list of machines (a hypervisor's, a monitoring system's): who is in one alone.

The list is CSV with a header; `name` and `address` are looked for, in any case, the one or the other. Pure.
"""

from __future__ import annotations

import csv
import io
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from opsctl.errors import SetupError
from opsctl.model.host import Host, Quarantined

NAMES, ADDRESSES = ("name", "hostname", "host", "vm", "instance"), ("address", "ip", "ip_address", "primary_ip")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One line of the list: its number, and what it says."""

    line: int
    name: str
    address: str


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """`unlisted`: machines in no inventory. `unseen`: hosts that the list does not have. `both`: how many agree.

    `quarantined`: machines that the inventory knows only as a record that cannot be used.
    """

    unlisted: tuple[Machine, ...]
    unseen: tuple[Host, ...]
    quarantined: tuple[Machine, ...]
    both: int


def read(text: str, where: str) -> tuple[Machine, ...]:
    """The machines of a CSV text. Raises SetupError where it is no such list."""
    rows = csv.reader(
        io.StringIO(text.removeprefix("\ufeff")), delimiter=";" if ";" in text.partition("\n")[0] else ","
    )
    try:
        header = [cell.strip().lower() for cell in next(rows, [])]
        name, address = _column(header, NAMES), _column(header, ADDRESSES)
        if name is None and address is None:
            raise SetupError(
                f"{where} has neither a name nor an address in its first line",
                hint=f"a column {', '.join(NAMES)} or {', '.join(ADDRESSES)}",
            )
        machines = tuple(
            Machine(line=rows.line_num, name=_plain(row, name), address=_address(_plain(row, address)))
            for row in rows
            if any(cell.strip() for cell in row)
        )
    except csv.Error as error:
        raise SetupError(f"{where}:{rows.line_num}: not CSV: {error}") from error
    if not machines:
        raise SetupError(f"{where} lists no machine", hint="an empty list would make every host look lost")
    return machines


def reconcile(
    machines: Iterable[Machine], hosts: Iterable[Host], quarantined: Iterable[Quarantined] = ()
) -> Reconciled:
    """Machine and host are one where their addresses are equal, or their names without the domain."""
    ours = tuple(hosts)
    by_address = {address: host for host in ours for address in (host.address, host.address6) if address}
    by_name: dict[str, list[Host]] = {}
    for host in ours:
        by_name.setdefault(host.name, []).append(host)
    put_aside = {one.name.lower() for one in quarantined if one.name}
    unlisted: list[Machine] = []
    known_badly: list[Machine] = []
    seen: set[str] = set()
    for machine in machines:
        found = [by_address[machine.address]] if machine.address in by_address else []
        found = found or by_name.get(machine.name.partition(".")[0].lower(), [])
        seen.update(host.key for host in found)
        if not found:
            (known_badly if machine.name.lower() in put_aside else unlisted).append(machine)
    return Reconciled(
        unlisted=tuple(unlisted),
        unseen=tuple(host for host in ours if host.key not in seen),
        quarantined=tuple(known_badly),
        both=len(seen),
    )


def _column(header: list[str], names: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _plain(row: list[str], column: int | None) -> str:
    return row[column].strip() if column is not None and column < len(row) else ""


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_interface(text).ip) if text else ""
    except ValueError:
        return ""
