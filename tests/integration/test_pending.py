"""What waits on a real host, and what stands in the way: held, kept back, interrupted, locked, full, never fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsctl import lab
from opsctl.patch import reading, told
from opsctl.patch.pending import Pending
from opsctl.state.store import Store
from tests.integration.ground import Ground, ground

pytestmark = pytest.mark.lab
HOST = "ange-web1"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("pending"), lab.only(lab.demo(), [HOST])) as found:
        yield found


@pytest.fixture
def fetched(place: Ground) -> Iterator[Ground]:
    """The host with its package lists; every fault is mended and its first disk is back afterwards."""
    place.inside(HOST, "apt-get -q update")
    try:
        yield place
    finally:
        lab.restore(place.fleet.name, HOST)
        place.transport.forget(place.host(HOST))


def read(place: Ground, tmp_path: Path) -> Pending:
    with Store.open(tmp_path / "state") as store:
        host = place.host(HOST)
        (found,) = reading.read(place.transport, [host], store, lambda: datetime.now(UTC)).values()
    assert isinstance(found, Pending), found
    return found


def test_a_host_without_lists_never_says_that_nothing_waits(place: Ground, tmp_path: Path) -> None:
    found = read(place, tmp_path)
    assert (found.pending, found.lists_age_seconds) == (None, None)
    assert "the package lists were never fetched" in [one.why for one in found.not_known]


def test_what_waits_is_told_with_origin_size_services_and_new_packages(fetched: Ground, tmp_path: Path) -> None:
    found = read(fetched, tmp_path)
    packages = {package.name: package for package in found.packages}
    assert packages["opslab-library"].security
    assert "security" in packages["opslab-library"].origin
    assert packages["opslab-extra"].installed == ""
    assert found.download_bytes
    assert found.kernel
    assert found.kernel.newest is None
    assert found.services
    assert "ssh.service" in (found.services.touched or ())
    assert "apt-daily-upgrade.timer" in (found.patchers or ())
    assert [one.what for one in found.not_known] == ["newest kernel"]
    assert told.obstacle(found) == ""
    assert json.dumps(told.document(HOST, found))


def test_held_packages_are_told_and_leave_the_transaction(fetched: Ground, tmp_path: Path) -> None:
    fetched.inside(HOST, "apt-mark hold opslab-library")
    found = read(fetched, tmp_path)
    assert found.held == ("opslab-library",)
    assert "opslab-library" in (found.kept_back or ())
    assert "opslab-library" not in [package.name for package in found.packages]


def test_a_cut_off_dpkg_is_an_obstacle(fetched: Ground, tmp_path: Path) -> None:
    fetched.inside(HOST, "touch /etc/opslab-fragile.fail; apt-get -q -y install opslab-fragile 2>&1 || true")
    found = read(fetched, tmp_path)
    assert (found.dpkg.audit or ("",))[0].startswith("opslab-fragile")
    assert told.obstacle(found) == "dpkg was interrupted there (opslab-fragile): dpkg --configure -a"
    assert found.history
    assert not found.history[0].ended
    fetched.inside(HOST, "rm /etc/opslab-fragile.fail; dpkg --configure -a; echo > /var/lib/dpkg/updates/0001")
    assert told.obstacle(read(fetched, tmp_path)) == "dpkg was interrupted there: dpkg --configure -a"


def test_a_lock_and_a_full_disk_are_obstacles(fetched: Ground, tmp_path: Path) -> None:
    lab.break_(fetched.fleet.name, HOST, "dpkg-lock")
    assert told.obstacle(read(fetched, tmp_path)).startswith("apt is in use there: python3")
    lab.mend(fetched.fleet.name, HOST)
    lab.break_(fetched.fleet.name, HOST, "disk")
    found = read(fetched, tmp_path)
    assert found.free_bytes == 0
    assert told.obstacle(found) or told.no_room(found)


def test_a_service_with_replaced_code_wants_a_restart(fetched: Ground, tmp_path: Path) -> None:
    fetched.inside(HOST, "cp /bin/sleep /usr/local/bin/old && systemd-run --unit=old /usr/local/bin/old 300")
    fetched.inside(HOST, "rm /usr/local/bin/old")
    services = read(fetched, tmp_path).services
    assert services
    assert services.stale == ("old.service",)
