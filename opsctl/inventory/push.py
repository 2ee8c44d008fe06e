"""What opsctl knows, written back to NetBox: its own custom fields, and nothing else.

Only values that differ are written, many records at once, each with a changelog message that names the run. The fields
are made by `inventory setup-netbox`; their names begin with `opsctl_`, and a sync never reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opsctl.errors import Incomplete
from opsctl.inventory import pull as pulling
from opsctl.inventory.answers import SourceFailed
from opsctl.inventory.intended import by_token, other_host
from opsctl.inventory.netbox import NetBox, Row
from opsctl.inventory.record import KINDS, PATHS, TYPES, Kind, number
from opsctl.inventory.rules import Rules, mapping_of
from opsctl.model.host import Host

if TYPE_CHECKING:
    from opsctl.config import Settings

Cell = str | int | None
# So many records a request: NetBox writes them in one transaction, and a gateway waits a minute.
BATCH = 100


@dataclass(frozen=True, kw_only=True)
class OwnField:
    """A custom field that opsctl owns; `type` is NetBox's."""

    name: str
    type: str
    label: str
    meaning: str


FIELDS = (
    OwnField(name="opsctl_last_seen", type="datetime", label="Last seen", meaning="when opsctl last reached the host"),
    OwnField(name="opsctl_os_release", type="text", label="OS release", meaning="what the host itself says"),
    OwnField(
        name="opsctl_pending_security", type="integer", label="Pending security", meaning="updates, at the last look"
    ),
    OwnField(name="opsctl_last_patched", type="datetime", label="Last patched", meaning="end of the last good rollout"),
    OwnField(name="opsctl_compliance", type="text", label="Compliance", meaning="the last assessment of the host"),
    OwnField(name="opsctl_takeover", type="text", label="Takeover", meaning="how far its takeover has come"),
)
_OWN = frozenset(field.name for field in FIELDS)


@dataclass(frozen=True, kw_only=True)
class Write:
    """One value of one record, before and after."""

    host: str
    record: str
    field: str
    before: Cell
    after: Cell


@dataclass(frozen=True, kw_only=True)
class PushPlan:
    """What would be written; `missing` are the fields that NetBox does not have yet.

    `others`: what the records of some hosts are now, by the hosts' keys. Nothing is written into those.
    """

    writes: tuple[Write, ...]
    missing: tuple[str, ...]
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(sorted({write.host for write in self.writes}))


def plan(settings: Settings, hosts: Sequence[Host], values: Mapping[str, Mapping[str, Cell]]) -> PushPlan:
    """Compare what we know (by host key) with what NetBox has. Hosts without a record are left alone.

    Raises ConfigError for what opsctl.yml says wrongly, SourceFailed for what NetBox does.
    """
    chosen = mapping_of(settings)
    writes: list[Write] = []
    missing: dict[str, None] = {}
    others: dict[str, str] = {}
    for tenant, theirs in by_token(settings, hosts).items():
        netbox = NetBox.of(settings, tenant)
        try:
            lacking = missing_fields(netbox)
            missing |= dict.fromkeys(lacking)
            writes += _differing(netbox, chosen, theirs, values, lacking, others)
        finally:
            netbox.close()
    return PushPlan(writes=tuple(writes), missing=tuple(missing), others=others)


def missing_fields(netbox: NetBox) -> tuple[str, ...]:
    """Our own fields that devices or virtual machines do not have yet."""
    there = pulling.custom_fields(netbox, netbox.server())
    return tuple(field.name for field in FIELDS if not there.get(field.name, frozenset()) >= TYPES.keys())


def _differing(
    netbox: NetBox,
    chosen: Rules,
    hosts: Iterable[Host],
    values: Mapping[str, Mapping[str, Cell]],
    missing: Collection[str],
    others: dict[str, str],
) -> Iterator[Write]:
    """What differs; `others` takes up the hosts whose records are other ones by now."""
    known = {host.record: host for host in hosts if host.record and host.key in values}
    for row in _rows(netbox, known, "id,name,tenant,custom_fields"):
        host = known[row["record"]]
        tenant = chosen.place(str(row["tenant"]["slug"]))[0] if row["tenant"] else ""
        if other := other_host(host.key, str(row["name"] or ""), tenant):
            others[host.key] = other
            continue
        for name, value in sorted(values[host.key].items()):
            before = row["custom_fields"].get(name)
            if name not in missing and not same(before, value):
                yield Write(host=host.key, record=host.record, field=name, before=before, after=value)


def same(before: object, after: object) -> bool:
    """Equal as NetBox means them: a time may be written in several ways."""
    if isinstance(before, str) and isinstance(after, str) and before != after:
        first, second = _moment(before), _moment(after)
        return first is not None and first == second
    return before == after


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).replace(microsecond=0)


def write(settings: Settings, hosts: Sequence[Host], planned: PushPlan, message: str) -> None:
    """Write as planned. Raises SourceFailed naming the permission that is missing, Incomplete after a part."""
    done = 0
    touched = [host for host in hosts if host.key in planned.hosts]
    for tenant, theirs in by_token(settings, touched).items():
        netbox = NetBox.of(settings, tenant)
        keys = {host.key for host in theirs}
        try:
            said = netbox.server().said(message)
            for kind in KINDS:
                rows = list(_bodies(kind, [one for one in planned.writes if one.host in keys]))
                for begin in range(0, len(rows), BATCH):
                    netbox.update(PATHS[kind], [{**row, **said} for row in rows[begin : begin + BATCH]])
                    done += len(rows[begin : begin + BATCH])
        except SourceFailed as error:
            if not done:
                raise
            raise Incomplete(
                f"{done} of {len(planned.hosts)} hosts are written, the others are not: {error.message}",
                hint=f"{error.hint}; push again: it goes on with what is left",
            ) from error
        finally:
            netbox.close()


def _bodies(kind: Kind, writes: Iterable[Write]) -> Iterator[Row]:
    """What is sent of each record: our own fields that differ. NetBox leaves those that are not named as they are."""
    fields: dict[int, dict[str, Cell]] = {}
    for one in (one for one in writes if one.record.startswith(f"{kind}/")):
        assert one.field in _OWN, one.field
        fields.setdefault(number(one.record), {})[one.field] = one.after
    for record in sorted(fields):
        yield {"id": record, "custom_fields": fields[record]}


def set_up(netbox: NetBox, names: Sequence[str]) -> None:
    """Make these custom fields of ours, for devices and virtual machines."""
    for one in FIELDS:
        if one.name in names:
            netbox.create(
                "extras/custom-fields",
                {
                    "name": one.name,
                    "type": one.type,
                    "label": one.label,
                    "group_name": "opsctl",
                    "description": one.meaning,
                    "object_types": sorted(TYPES),
                    # People look at them; only opsctl writes them.
                    "ui_editable": "no",
                },
            )


def _rows(netbox: NetBox, known: Mapping[str, Host], fields: str) -> Iterable[Row]:
    """The records of these hosts, as far as they are there, each with its name in opsctl as `record`."""
    for kind in KINDS:
        ids = sorted(number(record) for record in known if record.startswith(f"{kind}/"))
        for row in netbox.by_id(PATHS[kind], ids, {"fields": fields}) if ids else ():
            yield {**row, "record": f"{kind}/{row['id']}"}
