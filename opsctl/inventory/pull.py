"""Everything of NetBox that hosts are made of, complete: devices, virtual machines, their services, the sites' regions.

Filters are checked before they are sent and again on what comes back, for NetBox ignores those that it does not know
and gives everything. The number of rows is checked against NetBox's own count; where they differ (something changed
between two pages, a server without a cursor, a proxy that cuts) the ids are swept and what is missing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from opsctl.errors import ConfigError
from opsctl.inventory.answers import SourceFailed
from opsctl.inventory.listing import Reading
from opsctl.inventory.netbox import NetBox, Query, Row, Server
from opsctl.inventory.record import (
    KINDS,
    PATHS,
    Kind,
    Malformed,
    Ports,
    Record,
    ServiceRecord,
    Texts,
    ports_of,
    read_record,
    read_service,
)

if TYPE_CHECKING:
    from opsctl.config import Settings

SERVICES, ADDRESSES = "ipam/services", "ipam/ip-addresses"
# A part of the fields costs the server far less than all of them; `primary_ip` alone doubles the time.
FIELDS = "id,name,status,tenant,site,cluster,role,platform,tags,custom_fields,primary_ip4,primary_ip6,config_context"
SERVICE_FIELDS = "id,name,parent_object_type,parent_object_id,port_mappings"
OLD_SERVICE_FIELDS = "id,name,parent_object_type,parent_object_id,device,virtual_machine,protocol,ports"
# Of a service; they are asked for only where the mapping makes something of them.
LABELS = ",tags,custom_fields"
# What may stand in netbox.filters, and what a record must then hold. NetBox ignores a filter that it does not know.
FILTERS: Mapping[str, Callable[[Record], Sequence[str]]] = {
    "role": lambda record: (record.role,),
    "site": lambda record: (record.site,),
    "platform": lambda record: (record.platform,),
    "status": lambda record: (record.status,),
    "tag": lambda record: record.tags,
    "tenant": lambda record: (record.tenant,),
}
Filters = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Pull:
    """What NetBox holds: the records in the order of kind and id, the services, the region of each site.

    `labels`: the services were read with their tags and custom fields.
    """

    version: str
    records: tuple[Record, ...]
    services: tuple[ServiceRecord, ...]
    regions: Mapping[str, str]
    labels: bool = False

    @cached_property
    def ports(self) -> Ports:
        """The services' ports by the records that they belong to."""
        return ports_of(self.services)


@dataclass(frozen=True, kw_only=True)
class Meanwhile:
    """What is done while NetBox is read: before any page is asked for, then once, then with each page that has come.

    What has come are records, the ports of all services and the regions of all sites, as they were read until then.
    """

    before: Callable[[], object] = lambda: None
    once: Callable[[Server], object] = lambda _: None
    came: Callable[[Sequence[Record], Ports, Mapping[str, str]], object] = lambda *_: None


NOTHING = Meanwhile()


def untouched(before: Pull, now: Pull) -> frozenset[str]:
    """The keys of the records that were taken over as they were, and so were all of their services and sites."""
    if before.regions != now.regions:
        return frozenset()
    old = {record.key: record for record in before.records}
    ports, new_ports = ({service.id: service for service in one.services} for one in (before, now))
    touched = {
        service.parent
        for number in ports.keys() | new_ports.keys()
        if (was := ports.get(number)) is not (one := new_ports.get(number))
        for service in (was, one)
        if service is not None
    }
    return frozenset(record.key for record in now.records if old.get(record.key) is record) - touched


def filters(settings: Settings) -> Filters:
    """netbox.filters, checked. Raises ConfigError for a name that NetBox would silently ignore."""
    found: dict[str, list[str]] = {}
    for word in settings.texts("netbox.filters"):
        name, equals, value = word.partition("=")
        if name not in FILTERS or not equals or not value:
            raise ConfigError(
                f"netbox.filters: {word!r} is not known",
                hint=f"NAME=VALUE, with one of: {', '.join(FILTERS)}",
            )
        found.setdefault(name, []).append(value)
    return {name: tuple(values) for name, values in found.items()}


def pull(
    netbox: NetBox,
    wanted: Filters,
    *,
    server: Server | None = None,
    labels: bool = False,
    meanwhile: Meanwhile = NOTHING,
) -> Pull:
    """All of it, `server` is what is known of NetBox. Raises SourceFailed."""
    server, texts = server or netbox.server(), Texts()
    # Services first: with them a record is whole, and something can be made of it while others come. Then the dearest,
    # so that both threads end together.
    asked: Mapping[str, Query] = {SERVICES: {}, **{PATHS[kind]: wanted for kind in reversed(KINDS)}}
    with Reading(netbox, server) as reading:
        cuts = {path: reading.cut(path, query) for path, query in asked.items()}
        meanwhile.before()
        fields = service_fields(netbox, labels=labels)
        ports = reading.rows(SERVICES, cuts[SERVICES].result(), fields, _read_service)
        pages = {
            kind: reading.rows(PATHS[kind], cuts[PATHS[kind]].result(), FIELDS, partial(read, kind, texts))
            for kind in reversed(KINDS)
        }
        # Counted when all is read: what is deleted meanwhile must not stay.
        counts = {path: reading.count(path, query) for path, query in asked.items()}
        sites = _sites(netbox, server)
        regions = _regions(sites)
        meanwhile.once(server)
        services = {number: service for part in ports for number, service in part}
        early = ports_of(service for service in services.values() if service)
        found: dict[Kind, dict[int, Record]] = {}
        for kind, parts in pages.items():
            found[kind] = {}
            for part in parts:
                found[kind].update((record.id, record) for record in part)
                meanwhile.came(part, early, regions)
        there = {path: count.result() for path, count in counts.items()}
    records = tuple(
        record
        for kind in KINDS
        for record in _records(netbox, server, kind, wanted, found[kind], there[PATHS[kind]], texts)
    )
    if not sites.keys() >= {record.site for record in records if record.site}:
        sites = _sites(netbox, server)  # one was made meanwhile
        _refuse_unseen_sites(records, sites)
    return Pull(
        version=server.version,
        records=records,
        services=_services(netbox, server, {"fields": fields}, services, there[SERVICES]),
        regions=_regions(sites),
        labels=labels,
    )


def fetch_records(netbox: NetBox, kind: Kind, ids: Sequence[int], texts: Texts) -> tuple[Record, ...]:
    """The records with these ids, as far as they are there."""
    return tuple(read(kind, texts, row) for row in netbox.by_id(PATHS[kind], ids, {"fields": FIELDS}))


def fits(record: Record, wanted: Filters) -> bool:
    """Is the record what the filters ask for? NetBox wants every tag, and one of the values of all else."""
    return all(
        (all if name == "tag" else any)(value in FILTERS[name](record) for value in values)
        for name, values in wanted.items()
    )


def _records(
    netbox: NetBox, server: Server, kind: Kind, wanted: Filters, found: dict[int, Record], count: int, texts: Texts
) -> tuple[Record, ...]:
    """The records as they were read, mended where that cannot be all, and held against the filters."""
    if not server.cursor or len(found) != count:
        found = _mended(netbox, server, kind, wanted, found, texts)
    for record in found.values():
        if not fits(record, wanted):
            raise SourceFailed(
                f"NetBox gave {record.key} although the filters do not ask for it; nothing was written",
                hint="does this NetBox know every filter of netbox.filters, and every tenant that is asked for?",
            )
    return tuple(found[number] for number in sorted(found))


def _mended(
    netbox: NetBox, server: Server, kind: Kind, wanted: Filters, found: dict[int, Record], texts: Texts
) -> dict[int, Record]:
    """What is really there: a second look at the ids, what is new fetched, what seems gone asked for by its id."""
    path = PATHS[kind]
    there = {int(row["id"]) for row in netbox.rows(path, {**wanted, "fields": "id"}, cursor=server.cursor)}
    doubtful = sorted((there - found.keys()) | (found.keys() - there))
    fetched = {record.id: record for record in fetch_records(netbox, kind, doubtful, texts)} if doubtful else {}
    kept = {number: record for number, record in found.items() if number in there}
    whole = kept | {number: record for number, record in fetched.items() if fits(record, wanted)}
    if missing := sorted(there - whole.keys() - set(doubtful)):
        raise SourceFailed(f"NetBox gave half an answer: {kind} {missing[0]} is listed and cannot be had")
    return whole


def _services(
    netbox: NetBox, server: Server, asked: Query, found: dict[int, ServiceRecord | None], count: int
) -> tuple[ServiceRecord, ...]:
    if len(found) != count:
        there = {int(row["id"]) for row in netbox.rows(SERVICES, {"fields": "id"}, cursor=server.cursor)}
        missing = sorted(there - found.keys())
        fresh = netbox.by_id(SERVICES, missing, asked) if missing else ()
        found = {number: service for number, service in found.items() if number in there} | dict(
            map(_read_service, fresh)
        )
    return tuple(service for number in sorted(found) if (service := found[number]))


def service_fields(netbox: NetBox, *, labels: bool = False) -> str:
    """The fields in which this server keeps ports and parents; it ignores names that it does not know."""
    rows, _, _ = netbox.page(SERVICES, {"limit": 1, "fields": SERVICE_FIELDS})
    known = not rows or {"parent_object_type", "port_mappings"} <= rows[0].keys()
    return (SERVICE_FIELDS if known else OLD_SERVICE_FIELDS) + (LABELS if labels else "")


def read_services(rows: Iterable[Row]) -> Iterator[ServiceRecord]:
    return (service for _, service in map(_read_service, rows) if service)


def _read_service(row: Row) -> tuple[int, ServiceRecord | None]:
    """The id of a service, and the service where it belongs to a device or a virtual machine."""
    try:
        return int(row["id"]), read_service(row)
    except Malformed as error:
        raise SourceFailed(f"NetBox gave {error}; nothing was written") from error


def read(kind: Kind, texts: Texts, row: Row) -> Record:
    try:
        return read_record(kind, row, texts)
    except Malformed as error:
        raise SourceFailed(
            f"NetBox gave {error}; nothing was written", hint="is this NetBox 4.2 or newer, and nothing in between?"
        ) from error


def _sites(netbox: NetBox, server: Server) -> dict[str, str]:
    """The region of each site, empty where it has none."""
    rows = netbox.rows("dcim/sites", {"fields": "id,slug,region"}, cursor=server.cursor)
    return {str(row["slug"]): str(row["region"]["slug"]) if row.get("region") else "" for row in rows}


def _regions(sites: Mapping[str, str]) -> dict[str, str]:
    return {slug: region for slug, region in sites.items() if region}


def _refuse_unseen_sites(records: Iterable[Record], sites: Collection[str]) -> None:
    """A token that was narrowed shows fewer sites and says nothing: their hosts would lose their region."""
    for record in records:
        if record.site and record.site not in sites:
            raise SourceFailed(
                f"NetBox shows {record.key} at the site {record.site}, and not that site; nothing was written",
                hint="the token's user needs `view` on every site of its hosts",
            )


def custom_fields(netbox: NetBox, server: Server) -> dict[str, frozenset[str]]:
    """The custom fields of NetBox, each with the kinds of objects that have it."""
    rows = netbox.rows("extras/custom-fields", {"fields": "id,name,object_types"}, cursor=server.cursor)
    return {str(row["name"]): frozenset(map(str, row.get("object_types") or ())) for row in rows}
