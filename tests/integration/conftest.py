"""The rule for tests on real hosts, and one small fleet that the whole session may share.

Where no lab can stand, tests marked `lab` are skipped with the reason; with OPSCTL_REQUIRE_LAB=1 they fail instead.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsctl import lab as labs
from opsctl.errors import Refused
from opsctl.lab import Fleet, machine
from tests.integration.owned import lab_name, take_down_orphans


def pytest_configure(config: pytest.Config) -> None:
    # A killed test run takes its labs down too: pytest ends its fixtures after a keyboard interrupt.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("lab") is None:
        return
    try:
        machine.refuse_unless_fit()
    except Refused as refused:
        reason = f"no lab here: {refused.message} ({refused.hint})"
        pytest.skip(reason)
    take_down_orphans()


@pytest.fixture(scope="session", name="lab")
def _lab() -> Iterator[Fleet]:
    """Four of the demo's hosts, one behind a jump host. Whoever changes a host brings it back: `as_found`."""
    name = lab_name()
    try:
        yield labs.up(name, labs.only(labs.demo(), ["ange-lb1", "ange-web1", "ange-db1", "sundsvall-app1"]))
    finally:
        labs.down(name)


@pytest.fixture
def as_found(lab: Fleet) -> Iterator[Fleet]:
    """The shared fleet, for a test that changes its hosts: each one gets its first disk back afterwards."""
    try:
        yield lab
    finally:
        for host in lab.hosts:
            labs.restore(lab.name, host.name)


@pytest.fixture
def lab_workspace(lab: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of the shared fleet, synced, its hosts trusted; the test runs in it."""
    from opsctl.cli.main import run

    monkeypatch.delenv("OPSCTL_WORKSPACE", raising=False)
    folder = tmp_path / "drift"
    assert run(["init", str(folder), "--lab", lab.name]) == 0
    monkeypatch.chdir(folder)
    assert run(["inventory", "sync", "--yes"]) == 0
    assert run(["host", "approve", "--all", "--fingerprints", "handover/fingerprints", "--yes"]) == 0
    return folder
