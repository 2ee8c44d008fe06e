"""A service as NetBox takes it: its ports and the record that it belongs to, in the fields of the server's version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from opsctl.inventory.record import PARENTS, TYPE_OF, Kind

if TYPE_CHECKING:
    from opsctl.inventory.netbox import Server


class _Port(Protocol):
    @property
    def protocol(self) -> str: ...

    @property
    def port(self) -> int: ...


def port_fields(server: Server, wanted: Sequence[_Port]) -> Mapping[str, object]:
    """These ports; all of one protocol where a service of this server has just one."""
    if server.port_mappings:
        return {"port_mappings": [f"{one.protocol}/{one.port}" for one in wanted]}
    return {"protocol": wanted[0].protocol, "ports": [one.port for one in wanted]}


def parent_fields(server: Server, kind: Kind, number: int) -> Mapping[str, object]:
    """The record with this id."""
    if server.any_parent:
        return {"parent_object_type": TYPE_OF[kind], "parent_object_id": number}
    return {PARENTS[kind]: number}
