"""Hosts are made of records as they come: in the end there are the same as without, whatever NetBox does meanwhile."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from opsctl.inventory.ahead import Ahead
from opsctl.inventory.netbox import NetBox, Query
from opsctl.inventory.pull import Meanwhile, Pull, pull
from opsctl.inventory.quarantine import sort_out
from tests.netbox.played import TOKEN, Played, played
from tests.unit.test_netbox_mapping import TENANTS, chosen

MACHINES, SERVICES = "virtualization/virtual-machines", "ipam/services"
TOUCHED = "virtual-machine/2"


def nothing(server: Played) -> None:
    """All stays as it is."""


def a_service_more(server: Played) -> None:
    server.rows[SERVICES].append({**server.rows[SERVICES][0], "id": 900, "port_mappings": ["tcp/5353"]})


def a_service_less(server: Played) -> None:
    server.rows[SERVICES][:] = [row for row in server.rows[SERVICES] if row["parent_object_id"] != 2]


def a_host_less(server: Played) -> None:
    server.rows[MACHINES][:] = [row for row in server.rows[MACHINES] if row["id"] != 2]


def pulled_with(ahead: Ahead, meanwhile: Callable[[Played], None], patch: pytest.MonkeyPatch) -> Pull:
    """Everything of a NetBox in which something is done when services and machines have come, and before any count."""
    done, count = threading.Event(), NetBox.count

    def counted(netbox: NetBox, path: str, query: Query) -> int:
        assert done.wait(60)
        return count(netbox, path, query)

    patch.setattr(NetBox, "count", counted)
    with played() as server:

        def came(*page: Any) -> None:
            ahead.came(*page)
            if not done.is_set():
                meanwhile(server)
                done.set()

        netbox = NetBox(server.address, TOKEN)
        found = pull(netbox, {}, meanwhile=Meanwhile(came=came))
        netbox.close()
    return found


@pytest.mark.parametrize("meanwhile", [nothing, a_service_more, a_service_less, a_host_less])
def test_what_was_made_ahead_is_what_is_made_in_the_end(
    meanwhile: Callable[[Played], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = Ahead(chosen(), TENANTS)
    found = pulled_with(ahead, meanwhile, monkeypatch)
    known = ahead.still(found, found.regions)
    quick = sort_out(found.records, found.ports, chosen(), TENANTS, found.regions, same=known)
    assert quick == sort_out(found.records, found.ports, chosen(), TENANTS, found.regions)
    assert len(known) > 20
    assert (TOUCHED in known) == (meanwhile is nothing)


def test_nothing_that_was_made_with_other_regions_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = Ahead(chosen(), TENANTS)
    found = pulled_with(ahead, nothing, monkeypatch)
    assert ahead.still(found, {**found.regions, "new": "region-ange"}) == {}
