"""What opsctl knows, written back to NetBox: its own custom fields, and nothing else.

Only values that differ are written, many records at once, each with a changelog message that names the run. The fields
are made by `inventory setup-netbox`; their names begin with `opsctl_`, and a sync never reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from opsctl.inventory import pull as pulling
from opsctl.inventory.netbox import NetBox, Row
from opsctl.inventory.pull import PATHS
from opsctl.inventory.record import KINDS, TYPES, Kind
from opsctl.model.host import Host

Cell = str | int | None
# So many records a request: NetBox writes them in one transaction, and a gateway waits a minute.
BATCH = 100
# Bulk writes take a message for the changelog since NetBox 4.4.
MESSAGES_SINCE = (4, 4)


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
    """What would be written; `missing` are the fields that NetBox does not have yet."""

    writes: tuple[Write, ...]
    missing: tuple[str, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(sorted({write.host for write in self.writes}))


def plan(netbox: NetBox, hosts: Iterable[Host], values: Mapping[str, Mapping[str, Cell]]) -> PushPlan:
    """Compare what we know (by host key) with what NetBox has. Hosts without a record are left alone."""
    server = netbox.server()
    there = pulling.custom_fields(netbox, server)
    usable = {field.name for field in FIELDS if there.get(field.name, frozenset()) >= TYPES.keys()}
    missing = tuple(field.name for field in FIELDS if field.name not in usable)
    known = {host.record: host for host in hosts if host.record and host.key in values}
    writes: list[Write] = []
    for row in _rows(netbox, known, "id,custom_fields"):
        host = known[row["record"]]
        for name, value in sorted(values[host.key].items()):
            before = row["custom_fields"].get(name)
            if name in usable and not same(before, value):
                writes.append(Write(host=host.key, record=host.record, field=name, before=before, after=value))
    return PushPlan(writes=tuple(writes), missing=missing)


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


def write(netbox: NetBox, planned: PushPlan, message: str) -> None:
    """Write as planned. Raises SourceFailed naming the permission that is missing, where one is."""
    with_message = netbox.server().number >= MESSAGES_SINCE
    for kind in KINDS:
        rows: dict[int, dict[str, object]] = {}
        for one in (one for one in planned.writes if one.record.startswith(f"{kind}/")):
            row = rows.setdefault(_number(one.record), {"id": _number(one.record)})
            if one.field.startswith("opsctl_"):
                fields = row.setdefault("custom_fields", {})
                assert isinstance(fields, dict)
                fields[one.field] = one.after
            else:
                row[one.field] = one.after
            if with_message:
                row["changelog_message"] = message
        chosen = [rows[number] for number in sorted(rows)]
        for begin in range(0, len(chosen), BATCH):
            netbox.update(PATHS[kind], chosen[begin : begin + BATCH])


def set_up(netbox: NetBox, names: Sequence[str]) -> None:
    """Make these custom fields of ours, for devices and virtual machines."""
    for field in FIELDS:
        if field.name in names:
            netbox.create(
                "extras/custom-fields",
                {
                    "name": field.name,
                    "type": field.type,
                    "label": field.label,
                    "group_name": "opsctl",
                    "description": field.meaning,
                    "object_types": sorted(TYPES),
                    # People look at them; only opsctl writes them.
                    "ui_editable": "no",
                },
            )


def _rows(netbox: NetBox, known: Mapping[str, Host], fields: str) -> Iterable[Row]:
    """The records of these hosts, as far as they are there, each with its name in opsctl as `record`."""
    for kind in KINDS:
        ids = sorted(_number(record) for record in known if record.startswith(f"{kind}/"))
        for row in netbox.by_id(PATHS[kind], ids, {"fields": fields}) if ids else ():
            yield {**row, "record": _name(kind, int(row["id"]))}


def _name(kind: Kind, number: int) -> str:
    return f"{kind}/{number}"


def _number(record: str) -> int:
    return int(record.partition("/")[2])
