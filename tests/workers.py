"""How `make test` shares the tests among its workers (pytest-xdist): a file, and so its lab, stays on one of them.

The tests of the real NetBox are one share, for it is brought up once a session. The shares that take longest begin
first, so that no worker is left alone with one of them at the end.
"""

from __future__ import annotations

from typing import Any

import pytest

NETBOX = "tests/integration/netbox"
# By their seconds, longest first. A file that is not named here comes behind them: real hosts, then all others.
LONGEST = (
    "tests/integration/test_rollout_stops.py",
    NETBOX,
    "tests/integration/test_controls.py",
    "tests/integration/test_controls_vm.py",
    "tests/integration/test_provision_saved.py",
    "tests/integration/test_monitored_rollout.py",
    "tests/integration/test_rollout_faults.py",
    "tests/integration/test_patch.py",
    "tests/integration/test_rollout_transitions.py",
    "tests/integration/test_provision.py",
    "tests/integration/test_patch_back.py",
    "tests/integration/test_rollout_moments.py",
    "tests/integration/test_patch_oncall.py",
    "tests/integration/test_web_and_database_controls.py",
    "tests/integration/test_comply_pages.py",
    "tests/integration/test_control_node.py",
    "tests/house/test_other_python.py",
    "tests/integration/test_provision_roles.py",
)
_THEN = ("tests/integration", "tests/house", "tests/cli")


def share(nodeid: str) -> str:
    """The share of a test: its file, or the folder of NetBox's tests."""
    file = nodeid.partition("::")[0]
    return NETBOX if file.startswith(f"{NETBOX}/") else file


def turn(nodeid: str) -> int:
    """When the share of a test has its turn: the lower, the sooner."""
    if (mine := share(nodeid)) in LONGEST:
        return LONGEST.index(mine)
    behind = (number for number, folder in enumerate(_THEN) if mine.startswith(f"{folder}/"))
    return len(LONGEST) + next(behind, len(_THEN))


def in_turn(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests of a worker; every worker finds the same order. Without workers it stays as pytest finds it."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: turn(item.nodeid))


def scheduler(config: pytest.Config, log: Any) -> Any:
    """What hands out whole shares, in the order of their turns."""
    from xdist.scheduler import LoadScopeScheduling
    from xdist.workermanage import NodeManager

    # A run that is stopped gives each worker the time to take its lab down.
    NodeManager.EXIT_TIMEOUT = 60
    config.option.loadscopereorder = False
    shares = LoadScopeScheduling(config, log)
    shares._split_scope = share
    return shares
