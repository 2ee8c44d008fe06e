"""Hosts are made of records while others are still being read: NetBox takes its time, and we have ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opsctl.inventory.mapping import Unusable, to_host
from opsctl.inventory.pull import Pull
from opsctl.inventory.record import Ports, Record
from opsctl.inventory.rules import Rules
from opsctl.model.host import Host, Tenant


class Ahead:
    """What was made of one NetBox's records as they came. It is only ever a saving: `still` says what of it holds."""

    def __init__(self, chosen: Rules, tenants: Sequence[Tenant]) -> None:
        self._chosen = chosen
        self._tenants = {tenant.name: tenant for tenant in tenants}
        self._made: dict[str, tuple[Record, Host]] = {}
        self._ports: Ports = {}
        self._regions: Mapping[str, str] = {}

    def came(self, records: Sequence[Record], ports: Ports, regions: Mapping[str, str]) -> None:
        """Make hosts of a page of records; why one cannot be made, whoever sorts them out will find."""
        self._ports, self._regions = ports, regions
        for record in records:
            if self._chosen.counts(record):
                key = record.key
                try:
                    host = to_host(record, ports.get(key, ()), self._chosen, self._tenants, regions)
                except Unusable:
                    continue
                self._made[key] = record, host

    def still(self, pulled: Pull, regions: Mapping[str, str]) -> dict[str, Host]:
        """By record, the hosts of all that is in the end as it was when it came: record, services and regions."""
        if regions != self._regions:
            return {}
        ports = pulled.ports
        return {
            key: made[1]
            for record in pulled.records
            if (made := self._made.get(key := record.key))
            and made[0] is record
            and ports.get(key) == self._ports.get(key)
        }
