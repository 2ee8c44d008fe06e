"""What all tests share: how property tests draw examples, who runs which tests, and which may not be skipped."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import required, workers

# The same examples each time, and none too slow on a busy machine: this suite decides whether a change may land.
# What a strategy filters out differs with the Unicode tables of each Python; that is no fault of what is tested.
CALM = (HealthCheck.filter_too_much, HealthCheck.too_slow)
settings.register_profile("opsctl", deadline=None, derandomize=True, suppress_health_check=CALM)
settings.register_profile("brief", deadline=None, derandomize=True, max_examples=20, suppress_health_check=CALM)
settings.load_profile("opsctl")


@pytest.fixture(scope="session", autouse=True)
def _surroundings() -> Iterator[None]:
    """A runtime folder of our own, short enough for sockets: what workspaces of tests leave there goes with it."""
    base = "/run" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="ot-", dir=base) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        # The width of a terminal, which readline hands on to the workers, is no concern of tests.
        patch.delenv("COLUMNS", raising=False)
        yield


@pytest.fixture(autouse=True)
def _input_that_waits() -> Iterator[None]:
    """No test may leave the standard input without waiting, as ssh does: Ansible would refuse it in another test."""
    yield
    waits = os.get_blocking(0)
    os.set_blocking(0, True)
    assert waits, "give what is started here an input of its own (ssh -n, or stdin=subprocess.DEVNULL)"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    workers.in_turn(config, items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    required.judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    required.judge(report)
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return workers.scheduler(config, log)
