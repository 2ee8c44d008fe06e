"""A real NetBox for the whole session. Where none can run its tests are skipped; OPSCTL_REQUIRE_NETBOX=1 fails them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netbox import real
from tests.netbox.cache import Impossible
from tests.netbox.real import Real
from tests.netbox.try_it import workspace


@pytest.fixture(scope="session", name="server")
def _server() -> Iterator[Real]:
    try:
        with real.running() as netbox:
            yield netbox
    except Impossible as error:
        pytest.skip(f"no NetBox here: {error}")


@pytest.fixture(scope="module", name="real")
def _real(server: Real) -> Real:
    """The seeded fleet, as nobody has changed it yet."""
    server.reset()
    return server


@pytest.fixture(name="workspace")
def _workspace(real: Real, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace for the seeded NetBox, never synced."""
    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.chdir(workspace(tmp_path, real.address))
    return tmp_path
