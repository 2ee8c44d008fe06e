"""Asking only for what changed: the result is that of a full pull, whatever changed, and however little is asked."""

import errno
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsctl.inventory import mirror, mirrorfile
from opsctl.inventory.changes import Change, todo
from opsctl.inventory.mirror import Mirror, Refreshed
from opsctl.inventory.netbox import NetBox
from opsctl.inventory.pull import Filters, pull, untouched
from tests.netbox.played import TOKEN, Played, played

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
MACHINES, DEVICES, SERVICES = "virtualization/virtual-machines", "dcim/devices", "ipam/services"
VM = "virtualization.virtualmachine"
DAY = timedelta(days=1)


@pytest.fixture(name="server")
def _server() -> Iterator[Played]:
    with played() as server:
        server.changes = []
        server.change(VM, 1)
        yield server


@pytest.fixture(name="netbox")
def _netbox(server: Played) -> Iterator[NetBox]:
    netbox = NetBox(server.address, TOKEN)
    yield netbox
    netbox.close()


def refresh(
    netbox: NetBox, known: Mirror | None, wanted: Filters | None = None, *, later: timedelta = DAY / 2
) -> Refreshed:
    return mirror.refresh(netbox, wanted or {}, known, full_every=DAY, now=NOW + (later if known else timedelta()))


def rename(server: Played) -> None:
    server.row(MACHINES, "sdl-app-00008")["name"] = "renamed"
    server.change(VM, 9)


def delete(server: Played) -> None:
    server.rows[MACHINES][:] = [row for row in server.rows[MACHINES] if row["id"] != 9]
    server.change(VM, 9, "delete")


def delete_without_an_entry(server: Played) -> None:
    server.rows[DEVICES][:] = [row for row in server.rows[DEVICES] if row["id"] != 2]


def create(server: Played) -> None:
    row = {**server.row(MACHINES, "sdl-app-00008"), "id": 99, "name": "new"}
    server.rows[MACHINES].append(row)
    server.change(VM, 99, "create")


def another_address(server: Played) -> None:
    row = server.row(MACHINES, "sdl-app-00008")
    row["primary_ip4"] = {**row["primary_ip4"], "address": "10.20.0.200/24"}
    server.change("ipam.ipaddress", row["primary_ip4"]["id"])


def another_port(server: Played) -> None:
    server.rows[SERVICES][0]["port_mappings"] = ["tcp/5353"]
    server.change("ipam.service", 1)


def no_service_any_more(server: Played) -> None:
    del server.rows[SERVICES][0]
    server.change("ipam.service", 1, "delete")


def a_tag_is_renamed(server: Played) -> None:
    for row in (row for path in (MACHINES, DEVICES) for row in server.rows[path]):
        for tag in row["tags"]:
            tag["slug"] = tag["slug"].replace("ring", "band")
    server.change("extras.tag", 1)


@pytest.mark.parametrize(
    "change",
    [
        rename,
        delete,
        delete_without_an_entry,
        create,
        another_address,
        another_port,
        no_service_any_more,
        a_tag_is_renamed,
    ],
    ids=lambda change: change.__name__,
)
def test_a_change_is_seen_as_a_full_pull_sees_it(
    server: Played, netbox: NetBox, change: Callable[[Played], None]
) -> None:
    first = refresh(netbox, None).mirror
    change(server)
    second = refresh(netbox, first)
    assert second.mirror.pulled == pull(netbox, {})
    assert second.mirror.pulled != first.pulled
    assert second.how.startswith("in full: extras.tag") == (change is a_tag_is_renamed)
    third = refresh(netbox, second.mirror)
    assert third.how == "0 changes"
    assert third.mirror == second.mirror
    was, now = (
        {record.key: (record, one.pulled.ports.get(record.key)) for record in one.pulled.records}
        for one in (first, second.mirror)
    )
    same = untouched(first.pulled, second.mirror.pulled)
    assert all(was[key] == now[key] for key in same)
    assert len(was.keys() & now.keys() - same) <= 1 or change is a_tag_is_renamed
    assert untouched(second.mirror.pulled, third.mirror.pulled) == now.keys()


def test_nothing_changed_is_found_with_a_handful_of_small_questions(server: Played, netbox: NetBox) -> None:
    first = refresh(netbox, None).mirror
    server.asked.clear()
    assert refresh(netbox, first).mirror == first
    assert len(server.asked) == 4
    assert not any("config_context" in line for line in server.asked)


def test_what_does_not_fit_the_filters_any_more_is_gone_and_what_does_now_is_there(
    server: Played, netbox: NetBox
) -> None:
    wanted: Filters = {"role": ("app",)}
    first = refresh(netbox, None, wanted).mirror
    web, app = server.row(MACHINES, "sdl-web-00002"), server.row(MACHINES, "sdl-app-00008")
    web["role"], app["role"] = app["role"], web["role"]
    server.change(VM, web["id"])
    server.change(VM, app["id"])
    second = refresh(netbox, first, wanted).mirror
    assert second.pulled == pull(netbox, wanted)
    assert {r.name for r in second.pulled.records} >= {"sdl-web-00002"}


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (lambda server: setattr(server, "changes", None), "the changelog has a gap, or may not be seen any more"),
        (lambda server: server.changes.clear(), "the changelog has a gap, or may not be seen any more"),
        (lambda server: setattr(server, "version", "4.7.4"), "NetBox is 4.7.4 now"),
        (lambda server: server.change("plugin.thing", 1), "plugin.thing 1 was updated"),
    ],
    ids=["forbidden", "gap", "version", "unknown"],
)
def test_where_the_changelog_does_not_tell_everything_is_read(
    server: Played, netbox: NetBox, prepare: Callable[[Played], None], why: str
) -> None:
    first = refresh(netbox, None).mirror
    prepare(server)
    assert refresh(netbox, first).how == f"in full: {why}"


def test_a_token_that_never_saw_the_changelog_reads_everything_each_time(server: Played, netbox: NetBox) -> None:
    server.changes = None
    first = refresh(netbox, None).mirror
    assert refresh(netbox, first).how == "in full: nothing of the changelog was known"


def test_another_token_may_see_less_or_more_and_reads_everything(server: Played, netbox: NetBox) -> None:
    first = refresh(netbox, None).mirror
    other = NetBox(server.address, "b" * 40)
    assert refresh(other, first).how == "in full: another token is used now"
    assert refresh(other, refresh(other, first).mirror).how == "0 changes"
    other.close()


def test_everything_is_read_anew_now_and_then(netbox: NetBox) -> None:
    first = refresh(netbox, None).mirror
    assert "long ago" in refresh(netbox, first, later=DAY).how


def test_an_entry_that_was_committed_late_is_still_seen(server: Played, netbox: NetBox) -> None:
    assert server.changes is not None
    server.change(VM, 2)
    late = server.changes.pop(0)
    first = refresh(netbox, None).mirror
    server.changes.insert(0, late | {"changed_object_id": 9})
    server.row(MACHINES, "sdl-app-00008")["name"] = "renamed"
    assert refresh(netbox, first).mirror.pulled == pull(netbox, {})


def test_the_mirror_is_read_back_as_it_was(netbox: NetBox, tmp_path: Path) -> None:
    kept = refresh(netbox, None).mirror
    file = mirrorfile.path(tmp_path, netbox.address, {}, "")
    mirrorfile.save(file, kept)
    assert mirrorfile.load(file) == kept
    assert file.stat().st_mode & 0o077 == 0
    file.write_text("{")
    assert mirrorfile.load(file) is None
    assert mirrorfile.path(tmp_path, netbox.address, {"role": ("web",)}, "") != file


def test_a_harmless_object_asks_for_nothing() -> None:
    assert not todo([Change(id=1, action="update", type="dcim.interface", object=1)], [])


def test_the_head_tells_that_nothing_moved_and_is_another_for_every_mirror(netbox: NetBox, tmp_path: Path) -> None:
    kept = refresh(netbox, None).mirror
    file = mirrorfile.path(tmp_path, netbox.address, {}, "")
    mirrorfile.save(file, kept)
    first = mirrorfile.head(file)
    assert first is not None
    assert mirror.unmoved(netbox, {}, first, full_every=DAY, now=NOW)
    assert not mirror.unmoved(netbox, {}, first, full_every=DAY, now=NOW + DAY)
    mirrorfile.save(file, kept)
    assert mirrorfile.head(file) != first


@pytest.mark.parametrize("change", [rename, delete_without_an_entry])
def test_the_head_tells_that_something_moved(server: Played, netbox: NetBox, change: Callable[[Played], None]) -> None:
    known = head_of(refresh(netbox, None).mirror)
    assert mirror.unmoved(netbox, {}, known, full_every=DAY, now=NOW)
    change(server)
    assert not mirror.unmoved(netbox, {}, known, full_every=DAY, now=NOW)


def test_a_netbox_that_was_put_back_to_a_backup_and_reached_the_same_number_again_is_read_anew(
    server: Played, netbox: NetBox
) -> None:
    first = refresh(netbox, None).mirror
    assert server.changes is not None
    server.changes.clear()
    rename(server)
    server.changes[0]["time"] = "2026-11-23T08:00:00.000000Z"
    assert not mirror.unmoved(netbox, {}, head_of(first), full_every=DAY, now=NOW)
    second = refresh(netbox, first)
    assert second.mirror.pulled == pull(netbox, {})
    assert second.how == "in full: the changelog has a gap, or may not be seen any more"


def test_a_full_read_at_a_time_that_is_still_to_come_was_never_made(netbox: NetBox) -> None:
    first = refresh(netbox, None).mirror
    assert not mirror.unmoved(netbox, {}, head_of(first), full_every=DAY, now=NOW - DAY)
    assert "long ago" in refresh(netbox, first, later=-DAY).how


def test_a_disk_that_holds_the_head_but_not_the_mirror_keeps_no_head(
    server: Played, netbox: NetBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = mirrorfile.path(tmp_path, netbox.address, {}, "")
    mirrorfile.save(file, refresh(netbox, None).mirror)
    rename(server)
    kept = refresh(netbox, mirrorfile.load(file)).mirror
    real, full = Path.replace, OSError(errno.ENOSPC, "No space left on device")

    def replace(self: Path, target: Path) -> Path:
        if target == file:
            raise full
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    mirrorfile.save(file, kept)
    assert mirrorfile.head(file) is None


def test_the_mark_is_that_of_the_mirror_itself_and_not_of_the_head_beside_it(netbox: NetBox, tmp_path: Path) -> None:
    kept, file = refresh(netbox, None).mirror, mirrorfile.path(tmp_path, netbox.address, {}, "")
    mirrorfile.save(file, kept)
    older = file.with_suffix(".head").read_text()
    mirrorfile.save(file, kept)
    file.with_suffix(".head").write_text(older)  # two that wrote at the same time
    head, found = mirrorfile.head(file), mirrorfile.load(file)
    assert head is not None
    assert found is not None
    assert found.mark
    assert found.mark != head.mark


def head_of(kept: Mirror) -> mirror.Head:
    counts: Counter[str] = Counter(record.kind for record in kept.pulled.records)
    return mirror.Head(
        mark="", version=kept.pulled.version, full_at=kept.full_at, seen=kept.seen, newest=kept.newest,
        reader=kept.reader, counts=counts,
    )  # fmt: skip
