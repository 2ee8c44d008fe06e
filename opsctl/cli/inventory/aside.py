"""What is put aside: records in quarantine, and hosts that are kept as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opsctl.cli import output as out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opsctl.cli.app import App
    from opsctl.model.host import Host, Quarantined

_COLUMNS = ("what", "tenant", "record", "name", "reason", "link")


def show(
    stale: Sequence[Host], quarantined: Sequence[Quarantined], *, address: str, title: str = "", empty: str = ""
) -> None:
    """Nothing at all is printed where there is nothing, unless `empty` says so. `address`: NetBox's, for links."""
    from opsctl.inventory.record import link

    rows = [
        *(
            ("kept as it was", host.tenant, host.record, host.name, host.stale, link(host.record, address))
            for host in stale
        ),
        *(("quarantined", one.tenant or "-", one.record, one.name, one.reason, one.link) for one in quarantined),
    ]
    if rows or empty:
        # A foreign name may hold a line break, which must not look like a row of its own.
        flat = [[str(cell).replace("\n", "\\n") for cell in row] for row in rows]
        out.table(_COLUMNS, flat, title=title or (_counted(stale, quarantined) if rows else ""), empty=empty)


def count(stale: Sequence[Host], quarantined: Sequence[Quarantined]) -> None:
    """The same in one line."""
    if stale or quarantined:
        out.note(f"{_counted(stale, quarantined)}: opsctl inventory quarantine")


def _counted(stale: Sequence[Host], quarantined: Sequence[Quarantined]) -> str:
    return f"{out.some(len(quarantined), 'record')} in quarantine, {kept(len(stale))}"


def kept(count: int) -> str:
    """1 host kept as it was, 2 hosts kept as they were."""
    return f"{out.some(count, 'host')} kept as {'it was' if count == 1 else 'they were'}"


def among(app: App, selection: Mapping[str, Sequence[str]]) -> list[Quarantined]:
    """The records that could be among the selected hosts; a record has no role or ring that anybody could name."""
    if any(selection.get(name) for name in ("limit", "roles", "rings")):
        return []
    tenants = selection.get("tenants", ())
    return [one for one in app.inventory.quarantined if not tenants or one.tenant in tenants]


def document(stale: Sequence[Host], quarantined: Sequence[Quarantined], address: str) -> dict[str, object]:
    from opsctl.inventory.document import encode_quarantined
    from opsctl.inventory.record import link

    return {
        "quarantined": encode_quarantined(quarantined),
        "stale": [
            {"host": host.key, "record": host.record, "reason": host.stale, "link": link(host.record, address)}
            for host in stale
        ],
    }
