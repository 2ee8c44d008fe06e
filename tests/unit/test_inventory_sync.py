"""Planning and writing a sync: atomic, recorded, and never over somebody else's work."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from opsctl import config
from opsctl.config import Settings
from opsctl.errors import FuseTripped, InventoryError, Locked, OpsctlError, StalePlan, UnknownName
from opsctl.inventory import cache, files, sync
from opsctl.state.ledger import Act, Ledger
from opsctl.state.store import Store

TENANTS = ("ange", "sundsvall")


def now() -> datetime:
    return datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def put_source(settings: Settings, tenant: str, count: int) -> None:
    hosts = "".join(
        f"  - {{name: {tenant}-web{n}, address: 192.0.2.{n}, role: web, platform: debian-12}}\n"
        for n in range(1, count + 1)
    )
    path = settings.path("inventory.path") / tenant / "source.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"version: 1\ntenant: {tenant}\nhosts:\n{hosts}")


@pytest.fixture(name="settings")
def _settings(tmp_path: Path) -> Settings:
    (tmp_path / "opsctl.yml").write_text("version: 1\n")
    found = config.load(tmp_path, {})
    for tenant in TENANTS:
        (found.inventories / tenant).mkdir(parents=True)
        (found.inventories / tenant / "tenant.yml").write_text(f"version: 1\nname: {tenant}\n")
        put_source(found, tenant, 3)
    return found


@pytest.fixture(name="ledger")
def _ledger(settings: Settings) -> Iterator[Ledger]:
    with Store.open(settings.state) as store:
        yield Ledger(store)


def copies(settings: Settings) -> dict[str, str]:
    return {str(path): path.read_text() for path in settings.inventories.rglob("*") if path.is_file()}


def test_a_first_sync_writes_every_tenant_and_enters_the_ledger(settings: Settings, ledger: Ledger) -> None:
    planned = sync.plan(settings)
    assert len(files.load(settings)) == 0, "planning writes nothing"
    sync.write(planned, ledger, "anna", now)
    assert files.load(settings) == planned.inventory
    started, finished = ledger.entries()
    assert (started.verb, started.who, finished.outcome) == ("inventory sync", "anna", "ok")
    assert started.hosts == tuple(f"{tenant}.{tenant}-web{n}" for tenant in TENANTS for n in (1, 2, 3))
    assert started.detail["inventory"] == planned.inventory.digest
    again = sync.plan(settings)
    assert not again.diff
    assert not again.texts


def test_one_tenant_alone_leaves_the_other_as_it_is(settings: Settings, ledger: Ledger) -> None:
    sync.write(sync.plan(settings, ["ange"]), ledger, "anna", now)
    assert {host.tenant for host in files.load(settings)} == {"ange"}


def test_an_unknown_tenant_is_told_with_those_that_are_known(settings: Settings) -> None:
    with pytest.raises(UnknownName, match="'angee'") as caught:
        sync.plan(settings, ["angee"])
    assert "ange, sundsvall" in caught.value.hint


def test_a_source_with_a_fault_writes_nothing(settings: Settings) -> None:
    path = settings.inventories / "ange" / "source.yml"
    path.write_text(path.read_text().replace("192.0.2.2,", "127.0.0.1,"))
    with pytest.raises(InventoryError) as caught:
        sync.plan(settings)
    assert str(caught.value.problems[0]).startswith(f"{path}:5: address: 127.0.0.1 is a loopback address")


def test_a_source_file_that_is_gone_trips_the_fuse(settings: Settings, ledger: Ledger) -> None:
    sync.write(sync.plan(settings), ledger, "anna", now)
    (settings.inventories / "ange" / "source.yml").unlink()
    with pytest.raises(FuseTripped, match="not complete"):
        sync.plan(settings)
    assert not sync.plan(settings, ["sundsvall"]).diff


def test_the_fuse_reads_the_percentage_of_the_settings(settings: Settings, ledger: Ledger) -> None:
    put_source(settings, "ange", 20)
    sync.write(sync.plan(settings), ledger, "anna", now)
    put_source(settings, "ange", 16)
    with pytest.raises(FuseTripped, match="would lose 4 of its 20 hosts, more than 10 %"):
        sync.plan(settings).refuse_losses()
    looser = config.load(settings.workspace, {}, {"inventory.max_removed_percent": 25})
    sync.plan(looser).refuse_losses()


def test_a_copy_that_refers_to_what_the_tenant_no_longer_has_does_not_stop_the_sync_that_mends_it(
    settings: Settings, ledger: Ledger
) -> None:
    tenant = settings.inventories / "ange" / "tenant.yml"
    source = settings.inventories / "ange" / "source.yml"
    bare = source.read_text()
    tenant.write_text("version: 1\nname: ange\nsites: [{name: hall}]\n")
    source.write_text(bare.replace("role: web", "role: web, site: hall"))
    sync.write(sync.plan(settings), ledger, "anna", now)
    tenant.write_text("version: 1\nname: ange\n")
    source.write_text(bare)
    with pytest.raises(InventoryError):
        files.load(settings)
    sync.write(sync.plan(settings), ledger, "anna", now)
    assert len(files.load(settings)) == 6


def test_a_source_folder_of_its_own_is_read(settings: Settings, tmp_path: Path) -> None:
    elsewhere = config.load(settings.workspace, {"OPSCTL_INVENTORY_PATH": str(tmp_path / "export")})
    with pytest.raises(FuseTripped):
        sync.plan(elsewhere)
    for tenant in TENANTS:
        put_source(elsewhere, tenant, 1)
    assert len(sync.plan(elsewhere).inventory) == 2


def test_what_somebody_changed_between_plan_and_write_is_not_overwritten(settings: Settings, ledger: Ledger) -> None:
    planned = sync.plan(settings)
    (settings.inventories / "ange" / "hosts.yml").write_text("version: 1\ntenant: ange\nhosts: []\n")
    before = copies(settings)
    with pytest.raises(StalePlan):
        sync.write(planned, ledger, "anna", now)
    assert copies(settings) == before
    assert not ledger.entries()


def test_the_second_of_two_syncs_is_refused_until_the_first_has_ended(settings: Settings) -> None:
    with (
        sync.alone(settings),
        pytest.raises(Locked, match="another sync of this workspace is at work"),
        sync.alone(settings),
    ):
        pass
    with sync.alone(settings):
        pass


def test_a_full_disk_leaves_every_file_as_it_was_and_no_litter(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync.write(sync.plan(settings), ledger, "anna", now)
    for tenant in TENANTS:
        put_source(settings, tenant, 4)
    before = copies(settings)
    flushed = []

    def full(handle: int) -> None:
        flushed.append(handle)
        if len(flushed) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    planned = sync.plan(settings)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OpsctlError, match="No space left on device"):
        sync.write(planned, ledger, "anna", now)
    monkeypatch.undo()
    assert copies(settings) == before
    assert ledger.entries()[-1].outcome == "failed"


def test_what_a_hand_changes_while_a_sync_writes_is_not_taken_for_what_the_sync_wrote(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "WORTH_IT", 0)
    planned, real = sync.plan(settings), ledger.act

    @contextmanager
    def act(*words: Any) -> Iterator[Act]:
        with real(*words) as found:
            yield found
        (settings.inventories / "ange" / "hosts.yml").write_text("version: 1\ntenant: ange\nhosts: []\n")
        (settings.inventories / "sundsvall" / "tenant.yml").write_text("version: 1\nname: sundsvall\ntitle: Other\n")

    monkeypatch.setattr(ledger, "act", act)
    written = sync.write(planned, ledger, "anna", now)
    assert written != cache.fingerprint(files.copied_files(settings.inventories))
    found = files.load(settings)
    assert {host.tenant for host in found} == {"sundsvall"}
    assert found.tenant("sundsvall").title == "Other"


def test_what_was_written_is_what_lies_there(settings: Settings, ledger: Ledger) -> None:
    written = sync.write(sync.plan(settings), ledger, "anna", now)
    assert written == cache.fingerprint(files.copied_files(settings.inventories))


def test_a_sync_that_is_killed_between_two_tenants_has_a_moving_host_in_neither_and_the_next_takes_its_litter_away(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync.write(sync.plan(settings), ledger, "anna", now)
    path = settings.inventories / "ange" / "source.yml"
    path.write_text(
        path.read_text() + "  - {name: sundsvall-web3, address: 192.0.2.99, role: web, platform: debian-12}\n"
    )
    put_source(settings, "sundsvall", 2)
    planned, real = sync.plan(settings), Path.replace
    assert len(planned.diff.moved) == 1

    def killed(self: Path, target: Path) -> Path:
        if target.parent.name == "ange":
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):
        sync.write(planned, ledger, "anna", now)
    monkeypatch.undo()
    assert len(list(settings.inventories.rglob(".hosts.yml.*"))) == 1
    assert not [host for host in files.load(settings) if host.name == "sundsvall-web3"]
    sync.write(sync.plan(settings), ledger, "anna", now)
    assert [host.tenant for host in files.load(settings) if host.name == "sundsvall-web3"] == ["ange"]
    assert not list(settings.inventories.rglob(".hosts.yml.*"))
