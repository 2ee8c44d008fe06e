"""What NetBox lacks of a wanted record: decided from what it has. Pure.

A record is made in five steps: the record, an interface, the address on it, that address as the primary one, and the
services. What is there already is left as it is, so a push that was cut off is finished by the next one; what is there
and says something else is told, and never changed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from opsctl.inventory.wanted import Wanted
from opsctl.model.host import Service

# What a record of NetBox may say otherwise than the file.
COMPARED = ("site", "cluster", "role", "platform", "status")


@dataclass(frozen=True, kw_only=True)
class There:
    """What NetBox has of one record. `address` is the id of the wanted address on that interface; 0: not there."""

    id: int
    values: Mapping[str, str]
    primary: Mapping[int, str] = field(default_factory=dict)
    interface: int = 0
    address: int = 0
    services: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Differs:
    """Something that NetBox says otherwise than the file; it stays as it is."""

    host: str
    field: str
    netbox: str
    file: str


@dataclass(frozen=True, kw_only=True)
class Lack:
    """What is to be made for one host; `there` is what it is made on."""

    host: str
    wanted: Wanted
    there: There | None = None
    interface: bool = True
    address: bool = True
    primary: bool = True
    services: tuple[Service, ...] = ()
    differs: tuple[Differs, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.there is None or self.interface or self.address or self.primary or self.services)

    @property
    def words(self) -> tuple[str, str, str]:
        """Record, address and services that are to be made, for a person."""
        one = self.wanted
        where = ", ".join(filter(None, (one.site, one.cluster, one.role, one.platform)))
        address = f"{one.address} on {one.interface}" if self.address else "primary" if self.primary else ""
        return (
            f"{one.kind} {one.name}: {where}" if self.there is None else "",
            address,
            ", ".join(map(str, self.services)),
        )


def decide(host: str, wanted: Wanted, there: There | None) -> Lack:
    """Nothing is added to a record with another primary address: it is another machine, or NetBox knows better."""
    if there is None:
        return Lack(host=host, wanted=wanted, services=wanted.services)
    differs = [
        Differs(host=host, field=name, netbox=there.values.get(name, ""), file=given)
        for name in COMPARED
        if (given := getattr(wanted, name)) and given != there.values.get(name, "")
    ]
    address = str(ipaddress.ip_interface(wanted.address).ip)
    primary = there.primary.get(wanted.family, "")
    other = primary not in ("", address)
    if other:
        differs.append(Differs(host=host, field="primary address", netbox=primary, file=address))
    return Lack(
        host=host,
        wanted=wanted,
        there=there,
        interface=not primary and not there.interface,
        address=not primary and not there.address,
        primary=not primary,
        services=tuple(one for one in wanted.services if one.name not in there.services and not other),
        differs=tuple(differs),
    )
